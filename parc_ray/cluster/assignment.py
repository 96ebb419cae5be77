"""Assignment: motions for one actor, and how earlier actors fared with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parc_ray.cluster.device import Device

if TYPE_CHECKING:
    from parc_ray.motions.dataset import MotionEntry


@dataclass(frozen=True)
class Assignment:
    """Motions for one actor."""

    shard: int
    motions: tuple[MotionEntry, ...]
    deaths: int = 0
    """Actors lost on them since the last one that made progress."""
    failed_on: frozenset[Device] = frozenset()
    """Devices on which their setup has failed."""
