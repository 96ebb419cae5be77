"""CharacterObservation: the part of PARC's and MimicKit's observations that describes the character."""

from __future__ import annotations

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
        """key_bodies: their indices [K]; height: True to observe the root's absolute height."""
        self.key_bodies, self.height = key_bodies, height
        parts = {"root": (4, 3), "joints": (skeleton.num_bodies - 1, 6), "dof_vel": (skeleton.dof_count,)}
        self.layout = Layout({**({"height": (1,)} if height else {}), **parts, "keys": (len(key_bodies), 3)})

    def observe(self, state: CharacterState, pose: Pose, axes: Tensor, turn: Tensor | None) -> Tensor:
        """Return observations [N, size] of characters with axes_of axes [N, B, 3, 3], turned by matrices [N, 3, 3]."""
        keys = gather(pose.body_pos, self.key_bodies, -2) - state.root_pos.unsqueeze(1)
        tan_norm = axes[..., ::2].transpose(-1, -2)
        velocities = (state.root_vel.unsqueeze(1), state.root_ang_vel.unsqueeze(1))
        vectors = rotate_vectors(turn, side_by_side(tan_norm[:, 0], *velocities, keys))
        height = [state.root_pos[:, 2:]] if self.height else []
        joints = tan_norm[:, 1:].flatten(2)
        return self.layout.join((*height, vectors[:, :4], joints, state.dof_vel, vectors[:, 4:]))


def axes_of(state: CharacterState, pose: Pose) -> Tensor:
    """Return rotation matrices of the root and of all joints, [N, B, 3, 3]."""
    return rotations.quat_to_matrix(side_by_side(state.root_rot.unsqueeze(1), pose.joint_rot))


def heading_of(axes: Tensor) -> Tensor:
    """Return cosine and sine [N, 2] of the headings of characters with axes from axes_of."""
    return rotations.heading_of(axes[:, 0, :, 0])


def side_by_side(*parts: Tensor) -> Tensor:
    """Return tensors [N, ..., k, n] joined along the second-to-last dimension; rows lie last in memory."""
    return reverse_dims(torch.cat([reverse_dims(part) for part in parts], dim=1))


def rotate_vectors(turn: Tensor | None, vectors: Tensor) -> Tensor:
    """Return vectors [N, ..., 3], each row turned by its matrix [N, 3, 3]; unchanged for None."""
    if turn is None:
        return vectors
    return rotations.matrix_apply(turn.view(-1, *[1] * (vectors.dim() - 2), 3, 3), vectors)
