"""Scene: one motion's reference, recording, attempts and terrain, in one frame and on one clock."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Callable

import numpy as np

from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError
from parc_ray.files.reading import read_bytes
from parc_ray.motions.height_field import HeightField, crop
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import parse_motion, read_motion
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.runs.history import Run, RunMotion
from parc_ray.runs.motion_state import MotionState
from parc_ray.tensors.arrays import DoubleArray

MARGIN = 1.6
"""m, margin of terrain shown around the clips' paths."""


@dataclass(frozen=True)
class Clip:
    """A motion in a scene."""

    kind: str
    """reference, recording, attempt (not recorded), or motion (a file outside of any run)."""
    motion: Motion
    start: float = 0.0
    """s, on the scene's clock, which is the reference's."""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """m, from the motion's own frame to the scene's."""
    ending: str = ""
    """Reason why an attempt was not recorded; it failed at its last frame."""
    number: int = 0
    """Number of the attempt."""

    @property
    def end(self) -> float:
        """End, s on the scene's clock."""
        return self.start + self.motion.length

    def path(self) -> DoubleArray:
        """Return root positions [n, 3] m in the scene's frame."""
        moved: DoubleArray = self.motion.root_pos.astype(np.float64) + self.offset
        return moved


@dataclass(frozen=True)
class Scene:
    """One motion's clips on the terrain around them; the reference, if any, comes first."""

    name: str
    clips: tuple[Clip, ...]
    terrain: HeightField
    notes: tuple[str, ...] = ()
    """Missing parts, with reasons."""

    @property
    def seconds(self) -> float:
        """End of the last clip, s; the scene's clock starts at 0."""
        return max(clip.end for clip in self.clips)


def scene_of_file(motion: Motion) -> Scene:
    """Return the scene of a motion outside any run."""
    return _scene(motion.name, [Clip("motion", motion)], [])


def scene_of_run(run: Run, motion: RunMotion, skeleton: Skeleton, attempts: bool = False) -> Scene:
    """Return a motion of a run: reference, recording and, with `attempts`, attempts whose trajectories were kept.

    Files may have been deleted or replaced since the run; notes list what is missing. Raises InputError if nothing
    is left.
    """
    notes: list[str] = []
    reference = _read_or_note(partial(_reference, run, motion, skeleton), notes, "no reference")
    clips = [] if reference is None else [Clip("reference", reference)]
    decisive = motion.last_attempt if motion.state == MotionState.RECORDED else None
    for attempt in (*motion.attempts, *motion.populations):
        path, kind = attempt.trajectory if attempts else None, "attempt"
        if attempt is decisive:
            path, kind = motion.recording, "recording"
        if path is None:
            continue
        simulated = _read_or_note(partial(read_motion, path, skeleton), notes, f"no {kind}")
        if simulated is not None and (reference is not None or not clips):
            clips.append(_aligned_clip(kind, simulated, attempt, reference))
        elif simulated is not None:
            notes.append(f"{kind} {attempt.number} is left out: without its reference nobody knows where it belongs")
    if not clips:
        raise InputError(
            "; ".join(notes)
            or f"{motion.name}: nothing of it was recorded or kept; record.keep_failures keeps what fails"
        )
    return _scene(motion.name, clips, notes)


def _aligned_clip(kind: str, motion: Motion, attempt: RunAttempt, reference: Motion | None) -> Clip:
    """Return a clip aligned with the reference at its start; recordings have their own origin."""
    offset = np.zeros(3)
    if reference is not None:
        times = np.linspace(0.0, reference.length, reference.num_frames)
        there = [np.interp(attempt.start_time, times, axis) for axis in reference.root_pos.T]
        offset = np.array(there) - motion.root_pos[0]
    x, y, z = (float(value) for value in offset)
    return Clip(kind, motion, attempt.start_time, (x, y, z), attempt.reason, attempt.number)


def _scene(name: str, clips: list[Clip], notes: list[str]) -> Scene:
    """Return a scene in the first clip's frame, on its terrain."""
    terrain = terrain_around(clips[0].motion.terrain, np.concatenate([clip.path() for clip in clips]))
    return Scene(name, tuple(clips), terrain, tuple(notes))


def terrain_around(terrain: HeightField, path: DoubleArray) -> HeightField:
    """Return the part of a terrain around a path [n, 3] m."""
    xy = path[:, :2]
    return crop(terrain, xy.min(axis=0) - MARGIN, xy.max(axis=0) + MARGIN)


def _read_or_note(read: Callable[[], Motion], notes: list[str], what: str) -> Motion | None:
    try:
        return read()
    except InputError as error:
        notes.append(f"{what}: {error}")
        return None


def _reference(run: Run, motion: RunMotion, skeleton: Skeleton) -> Motion:
    content = read_bytes(run.folder / motion.path)
    if motion.sha256 and hashlib.sha256(content).hexdigest() != motion.sha256:
        raise InputError(f"{motion.path}: has changed since the run, so it is not shown")
    return parse_motion(content, motion.name, skeleton, motion.path)
