"""A hand-made run to view: motions recorded, recorded at the second attempt and rejected, with hostile names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes
from tests.report.made_run import MadeRun, recording_of

EVIL = "<img src=x onerror=alert(1)> **bold** [x](javascript:alert(1))"


def part(motion: Motion, start: float, end: float) -> Motion:
    """Return the frames of a motion from start to end (s)."""
    cut = slice(round(start * motion.fps), round(end * motion.fps) + 1)
    values = {name: getattr(motion, name)[cut] for name in ("root_pos", "root_rot", "joint_rot", "contacts")}
    return replace(motion, **values)


def look_at_me(path: Path, walk: Motion) -> MadeRun:
    """Make a run of four motions.

    walk: recorded whole; later: one failed attempt without a file, then recorded from 0.8 s on; evil: rejected, with
    two kept attempts, from 0 to 1.5 s and from 0.8 to 1.8 s; gone: without any files.
    """
    made = MadeRun(path)
    made.begin(4)
    for name in ("walk", "later", EVIL):
        made.motion_file(walk, name)
    made.planned("gone")
    made.event("shard", shard=0, motions=["walk", "later", EVIL, "gone"], envs=4, deaths=0)
    made.attempt("walk", outcome="recorded", seconds=3.0, recording=recording_of(walk, drift=0.1))
    made.final("walk", "recorded")
    made.attempt("later", again=0.25)
    made.attempt("later", 1, "recorded", 2.2, 0.8, 0.25, recording=recording_of(walk, 0.8))
    made.final("later", "recorded")
    first, second = recording_of(part(walk, 0.0, 1.5), drift=0.2), recording_of(part(walk, 0.8, 1.8))
    made.attempt(EVIL, again=0.25, seconds=1.5, reason=f"{EVIL} after 1.50 s", trajectory=first)
    made.attempt(EVIL, 1, "rejected", 1.0, 0.8, 0.25, trajectory=second)
    made.final(EVIL, "rejected", "not tracked")
    return made


def motion_file(path: Path, motion: Motion) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(motion_file_bytes(motion))
    return path
