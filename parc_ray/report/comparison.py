"""Comparison: two runs side by side, paired motion by motion."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from parc_ray.errors import InputError
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.report.statistics import counts_of, why
from parc_ray.runs.history import Run, RunMotion
from parc_ray.runs.motion_state import MotionState
from parc_ray.runs.resumption import flat
from parc_ray.tensors.arrays import DoubleArray
from parc_ray.tracking.metrics import METRICS, Metric

SECONDS = Metric("seconds", "Duration", "how long a first attempt lasts", "s", better="higher")
NAMED = {"model_file": "model_file (sha256)"}
"""Configuration keys that name files, and the journal's keys of their checksums."""
SHARE = 0.95
RESAMPLES = 2000
FEWEST = 10
"""Minimum pairs for an interval: resampling fewer gives one far too narrow."""
BLOCK = 1 << 22
"""Maximum resampled pairs in memory at once."""


@dataclass(frozen=True)
class Side:
    """One of the two runs. Counts cover the compared motions unless stated otherwise."""

    path: str
    simulator: str
    exit_code: int | None
    """None if the run has not ended or was killed."""
    motions: int
    """Motions of the whole run, including invalid ones."""
    invalid: int
    """Of the whole run."""
    recorded_from: Mapping[str, int]
    """Of deterministic attempts, by start fraction, as in summary.json."""
    recovered: int
    """Recorded by recovery."""
    rejected: Mapping[str, int]
    """By reason."""
    crashed: int
    unfinished: int
    recorded_seconds: float
    control_steps: int
    """Of the whole run."""
    steps_per_second: float
    """Of the whole run, over its total wall time."""


@dataclass(frozen=True)
class Setting:
    """A setting that differs between the runs; None where it is unset or unknown."""

    key: str
    baseline: Any
    candidate: Any


@dataclass(frozen=True)
class Fate:
    """The outcome of a motion in one run."""

    state: MotionState
    reason: str
    start_fraction: float | None
    """Start of its recording."""
    recorded_seconds: float
    copies: int = 0
    """Size of the population that recovered it; 0 if a deterministic attempt was recorded."""


@dataclass(frozen=True)
class Change:
    """A motion whose outcomes differ or cannot be compared."""

    motion: str
    baseline: Fate
    candidate: Fate


@dataclass(frozen=True)
class Paired:
    """A metric over pairs of attempts at the same motion, one from each run.

    Differences are candidate - baseline for each pair. None: too few pairs.
    """

    metric: Metric
    pairs: int
    baseline: float | None
    """Mean of the baseline's values."""
    candidate: float | None
    """Mean of the candidate's values."""
    difference: float | None
    """Mean of the differences."""
    deviation: float | None
    """Standard deviation of the differences."""
    quartiles: tuple[float, float, float] | None
    """Quartiles of the differences."""
    interval: tuple[float, float] | None
    """95 % interval of the mean difference."""

    @property
    def verdict(self) -> str:
        """Result for the candidate, "better" or "worse"; empty if the interval includes zero."""
        if self.interval is None or self.interval[0] <= 0.0 <= self.interval[1]:
            return ""
        return "better" if (self.interval[0] > 0.0) == (self.metric.better == "higher") else "worse"


@dataclass(frozen=True)
class FirstAttempts:
    """Time until failure of attempts from the start of a motion; without failure, the motion's length.

    Every motion counts, regardless of its outcome and of the allowed retries.
    """

    seconds: Paired
    whole_baseline: int
    """Attempts of the baseline that reached the end of their motion."""
    whole_candidate: int
    longer: int
    """Pairs in which the candidate lasted longer."""
    shorter: int
    equal: int
    probability: float
    """Sign test: probability of a longer/shorter split at least this uneven if both were equally likely."""


@dataclass(frozen=True)
class Comparison:
    """Two runs. compared = won + lost + earlier + later + same_start + neither + undecided."""

    baseline: Side
    candidate: Side
    settings: tuple[Setting, ...]
    compared: int
    """Motions in both runs with the same name and content."""
    only_baseline: tuple[str, ...]
    only_candidate: tuple[str, ...]
    changed: tuple[str, ...]
    """Motions with the same name but different content, which are not compared."""
    won: tuple[Change, ...]
    """Recorded in the candidate, rejected in the baseline."""
    lost: tuple[Change, ...]
    """Rejected in the candidate, recorded in the baseline."""
    probability: float
    """Sign test: probability of a won/lost split at least this uneven if both were equally likely."""
    earlier: tuple[Change, ...]
    """Recorded in both, from an earlier start in the candidate."""
    later: tuple[Change, ...]
    """Recorded in both, from a later start in the candidate."""
    same_start: int
    """Recorded in both from the same start."""
    neither: int
    """Rejected in both."""
    undecided: tuple[Change, ...]
    """Crashed or unfinished in one of them, so not comparable."""
    quality: tuple[Paired, ...]
    """Metrics of motions recorded in both from the same start without recovery."""
    first_attempts: FirstAttempts


def compare_runs(baseline: Run, candidate: Run) -> Comparison:
    """Compare two runs motion by motion. Raises InputError if they have no motion in common."""
    mine, theirs = _by_name(baseline), _by_name(candidate)
    both = sorted(mine.keys() & theirs.keys())
    changed = [name for name in both if mine[name].sha256 != theirs[name].sha256]
    names = [name for name in both if mine[name].sha256 == theirs[name].sha256]
    if not names:
        of_these = f", and {len(changed)} of the same name have other content" if changed else ""
        raise InputError(
            f"{baseline.path} and {candidate.path} have no motion in common ({len(mine)} and {len(theirs)} "
            f"motions{of_these}): give two runs of the same dataset"
        )
    pairs = [(mine[name], theirs[name]) for name in names]
    kinds: dict[str, list[tuple[RunMotion, RunMotion]]] = {kind: [] for kind in CHANGE_KINDS}
    for pair in pairs:
        kinds[_kind(*pair)].append(pair)
    alone = [pair for pair in kinds["same_start"] if not any(motion.copies for motion in pair)]
    changes = {kind: tuple(Change(a.name, _fate(a), _fate(b)) for a, b in kinds[kind]) for kind in CHANGE_KINDS}
    return Comparison(
        baseline=_side(baseline, [motion for motion, _ in pairs]),
        candidate=_side(candidate, [motion for _, motion in pairs]),
        settings=_settings(baseline, candidate),
        compared=len(names),
        only_baseline=tuple(sorted(mine.keys() - theirs.keys())),
        only_candidate=tuple(sorted(theirs.keys() - mine.keys())),
        changed=tuple(changed),
        won=changes["won"],
        lost=changes["lost"],
        probability=sign_test(len(changes["won"]), len(changes["lost"])),
        earlier=changes["earlier"],
        later=changes["later"],
        same_start=len(changes["same_start"]),
        neither=len(changes["neither"]),
        undecided=changes["undecided"],
        quality=tuple(_quality(metric, alone) for metric in METRICS),
        first_attempts=_first_attempts(pairs),
    )


def sign_test(more: int, fewer: int) -> float:
    """Return the exact two-sided probability that more + fewer fair coins split at least as unevenly.

    Applied to won and lost motions, this is McNemar's exact test: motions with the same outcome in both runs carry
    no information about which is better.

    >>> sign_test(8, 2), sign_test(3, 3), sign_test(0, 0)
    (0.109375, 1.0, 1.0)
    """
    coins, tail, term = more + fewer, 0, 1
    for heads in range(min(more, fewer) + 1):
        tail += term
        term = term * (coins - heads) // (heads + 1)
    return float(min(1.0, 2 * tail / 2**coins))


def compare_values(metric: Metric, values: Iterable[tuple[float | None, float | None]]) -> Paired:
    """Return a metric of pairs (baseline, candidate); pairs that lack a value are left out.

    The interval is a bootstrap: the middle 95 % of the means of pairs resampled with replacement. Unlike Student's t,
    it does not assume normal differences: most motions hardly change, and a few change a lot. The random seed is
    fixed.
    """
    known = np.array([pair for pair in values if None not in pair], dtype=np.float64).reshape(-1, 2)
    if not len(known):
        return Paired(metric, 0, None, None, None, None, None, None)
    differences = known[:, 1] - known[:, 0]
    low, middle, high = np.quantile(differences, [0.25, 0.5, 0.75]).tolist()
    return Paired(
        metric=metric,
        pairs=len(known),
        baseline=float(known[:, 0].mean()),
        candidate=float(known[:, 1].mean()),
        difference=float(differences.mean()),
        deviation=float(differences.std(ddof=1)) if len(known) > 1 else None,
        quartiles=(low, middle, high),
        interval=_interval(differences) if len(known) >= FEWEST else None,
    )


def _interval(differences: DoubleArray) -> tuple[float, float]:
    generator, count = np.random.default_rng(0), len(differences)
    means: list[DoubleArray] = []
    rows = max(1, BLOCK // count)
    for start in range(0, RESAMPLES, rows):
        drawn = generator.integers(count, size=(min(rows, RESAMPLES - start), count))
        means.append(differences[drawn].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - SHARE) / 2, (1 + SHARE) / 2]).tolist()
    return low, high


CHANGE_KINDS = ("won", "lost", "earlier", "later", "same_start", "neither", "undecided")


def _kind(baseline: RunMotion, candidate: RunMotion) -> str:
    before, now = baseline.state == MotionState.RECORDED, candidate.state == MotionState.RECORDED
    if {baseline.state, candidate.state} & {MotionState.CRASHED, MotionState.UNFINISHED}:
        return "undecided"
    if not (before and now):
        return "won" if now else "lost" if before else "neither"
    start, start_now = baseline.start_fraction or 0.0, candidate.start_fraction or 0.0
    return "same_start" if start == start_now else "earlier" if start_now < start else "later"


def _by_name(run: Run) -> dict[str, RunMotion]:
    """Return motions by name. Names are unique except those of invalid files."""
    return {motion.name: motion for motion in run.motions if motion.state != MotionState.INVALID}


def _fate(motion: RunMotion) -> Fate:
    return Fate(motion.state, motion.reason, motion.start_fraction, motion.recorded_seconds, motion.copies)


def _side(run: Run, motions: Sequence[RunMotion]) -> Side:
    counts = counts_of(run)
    states = Counter(motion.state for motion in motions)
    recorded = [motion for motion in motions if motion.state == MotionState.RECORDED]
    starts = Counter(motion.start_fraction or 0.0 for motion in recorded if not motion.copies)
    rejected = Counter(why(motion) for motion in motions if motion.state == MotionState.REJECTED)
    return Side(
        path=str(run.path),
        simulator=run.simulator,
        exit_code=run.sessions[-1].exit_code,
        motions=counts.motions,
        invalid=counts.states[MotionState.INVALID],
        recovered=sum(bool(motion.copies) for motion in recorded),
        recorded_from={f"{fraction:g}": starts[fraction] for fraction in sorted(starts)},
        rejected=dict(rejected.most_common()),
        crashed=states[MotionState.CRASHED],
        unfinished=states[MotionState.UNFINISHED],
        recorded_seconds=round(sum(motion.recorded_seconds for motion in motions), 3),
        control_steps=counts.control_steps,
        steps_per_second=round(counts.control_steps / counts.wall_seconds, 1) if counts.wall_seconds else 0.0,
    )


def _settings(baseline: Run, candidate: Run) -> tuple[Setting, ...]:
    before, now = _made_with(baseline), _made_with(candidate)
    keys = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
    # The same checkpoint at another path is not a difference.
    keys -= {key for key, checksum in NAMED.items() if checksum not in keys}
    return tuple(Setting(key, before.get(key), now.get(key)) for key in sorted(keys))


def _made_with(run: Run) -> dict[str, Any]:
    """Return everything that recordings depend on, devices (PhysX results differ between them) and versions."""
    versions = {f"version of {name}": version for name, version in run.sessions[-1].versions.items()}
    recovery = run.config.get("recovery") or {}
    own = {"recovery": ", ".join(f"{key} {value}" for key, value in recovery.items()) or "off"}
    return {**flat(run.fingerprint), **versions, **own, **{key: run.config.get(key) for key in (*NAMED, "device")}}


def _quality(metric: Metric, pairs: Sequence[tuple[RunMotion, RunMotion]]) -> Paired:
    return compare_values(metric, ((_value(before, metric), _value(now, metric)) for before, now in pairs))


def _value(motion: RunMotion, metric: Metric) -> float | None:
    return motion.last_attempt.quality.get(metric.name) if motion.last_attempt else None


def _first_attempts(pairs: Sequence[tuple[RunMotion, RunMotion]]) -> FirstAttempts:
    firsts = [(_first_attempt(before), _first_attempt(now)) for before, now in pairs]
    made = [(before, now) for before, now in firsts if before is not None and now is not None]
    longer = sum(now.seconds > before.seconds for before, now in made)
    shorter = sum(now.seconds < before.seconds for before, now in made)
    return FirstAttempts(
        seconds=compare_values(SECONDS, ((before.seconds, now.seconds) for before, now in made)),
        whole_baseline=sum(before.outcome != Outcome.FAILED for before, _ in made),
        whole_candidate=sum(now.outcome != Outcome.FAILED for _, now in made),
        longer=longer,
        shorter=shorter,
        equal=len(made) - longer - shorter,
        probability=sign_test(longer, shorter),
    )


def _first_attempt(motion: RunMotion) -> RunAttempt | None:
    """Return the attempt from the start; None if it was not made or its recording has been lost."""
    standing = (attempt for attempt in motion.attempts if attempt.number == 0 and attempt.outcome != Outcome.LOST)
    return next(standing, None)
