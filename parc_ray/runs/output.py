"""OutputDirectory: file names and atomic writes. Only the driver writes to it."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from parc_ray.config.record import OutputConfig
from parc_ray.errors import InputError, OutputError
from parc_ray.files.writing import TEMPORARY_FILES, make_folder, write_file_atomic, write_files_atomic
from parc_ray.motions.dataset import class_weights, write_dataset_file
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.terrain_layout import square_layout, terrain_file_bytes
from parc_ray.runs.events import MotionEnded
from parc_ray.runs.logger import LIBRARIES
from parc_ray.runs.logs import RUN_LOG, SHARD_LOG, Logs
from parc_ray.runs.motion_state import MotionState

RECORDINGS, FAILURES = "recorded_motions", "failed_attempts"
JOURNAL, TERRAIN, LOG = "journal.jsonl", "terrain.pkl", f"logs/{RUN_LOG}"
SUMMARY, REPORT, RECORDED_DATASET = "summary.json", "report.html", "recorded_motions.yaml"
ACCEPTED_DATASET, SUCCESS = "accepted_motions.yaml", "success.csv"
DATASET, UPLOADS = "motions.yaml", "uploads.jsonl"
CHARACTER = "record_character.xml"
"""The character's MJCF as simulated."""
ARGUMENTS = ("record_env.yaml", "record_args.txt")
"""Inputs of PARC's run_tracker."""
OWN_FILES = (
    RECORDED_DATASET,
    ACCEPTED_DATASET,
    SUCCESS,
    *ARGUMENTS,
    CHARACTER,
    TERRAIN,
    JOURNAL,
    SUMMARY,
    REPORT,
    LOG,
    UPLOADS,
)
"""Files of a run besides recordings and logs of shards. motions.yaml is not one: it may be the user's own dataset."""

LONGEST_NAME = 255
"""In bytes."""
GROUP_SIZE = 50
MAX_MAP_CELLS = 50_000_000
"""Maximum cells of a terrain.pkl; at 20 bytes each, a larger one would need a gigabyte."""
MAX_MAP_TERRAINS, MAX_MAP_BYTES = 1000, 100_000_000
"""Bounds of a terrain.pkl that was not requested explicitly."""
ANYWAY = "with output.terrain_file: true the same command writes it"


class OutputDirectory:
    """The output directory of one run."""

    def __init__(self, path: Path, config: OutputConfig):
        self.path, self.config = path, config
        self.recordings = path / RECORDINGS
        self.failures = path / FAILURES
        self.journal = path / JOURNAL
        self.terrain = path / TERRAIN
        self.report = path / REPORT
        self.summary = path / SUMMARY
        self.logs = Logs(path / "logs")
        self.listener: Callable[[Path], None] | None = None
        """Called with the path of every recording and kept failed attempt after it is written."""

    def existing_names(self) -> list[str]:
        """Return the names of files and folders left by an earlier run."""
        found = [name for name in OWN_FILES if (self.path / name).exists()]
        folders = [folder for folder in (self.recordings, self.failures) if folder.is_dir() and any(folder.iterdir())]
        return found + [folder.name for folder in folders]

    def require_usable(self) -> None:
        """Raise InputError unless it is a writable folder, or could be created."""
        place = next(path for path in (self.path, *self.path.parents) if os.path.lexists(path))
        if not place.is_dir():
            raise InputError(f"output_dir {self.path}: {place} is not a folder; choose another output_dir")
        if not os.access(place, os.W_OK | os.X_OK):
            raise InputError(
                f"output_dir {self.path}: {place} cannot be written to; change its permissions, or choose another "
                "output_dir"
            )

    def lack_of_room(self, size: int) -> str:
        """Return a message if fewer than `size` bytes are free, else an empty string."""
        place = next(path for path in (self.path, *self.path.parents) if path.exists())
        free = shutil.disk_usage(place).free
        if free >= size:
            return ""
        return f"output_dir {self.path}: {free >> 20} MiB are free, and the recordings may take {size >> 20} MiB"

    def require_outside(self, folders: Iterable[Path], source: str) -> None:
        """Raise InputError if it is inside a folder of motions. source: the file that lists the folders."""
        for folder in folders:
            own, inputs = self.path.resolve(), folder.resolve()
            # The search for motions skips paths that contain "ignore".
            if own == inputs or (inputs in own.parents and "ignore" not in str(own.relative_to(inputs))):
                raise InputError(
                    f"output_dir {self.path} is in {folder}, one of the folder_paths of {source}: recordings "
                    "there would be motions of the next run; choose another output_dir"
                )

    def require_unlinked(self) -> None:
        """Raise InputError if a file or folder that a run writes to is a link, or not a file."""
        for name in (RECORDINGS, FAILURES, "logs"):
            _require_no_link(self.path / name)
        for path in (self.journal, self.path / UPLOADS, self.path / LOG, *self.logs.shards()):
            _require_no_link(path)
            if path.exists() and not path.is_file():
                raise InputError(f"{path}: is not a file; remove it, or choose another output_dir")

    def require_free(self) -> None:
        """Raise InputError if the directory holds an earlier run."""
        found = self.existing_names()
        # A run killed before its first attempt leaves an empty journal; PARC's script leaves its arguments.
        if set(found) - {JOURNAL, UPLOADS, *ARGUMENTS}:
            raise InputError(
                f"output_dir {self.path} holds an earlier run ({', '.join(found)}); "
                "choose another output_dir, or pass --overwrite to delete that run's files"
            )

    def require_apart(self, files: Iterable[str]) -> None:
        """Raise InputError if clear or tidy would delete any of these input files."""
        owned = {self.recordings.resolve(): RECORDINGS, self.failures.resolve(): FAILURES}
        for folder in {Path(file).parent for file in files}:
            for own in owned.keys() & {folder.resolve(), *folder.resolve().parents}:
                raise InputError(
                    f"output_dir {self.path}: its {owned[own]} are an input of this run ({folder}) and would be "
                    "deleted; choose another output_dir"
                )

    def prepare(self) -> None:
        """Create the directory. Raises InputError if that fails."""
        try:
            (self.path / "logs").mkdir(parents=True, exist_ok=True)
            self.recordings.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"output_dir {self.path}: cannot be prepared: {error}; choose another") from error

    def clear(self) -> None:
        """Delete the files of an earlier run, except its journal, which is open. Raises OutputError."""
        try:
            for name in self.existing_names():
                if name in (RECORDINGS, FAILURES):
                    shutil.rmtree(self.path / name)
                elif name != JOURNAL:
                    (self.path / name).unlink()
            self.recordings.mkdir(exist_ok=True)
            for path in self.logs.shards():
                path.unlink()
            for name in LIBRARIES:
                shutil.rmtree(self.path / name, ignore_errors=True)
        except OSError as error:
            raise OutputError(f"output_dir {self.path}: cannot be cleared: {error}; remove it by hand") from error

    def tidy(self, unjournalled: Iterable[Path], stale: Iterable[str] = ()) -> list[Path]:
        """Delete half-written files, unjournalled motion files and stale files; return those of the first two kinds.

        stale: names of outdated files. Empty folders of recordings are deleted too, because PARC's next step fails on
        them.
        """
        folders = (self.path, self.path / "logs", *_with_subfolders(self.recordings), *_with_subfolders(self.failures))
        left = [path for folder in folders for path in folder.glob(TEMPORARY_FILES) if not path.is_dir()]
        left += [path for path in unjournalled if path.is_file() or path.is_symlink()]
        try:
            for name in stale:
                (self.path / name).unlink(missing_ok=True)
            for path in left:
                path.unlink()
            for folder in filter(_is_empty, list(_with_subfolders(self.recordings))[1:]):
                folder.rmdir()
        except OSError as error:
            raise OutputError(f"output_dir {self.path}: cannot be tidied: {error}; remove it by hand") from error
        return left

    def sizes(self) -> dict[Path, int]:
        """Return the size of every recording."""
        return _motion_files(self.recordings)

    def motion_files(self) -> list[Path]:
        """Return all recordings and kept failed attempts."""
        return [*self.sizes(), *_motion_files(self.failures)]

    def documents(self) -> list[Path]:
        """Return the existing files of the run, except motion files."""
        names = (DATASET, *(name for name in OWN_FILES if name != UPLOADS))
        return [path for path in (*(self.path / name for name in names), *self.logs.shards()) if path.is_file()]

    def name_too_long(self, motion: str) -> bool:
        """Return True if the name of a motion's recording, or of its folder, is too long for file systems."""
        path = self.recording_path(motion)
        return max(len(name.encode("utf-8")) for name in (path.name, path.parent.name)) > LONGEST_NAME

    def recording_path(self, motion: str) -> Path:
        """Return the path of a motion's recording."""
        name = f"{motion}{self.config.name_suffix}"
        folder = self.recordings / group_of(name) if self.config.layout == "grouped" else self.recordings
        return folder / f"{name}.pkl"

    def with_path(self, ended: MotionEnded) -> MotionEnded:
        """Return the final state of a motion with the path of its recording, if it has one."""
        if ended.state != MotionState.RECORDED:
            return ended
        return replace(ended, path=str(self.recording_path(ended.motion).relative_to(self.path)))

    def failure_path(self, motion: str, number: int) -> Path | None:
        """Return the path of a kept failed attempt; None if its motion's name cannot name a folder."""
        return None if motion in (".", "..") else self.failures / motion / f"attempt_{number}.pkl"

    def write_motion_files(self, files: Mapping[Path, bytes]) -> None:
        """Write recordings and kept failed attempts, each atomically. Raises OutputError."""
        for folder in {path.parent for path in files}:
            if self.failures in folder.parents:
                _make_folder(self.failures)
            _make_folder(folder)
        write_files_atomic(list(files.items()))
        if self.listener:
            for path in files:
                self.listener(path)

    def log(self, line: str, shard: int | None = None) -> None:
        """Append to logs/run.log, and to the shard's log. Raises OutputError."""
        self.logs.write([(0.0, line)], shard)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file atomically."""
        write_file_atomic(self.path / name, text.encode("utf-8"))

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a human-readable JSON file."""
        self.write_text(name, json.dumps(content, indent=2) + "\n")

    def write_recorded_dataset(self, recordings: Sequence[tuple[Path, float]], control_freq: int) -> None:
        """Write recorded_motions.yaml: all recordings with PARC's weights. recordings: paths and lengths, s."""
        paths, seconds = zip(*sorted(recordings)) if recordings else ((), ())
        # PARC weights by the number of frames, one more than control steps.
        lengths = [(round(length * control_freq) + 1) / control_freq for length in seconds]
        weights = class_weights(lengths, [path.parent.name for path in paths])
        write_dataset_file(zip(map(str, paths), weights), self.path / RECORDED_DATASET)

    def terrain_problem(self, shapes: Sequence[tuple[int, int]], padding: float, dx: float) -> str:
        """Return the reason why terrains of these shapes [cells] get no terrain.pkl; empty if they get one."""
        if self.config.terrain_file == "auto" and len(shapes) > MAX_MAP_TERRAINS:
            return f"the dataset has more than {MAX_MAP_TERRAINS} motions; {ANYWAY}"
        tile = np.max(np.array(shapes), axis=0) + 2 * int(padding / dx)
        cells = int(np.prod(np.ceil(np.sqrt(len(shapes))) * tile))
        return f"its map would have {cells} cells (limit {MAX_MAP_CELLS})" if cells > MAX_MAP_CELLS else ""

    def write_terrain(self, terrains: Sequence[HeightField], padding: float, dx: float) -> None:
        """Write terrain.pkl in PARC's layout: all terrains as tiles of one map.

        Raises InputError if the terrains are incompatible, or the map would be too large.
        """
        content = terrain_file_bytes(square_layout(terrains, padding, dx))
        if self.config.terrain_file == "auto" and len(content) > MAX_MAP_BYTES:
            raise InputError(f"it would have {len(content) / 1e6:.0f} MB (limit {MAX_MAP_BYTES / 1e6:.0f}); {ANYWAY}")
        write_file_atomic(self.terrain, content)


def is_own(name: str) -> bool:
    """Return True if runs write a file of this name, relative to the output directory.

    >>> is_own("recorded_motions/walk_0_49/walk_7.pkl"), is_own("logs/shard_0003.log"), is_own("logs/mine.log")
    (True, True, False)
    """
    folder, _, rest = name.partition("/")
    if folder == "logs" and SHARD_LOG.fullmatch(rest):
        return True
    return name in (DATASET, *OWN_FILES) or (folder in (RECORDINGS, FAILURES) and bool(rest))


def _motion_files(folder: Path) -> dict[Path, int]:
    """Return the size of every motion file in a folder and its subfolders."""
    found: dict[Path, int] = {}
    for place in _with_subfolders(folder):
        with os.scandir(place) as entries:
            found.update(
                (place / entry.name, entry.stat(follow_symlinks=False).st_size)
                for entry in entries
                if entry.name.endswith(".pkl") and entry.is_file(follow_symlinks=False)
            )
    return found


def _with_subfolders(folder: Path) -> Iterator[Path]:
    """Yield a folder, if it exists, and its subfolders."""
    if folder.is_dir():
        yield folder
        with os.scandir(folder) as entries:
            yield from (Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def _make_folder(path: Path) -> None:
    """Create a folder. Raises InputError if it is a link, OutputError if it cannot be created."""
    _require_no_link(path)
    make_folder(path, parents=False)


def _require_no_link(path: Path) -> None:
    if path.is_symlink():
        raise InputError(
            f"{path}: is a symbolic link, so files would be written elsewhere ({os.readlink(path)}); remove it, "
            "or give the target as output_dir"
        )


def group_of(name: str) -> str:
    """Return PARC's folder of a recording: NAME_100_149 for NAME_123_dm, `ungrouped` without a number.

    >>> group_of("boxes_123_dm"), group_of("boxes_7"), group_of("run")
    ('boxes_100_149', 'boxes_0_49', 'ungrouped')
    """
    match = re.match(r"^(.*?)_(\d+)(?:_.*)?$", name)
    if match is None:
        return "ungrouped"
    base, number = match.groups()
    start = int(number) // GROUP_SIZE * GROUP_SIZE
    return f"{base}_{start}_{start + GROUP_SIZE - 1}"
