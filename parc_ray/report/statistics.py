"""Statistics of a run: counts, funnel, failures, quality, success, use of envs, as plain values."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import Callable, Mapping, Sequence

from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.runs.history import Run, RunMotion
from parc_ray.runs.motion_state import MotionState
from parc_ray.tracking.metrics import METRICS, Metric

OUTCOMES = (Outcome.RECORDED, Outcome.REJECTED, Outcome.FAILED)
AT_ONCE, RECOVERED, LATER = WAYS = ("at once", "recovered", "from a later start")
"""Values of RunMotion.recorded_how."""
ORDER = tuple(MotionState)
HISTOGRAM_BINS, SUCCESS_BINS = 24, 8
TAIL = 0.98
"""Quantile at which a histogram with outliers ends; its last bin counts the values beyond."""

Value = Callable[[RunMotion, RunAttempt], float]


@dataclass(frozen=True)
class Counts:
    """The headline numbers. The states add up to the number of motions."""

    motions: int
    states: Mapping[str, int]
    """Motions by MotionState."""
    recorded_how: Mapping[str, int]
    """Recorded motions by RunMotion.recorded_how."""
    attempts: int
    """Deterministic attempts, including those whose recordings were lost."""
    populations: int
    """Populations of recovery."""
    lost: int
    """Recordings missing when the run was resumed."""
    recorded_seconds: float
    dataset_seconds: float
    """Total length of all valid motions, s."""
    control_steps: int
    """Control steps of attempts and populations."""
    wall_seconds: float
    """Wall time of all sessions, s."""
    deaths: int
    """Actors lost."""


@dataclass(frozen=True)
class Start:
    """All attempts from one start fraction: attempted = recorded + retried + ended + open."""

    fraction: float
    attempted: int
    recorded: int
    retried: int
    """Tried again from the next fraction."""
    ended: int
    """Last attempt at a motion that was rejected."""
    open: int
    """Not yet followed by the next attempt."""


@dataclass(frozen=True)
class Recovery:
    """Motions tried by recovery, by population size: tried = recovered + not recovered."""

    copies: int
    tried: int
    recovered: int


@dataclass(frozen=True)
class Ending:
    """Motions that ended without a recording, by state and reason."""

    state: str
    reason: str
    motions: int


@dataclass(frozen=True)
class Histogram:
    """Distribution of a number."""

    name: str
    unit: str
    edges: tuple[float, ...]
    """Edges of the bins, ascending; a bin includes its lower edge, the last one also its upper edge."""
    series: Mapping[str, tuple[int, ...]]
    """Counts per bin."""
    beyond: int = 0
    """Values above the last edge, counted in the last bin."""
    missing: int = 0
    """Values that are unknown or not finite, counted in no bin."""
    limit: float | None = None
    """Acceptance limit."""
    medians: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class SuccessBin:
    """Motions with a value from low to high: recorded_whole + recovered + recorded_later + not_recorded."""

    low: float
    high: float
    recorded_whole: int
    """By the first attempt."""
    recovered: int
    recorded_later: int
    not_recorded: int


@dataclass(frozen=True)
class Failure:
    """Attempts ended by one criterion or rejected by one acceptance limit, on one body if it concerns a body."""

    criterion: str
    body: str
    attempts: int


@dataclass(frozen=True)
class LaunchUse:
    """Use of one actor's slots, in slot seconds: useful + wasted + cut + idle = envs * (ended - ready)."""

    launch: int
    attempts: int
    useful: float
    """Spent on attempts that were recorded."""
    wasted: float
    """Spent on other attempts."""
    cut: float
    """Unreported work of slots when the actor was cut off."""
    idle: float


@dataclass(frozen=True)
class Statistics:
    """All statistics of a run."""

    counts: Counts
    starts: tuple[Start, ...]
    """Of deterministic attempts."""
    recovery: tuple[Recovery, ...]
    endings: tuple[Ending, ...]
    quality: tuple[Histogram, ...]
    """Metrics of attempts, by outcome, and of recovered recordings."""
    failed_at: tuple[Histogram, ...]
    """Failures by criterion: position in the motion (share), and time since the attempt's start (s)."""
    failures: tuple[Failure, ...]
    success: Mapping[str, tuple[SuccessBin, ...]]
    """Success by the motions' seconds and by terrain_range."""
    use: tuple[LaunchUse, ...]


def statistics_of(run: Run) -> Statistics:
    """Return all statistics of a run."""
    attempts, limits = run.attempts(), run.config.get("acceptance") or {}
    recovered = [m.last_attempt for m in run.motions if m.copies and m.last_attempt]
    return Statistics(
        counts=counts_of(run),
        starts=_starts(attempts),
        recovery=_recovery(run.motions),
        endings=_endings(run.motions),
        quality=tuple(_quality(metric, attempts, recovered, limits) for metric in METRICS if metric.column),
        failed_at=_failure_histograms(attempts),
        failures=_failures(attempts),
        success={name: _success(run.motions, name) for name in ("seconds", "terrain_range")},
        use=_use(run),
    )


def counts_of(run: Run) -> Counts:
    """Return the headline numbers of a run."""
    states = Counter(motion.state for motion in run.motions)
    every = [attempt for motion in run.motions for attempt in motion.attempts]
    populations = [population for motion in run.motions for population in motion.populations]
    ways = Counter(motion.recorded_how for motion in run.motions)
    return Counts(
        motions=len(run.motions),
        states={state.value: states[state] for state in MotionState},
        recorded_how={way: ways[way] for way in WAYS},
        attempts=len(every),
        populations=len(populations),
        lost=sum(attempt.outcome == Outcome.LOST for attempt in (*every, *populations)),
        recorded_seconds=round(sum(motion.recorded_seconds for motion in run.motions), 3),
        dataset_seconds=round(sum(motion.seconds or 0.0 for motion in run.motions), 3),
        control_steps=sum(round(attempt.seconds * run.control_freq) for attempt in every)
        + sum(population.env_steps for population in populations),
        wall_seconds=round(sum(session.seconds for session in run.sessions), 3),
        deaths=sum(bool(launch.death) for launch in run.launches),
    )


def _starts(attempts: Sequence[tuple[RunMotion, RunAttempt]]) -> tuple[Start, ...]:
    tallies: dict[float, Counter[str]] = {}
    for motion, attempt in attempts:
        tally = tallies.setdefault(attempt.start_fraction, Counter())
        tally["attempted"] += 1
        if attempt.outcome == Outcome.RECORDED and not motion.copies:
            tally["recorded"] += 1
        elif attempt is not motion.last_attempt:
            tally["retried"] += 1
        elif motion.state == MotionState.REJECTED:
            tally["ended"] += 1
        else:
            tally["open"] += 1
    names = ("attempted", "recorded", "retried", "ended", "open")
    return tuple(Start(f, **{name: tally[name] for name in names}) for f, tally in sorted(tallies.items()))


def _recovery(motions: Sequence[RunMotion]) -> tuple[Recovery, ...]:
    """Return recovery by population size; a partial recording that it replaced counts as retried in the starts."""
    tried = Counter(population.copies for motion in motions for population in motion.populations)
    recovered = Counter(motion.copies for motion in motions if motion.recorded_how == RECOVERED)
    return tuple(Recovery(copies, tried[copies], recovered[copies]) for copies in sorted(tried))


def _endings(motions: Sequence[RunMotion]) -> tuple[Ending, ...]:
    counted = Counter((motion.state, why(motion)) for motion in motions if motion.state != MotionState.RECORDED)
    order = sorted(counted.items(), key=lambda item: (ORDER.index(item[0][0]), -item[1], item[0][1]))
    return tuple(Ending(state, reason, count) for (state, reason), count in order)


def why(motion: RunMotion) -> str:
    """Return the reason why a motion was not recorded, without numbers and names, so that equal reasons group."""
    if motion.state == MotionState.RECORDED:
        return ""
    attempt = motion.last_attempt
    if motion.state == MotionState.REJECTED and attempt:
        return attempt.category
    if motion.state == MotionState.UNFINISHED:
        return "between attempts" if attempt else "never begun"
    return motion.reason.replace(motion.path, "its file").split(" (")[0]


def _quality(
    metric: Metric,
    attempts: Sequence[tuple[RunMotion, RunAttempt]],
    recovered: Sequence[RunAttempt],
    limits: Mapping[str, float],
) -> Histogram:
    values: dict[str, list[float]] = {outcome: [] for outcome in OUTCOMES}
    known = (population.quality.get(metric.name) for population in recovered)
    values[RECOVERED] = [value for value in known if value is not None]
    missing = 0
    for _, attempt in attempts:
        value = attempt.quality.get(metric.name)
        if value is None:
            missing += 1
        else:
            values[attempt.outcome].append(value)
    top = 1.0 if metric.over == "share" else None
    return _histogram(metric.name, metric.unit, values, top, missing, limits.get(metric.limit))


def _failure_histograms(attempts: Sequence[tuple[RunMotion, RunAttempt]]) -> tuple[Histogram, ...]:
    failed = [(motion, attempt) for motion, attempt in attempts if attempt.outcome == Outcome.FAILED]
    counted = Counter(_criterion(attempt) for _, attempt in failed)
    criteria = [name for name, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))]

    def histogram(name: str, unit: str, top: float | None, value: Value) -> Histogram:
        values = {c: [value(m, a) for m, a in failed if _criterion(a) == c] for c in criteria}
        return _histogram(name, unit, values, top)

    return (
        histogram("share_of_motion", "", 1.0, lambda m, a: (a.start_time + a.seconds) / (m.seconds or 1.0)),
        histogram("seconds_after_start", "s", None, lambda _, a: a.seconds),
    )


def _criterion(attempt: RunAttempt) -> str:
    return ", ".join(attempt.criteria) or "unknown"


def _failures(attempts: Sequence[tuple[RunMotion, RunAttempt]]) -> tuple[Failure, ...]:
    """Return failures; an attempt that broke several limits counts for each."""
    counted = Counter(
        (criterion, attempt.body)
        for _, attempt in attempts
        if attempt.outcome != Outcome.RECORDED
        for criterion in attempt.criteria or ("unknown",)
    )
    return tuple(Failure(*key, count) for key, count in sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _success(motions: Sequence[RunMotion], name: str) -> tuple[SuccessBin, ...]:
    """Return finished motions in bins of equal width, without invalid ones."""
    values = [
        (getattr(motion, name), motion)
        for motion in motions
        if motion.state in (MotionState.RECORDED, MotionState.REJECTED, MotionState.CRASHED)
        and getattr(motion, name) is not None
    ]
    if not values:
        return ()
    low, high = min(value for value, _ in values), max(value for value, _ in values)
    edges = nice_edges(low, high, SUCCESS_BINS)
    bins: list[Counter[str]] = [Counter() for _ in edges[1:]]
    for value, motion in values:
        bins[place(value, edges)][motion.recorded_how] += 1
    return tuple(
        SuccessBin(edges[k], edges[k + 1], tally[AT_ONCE], tally[RECOVERED], tally[LATER], tally[""])
        for k, tally in enumerate(bins)
    )


def _use(run: Run) -> tuple[LaunchUse, ...]:
    made: Counter[int | None] = Counter()
    spent: dict[tuple[int | None, bool], float] = defaultdict(float)
    heard: dict[int | None, dict[int | None, float]] = defaultdict(dict)
    for attempt in (a for motion in run.motions for a in (*motion.attempts, *motion.populations)):
        made[attempt.launch] += 1
        if attempt.began is not None and attempt.ended is not None:
            slots_taken = attempt.copies or 1
            spent[attempt.launch, attempt.outcome == Outcome.RECORDED] += (attempt.ended - attempt.began) * slots_taken
            heard[attempt.launch][attempt.env] = max(attempt.ended, heard[attempt.launch].get(attempt.env, 0.0))
    found = []
    for index, launch in enumerate(run.launches):
        useful, wasted, slots, cut = spent[index, True], spent[index, False], 0.0, 0.0
        if launch.ready is not None and launch.ended is not None:
            last = [heard[index].get(env, launch.ready) for env in range(launch.envs or 0)]
            slots = sum(max(0.0, launch.ended - launch.ready) for _ in last)
            cut = sum(max(0.0, launch.ended - end) for end in last) if launch.cut else 0.0
        idle = max(0.0, slots - useful - wasted - cut)
        found.append(LaunchUse(index, made[index], *(round(value, 3) for value in (useful, wasted, cut, idle))))
    return tuple(found)


# ------------------------------------------------------------------------------------------- bins


def _histogram(
    name: str,
    unit: str,
    values: Mapping[str, Sequence[float]],
    top: float | None,
    missing: int = 0,
    limit: float | None = None,
) -> Histogram:
    """Return counts from 0 to `top`, else to the largest value."""
    every = sorted(value for own in values.values() for value in own)
    largest = every[-1] if every else 0.0
    usual = every[math.ceil(TAIL * (len(every) - 1))] if every else 0.0
    end = largest if largest <= 1.5 * usual else usual
    if limit:
        end = max(end, 1.2 * limit)
    if top is not None:
        end = top
    edges = nice_edges(0.0, end or 1.0, HISTOGRAM_BINS)
    series = {}
    for key, own in values.items():
        counts = [0] * (len(edges) - 1)
        for value in own:
            counts[place(value, edges)] += 1
        series[key] = tuple(counts)
    beyond = sum(value > edges[-1] for value in every)
    medians = {key: median(own) if own else None for key, own in values.items()}
    return Histogram(name, unit, edges, series, beyond, missing, limit, medians)


def nice_edges(low: float, high: float, bins: int) -> tuple[float, ...]:
    """Return edges at multiples of 1, 2 or 5 times a power of ten that cover low to high, at most `bins` bins.

    >>> nice_edges(2.3, 9.7, 8)
    (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
    >>> nice_edges(5.0, 5.0, 8)
    (5.0, 5.0)
    """
    if not high - low > 1e-9:
        return (low, low)
    exponent = math.floor(math.log10((high - low) / bins)) - 1
    for power in range(exponent, exponent + 4):
        for factor in (1, 2, 5):
            step = factor * 10.0**power
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            if last - first <= bins:
                return tuple(round(k * step, max(0, -power)) for k in range(first, last + 1))
    raise AssertionError("one step fits every range")


def place(value: float, edges: Sequence[float]) -> int:
    """Return the bin of a value; values outside are clamped to the first or last bin."""
    return bisect_right(edges, value, 1, len(edges) - 1) - 1
