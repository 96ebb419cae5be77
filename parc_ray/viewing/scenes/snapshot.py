"""Snapshot: the body poses of a scene's characters at one time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Sequence

import torch
from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.motions.library import MotionLibrary, ReferenceFrames
from parc_ray.motions.motion import Motion
from parc_ray.tensors.arrays import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class Snapshot:
    """C characters of B bodies, each in its motion's own frame."""

    position: FloatArray
    """Body origins [C, B, 3] m."""
    rotation: FloatArray
    """[C, B, 4] xyzw."""
    contact: BoolArray
    """[C, B]."""


class Snapshots:
    """Interpolates motions at any time."""

    def __init__(self, motions: Sequence[Motion], skeleton: Skeleton):
        """motions: At least one."""
        self._skeleton = skeleton
        # At its last instant, a WRAP motion would show its first frame.
        self._library = MotionLibrary([replace(m, loop_mode="CLAMP") for m in motions], skeleton, torch.device("cpu"))

    def frames(self, index: int, times: Tensor) -> ReferenceFrames:
        """Return one motion at times [n], s from its first frame, clamped to its length."""
        return self._library.sample(torch.full(times.shape, index), times.clamp_min(0.0))

    def at(self, times: Sequence[float]) -> Snapshot:
        """Return all motions, each at its own time [C], s from its first frame, clamped to its length."""
        when = torch.tensor(list(times), dtype=torch.float32).clamp_min(0.0)
        frames = self._library.sample(torch.arange(len(when)), when)
        position, rotation = self._skeleton.forward_kinematics(frames.root_pos, frames.root_rot, frames.joint_rot)
        return Snapshot(position.numpy(), rotation.numpy(), frames.contacts.numpy() > 0.5)
