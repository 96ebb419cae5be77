"""Diagnosis of runs that recorded little: the common failure pattern, its usual cause, how to inspect it."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Iterable, Sequence, Tuple

from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.runs.history import Run, RunMotion
from parc_ray.runs.motion_state import MotionState
from parc_ray.tracking.metrics import BY_LIMIT

AT_ONCE = 1.0
"""Maximum duration of an attempt that counts as failing at once, s."""
MOST = 0.6
"""Minimum share of attempts or motions that makes a pattern."""
SAME_PLACE = 0.5
"""Maximum spread, in seconds of a motion, of failures that count as one place."""
LISTED = 3
"""Maximum number of criteria and bodies listed."""

Ended = Tuple[RunMotion, RunAttempt]


@dataclass(frozen=True)
class Pattern:
    """A pattern shared by most attempts of a run."""

    name: str
    finding: str
    meaning: str
    """Its usual cause."""


@dataclass(frozen=True)
class Diagnosis:
    """The reason why a run recorded less than half of its motions."""

    facts: tuple[str, ...]
    pattern: Pattern
    example: str
    """Motion that shows the pattern; empty if there is none."""
    advice: tuple[str, ...]
    """Steps to inspect it."""

    def lines(self) -> list[str]:
        """Return the diagnosis as lines to print."""
        return [*self.facts, f"{self.pattern.finding} {self.pattern.meaning}", *self.advice]


def diagnose(run: Run) -> Diagnosis | None:
    """Return a diagnosis; None if at least half of the motions with an outcome were recorded, or no attempt failed."""
    decided = [motion for motion in run.motions if motion.state in (MotionState.RECORDED, MotionState.REJECTED)]
    recorded = sum(motion.state == MotionState.RECORDED for motion in decided)
    ended = [
        (motion, attempt) for motion, attempt in run.attempts() if attempt.outcome in (Outcome.FAILED, Outcome.REJECTED)
    ]
    if 2 * recorded >= len(decided) or not ended:
        return None
    failed = [pair for pair in ended if pair[1].outcome == Outcome.FAILED]
    pattern, example = _pattern(run, ended, failed)
    return Diagnosis(tuple(_facts(recorded, len(decided), ended, failed)), pattern, example, _advice(run, example))


def _facts(recorded: int, decided: int, ended: Sequence[Ended], failed: Sequence[Ended]) -> list[str]:
    rejected = len(ended) - len(failed)
    facts = [
        f"{recorded} of {decided} motions were recorded; "
        f"{_count(len(failed), 'attempt')} failed, {_count(rejected, 'attempt')} tracked to the end but not accepted."
    ]
    if failed:
        half = median(attempt.seconds for _, attempt in failed)
        facts.append(f"Half of the attempts that failed did so within {half:.1f} s.")
    causes = _most_common(criterion for _, attempt in ended for criterion in attempt.criteria)
    bodies = _most_common(attempt.body for _, attempt in ended if attempt.body)
    if causes:
        facts.append(f"Most were ended by: {causes}" + (f"; bodies: {bodies}." if bodies else "."))
    return facts


def _most_common(names: Iterable[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in Counter(names).most_common(LISTED))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _pattern(run: Run, ended: Sequence[Ended], failed: Sequence[Ended]) -> tuple[Pattern, str]:
    """Return the first pattern that fits, and a motion that shows it."""
    unaccepted = [pair for pair in ended if pair[1].outcome == Outcome.REJECTED]
    if len(unaccepted) > MOST * len(ended):
        return _acceptance_pattern(unaccepted), unaccepted[0][0].name
    at_once = [pair for pair in failed if pair[1].seconds <= AT_ONCE]
    if len(at_once) >= MOST * len(failed):
        return (
            Pattern(
                "at once",
                f"{len(at_once)} of {_count(len(failed), 'attempt')} that failed did so within {AT_ONCE:g} s.",
                "Usually the checkpoint and env_file do not fit each other, the tracker was trained in another engine "
                f"than {run.simulator}, or these motions are unlike those it was trained on.",
            ),
            at_once[0][0].name,
        )
    places = _places(failed)
    together = [motion for motion, ends in places if max(ends) - min(ends) <= SAME_PLACE]
    if places and len(together) >= MOST * len(places):
        ends = next(ends for motion, ends in places if motion is together[0])
        return (
            Pattern(
                "one place",
                f"{len(together)} of {_count(len(places), 'motion')} with several failed attempts failed at one place "
                f"each, wherever the attempts began ({together[0].name}: {min(ends):.1f} to {max(ends):.1f} s).",
                "Usually the terrain does not fit the reference there, or the reference does what no body can do.",
            ),
            together[0].name,
        )
    return (
        Pattern(
            "here and there",
            "Attempts track for a while and fail at different places.",
            "Usually the tracker is not trained long enough, or not on motions as hard as these.",
        ),
        max(failed, key=lambda pair: pair[1].seconds)[0].name,
    )


def _acceptance_pattern(unaccepted: Sequence[Ended]) -> Pattern:
    limit = Counter(name for _, attempt in unaccepted for name in attempt.criteria).most_common(1)
    name = limit[0][0] if limit else "acceptance"
    metric = BY_LIMIT.get(name)
    measured = "" if metric is None else f" ({metric.meaning})"
    return Pattern(
        "not accepted",
        f"{_count(len(unaccepted), 'attempt')} tracked to the end, but mostly broke acceptance.{name}{measured}.",
        "Usually the reference's contact labels are wrong, or it floats or is inside the terrain; if what was tracked "
        "is good as it is, relax that limit.",
    )


def _places(failed: Sequence[Ended]) -> list[tuple[RunMotion, list[float]]]:
    """Return the failure times (s) of each motion whose attempts began at different places."""
    by_motion: dict[int, tuple[RunMotion, list[RunAttempt]]] = {}
    for motion, attempt in failed:
        by_motion.setdefault(id(motion), (motion, []))[1].append(attempt)
    return [
        (motion, [attempt.start_time + attempt.seconds for attempt in attempts])
        for motion, attempts in by_motion.values()
        if len({attempt.start_time for attempt in attempts}) > 1
    ]


def _advice(run: Run, example: str) -> tuple[str, ...]:
    kept = any(attempt.trajectory for motion in run.motions for attempt in motion.attempts)
    where = f"parc-ray view {shlex.quote(str(run.path))}"
    shown = f"{where} shows the references and, of {example} for instance, the attempts that failed."
    if kept:
        return (shown,)
    return (
        f"{where} shows the references; {example} is an example.",
        "With record.keep_failures: true, attempts that fail are kept, and shown beside their reference.",
    )
