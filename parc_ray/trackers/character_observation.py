"""CharacterObservation: what trackers of PARC and MimicKit observe of the character itself."""

from __future__ import annotations

from typing import Optional, Tuple

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.layout import Layout
from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState

Heading = Tuple[Tensor, Tensor]
"""Cosine and sine of headings, [N] each."""


class CharacterObservation:
    """The root's height, rotation and velocities, joint rotations and velocities, and key bodies from the root on."""

    def __init__(self, skeleton: Skeleton, key_bodies: Tensor, height: bool):
        """key_bodies: their indices [K]; height: whether the root's absolute height is observed."""
        self.key_bodies, self.height = key_bodies, height
        parts = {"root": (4, 3), "joints": (skeleton.num_bodies - 1, 6), "dof_vel": (skeleton.dof_count,)}
        self.layout = Layout({**({"height": (1,)} if height else {}), **parts, "keys": (len(key_bodies), 3)})

    def observe(self, state: CharacterState, pose: Pose, heading: Optional[Heading]) -> Tensor:
        """Observations [N, size], in the axes of the characters' headings, or for None in those of the world."""
        vectors = torch.cat(
            (
                rotations.quat_to_tan_norm(state.root_rot).unflatten(-1, (2, 3)),
                state.root_vel.unsqueeze(1),
                state.root_ang_vel.unsqueeze(1),
                pose.body_pos[:, self.key_bodies] - state.root_pos.unsqueeze(1),
            ),
            dim=1,
        )
        if heading is not None:
            vectors = turned(heading, vectors)
        height = [state.root_pos[:, 2:]] if self.height else []
        joints = rotations.quat_to_tan_norm(pose.joint_rot)
        return self.layout.join((*height, vectors[:, :4], joints, state.dof_vel, vectors[:, 4:]))


def turned(heading: Heading, vectors: Tensor) -> Tensor:
    """World vectors [N, ..., 3] in the heading frame of their row."""
    shape = (-1,) + (1,) * (vectors.dim() - 2)
    cosine, sine = (part.reshape(shape) for part in heading)
    return rotations.to_heading_frame((cosine, sine), vectors)
