"""Playlist: the scenes of a motion file, a folder of them, or a run, each read when it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

from parc_ray.character.geoms import Geom, read_geoms
from parc_ray.character.skeleton import Skeleton, parse_skeleton
from parc_ray.errors import InputError
from parc_ray.files.bundled import HUMANOID
from parc_ray.files.reading import read_text
from parc_ray.motions.motion_file import read_motion
from parc_ray.runs.output import JOURNAL, TERRAIN
from parc_ray.runs.past import PastMotion, PastRun, read_character, read_past_run
from parc_ray.viewing.scenes.scene import Scene, scene_of_file, scene_of_run

Written = Dict[Path, Tuple[PastRun, PastMotion]]

GIVE = "give a motion file (.pkl), a folder of them, or a run's output_dir"
NOTHING = f"holds no motions; {GIVE}"


@dataclass(frozen=True)
class Item:
    """One entry of a playlist."""

    name: str
    state: str
    """What has become of the motion in its run; "motion" for a file that no run tells of."""
    read: Callable[[], Scene]
    """Raises InputError if there is nothing to see."""
    motion: Optional[PastMotion] = None
    """What a run tells of it."""


@dataclass(frozen=True)
class Playlist:
    """Scenes of one character."""

    title: str
    items: Tuple[Item, ...]
    skeleton: Skeleton
    geoms: Tuple[Geom, ...]


def open_playlist(path: Path, character: Optional[Path] = None) -> Playlist:
    """The playlist of a run's output directory, a folder of motion files, or a motion file.

    A motion file that a run has written is shown as that run's motion, with its reference. The character (MJCF) is by
    default that of the run, else PARC's humanoid. Raises InputError if there is nothing, or no character.
    """
    if (path / JOURNAL).is_file():
        run = read_past_run(path)
        motions = [motion for motion in run.motions if motion.state != "invalid"]
        skeleton, geoms = _character(run, character)
        items = [_run_item(run, motion, skeleton) for motion in motions]
    else:
        files = _motion_files(path)
        written: Dict[Path, Written] = {}
        found = [_run_of(file.resolve(), written) for file in files]
        skeleton, geoms = _character(next((run for run, _ in filter(None, found)), None), character)
        # A run's motion is one item, however many of its files are here.
        runs = {(known[0].path, known[1].name): known for known in found if known}
        items = [_run_item(*known, skeleton) for known in runs.values()]
        items += [_file_item(file, path, skeleton) for file, known in zip(files, found) if not known]
    if not items:
        raise InputError(f"{path}: {NOTHING}")
    return Playlist(path.resolve().name, tuple(items), skeleton, geoms)


def _motion_files(path: Path) -> List[Path]:
    """Raises InputError if there are none."""
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; {GIVE}")
        return [path]
    files = [file for file in sorted(path.rglob("*.pkl")) if file.is_file() and not _is_map(file)]
    if not files:
        raise InputError(f"{path}: {NOTHING}")
    return files


def _is_map(file: Path) -> bool:
    """Whether the file is a run's terrain.pkl, which is no motion."""
    return file.name == TERRAIN and (file.parent / JOURNAL).is_file()


def _run_item(run: PastRun, motion: PastMotion, skeleton: Skeleton) -> Item:
    return Item(motion.name, motion.state, lambda: scene_of_run(run, motion, skeleton, attempts=True), motion)


def _file_item(file: Path, top: Path, skeleton: Skeleton) -> Item:
    name = file.stem if file == top else str(file.relative_to(top).with_suffix(""))
    return Item(name, "motion", lambda: scene_of_file(read_motion(file, skeleton)))


def _run_of(file: Path, written: Dict[Path, Written]) -> Optional[Tuple[PastRun, PastMotion]]:
    """The run and motion of a recording or kept attempt, if the file is one. `written` caches runs."""
    for folder in tuple(file.parents)[1:3]:
        if folder not in written:
            written[folder] = _written_by(folder)
        if file in written[folder]:
            return written[folder][file]
    return None


def _written_by(output_dir: Path) -> Written:
    """The motion files of the run in a folder; empty if there is no run."""
    try:
        run = read_past_run(output_dir)
    except InputError:
        return {}
    return {
        path: (run, motion)
        for motion in run.motions
        for path in (motion.recording, *(attempt.trajectory for attempt in motion.attempts))
        if path is not None
    }


def _character(run: Optional[PastRun], character: Optional[Path]) -> Tuple[Skeleton, Tuple[Geom, ...]]:
    if character is not None:
        text, source = read_text(character), str(character)
    elif run is not None:
        text, source = read_character(run), run.character
    else:
        text, source = read_text(HUMANOID), str(HUMANOID)
    return parse_skeleton(text, source), read_geoms(text, source)
