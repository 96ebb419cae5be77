"""Statistics of runs whose journals are known line by line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc_ray.report.statistics import Ending, Failure, Start, nice_edges, place, statistics_of
from parc_ray.runs.history import read_run
from tests.report.made_run import QUALITY


@pytest.fixture()
def statistics(made):
    """Four motions: recorded whole, recorded from 50 %, rejected, between two attempts; one invalid file."""
    made.begin(4, acceptance={"max_penetration": 0.1, "min_contact_agreement": 0.4})
    for name, seconds, relief in (("whole", 2.0, 0.0), ("later", 4.0, 0.2), ("never", 6.0, 0.4), ("open", 8.0, 0.4)):
        made.planned(name, seconds, relief=relief)
    made.final("bad", "invalid", "bad.pkl: is empty (of all)", path="bad.pkl")
    made.event("shard", shard=0, motions=["whole", "later", "never", "open"], envs=2, deaths=0)
    made.now = 1.0
    made.event("ready", shard=0)
    made.attempt("whole", outcome="recorded", seconds=2.0, quality={**QUALITY, "root_error": 0.02})
    made.attempt("later", again=0.25, seconds=1.0, criteria=["fall"], body="head")
    made.attempt("later", 1, again=0.5, fraction=0.25, start=1.0, seconds=2.0, criteria=["fall"], body="head")
    made.attempt("later", 2, "recorded", fraction=0.5, start=2.0, seconds=2.0)
    made.attempt("never", again=0.25, seconds=6.0, quality={**QUALITY, "root_error": None})
    limits = ["min_contact_agreement", "max_penetration"]
    made.attempt("never", 1, "rejected", fraction=0.25, start=1.5, seconds=4.5, criteria=limits)
    made.attempt("open", again=0.25, seconds=0.5, criteria=["not finite"])
    made.now = 2.0
    made.event("death", shard=0, reason="died", unfinished=["open"])
    return statistics_of(read_run(made.path))


def test_counts_add_up(statistics):
    counts = statistics.counts
    assert counts.motions == sum(counts.states.values()) == 5
    assert counts.states == {"recorded": 2, "rejected": 1, "invalid": 1, "crashed": 0, "unfinished": 1}
    assert (counts.attempts, counts.lost, counts.deaths) == (7, 0, 1)
    assert (counts.recorded_seconds, counts.dataset_seconds, counts.control_steps) == (4.0, 20.0, 18 * 30)


def test_the_funnel(statistics):
    assert statistics.starts == (
        Start(0.0, attempted=4, recorded=1, retried=2, ended=0, open=1),
        Start(0.25, attempted=2, recorded=0, retried=1, ended=1, open=0),
        Start(0.5, attempted=1, recorded=1, retried=0, ended=0, open=0),
    )
    assert statistics.endings == (
        Ending("rejected", "not accepted: min_contact_agreement, max_penetration", 1),
        Ending("invalid", "its file: is empty", 1),
        Ending("unfinished", "between attempts", 1),
    )


def test_what_ended_attempts(statistics):
    assert statistics.failures == (
        Failure("fall", "head", 2),
        Failure("max_penetration", "", 1),
        Failure("min_contact_agreement", "", 1),
        Failure("not finite", "", 1),
        Failure("root position", "", 1),
    )
    share, seconds = statistics.failed_at
    assert share.edges[0] == 0.0 and share.edges[-1] == 1.0
    found = {name: np.repeat(np.array(share.edges)[:-1], counts).tolist() for name, counts in share.series.items()}
    assert found == {"fall": [0.25, 0.75], "not finite": [0.05], "root position": [0.95]}
    assert {name: sum(counts) for name, counts in seconds.series.items()} == {
        "fall": 2, "not finite": 1, "root position": 1,
    }  # fmt: skip


def test_quality(statistics):
    root, _, _, contact, penetration, skate = statistics.quality
    assert (root.name, root.unit, root.limit, root.missing) == ("root_error", "m", None, 1)
    assert {name: sum(counts) for name, counts in root.series.items()} == {
        "recorded": 2,
        "rejected": 1,
        "failed": 3,
        "recovered": 0,
    }
    assert root.medians == {"recorded": 0.035, "rejected": 0.05, "failed": 0.05, "recovered": None}
    assert (contact.limit, contact.edges[0], contact.edges[-1]) == (0.4, 0.0, 1.0)
    assert penetration.limit == 0.1 < penetration.edges[-1], "the limit is in the picture"
    assert (skate.name, skate.unit, skate.limit) == ("foot_skate", "m/s", None)


def test_success_by_length_and_terrain(statistics):
    by_length = [
        (b.low, b.high, b.recorded_whole, b.recorded_later, b.not_recorded) for b in statistics.success["seconds"]
    ]
    assert sum(whole + later + no for _, _, whole, later, no in by_length) == 3, "the open one says nothing yet"
    assert [(whole, later, no) for low, high, whole, later, no in by_length if low <= 4.0 < high] == [(0, 1, 0)]
    terrain = statistics.success["terrain_range"]
    assert (terrain[0].low, terrain[-1].high) == (0.0, 0.4)
    assert (terrain[0].recorded_whole, terrain[-1].not_recorded) == (1, 1)


def test_use_of_the_slots(statistics):
    (use,) = statistics.use
    assert use.attempts == 7
    assert use.useful == pytest.approx(0.4) and use.wasted == pytest.approx(1.4)
    assert use.cut == pytest.approx(1.0 + 0.4), "one slot was never heard of, the other not for 0.4 s"
    assert use.idle == 0.0, "in this journal one slot does several things at a time"


def test_slots_of_an_actor_that_was_lost_or_not(made):
    """Two slots for 5 s: 1 s of an attempt in the first. What the others did, nobody knows if the actor was lost."""
    made.begin(2)
    made.planned("one")
    made.planned("two")
    for shard, motion in enumerate(("one", "two")):
        made.now = 0.0
        made.event("shard", shard=shard, motions=[motion], envs=2, deaths=0)
        made.now = 1.0
        made.event("ready", shard=shard)
        made.attempt(motion, outcome="recorded", seconds=10.0, shard=shard, began=2.0)
        made.final(motion, "recorded")
    made.now = 6.0
    made.event("death", shard=0, reason="died", unfinished=[])
    lost, well = statistics_of(read_run(made.path)).use
    assert (lost.useful, lost.cut, lost.idle) == (1.0, 2.0 + 5.0, 2.0)
    assert (well.useful, well.cut, well.idle) == (1.0, 0.0, 2 * 3.0 - 1.0), "it ended with its last attempt"


def test_a_run_that_has_not_begun_to_work(made):
    made.begin(1)
    made.planned("motion")
    statistics = statistics_of(read_run(made.path))
    assert statistics.counts.states["unfinished"] == 1
    assert (statistics.starts, statistics.failures, statistics.use) == ((), (), ())
    assert statistics.endings == (Ending("unfinished", "never begun", 1),)


numbers = st.floats(0, 1e4).map(lambda value: round(value, 4))


@given(st.lists(numbers, min_size=1), st.integers(2, 40))
def test_edges_are_few_even_and_hold_all_values(values, bins):
    low, high = min(values), max(values)
    edges = np.array(nice_edges(low, high, bins))
    assert 2 <= len(edges) <= bins + 1
    assert edges[0] <= low + 1e-9 and high <= edges[-1] + 1e-9
    if high - low > 1e-9:
        widths = np.diff(edges)
        np.testing.assert_allclose(widths, widths[0], rtol=1e-6)
        digits = widths[0] / 10.0 ** np.floor(np.log10(widths[0]) + 1e-9)
        assert min(abs(digits - nice) for nice in (1, 2, 5)) < 1e-6
        counts = np.zeros(len(edges) - 1, dtype=int)
        for value in values:
            counts[place(value, edges)] += 1
        assert counts.tolist() == np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].tolist()


def test_recovery_is_kept_apart(made):
    """One motion recorded at once, one recovered, one from a later start, one that nothing could track."""
    made.begin(4)
    for name in ("once", "recovered", "later", "lost"):
        made.planned(name)
    made.attempt("once", 0, "recorded", 2.0)
    for name in ("recovered", "later", "lost"):
        made.attempt(name, 0, "failed", 0.5, again=0.0)
        population(made, name, 0, 16, "failed", 0.0)
    population(made, "recovered", 1, 32, "recorded", None)
    for name, outcome in (("later", "recorded"), ("lost", "failed")):
        population(made, name, 1, 32, "failed", 0.5)
        made.attempt(name, 1, outcome, 1.0, 1.0, 0.5)
    run = read_run(made.path)
    statistics = statistics_of(run)
    counts = statistics.counts
    assert counts.states["recorded"] == 3 and counts.states["rejected"] == 1
    assert counts.recorded_how == {"at once": 1, "recovered": 1, "from a later start": 1}
    assert (counts.attempts, counts.populations) == (6, 6)
    assert counts.control_steps == 30 * (2 + 3 * 0.5 + 2 * 1) + 6 * 100
    start, later = statistics.starts
    assert (start.attempted, start.recorded, start.retried, start.ended) == (4, 1, 3, 0)
    assert (later.attempted, later.recorded, later.retried, later.ended) == (2, 1, 0, 1)
    assert [(one.copies, one.tried, one.recovered) for one in statistics.recovery] == [(16, 3, 0), (32, 3, 1)]
    assert sum(statistics.quality[0].series["recovered"]) == 1
    bins = statistics.success["seconds"]
    totals = [
        sum(getattr(one, name) for one in bins)
        for name in ("recorded_whole", "recovered", "recorded_later", "not_recorded")
    ]
    assert totals == [1, 1, 1, 1]


def population(made, motion, number, copies, outcome, again):
    """A journal's line of a population."""
    made.attempt(motion, number, outcome, 2.0, again=again, recording=b"x" if outcome == "recorded" else b"")
    line = {**made.lines.pop(), "copies": copies, "env_steps": 100}
    made.event("recovery", **{key: value for key, value in line.items() if key not in ("event", "time", "elapsed")})
