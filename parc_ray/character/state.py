"""CharacterState: positions, velocities and contacts of characters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.tensors.layout import Shape


@dataclass(frozen=True)
class CharacterState:
    """States of N characters, each in its motion's own frame."""

    root_pos: Tensor
    """[N, 3] m, origin of the root body."""
    root_rot: Tensor
    """[N, 4] xyzw."""
    root_vel: Tensor
    """[N, 3] m/s, of the root body's centre of mass, world axes."""
    root_ang_vel: Tensor
    """[N, 3] rad/s, world axes."""
    dof_pos: Tensor
    """[N, D] rad; spherical joints are rotation vectors."""
    dof_vel: Tensor
    """[N, D] rad/s; spherical joints in the child's frame."""
    contact_force: Tensor
    """[N, B, 3] N, net contact force on each body in the last simulation step, world axes."""

    def rows(self, rows: Tensor | slice) -> CharacterState:
        """Return the states of some of the characters."""
        return CharacterState(**{name: value[rows] for name, value in vars(self).items()})

    def to(self, device: torch.device) -> CharacterState:
        """Return the states on a device."""
        return CharacterState(**{name: value.to(device) for name, value in vars(self).items()})


def state_shapes(skeleton: Skeleton) -> dict[str, Shape]:
    """Return the shape of each field of one character's CharacterState."""
    dofs = skeleton.dof_count
    return {
        "root_pos": (3,),
        "root_rot": (4,),
        "root_vel": (3,),
        "root_ang_vel": (3,),
        "dof_pos": (dofs,),
        "dof_vel": (dofs,),
        "contact_force": (skeleton.num_bodies, 3),
    }
