"""Playlist: the scenes of a motion file, a folder of motion files, or a run, each read when opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from parc_ray.character.geoms import Geom, read_geoms
from parc_ray.character.skeleton import Skeleton, parse_skeleton
from parc_ray.errors import InputError
from parc_ray.motions.motion_file import read_motion
from parc_ray.runs.history import Run, RunMotion, read_run
from parc_ray.runs.motion_files import NOTHING, Writers, find_character, motion_files
from parc_ray.runs.motion_state import MotionState
from parc_ray.runs.output import JOURNAL
from parc_ray.viewing.scenes.scene import Scene, scene_of_file, scene_of_run


@dataclass(frozen=True)
class PlaylistItem:
    """One entry of a playlist."""

    name: str
    state: str
    """State of the motion in its run; "motion" for a file outside any run."""
    read: Callable[[], Scene]
    """Reads the scene. Raises InputError if there is nothing to show."""
    motion: RunMotion | None = None
    """The run's record of the motion."""


@dataclass(frozen=True)
class Playlist:
    """Scenes of one character."""

    title: str
    items: tuple[PlaylistItem, ...]
    skeleton: Skeleton
    geoms: tuple[Geom, ...]


def open_playlist(path: Path, character: Path | None = None) -> Playlist:
    """Return the playlist of a run's output directory, a folder of motion files, or a motion file.

    A motion file written by a run is shown as that run's motion, with its reference. The character (MJCF) defaults
    to the run's, else PARC's humanoid. Raises InputError if there are no motions or no character.
    """
    if (path / JOURNAL).is_file():
        run = read_run(path)
        motions = [motion for motion in run.motions if motion.state != MotionState.INVALID]
        skeleton, geoms = _character(run, character)
        items = [_run_item(run, motion, skeleton) for motion in motions]
    else:
        files, writers = motion_files(path), Writers()
        found = [writers.of(file) for file in files]
        skeleton, geoms = _character(next((run for run, _ in filter(None, found)), None), character)
        # A motion of a run is one item, even if several of its files are here.
        runs = {(known[0].path, known[1].name): known for known in found if known}
        items = [_run_item(*known, skeleton) for known in runs.values()]
        items += [_file_item(file, path, skeleton) for file, known in zip(files, found) if not known]
    if not items:
        raise InputError(f"{path}: {NOTHING}")
    return Playlist(path.resolve().name, tuple(items), skeleton, geoms)


def _run_item(run: Run, motion: RunMotion, skeleton: Skeleton) -> PlaylistItem:
    return PlaylistItem(motion.name, motion.state, lambda: scene_of_run(run, motion, skeleton, attempts=True), motion)


def _file_item(file: Path, top: Path, skeleton: Skeleton) -> PlaylistItem:
    name = file.stem if file == top else str(file.relative_to(top).with_suffix(""))
    return PlaylistItem(name, "motion", lambda: scene_of_file(read_motion(file, skeleton)))


def _character(run: Run | None, character: Path | None) -> tuple[Skeleton, tuple[Geom, ...]]:
    text, source = find_character(run, character)
    return parse_skeleton(text, source), read_geoms(text, source)
