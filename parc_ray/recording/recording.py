"""Turns a finished attempt into the contents of a motion file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping

import numpy as np

from parc_ray.character.skeleton import Skeleton
from parc_ray.motions.height_field import slice_around
from parc_ray.motions.mimickit_file import mimickit_file_bytes
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.tensors.arrays import FloatArray
from parc_ray.tensors.layout import Layout


def _parc_file_bytes(motion: Motion, skeleton: Skeleton, misc: Mapping[str, Any] | None) -> bytes:
    return motion_file_bytes(motion, misc)


WRITERS: dict[str, Callable[..., bytes]] = {"parc": _parc_file_bytes, "mimickit": mimickit_file_bytes}
"""Writers of a motion with its `skeleton` and `misc` data, by the names of output.format; each returns bytes."""


@dataclass(frozen=True)
class Trajectory:
    """The n frames of one attempt, including frame 0, in the motion's own frame."""

    root_pos: FloatArray
    """[n, 3] m."""
    root_rot: FloatArray
    """[n, 4] xyzw."""
    joint_rot: FloatArray
    """[n, B - 1, 4] xyzw."""
    contacts: FloatArray
    """[n, B] 0 or 1."""
    observations: FloatArray | None
    """[n, size]; None if they are not kept."""


def frame_layout(skeleton: Skeleton) -> Layout:
    """Return the layout of a frame of an attempt, by the names of Trajectory."""
    bodies = skeleton.num_bodies
    return Layout({"root_pos": (3,), "root_rot": (4,), "joint_rot": (bodies - 1, 4), "contacts": (bodies,)})


def terrain_padding(dx: float) -> float:
    """Return the width, m, of the terrain kept around a recorded motion: the whole cells in 1 m."""
    return float(np.float32(round(1.0 // dx) * dx))


def recording_file(
    source: Motion,
    trajectory: Trajectory,
    control_freq: int,
    origin: dict[str, Any],
    observation_layout: dict[str, Any] | None,
    write: Callable[..., bytes] = motion_file_bytes,
) -> bytes:
    """Return the motion file of a trajectory that tracks a source motion, serialised by `write`.

    Frame 0 is moved to xy = 0, with z relative to the terrain under it; the terrain is cut around the motion and moved
    with it. origin goes to misc_data["recording"].
    """
    cut, root_pos = slice_around(trajectory.root_pos, source.terrain, terrain_padding(source.terrain.dx))
    motion = Motion(
        name=source.name,
        root_pos=root_pos,
        root_rot=_positive(trajectory.root_rot),
        joint_rot=_positive(trajectory.joint_rot),
        contacts=trajectory.contacts,
        fps=float(control_freq),
        loop_mode="CLAMP",
        terrain=cut,
    )
    misc: dict[str, Any] = {"recording": origin}
    if trajectory.observations is not None:
        misc["obs"] = trajectory.observations
        misc["obs_shapes"] = observation_layout
    return write(motion, misc=misc)


def _positive(q: FloatArray) -> FloatArray:
    """Return the same rotations with w >= 0, as in all of PARC's files."""
    return np.where(q[..., 3:] < 0, -q, q)
