"""RunAttempt: the summary of a finished attempt, for actors, the journal and readers of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping

from parc_ray.recording.outcome import Outcome

CATEGORIES = {Outcome.FAILED: "not tracked", Outcome.REJECTED: "not accepted"}


@dataclass(frozen=True)
class RunAttempt:
    """A finished attempt. Plain values only: it is passed between processes that may lack torch.

    Values missing from a journal of an earlier version are None or empty.
    """

    motion: str
    """Name of the motion."""
    number: int
    """0 for the first attempt; populations are numbered separately."""
    start_fraction: float
    """0 for the start of the motion."""
    start_time: float
    """Start in the motion, s."""
    seconds: float
    """Simulated time until the attempt ended, s."""
    outcome: Outcome
    reason: str = ""
    """Sentence with the reason why it was not recorded, including numbers; empty for a recording."""
    criteria: tuple[str, ...] = ()
    """The termination reason, or the acceptance limits that it broke."""
    body: str = ""
    """The body that strayed or fell; empty if the criterion does not concern one."""
    quality: Mapping[str, float | None] = field(default_factory=dict)
    """Metrics by name; None where a metric was not finite."""
    next_fraction: float | None = None
    """Start fraction of the next attempt; None if this one is final."""
    recorded_seconds: float = 0.0
    """Length of the recording, s; 0 without one."""
    copies: int = 0
    """Size of the population that explored (recovery); 0 for a deterministic attempt."""
    env_steps: int = 0
    """Control steps summed over the copies of a population."""
    env: int | None = field(default=None, compare=False)
    """Env in which it ran."""
    began: float | None = field(default=None, compare=False)
    """Start time, s: since its actor was ready; in a run that was read back, since its session began."""
    ended: float | None = field(default=None, compare=False)
    """End time, on the clock of `began`."""
    launch: int | None = field(default=None, compare=False)
    """Index into Run.launches; None until the run is read back."""
    trajectory: Path | None = field(default=None, compare=False)
    """Motion file of a failed attempt (record.keep_failures); None until the run is read back."""

    @property
    def category(self) -> str:
        """Reason why it was not recorded, without numbers and bodies; equal categories count together."""
        kind = CATEGORIES.get(self.outcome)
        return f"{kind}: {', '.join(self.criteria) or 'unknown'}" if kind else ""
