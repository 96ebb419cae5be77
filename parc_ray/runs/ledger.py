"""Ledger: the state of every motion of a run, counted exactly once.

It is built only from the events of the run's journal, in order: a run takes the events that it writes, and readers of
the journal take the same events later.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

from parc_ray.motions.dataset import Dataset, ExcludedMotion, InvalidMotion, MotionEntry
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import CATEGORIES, RunAttempt
from parc_ray.runs.events import (
    AttemptEnded,
    DatasetEvent,
    Event,
    MotionEnded,
    MotionsReopened,
    RecordingLost,
    RunStarted,
    dataset_events,
)
from parc_ray.runs.journal_reader import journal_errors, read_events
from parc_ray.runs.motion_state import WAITING, MotionState
from parc_ray.runs.session_clock import SessionClock

CHARACTER_SHA256 = "char_file (sha256)"
"""Key of the fingerprint for the text of the character."""


@dataclass
class Ledger:
    """Attempts and outcomes by motion name, which is unique among planned motions.

    >>> ledger = Ledger()
    >>> ledger.take(MotionEntry("walk", "walk.pkl", 1.0, 61, 30.0, 2.0, (9, 9), 100))
    >>> ended = ledger.take(AttemptEnded(0, 77, RunAttempt("walk", 0, 0.0, 0.0, 2.0, Outcome.RECORDED)))
    >>> ended.motion, ended.state, ended.bytes
    ('walk', 'recorded', 77)
    """

    started: RunStarted | None = None
    """First start of the run; None before it."""
    sessions: int = 0
    """Number of commands: the first one, and those that resumed the run."""
    planned: dict[str, MotionEntry] = field(default_factory=dict)
    invalid: list[InvalidMotion] = field(default_factory=list)
    excluded: list[ExcludedMotion] = field(default_factory=list)
    outcomes: dict[str, MotionEnded] = field(default_factory=dict)
    unwritten: dict[str, MotionEnded] = field(default_factory=dict)
    """Final states that follow from an attempt, but have no line yet."""
    next_attempt: dict[str, int] = field(default_factory=dict)
    """Number of the next attempt, for each motion with at least one."""
    next_population: dict[str, int] = field(default_factory=dict)
    """Number of the next population, for each motion with at least one."""
    reopened: set[str] = field(default_factory=set)
    """Motions with an outcome that will be recovered. The outcome stands until then."""
    recovery: Mapping[str, Any] = field(default_factory=dict)
    """Configuration of the populations made; empty without any."""
    attempts: int = 0
    """Deterministic attempts, including those with lost recordings."""
    populations: int = 0
    """Populations, including those with lost recordings."""
    control_steps: int = 0
    """Control steps of attempts and populations."""
    env_steps: int = 0
    """Control steps reported by actors; for earlier sessions, those of finished attempts."""
    seconds: float = 0.0
    """Working time of the sessions in its source journal."""
    busy: int = 0
    """Env steps made while attempts were waiting."""
    slots: int = 0
    """Env steps that all slots could have made in that time."""
    _categories: dict[str, str] = field(default_factory=dict)
    """Rejection category of each motion, see RunAttempt.category."""
    _counts: Counter[str] = field(default_factory=Counter)
    """Number of outcomes by state, cached because every report needs them."""

    def take(self, event: Event) -> MotionEnded | None:
        """Take the next event, and return the resulting final state if it was a motion's last attempt.

        Raises ValueError if the event contradicts earlier ones.
        """
        if isinstance(event, AttemptEnded):
            return self._attempt(event)
        if isinstance(event, MotionEnded):
            self._end(event)
        elif isinstance(event, MotionsReopened):
            self.reopened.update(event.motions)
        elif isinstance(event, RecordingLost):
            self._lose(event.motion)
        elif isinstance(event, RunStarted):
            self._start(event)
        elif isinstance(event, MotionEntry):
            self.planned[event.name] = event
        elif isinstance(event, InvalidMotion):
            self.invalid.append(event)
        elif isinstance(event, ExcludedMotion):
            self.excluded.append(event)
        return None

    def _start(self, event: RunStarted) -> None:
        self.started = self.started or event
        self.sessions += 1
        self.env_steps = self.control_steps
        if not self.populations:
            self.recovery = event.config.get("recovery") or {}
        self.reopen_crashed()

    def _attempt(self, event: AttemptEnded) -> MotionEnded | None:
        attempt = event.attempt
        motion, start = attempt.motion, attempt.start_fraction
        self._require_open(motion)
        self._count(attempt)
        if attempt.outcome == Outcome.RECORDED:
            ended = MotionEnded(
                motion,
                MotionState.RECORDED,
                start_fraction=start,
                seconds=attempt.recorded_seconds,
                bytes=event.recording_bytes,
                sha256=event.recording_sha256,
                copies=attempt.copies,
            )
        elif attempt.next_fraction is None and motion in self.reopened:
            self.reopened.discard(motion)
            return None
        elif attempt.next_fraction is None:
            ended = MotionEnded(motion, MotionState.REJECTED, f"{CATEGORIES[attempt.outcome]}: {attempt.reason}", start)
            self._categories[motion] = sys.intern(attempt.category)
        else:
            return None
        self._set(ended)
        self.unwritten[motion] = ended
        return ended

    def _count(self, attempt: RunAttempt) -> None:
        if attempt.copies:
            self.populations += 1
            self.next_population[attempt.motion] = attempt.number + 1
            self.control_steps += attempt.env_steps
            return
        self.attempts += 1
        self.next_attempt[attempt.motion] = attempt.number + 1
        if self.started is not None:
            self.control_steps += round(attempt.seconds * self.started.control_freq)

    def _set(self, ended: MotionEnded) -> None:
        before = self.outcomes.get(ended.motion)
        if before is not None:
            self._counts[before.state] -= 1
        self.reopened.discard(ended.motion)
        self.outcomes[ended.motion] = ended
        self._counts[ended.state] += 1

    def _end(self, event: MotionEnded) -> None:
        if event.state == MotionState.CRASHED:
            self._require_open(event.motion)
            if event.motion in self.reopened:
                self.reopened.discard(event.motion)
            else:
                self._set(event)
        else:
            self.unwritten.pop(event.motion, None)

    def _lose(self, motion: str) -> None:
        if motion not in self.outcomes:
            raise ValueError(f"{motion} has no recording that could be lost")
        lost = self.outcomes.pop(motion)
        self._counts[lost.state] -= 1
        self.unwritten.pop(motion, None)
        numbers = self.next_population if lost.copies else self.next_attempt
        numbers[motion] -= 1

    def is_open(self, motion: str) -> bool:
        """Return True if a motion is unfinished."""
        return motion not in self.outcomes or motion in self.reopened

    def recoverable(self, sizes: int) -> list[str]:
        """Return motions rejected or recorded from a later start that fewer than `sizes` populations have tried."""
        return [
            name
            for name, outcome in self.outcomes.items()
            if outcome.state in (MotionState.RECORDED, MotionState.REJECTED)
            and not outcome.copies
            and self.next_population.get(name, 0) < sizes
            and (outcome.state == MotionState.REJECTED or outcome.start_fraction > 0)
        ]

    def _require_open(self, motion: str) -> None:
        if not self.is_open(motion):
            raise ValueError(f"{motion} would get a second final state")

    def reopen_crashed(self) -> None:
        """Reopen crashed motions when a run is resumed: the machine may have been at fault."""
        self.reopened.clear()
        self.outcomes = {
            name: outcome for name, outcome in self.outcomes.items() if outcome.state != MotionState.CRASHED
        }
        self._counts[MotionState.CRASHED] = 0

    @property
    def begun(self) -> bool:
        """True if all motions are planned; nothing is simulated before that."""
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
        """Number of finished motions."""
        return len(self.outcomes) - len(self.reopened) + len(self.invalid)

    def missing_events(self, dataset: Dataset) -> list[DatasetEvent]:
        """Return the events of a dataset that were not taken yet."""
        aside: list[DatasetEvent] = [*self.invalid, *self.excluded]
        known = {(type(event), event.name, event.path) for event in aside}
        return [
            event
            for event in dataset_events(dataset)
            if (
                event.name not in self.planned
                if isinstance(event, MotionEntry)
                else (type(event), event.name, event.path) not in known
            )
        ]

    def expects(self, attempt: RunAttempt) -> bool:
        """Return True if an attempt is the next one at its motion, not a late or repeated one."""
        numbers = self.next_population if attempt.copies else self.next_attempt
        return self.is_open(attempt.motion) and attempt.number == numbers.get(attempt.motion, 0)

    @property
    def recorded_outcomes(self) -> dict[str, MotionEnded]:
        """Outcomes of the recorded motions."""
        return {name: outcome for name, outcome in self.outcomes.items() if outcome.state == MotionState.RECORDED}

    def unfinished(self, motions: Sequence[str]) -> list[str]:
        """Return the given motions that are unfinished."""
        return [motion for motion in motions if self.is_open(motion)]

    def count(self, state: str) -> int:
        """Return the number of motions in a final state."""
        return self.states()[state]

    def states(self) -> dict[str, int]:
        """Return the number of motions by state; `waiting` motions have no final state."""
        states: dict[str, int] = {
            state.value: self._counts[state] for state in MotionState if state != MotionState.UNFINISHED
        }
        for motion in self.reopened:
            states[self.outcomes[motion].state.value] -= 1
        return {**states, MotionState.INVALID.value: len(self.invalid), WAITING: self.total - self.dealt_with}

    def summary(self) -> dict[str, Any]:
        """Return the counts of summary.json. Raises RuntimeError if they do not add up to the dataset."""
        recorded = list(self.recorded_outcomes.values())
        rejected = [o for o in self.outcomes.values() if o.state == MotionState.REJECTED]
        crashed = {name: o.reason for name, o in self.outcomes.items() if o.state == MotionState.CRASHED}
        by_fraction = Counter(o.start_fraction for o in recorded if not o.copies)
        by_copies = Counter(o.copies for o in recorded if o.copies)
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
            "populations": self.populations,
            "recorded_from": {f"{fraction:g}": by_fraction[fraction] for fraction in sorted(by_fraction)},
            "recovered": {str(copies): by_copies[copies] for copies in sorted(by_copies)},
            "rejected_by_reason": dict(Counter(self._categories[o.motion] for o in rejected).most_common()),
            "recorded_seconds": round(sum(o.seconds for o in recorded), 3),
            "dataset_seconds": round(sum(entry.length for entry in self.planned.values()), 3),
            "invalid_motions": {motion.path: motion.reason for motion in self.invalid},
            "crashed_motions": crashed,
            "excluded_by_config": {motion.path: motion.reason for motion in self.excluded},
            "env_steps": self.env_steps,
            "busy_share": round(self.busy / self.slots, 4) if self.slots else 1.0,
        }


def read_ledger(path: Path) -> Ledger | None:
    """Return the ledger of a journal; None without a journal, or if its run ended before it began to work.

    Raises InputError if the journal is damaged or has another version.
    """
    ledger, clock = Ledger(), SessionClock()
    if path.exists():
        with journal_errors(path):
            for line in read_events(path):
                ledger.take(line.event)
                clock.take(line)
    ledger.seconds = sum(clock.seconds)
    return ledger if ledger.begun else None
