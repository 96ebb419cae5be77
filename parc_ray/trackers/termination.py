"""Termination: when an attempt has failed. Every family of trackers has its own rule, that of its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

import torch
from torch import Tensor
from typing_extensions import Protocol

from parc_ray.character.skeleton import Skeleton

REASONS = ("none", "body position", "root position", "root rotation", "fall", "not finite")
BODY_POSITION, ROOT_POSITION, ROOT_ROTATION, FALL, NOT_FINITE = range(1, 6)
TOUCH = 0.1
"""Component of a contact force beyond which a body touches something, N."""


@dataclass(frozen=True)
class TerminationResult:
    """Why attempts have failed, for N envs."""

    reason: Tensor
    """[N]: index into REASONS; 0 where the attempt goes on."""
    body: Tensor
    """[N]: the body farthest beyond its limit, meaningful for BODY_POSITION and FALL."""


class Termination(Protocol):
    """The failure test of one character."""

    needs_ground: bool
    """Whether it asks for the height of the terrain."""

    def compute(
        self,
        time: Tensor,
        root_rot: Tensor,
        body_pos: Tensor,
        reference_root_rot: Tensor,
        reference_body_pos: Tensor,
        contact_force: Tensor,
        ground: Optional[Tensor],
    ) -> TerminationResult:
        """Judge characters [N] against their references at the same time; no row depends on another.

        time [N] s since the attempt began (nothing fails at 0), rotations [N, 4], body positions [N, B, 3] m,
        contact_force [N, B, 3] N, ground [N, B] m: terrain height under each body (None where it is not needed).
        """


def forbidden_bodies(skeleton: Skeleton, allowed: Sequence[str], key: str, device: torch.device) -> Tensor:
    """Which bodies may not touch the ground, [B] bool: all but those that a key of a configuration allows to.

    Raises InputError if one of these is unknown.
    """
    forbidden = torch.ones(skeleton.num_bodies, dtype=torch.bool, device=device)
    forbidden[skeleton.body_indices(allowed, key)] = False
    return forbidden


def touching(contact_force: Tensor) -> Tensor:
    """Which bodies touch something, [N, B, 3] N -> [N, B] bool."""
    return (contact_force.abs() > TOUCH).any(dim=-1)
