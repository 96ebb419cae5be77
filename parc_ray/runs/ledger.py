"""Ledger: what has become of every motion of a run, exactly once each.

It is made by the events of the run's journal, in their order, and by nothing else: a run at work takes the events that
it writes, and whoever reads the journal later takes the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from parc_ray.motions.dataset import Dataset, MotionEntry
from parc_ray.recording.attempts import AttemptResult
from parc_ray.runs.events import (
    AttemptEnded,
    DatasetEvent,
    Event,
    MotionEnded,
    MotionExcluded,
    MotionInvalid,
    MotionPlanned,
    RecordingLost,
    RunStarted,
    dataset_events,
)
from parc_ray.runs.journal import SessionClock, journal_errors, read_events

CHARACTER_SHA256 = "char_file (sha256)"
"""Key of the fingerprint for the text of the character."""


@dataclass(frozen=True)
class Outcome:
    """The final state of a motion."""

    state: str
    """recorded, rejected or crashed."""
    reason: str = ""
    start_fraction: float = 0.0
    seconds: float = 0.0
    """Recorded."""
    bytes: int = 0
    """Of the recording."""


@dataclass
class Ledger:
    """Attempts and outcomes by motion name, which is unique among planned motions.

    >>> ledger = Ledger()
    >>> ledger.take(MotionPlanned("walk", "walk.pkl", 1.0, 61, 30.0, 2.0, (9, 9), 100))
    >>> ledger.take(AttemptEnded(0, 77, "walk", 0, 0.0, 0.0, 2.0, "recorded", "", {}, None, 2.0))
    Outcome(state='recorded', reason='', start_fraction=0.0, seconds=2.0, bytes=77)
    """

    started: Optional[RunStarted] = None
    """How the run began; None until it has."""
    sessions: int = 0
    """How often the command was given."""
    planned: Dict[str, MotionEntry] = field(default_factory=dict)
    invalid: List[MotionInvalid] = field(default_factory=list)
    excluded: List[MotionExcluded] = field(default_factory=list)
    outcomes: Dict[str, Outcome] = field(default_factory=dict)
    unwritten: Dict[str, Outcome] = field(default_factory=dict)
    """Outcomes that follow from an attempt, but have no line of their own yet."""
    next_attempt: Dict[str, int] = field(default_factory=dict)
    """Number of the next attempt at each motion that was attempted."""
    attempts: int = 0
    """All that were made, including those whose recordings were lost."""
    control_steps: int = 0
    """Of these attempts."""
    env_steps: int = 0
    """Control steps that actors have reported; of earlier sessions only those of their attempts are known."""
    seconds: float = 0.0
    """How long the sessions of the journal that it was read from have worked."""
    busy: int = 0
    """Sum over control steps of the envs at work, as reported."""
    slots: int = 0
    """Sum over control steps of all envs, as reported."""
    _counts: Counter[str] = field(default_factory=Counter)
    """Outcomes by state: whoever looks on asks for them at every report."""

    def take(self, event: Event) -> Optional[Outcome]:
        """Take the next event; returns the final state that follows from it, if it was a motion's last attempt.

        Raises ValueError if the event contradicts earlier ones.
        """
        if isinstance(event, AttemptEnded):
            return self._attempt(event)
        if isinstance(event, MotionEnded):
            self._end(event)
        elif isinstance(event, RecordingLost):
            self._lose(event.motion)
        elif isinstance(event, RunStarted):
            self._start(event)
        elif isinstance(event, MotionPlanned):
            self.planned[event.motion] = event.entry
        elif isinstance(event, MotionInvalid):
            self.invalid.append(event)
        elif isinstance(event, MotionExcluded):
            self.excluded.append(event)
        return None

    def _start(self, event: RunStarted) -> None:
        self.started = self.started or event
        self.sessions += 1
        self.env_steps = self.control_steps
        self.reopen_crashed()

    def _attempt(self, event: AttemptEnded) -> Optional[Outcome]:
        self._require_open(event.motion)
        self.attempts += 1
        self.next_attempt[event.motion] = event.number + 1
        if self.started is not None:
            self.control_steps += round(event.seconds * self.started.control_freq)
        if event.outcome == "recorded":
            outcome = Outcome("recorded", "", event.start_fraction, event.recorded_seconds, event.recording_bytes)
        elif event.next_fraction is None:
            kind = "not tracked" if event.outcome == "failed" else "not accepted"
            outcome = Outcome("rejected", f"{kind}: {event.reason}", event.start_fraction)
        else:
            return None
        self._set(event.motion, outcome)
        self.unwritten[event.motion] = outcome
        return outcome

    def _set(self, motion: str, outcome: Outcome) -> None:
        self.outcomes[motion] = outcome
        self._counts[outcome.state] += 1

    def _end(self, event: MotionEnded) -> None:
        if event.state == "crashed":
            self._require_open(event.motion)
            self._set(event.motion, Outcome("crashed", event.reason))
        else:
            self.unwritten.pop(event.motion, None)

    def _lose(self, motion: str) -> None:
        if motion not in self.outcomes:
            raise ValueError(f"{motion} has no recording that could be lost")
        self._counts[self.outcomes.pop(motion).state] -= 1
        self.unwritten.pop(motion, None)
        self.next_attempt[motion] -= 1

    def _require_open(self, motion: str) -> None:
        if motion in self.outcomes:
            raise ValueError(f"{motion} would get a second final state")

    def reopen_crashed(self) -> None:
        """Take back what is not final when a run goes on: its machine may have been to blame."""
        self.outcomes = {name: outcome for name, outcome in self.outcomes.items() if outcome.state != "crashed"}
        self._counts["crashed"] = 0

    @property
    def begun(self) -> bool:
        """Whether all of its motions are planned: before that, nothing is simulated."""
        return self.started is not None and len(self.planned) >= self.started.motions

    @property
    def simulator(self) -> str:
        """Name of the engine; empty if the run has not begun."""
        return str(self.started.fingerprint["simulator"]) if self.started else ""

    @property
    def character_sha256(self) -> str:
        """Digest of the character's text; empty if the run has not begun."""
        return str(self.started.fingerprint.get(CHARACTER_SHA256, "")) if self.started else ""

    @property
    def total(self) -> int:
        """Number of planned and invalid motions."""
        return len(self.planned) + len(self.invalid)

    @property
    def dealt_with(self) -> int:
        """Motions in a final state."""
        return len(self.outcomes) + len(self.invalid)

    def missing_events(self, dataset: Dataset) -> List[DatasetEvent]:
        """The events of a dataset that were not taken yet."""
        aside: List[DatasetEvent] = [*self.invalid, *self.excluded]
        told = {(event.kind, event.motion, event.path) for event in aside}
        return [
            event
            for event in dataset_events(dataset)
            if (
                event.motion not in self.planned
                if isinstance(event, MotionPlanned)
                else (event.kind, event.motion, event.path) not in told
            )
        ]

    def expects(self, result: AttemptResult) -> bool:
        """Whether a result is the next one of its motion; late and repeated ones are not."""
        waiting = result.motion not in self.outcomes
        return waiting and result.number == self.next_attempt.get(result.motion, 0)

    @property
    def recorded(self) -> Dict[str, Outcome]:
        """Outcomes of the recorded motions."""
        return {name: outcome for name, outcome in self.outcomes.items() if outcome.state == "recorded"}

    def unfinished(self, motions: Sequence[str]) -> List[str]:
        """Those of the given motions that have no final state."""
        return [motion for motion in motions if motion not in self.outcomes]

    def count(self, state: str) -> int:
        """Number of motions in a final state."""
        return self.states()[state]

    def states(self) -> Dict[str, int]:
        """Number of motions that are recorded, rejected, invalid, crashed, or waiting for their final state."""
        states = {state: self._counts[state] for state in ("recorded", "rejected", "invalid", "crashed")}
        return {**states, "invalid": len(self.invalid), "waiting": self.total - self.dealt_with}

    def summary(self) -> Dict[str, Any]:
        """The counts of summary.json. Raises RuntimeError if they do not add up to the dataset."""
        recorded = list(self.recorded.values())
        rejected = [o for o in self.outcomes.values() if o.state == "rejected"]
        crashed = {name: o.reason for name, o in self.outcomes.items() if o.state == "crashed"}
        by_fraction = Counter(o.start_fraction for o in recorded)
        unfinished = len(self.planned) - len(self.outcomes)
        counts = {
            "motions": self.total,
            "recorded": len(recorded),
            "rejected": len(rejected),
            "invalid": len(self.invalid),
            "crashed": len(crashed),
            "unfinished": unfinished,
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
            "dataset_seconds": round(sum(entry.length for entry in self.planned.values()), 3),
            "invalid_motions": {motion.path: motion.reason for motion in self.invalid},
            "crashed_motions": crashed,
            "excluded_by_config": {motion.path: motion.reason for motion in self.excluded},
            "env_steps": self.env_steps,
            "busy_share": round(self.busy / self.slots, 4) if self.slots else 1.0,
        }


def read_ledger(path: Path) -> Optional[Ledger]:
    """The ledger of a journal; None if there is none, or its run had not begun to work when it ended.

    Raises InputError if the journal is damaged, or of another version.
    """
    ledger, clock = Ledger(), SessionClock()
    if path.exists():
        with journal_errors(path):
            for line in read_events(path):
                ledger.take(line.event)
                clock.take(line)
    ledger.seconds = sum(clock.seconds)
    return ledger if ledger.begun else None


def _kind(reason: str) -> str:
    """A rejection without its metrics and bodies, so that equal reasons count together."""
    how, _, rest = reason.partition(": ")
    names = [part.split(" after ")[0].split(" (")[0].split(":")[0] for part in rest.split("; ")]
    return f"{how}: {', '.join(names)}"
