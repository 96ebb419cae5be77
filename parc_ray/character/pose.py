"""Pose: where the bodies of characters are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Pose:
    """Poses of N characters (or of any leading dimensions)."""

    joint_rot: Tensor
    """[N, B - 1, 4] xyzw, relative to the parent body"""
    body_pos: Tensor
    """[N, B, 3] m, origins of the bodies"""
    body_rot: Tensor
    """[N, B, 4] xyzw"""
