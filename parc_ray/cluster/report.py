"""WorkReport: an actor's report to the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parc_ray.cluster.crash_output import Printout
from parc_ray.cluster.device import Device

if TYPE_CHECKING:
    from parc_ray.recording.attempt_result import AttemptResult


@dataclass(frozen=True)
class Memory:
    """Memory in use by an actor and on its device, bytes."""

    node: str
    process: int = 0
    """Resident host memory of the actor's process."""
    device: str = ""
    """Its CUDA device; empty on CPUs."""
    device_used: int = 0
    """Memory of that device in use by all processes."""
    device_total: int = 0


@dataclass(frozen=True)
class WorkReport:
    """Work of an actor since its last report."""

    results: tuple[AttemptResult, ...] = ()
    done: bool = False
    """True if its shard is finished."""
    steps: int = 0
    """Control steps of the simulator."""
    env_steps: int = 0
    """Control steps summed over envs."""
    busy: int = 0
    """Env steps made while attempts were waiting."""
    slots: int = 0
    """Env steps that all slots could have made in that time."""
    untouched: float = 0.0
    """Seconds of motion without an attempt, available to other actors."""
    given_back: tuple[str, ...] = ()
    """Motions that the actor has handed over."""
    log: tuple[tuple[float, str], ...] = ()
    """Log lines, each with its age (s) at the time of this report: the clocks of nodes differ."""
    error: str | None = None
    """Reason why the shard could not be set up, or cannot continue."""
    too_large: int = 0
    """Number of envs that did not fit, if that is the error."""
    memory: Memory | None = None
    device: Device | None = None
    """Device of the actor; in its first report only."""
    printouts: tuple[Printout, ...] = ()
    """Files that it prints to; in its first report only."""
