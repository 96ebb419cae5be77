"""MotionLibrary: frames of many motions at given times, batched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Sequence

import numpy as np
import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.skeleton import Skeleton
from parc_ray.motions.motion import Motion
from parc_ray.tensors.layout import Layout, Shape
from parc_ray.tensors.rows import batch_last, reverse_dims


@dataclass(frozen=True)
class ReferenceFrames:
    """Reference states, batched over leading dimensions, in each motion's own frame."""

    root_pos: Tensor
    """[..., 3] m"""
    root_rot: Tensor
    """[..., 4] xyzw"""
    root_vel: Tensor
    """[..., 3] m/s, world axes"""
    root_ang_vel: Tensor
    """[..., 3] rad/s, world axes"""
    joint_rot: Tensor
    """[..., B - 1, 4] relative to the parent"""
    dof_vel: Tensor
    """[..., D] rad/s"""
    contacts: Tensor
    """[..., B] labels in [0, 1]"""
    phase: Tensor
    """[...] elapsed share of the motion, 0 to 1; restarts for a WRAP motion"""


class MotionLibrary:
    """All frames of a list of motions in flat tensors.

    Velocities are forward differences; the last frame repeats the one before it.
    """

    def __init__(
        self, motions: Sequence[Motion], skeleton: Skeleton, device: torch.device, min_loop_seconds: float = 0.0
    ):
        """Load motions (at least one, each of at least two frames) to a device.

        min_loop_seconds: minimum tracking time of looping motions, rounded up to whole passes.
        """
        self.motions, self.skeleton = list(motions), skeleton
        self.device = device
        parts: list[ReferenceFrames] = [_frames_of(motion, skeleton) for motion in motions]
        self._layout = Layout(reference_shapes(skeleton))
        self._rows = torch.cat([self._layout.stack(vars(part).values()).t() for part in parts]).contiguous().to(device)
        """All numbers of a frame in one row, so that one operation reads them."""
        counts = torch.tensor([motion.num_frames for motion in motions])
        self.num_frames = counts.to(device)
        self.start = (torch.cumsum(counts, 0) - counts).to(device)
        lengths = np.array([motion.length for motion in motions], dtype=np.float32)
        passes = np.array([motion.passes(min_loop_seconds) for motion in motions], dtype=np.float32)
        self.seconds = lengths * passes
        """[M] s, tracked duration, on the host."""
        self.lengths = torch.from_numpy(lengths).to(device)
        """[M] s from the first frame to the last."""
        self.wraps = torch.tensor([motion.loop_mode == "WRAP" for motion in motions], device=device)
        root_pos = self.frames.root_pos
        self.stride = root_pos[self.start + self.num_frames - 1] - root_pos[self.start]
        """[M, 3] m, horizontal travel of a WRAP motion per cycle."""
        self.stride[:, 2] = 0.0

    def sample(self, ids: Tensor, times: Tensor) -> ReferenceFrames:
        """Return the states of motions [N] at times [N] (s).

        Positions and contacts are interpolated linearly, rotations by slerp, velocities are the lower frame's.
        CLAMP motions hold their first and last frames; WRAP motions restart, displaced by their stride.
        """
        low, high, blend, phase, cycles = self._blend(ids, times)
        at, following = self._frames_at(low), self._frames_at(high)
        mix = blend.unsqueeze(-1)
        joint_blend = mix.expand(-1, at.joint_rot.shape[-2])
        root_pos = (1.0 - mix) * at.root_pos + mix * following.root_pos
        return replace(
            at,
            root_pos=root_pos + cycles.unsqueeze(-1) * self.stride[ids],
            root_rot=rotations.slerp(at.root_rot, following.root_rot, blend),
            joint_rot=rotations.slerp(at.joint_rot, following.joint_rot, joint_blend),
            contacts=(1.0 - mix) * at.contacts + mix * following.contacts,
            phase=phase,
        )

    @property
    def frames(self) -> ReferenceFrames:
        """All frames of all motions, in order."""
        return self._unstack(self._rows.t())

    def _frames_at(self, places: Tensor) -> ReferenceFrames:
        return self._unstack(reverse_dims(batch_last(self._rows.index_select(0, places))))

    def _unstack(self, columns: Tensor) -> ReferenceFrames:
        parts = self._layout.unstack(columns)
        return ReferenceFrames(**{name: part.squeeze(-1) if name == "phase" else part for name, part in parts.items()})

    def _blend(self, ids: Tensor, times: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        phase = times / self.lengths[ids]
        cycles = torch.where(self.wraps[ids], torch.floor(phase), torch.zeros_like(phase))
        phase = (phase - cycles).clamp(0.0, 1.0)
        last = self.num_frames[ids] - 1
        place = phase * last
        low = place.long()
        high = torch.minimum(low + 1, last)
        return low + self.start[ids], high + self.start[ids], place - low, phase, cycles


def reference_shapes(skeleton: Skeleton) -> dict[str, Shape]:
    """Return the shape of each field of one reference frame, by its name in ReferenceFrames."""
    bodies, dofs = skeleton.num_bodies, skeleton.dof_count
    return {
        "root_pos": (3,),
        "root_rot": (4,),
        "root_vel": (3,),
        "root_ang_vel": (3,),
        "joint_rot": (bodies - 1, 4),
        "dof_vel": (dofs,),
        "contacts": (bodies,),
        "phase": (1,),
    }


def _frames_of(motion: Motion, skeleton: Skeleton) -> ReferenceFrames:
    fps = float(motion.fps)
    root_pos, root_rot = torch.from_numpy(motion.root_pos), torch.from_numpy(motion.root_rot)
    joint_rot = torch.from_numpy(motion.joint_rot)
    turn = rotations.quat_diff(root_rot[:-1], root_rot[1:])
    return ReferenceFrames(
        root_pos=root_pos,
        root_rot=root_rot,
        root_vel=_repeat_last(fps * (root_pos[1:] - root_pos[:-1])),
        root_ang_vel=_repeat_last(fps * rotations.quat_to_exp_map(turn)),
        joint_rot=joint_rot,
        dof_vel=_repeat_last(skeleton.dof_velocity(joint_rot[:-1], joint_rot[1:], 1.0 / fps)),
        contacts=torch.from_numpy(motion.contacts),
        phase=torch.linspace(0.0, 1.0, motion.num_frames).unsqueeze(1),
    )


def _repeat_last(differences: Tensor) -> Tensor:
    return torch.cat((differences, differences[-1:]))
