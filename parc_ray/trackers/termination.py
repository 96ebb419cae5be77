"""Termination: detects failed attempts. Each tracker family uses its training rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor
from typing_extensions import Protocol

from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState

REASONS = ("none", "body position", "root position", "root rotation", "fall", "not finite")
BODY_POSITION, ROOT_POSITION, ROOT_ROTATION, FALL, NOT_FINITE = range(1, 6)
TOUCH = 0.1
"""Contact force component above which a body counts as touching, N."""


@dataclass(frozen=True)
class TerminationResult:
    """Reasons for failure in N envs."""

    reason: Tensor
    """[N]: index into REASONS; 0 where the attempt has not failed."""
    body: Tensor
    """[N]: the body farthest beyond its limit, meaningful for BODY_POSITION and FALL."""


class Termination(Protocol):
    """The failure test of one character."""

    needs_ground: bool
    """True if compute needs the terrain height."""

    def compute(
        self,
        time: Tensor,
        state: CharacterState,
        pose: Pose,
        reference: Pose,
        ground: Tensor | None,
    ) -> TerminationResult:
        """Compare N characters with their references at the same time; no row depends on another.

        time: [N] s since the attempt began; nothing fails at 0. ground: [N, B] m, terrain height under each body, or
        None if needs_ground is false.
        """


def forbidden_bodies(skeleton: Skeleton, allowed: Sequence[str], key: str, device: torch.device) -> Tensor:
    """Return which bodies may not touch the ground, [B] bool: all except those allowed by a configuration key.

    Raises InputError, which names the key, if an allowed body is unknown.
    """
    forbidden = torch.ones(skeleton.num_bodies, dtype=torch.bool, device=device)
    forbidden[skeleton.body_indices(allowed, key)] = False
    return forbidden


def touching_bodies(contact_force: Tensor) -> Tensor:
    """Return which bodies touch something, [N, B, 3] N -> [N, B] bool."""
    return (contact_force.abs() > TOUCH).any(dim=-1)
