"""Ledger: what has become of every motion of a run, exactly once each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from parc_ray.motions.dataset import Dataset
from parc_ray.recording.attempts import AttemptResult


@dataclass(frozen=True)
class Outcome:
    """The final state of a motion."""

    state: str
    """recorded, rejected, invalid or crashed"""
    reason: str = ""
    start_fraction: float = 0.0
    seconds: float = 0.0
    """recorded"""
    path: Optional[Path] = None
    bytes: int = 0
    """of the recording"""


@dataclass
class Ledger:
    """Attempts and outcomes, by motion name (names are unique in a dataset)."""

    dataset: Dataset
    outcomes: Dict[str, Outcome] = field(default_factory=dict)
    next_attempt: Dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    """made, those included whose recordings were lost"""
    env_steps: int = 0
    busy: int = 0
    slots: int = 0

    @property
    def total(self) -> int:
        """Motions of the dataset, invalid ones included."""
        return len(self.dataset.entries) + len(self.dataset.invalid)

    @property
    def dealt_with(self) -> int:
        """Motions in a final state."""
        return len(self.outcomes) + len(self.dataset.invalid)

    def expects(self, result: AttemptResult) -> bool:
        """Whether a result is the next one of its motion; late and repeated ones are not."""
        waiting = result.motion not in self.outcomes
        return waiting and result.number == self.next_attempt.get(result.motion, 0)

    def add(self, result: AttemptResult, path: Optional[Path], size: int = 0) -> Optional[Outcome]:
        """Account for an expected result; returns the motion's outcome if this was its last attempt.

        path, size: of its recording (bytes).
        """
        self.attempts += 1
        self.next_attempt[result.motion] = result.number + 1
        if result.outcome == "recorded":
            return self.finish(
                result.motion,
                Outcome("recorded", "", result.start_fraction, result.recorded_seconds, path, size),
            )
        if result.next_fraction is None:
            kind = "not tracked" if result.outcome == "failed" else "not accepted"
            return self.finish(result.motion, Outcome("rejected", f"{kind}: {result.reason}", result.start_fraction))
        return None

    def finish(self, motion: str, outcome: Outcome) -> Outcome:
        """Set a motion's final state."""
        assert motion not in self.outcomes, f"{motion} would get a second final state"
        self.outcomes[motion] = outcome
        return outcome

    def forget(self, motion: str) -> None:
        """Take back the attempt that a recording came from: it has to be made again."""
        del self.outcomes[motion]
        self.next_attempt[motion] -= 1

    def reopen_crashed(self) -> None:
        """Have motions tried again whose actors died."""
        self.outcomes = {name: outcome for name, outcome in self.outcomes.items() if outcome.state != "crashed"}

    @property
    def recorded(self) -> Dict[str, Outcome]:
        """Outcomes of the recorded motions."""
        return {name: outcome for name, outcome in self.outcomes.items() if outcome.state == "recorded"}

    def unfinished(self, motions: Sequence[str]) -> List[str]:
        """Those of the given motions that have no final state."""
        return [motion for motion in motions if motion not in self.outcomes]

    def count(self, state: str) -> int:
        """Number of motions in a final state."""
        if state == "invalid":
            return len(self.dataset.invalid)
        return sum(outcome.state == state for outcome in self.outcomes.values())

    def states(self) -> Dict[str, int]:
        """Number of motions that are recorded, rejected, invalid, crashed, or waiting for their final state."""
        counted = Counter(outcome.state for outcome in self.outcomes.values())
        states = {state: counted[state] for state in ("recorded", "rejected", "invalid", "crashed")}
        return {**states, "invalid": len(self.dataset.invalid), "waiting": self.total - self.dealt_with}

    def summary(self) -> Dict[str, Any]:
        """The counts of summary.json. Raises RuntimeError if they do not add up to the dataset."""
        recorded = list(self.recorded.values())
        rejected = [o for o in self.outcomes.values() if o.state == "rejected"]
        crashed = {name: o.reason for name, o in self.outcomes.items() if o.state == "crashed"}
        by_fraction = Counter(o.start_fraction for o in recorded)
        unfinished = len(self.dataset.entries) - len(self.outcomes)
        counts = {
            "motions": self.total,
            "recorded": len(recorded),
            "rejected": len(rejected),
            "invalid": len(self.dataset.invalid),
            "crashed": len(crashed),
            "not_attempted": unfinished,
        }
        if counts["motions"] != sum(counts.values()) - counts["motions"] or unfinished < 0:
            raise RuntimeError(f"the final states do not add up to the dataset: {counts}")
        return {
            **counts,
            "attempted": len(self.next_attempt),
            "attempts": self.attempts,
            "recorded_from": {f"{fraction:g}": by_fraction[fraction] for fraction in sorted(by_fraction)},
            "rejected_by_reason": dict(Counter(_kind(o.reason) for o in rejected).most_common()),
            "recorded_seconds": round(sum(o.seconds for o in recorded), 3),
            "dataset_seconds": round(sum(entry.length for entry in self.dataset.entries), 3),
            "invalid_motions": {motion.path: motion.reason for motion in self.dataset.invalid},
            "crashed_motions": crashed,
            "excluded_by_config": {motion.path: motion.reason for motion in self.dataset.excluded},
            "env_steps": self.env_steps,
            "busy_share": round(self.busy / self.slots, 4) if self.slots else 1.0,
        }


def _kind(reason: str) -> str:
    """A rejection without its figures and bodies, so that equal reasons count together."""
    how, _, rest = reason.partition(": ")
    names = [part.split(" after ")[0].split(" (")[0].split(":")[0] for part in rest.split("; ")]
    return f"{how}: {', '.join(names)}"
