"""Loss: an actor that was lost, and the cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Mapping

from parc_ray.cluster.assignment import Assignment
from parc_ray.cluster.device import Device

if TYPE_CHECKING:
    from parc_ray.motions.dataset import MotionEntry

PROGRESS = 1 / 8
"""Share of its motions that an actor must have finished to have made progress."""


class Cause(Enum):
    """Cause of an actor's loss."""

    DIED = "its process ended"
    NODE_DIED = "its node is gone"
    RAISED = "it raised an error that nobody foresaw"
    REPORTED = "it said why it cannot go on"
    SILENT = "it did not answer in time"
    TOO_LARGE = "its envs did not fit the memory of its device or node"


@dataclass(frozen=True)
class Loss:
    """A lost actor."""

    cause: Cause
    reason: str
    assignment: Assignment
    unfinished: tuple[MotionEntry, ...]
    """Motions of the assignment without a final state."""
    ready: bool
    """True if its setup had succeeded."""
    attempts: int = 0
    """Attempts that it had reported."""
    envs: int = 1
    device: Device | None = None
    """Device of the actor; None if it died before reporting it."""
    nodes: Mapping[str, int] = field(default_factory=dict)
    """Number of devices per node that could have an actor now, by Ray's node ID."""

    @property
    def failed_setup(self) -> bool:
        """True if its setup failed on a known device that is still there."""
        return self.device is not None and not self.ready and self.cause is not Cause.NODE_DIED

    @property
    def made_progress(self) -> bool:
        """True if the actor finished enough of its motions, so that none of them killed it at once."""
        total = len(self.assignment.motions)
        if total == 1:
            return self.attempts > 0
        return total - len(self.unfinished) >= PROGRESS * total
