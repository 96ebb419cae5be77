"""Pose: positions and rotations of the bodies of characters."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.tensors.layout import Shape


@dataclass(frozen=True)
class Pose:
    """Poses of N characters, or any leading dimensions."""

    joint_rot: Tensor
    """[N, B - 1, 4] xyzw, relative to the parent body."""
    body_pos: Tensor
    """[N, B, 3] m, origins of the bodies."""
    body_rot: Tensor
    """[N, B, 4] xyzw."""


def pose_shapes(skeleton: Skeleton) -> dict[str, Shape]:
    """Return the shape of each field of one character's Pose."""
    bodies = skeleton.num_bodies
    return {"joint_rot": (bodies - 1, 4), "body_pos": (bodies, 3), "body_rot": (bodies, 4)}
