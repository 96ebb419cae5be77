"""The output directory: names, atomic writes, merge. Only the driver writes it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Iterable, List, Mapping, Sequence, Tuple

import numpy as np
import yaml

from parc_ray.config import OutputConfig
from parc_ray.errors import InputError
from parc_ray.motions import plain_pickle
from parc_ray.motions.motion_file import write_file_atomic
from parc_ray.motions.terrain import HeightField, square_layout

RECORDINGS = "recorded_motions"
OWN_FILES = (
    "recorded_motions.yaml",
    "record_env.yaml",
    "record_args.txt",
    "terrain.pkl",
    "journal.jsonl",
    "summary.json",
    "logs/run.log",
)
"""What a run writes beside its recordings. motions.yaml may be the user's own dataset file and is not among them."""

LONGEST_NAME = 255
"""bytes"""
GROUP_SIZE = 50
MAX_MAP_CELLS = 50_000_000
"""Cells of a terrain.pkl beyond which it is left out: at 20 bytes each it would need a gigabyte"""


class OutputDirectory:
    """One run's output directory."""

    def __init__(self, path: Path, config: OutputConfig):
        self.path, self.config = path, config
        self.recordings = path / RECORDINGS

    def occupied(self) -> List[str]:
        """What an earlier run left here."""
        return [name for name in (*OWN_FILES, RECORDINGS) if (self.path / name).exists()]

    def require_free(self) -> None:
        """Raises InputError if an earlier run is in the directory."""
        found = self.occupied()
        if found:
            raise InputError(
                f"output_dir {self.path} holds an earlier run ({', '.join(found)}); "
                "choose another output_dir, or pass --overwrite to delete that run's files"
            )

    def require_apart(self, files: Iterable[str]) -> None:
        """Raises InputError if any of these input files is among the recordings, which prepare deletes."""
        own = self.recordings.resolve()
        for folder in {Path(file).parent for file in files}:
            if own in (folder.resolve(), *folder.resolve().parents):
                raise InputError(
                    f"output_dir {self.path}: its {RECORDINGS} are an input of this run ({folder}) and would be "
                    "deleted; choose another output_dir"
                )

    def prepare(self) -> None:
        """Create the directory, and delete what an earlier run wrote. Raises InputError if that is not possible."""
        try:
            for name in self.occupied():
                if name == RECORDINGS:
                    shutil.rmtree(self.recordings)
                else:
                    (self.path / name).unlink()
            (self.path / "logs").mkdir(parents=True, exist_ok=True)
            self.recordings.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"output_dir {self.path}: cannot be prepared: {error}") from error

    def name_too_long(self, motion: str) -> bool:
        """Whether a motion's recording, or its folder, would have a longer name than file systems allow."""
        path = self.recording_path(motion)
        return max(len(name.encode("utf-8")) for name in (path.name, path.parent.name)) > LONGEST_NAME

    def recording_path(self, motion: str) -> Path:
        """Where a motion's recording is written."""
        name = f"{motion}{self.config.name_suffix}"
        folder = self.recordings / group_of(name) if self.config.layout == "grouped" else self.recordings
        return folder / f"{name}.pkl"

    def write_recording(self, motion: str, content: bytes) -> Path:
        """Write a recording, whole or not at all; returns its path."""
        path = self.recording_path(motion)
        path.parent.mkdir(exist_ok=True)
        write_file_atomic(path, content)
        return path

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        write_file_atomic(self.path / name, text.encode("utf-8"))

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file for people to read."""
        self.write_text(name, json.dumps(content, indent=2) + "\n")

    def write_recorded_dataset(self, frames: Mapping[Path, int], control_freq: int) -> None:
        """recorded_motions.yaml: all recordings, weighted by their length as one class of PARC's."""
        motions = [{"file": str(path), "weight": count / control_freq} for path, count in sorted(frames.items())]
        self.write_text("recorded_motions.yaml", yaml.safe_dump({"motions": motions}))

    def write_terrain(self, terrains: Sequence[HeightField], padding: float, dx: float) -> str:
        """terrain.pkl in PARC's layout: all motions' terrains as tiles of one map. Returns why not, or ""."""
        problem = map_too_large([terrain.hf.shape for terrain in terrains], padding, dx)
        if problem:
            return problem
        try:
            layout = square_layout(terrains, padding, dx)
        except InputError as error:
            return f"terrain.pkl left out: {error}"
        terrain = layout.terrain
        content = plain_pickle.dumps(
            {
                "motion_data": None,
                "terrain_data": plain_pickle.dumps(
                    {
                        "hf": terrain.hf,
                        "hf_maxmin": np.ascontiguousarray(terrain.hf_maxmin),
                        "min_point": terrain.min_point,
                        "dx": terrain.dx,
                    }
                ),
                "misc_data": plain_pickle.dumps(
                    {
                        "terrains_per_motion": 1,
                        "motion_offsets": layout.motion_offsets,
                        "all_terrain_verts": [[vertices] for vertices, _ in layout.meshes],
                        "all_terrain_tris": [[triangles] for _, triangles in layout.meshes],
                    }
                ),
            }
        )
        write_file_atomic(self.path / "terrain.pkl", content)
        return ""


def map_too_large(shapes: Sequence[Tuple[int, ...]], padding: float, dx: float) -> str:
    """Why terrains of these shapes make no terrain.pkl, or ""; to be asked before all of them are in memory."""
    framed = np.array(shapes) + 2 * int(padding / dx)
    cells = int(np.prod(np.ceil(np.sqrt(len(shapes))) * framed.max(axis=0)))
    if cells <= MAX_MAP_CELLS:
        return ""
    return f"terrain.pkl left out: its map would have {cells} cells (limit {MAX_MAP_CELLS})"


def group_of(name: str) -> str:
    """PARC's folder of a recording: NAME_123_dm belongs to NAME_100_149; names without a number to ungrouped.

    >>> group_of("boxes_123_dm"), group_of("boxes_7"), group_of("run")
    ('boxes_100_149', 'boxes_0_49', 'ungrouped')
    """
    match = re.match(r"^(.*?)_(\d+)(?:_.*)?$", name)
    if match is None:
        return "ungrouped"
    base, number = match.groups()
    start = int(number) // GROUP_SIZE * GROUP_SIZE
    return f"{base}_{start}_{start + GROUP_SIZE - 1}"
