from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc_ray.motions.dataset import Dataset, ExcludedMotion, InvalidMotion, MotionEntry
from parc_ray.recording.attempts import AttemptResult
from parc_ray.runs.ledger import Ledger, Outcome

FRACTIONS = (0.0, 0.25, 0.5, 0.75)


def make_ledger(count=3, invalid=1):
    entries = tuple(MotionEntry(f"m{k}", f"/m{k}.pkl", 1.0, 61, 30.0, 2.0, (3, 3), 100) for k in range(count))
    bad = tuple(InvalidMotion(f"bad{k}", f"/bad{k}.pkl", "is empty") for k in range(invalid))
    return Ledger(Dataset(entries, bad, (ExcludedMotion("short", "/short.pkl", "3 frames"),)))


def result(motion, number=0, outcome="recorded", reason="", last=True):
    fraction = FRACTIONS[number]
    return AttemptResult(
        motion=motion,
        number=number,
        start_fraction=fraction,
        start_time=2.0 * fraction,
        seconds=1.0,
        outcome=outcome,
        reason=reason,
        quality={},
        next_fraction=None if last else FRACTIONS[number + 1],
        recorded_seconds=2.0 * (1.0 - fraction) if outcome == "recorded" else 0.0,
    )


def test_a_motion_is_followed_to_its_recording():
    ledger = make_ledger()
    failed = result("m0", 0, "failed", "fall (head) after 0.50 s", last=False)
    assert ledger.add(failed, None) is None
    assert ledger.unfinished(["m0", "m1"]) == ["m0", "m1"]
    outcome = ledger.add(result("m0", 1), Path("/out/m0.pkl"))
    assert outcome == Outcome("recorded", "", 0.25, 1.5, Path("/out/m0.pkl"))
    assert ledger.unfinished(["m0", "m1"]) == ["m1"]
    assert (ledger.attempts, ledger.dealt_with, ledger.total) == (2, 2, 4)


def test_late_repeated_and_early_results_are_not_expected():
    ledger = make_ledger()
    first, second = result("m0", 0, "failed", "fall", last=False), result("m0", 1)
    assert ledger.expects(first)
    assert not ledger.expects(second)
    ledger.add(first, None)
    assert not ledger.expects(first)
    assert ledger.expects(second)
    ledger.add(second, None)
    assert not ledger.expects(second)
    assert not ledger.expects(result("m0", 2))
    ledger.finish("m1", Outcome("crashed", "actor died"))
    assert not ledger.expects(result("m1"))


def test_a_second_final_state_is_refused():
    ledger = make_ledger()
    ledger.add(result("m0"), None)
    with pytest.raises(AssertionError, match="m0"):
        ledger.finish("m0", Outcome("crashed", "actor died"))
    with pytest.raises(AssertionError, match="m0"):
        ledger.add(result("m0", 1), None)


def test_summary_counts_by_start_fraction_and_reason():
    ledger = make_ledger(7, invalid=2)
    ledger.add(result("m0"), None)
    ledger.add(result("m1", 0, "failed", "fall (head) after 0.10 s", last=False), None)
    ledger.add(result("m1", 1), None)
    ledger.add(result("m2", 0, "failed", "fall (head) after 0.50 s"), None)
    ledger.add(result("m3", 0, "failed", "fall (torso) after 0.70 s"), None)
    ledger.add(result("m4", 0, "rejected", "min_contact_agreement: 0.210 < 0.4; max_penetration: 0.200 > 0.1"), None)
    ledger.finish("m5", Outcome("crashed", "actor died"))
    summary = ledger.summary()
    expected = {"motions": 9, "recorded": 2, "rejected": 3, "invalid": 2, "crashed": 1, "not_attempted": 1}
    assert {key: summary[key] for key in expected} == expected
    assert summary["recorded_from"] == {"0": 1, "0.25": 1}
    assert summary["rejected_by_reason"] == {
        "not tracked: fall": 2,
        "not accepted: min_contact_agreement, max_penetration": 1,
    }
    assert (summary["attempts"], summary["attempted"]) == (6, 5)
    assert summary["recorded_seconds"] == pytest.approx(3.5)
    assert summary["dataset_seconds"] == pytest.approx(14.0)
    assert summary["invalid_motions"] == {"/bad0.pkl": "is empty", "/bad1.pkl": "is empty"}
    assert summary["crashed_motions"] == {"m5": "actor died"}
    assert summary["excluded_by_config"] == {"/short.pkl": "3 frames"}


@given(st.lists(st.sampled_from(["recorded", "rejected", "crashed", "open"]), min_size=1, max_size=30))
def test_counts_always_add_up_to_the_dataset(states):
    ledger = make_ledger(len(states), invalid=2)
    for k, state in enumerate(states):
        if state == "crashed":
            ledger.finish(f"m{k}", Outcome("crashed", "actor died"))
        elif state != "open":
            ledger.add(result(f"m{k}", 0, state, "too deep" if state == "rejected" else ""), None)
    summary = ledger.summary()
    for state in ("recorded", "rejected", "crashed"):
        assert summary[state] == ledger.count(state) == states.count(state)
    assert summary["not_attempted"] == states.count("open")
    assert summary["motions"] == len(states) + 2
    assert sum(summary["recorded_from"].values()) == summary["recorded"]
    assert sum(summary["rejected_by_reason"].values()) == summary["rejected"]


def test_a_motion_from_elsewhere_is_noticed():
    ledger = make_ledger(1)
    ledger.finish("m0", Outcome("crashed", "x"))
    ledger.finish("stranger", Outcome("crashed", "x"))
    with pytest.raises(RuntimeError, match="add up"):
        ledger.summary()
