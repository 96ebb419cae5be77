"""CharacterObservation: what trackers of PARC and MimicKit observe of the character itself."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.tensors.layout import Layout
from parc_ray.tensors.rows import gather, reverse_dims


class CharacterObservation:
    """The root's height, rotation and velocities, joint rotations and velocities, and key bodies from the root on."""

    def __init__(self, skeleton: Skeleton, key_bodies: Tensor, height: bool):
        """key_bodies: their indices [K]; height: whether the root's absolute height is observed."""
        self.key_bodies, self.height = key_bodies, height
        parts = {"root": (4, 3), "joints": (skeleton.num_bodies - 1, 6), "dof_vel": (skeleton.dof_count,)}
        self.layout = Layout({**({"height": (1,)} if height else {}), **parts, "keys": (len(key_bodies), 3)})

    def observe(self, state: CharacterState, pose: Pose, axes: Tensor, turn: Optional[Tensor]) -> Tensor:
        """Observations [N, size] of characters with axes [N, B, 3, 3] as of axes_of, turned by matrices [N, 3, 3]."""
        keys = gather(pose.body_pos, self.key_bodies, -2) - state.root_pos.unsqueeze(1)
        tan_norm = axes[..., ::2].transpose(-1, -2)
        velocities = (state.root_vel.unsqueeze(1), state.root_ang_vel.unsqueeze(1))
        vectors = turned(turn, side_by_side(tan_norm[:, 0], *velocities, keys))
        height = [state.root_pos[:, 2:]] if self.height else []
        joints = tan_norm[:, 1:].flatten(2)
        return self.layout.join((*height, vectors[:, :4], joints, state.dof_vel, vectors[:, 4:]))


def axes_of(state: CharacterState, pose: Pose) -> Tensor:
    """Rotation matrices of the root and of all joints, [N, B, 3, 3]."""
    return rotations.quat_to_matrix(side_by_side(state.root_rot.unsqueeze(1), pose.joint_rot))


def heading_of(axes: Tensor) -> Tensor:
    """Cosine and sine [N, 2] of the headings of characters with axes as of axes_of."""
    return rotations.heading_of(axes[:, 0, :, 0])


def side_by_side(*parts: Tensor) -> Tensor:
    """Tensors [N, ..., k, n] joined along the dimension before the last; rows lie last in memory."""
    return reverse_dims(torch.cat([reverse_dims(part) for part in parts], dim=1))


def turned(turn: Optional[Tensor], vectors: Tensor) -> Tensor:
    """Vectors [N, ..., 3], every row by its matrix [N, 3, 3]; for None as they are."""
    if turn is None:
        return vectors
    return rotations.matrix_apply(turn.view(-1, *[1] * (vectors.dim() - 2), 3, 3), vectors)
