"""ActorWork and Progress: the work of one actor, and the progress of the whole run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from parc_ray.runs.motion_state import WAITING


@dataclass(frozen=True)
class ActorWork:
    """Work of one actor since its last report."""

    shard: int
    envs: int
    """Env slots of the actor."""
    seconds: float
    """Wall time since its last report."""
    steps: int = 0
    """Control steps of its simulator."""
    env_steps: int = 0
    """Control steps summed over envs."""
    node: str = ""
    process_bytes: int = 0
    """Resident host memory of its process."""
    device: str = ""
    """Its CUDA device; empty on CPUs."""
    device_used: int = 0
    """Memory of that device in use by all processes, bytes."""
    device_total: int = 0

    @property
    def busy_envs(self) -> float:
        """Mean number of env slots in use."""
        return self.env_steps / self.steps if self.steps else 0.0


@dataclass(frozen=True)
class Activity:
    """Actors and shards of a run at one moment."""

    actors: int = 0
    """Actors that record."""
    starting: int = 0
    """Actors that are being started or set up."""
    envs: int = 0
    """Env slots of the actors that record."""
    busy_envs: float = 0.0
    """Mean number of env slots in use since the last reports."""
    shards_waiting: int = 0
    """Shards without an actor."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run."""

    motions: int
    """Motions of the dataset, invalid ones included."""
    states: Mapping[str, int]
    """Number of recorded, rejected, invalid, crashed and waiting motions."""
    activity: Activity = field(default_factory=Activity)
    env_steps: int = 0
    """Control steps summed over envs."""
    seconds: float = 0.0
    """Time since this session began to work."""
    steps_per_second: float = 0.0
    """Recent control steps per second, summed over envs."""
    seconds_left: float | None = None
    """None if unknown."""

    @property
    def done(self) -> int:
        """Motions in a final state."""
        return self.motions - self.states[WAITING]

    def numbers(self) -> dict[str, Any]:
        """The same as plain numbers by name, for scripts."""
        return {
            "motions": self.motions,
            **self.states,
            "steps_per_second": round(self.steps_per_second, 1),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left, 1),
            **vars(self.activity),
        }
