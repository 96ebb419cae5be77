from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.errors import InputError
from parc_ray.motions.dataset import Dataset, ExcludedMotion, InvalidMotion, MotionEntry
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.runs.events import AttemptEnded, MotionEnded, RecordingLost, RunStarted, dataset_events
from parc_ray.runs.journal import Journal
from parc_ray.runs.ledger import Ledger, read_ledger
from parc_ray.runs.motion_state import MotionState

FRACTIONS = (0.0, 0.25, 0.5, 0.75)
ENTRIES = tuple(MotionEntry(f"m{k}", f"/m{k}.pkl", 1.0, 61, 30.0, 2.0, (3, 3), 100) for k in range(30))
FINGERPRINT = {"simulator": "mujoco", "env_file": {"env": {"control_freq": 30}}}


def make_dataset(count=3, invalid=1):
    bad = tuple(InvalidMotion(f"bad{k}", f"/bad{k}.pkl", "is empty") for k in range(invalid))
    return Dataset(ENTRIES[:count], bad, (ExcludedMotion("short", "/short.pkl", "3 frames"),))


def make_ledger(count=3, invalid=1):
    """The ledger of a run that has just begun."""
    ledger = Ledger()
    for event in (RunStarted(FINGERPRINT, count), *dataset_events(make_dataset(count, invalid))):
        assert ledger.take(event) is None
    return ledger


def attempt(motion, number=0, outcome="recorded", reason="", criteria=(), last=True):
    fraction, recorded = FRACTIONS[number], outcome == "recorded"
    summary = RunAttempt(
        motion=motion,
        number=number,
        start_fraction=fraction,
        start_time=2.0 * fraction,
        seconds=0.5,
        outcome=Outcome(outcome),
        reason=reason,
        criteria=tuple(criteria),
        next_fraction=None if last else FRACTIONS[number + 1],
        recorded_seconds=2.0 * (1.0 - fraction) if recorded else 0.0,
    )
    return AttemptEnded(0, 77 if recorded else 0, summary)


def crash(motion):
    return MotionEnded(motion, MotionState.CRASHED, "actor died")


def test_a_motion_is_followed_to_its_recording():
    ledger = make_ledger()
    failed = attempt("m0", 0, "failed", "fall (head) after 0.50 s", last=False)
    assert ledger.take(failed) is None
    assert ledger.unfinished(["m0", "m1"]) == ["m0", "m1"]
    outcome = ledger.take(attempt("m0", 1))
    assert outcome == MotionEnded("m0", MotionState.RECORDED, "", 0.25, 1.5, None, 77)
    assert ledger.unfinished(["m0", "m1"]) == ["m1"]
    assert (ledger.attempts, ledger.dealt_with, ledger.total) == (2, 2, 4)


def test_late_repeated_and_early_results_are_not_expected():
    ledger = make_ledger()
    first, second = attempt("m0", 0, "failed", "fall", last=False), attempt("m0", 1)
    assert ledger.expects(first.attempt)
    assert not ledger.expects(second.attempt)
    ledger.take(first)
    assert not ledger.expects(first.attempt)
    assert ledger.expects(second.attempt)
    ledger.take(second)
    assert not ledger.expects(second.attempt)
    assert not ledger.expects(attempt("m0", 2).attempt)
    ledger.take(crash("m1"))
    assert not ledger.expects(attempt("m1").attempt)


def test_a_second_final_state_is_refused():
    ledger = make_ledger()
    ledger.take(attempt("m0"))
    with pytest.raises(ValueError, match="m0"):
        ledger.take(crash("m0"))
    with pytest.raises(ValueError, match="m0"):
        ledger.take(attempt("m0", 1))


def test_summary_counts_by_start_fraction_and_reason():
    ledger = make_ledger(7, invalid=2)
    ledger.take(attempt("m0"))
    ledger.take(attempt("m1", 0, "failed", "fall (head) after 0.10 s", ["fall"], last=False))
    ledger.take(attempt("m1", 1))
    ledger.take(attempt("m2", 0, "failed", "fall (head) after 0.50 s", ["fall"]))
    ledger.take(attempt("m3", 0, "failed", "fall (torso) after 0.70 s", ["fall"]))
    limits = ["min_contact_agreement", "max_penetration"]
    ledger.take(
        attempt("m4", 0, "rejected", "min_contact_agreement: 0.210 < 0.4; max_penetration: 0.200 > 0.1", limits)
    )
    ledger.take(crash("m5"))
    summary = ledger.summary()
    expected = {"motions": 9, "recorded": 2, "rejected": 3, "invalid": 2, "crashed": 1, "unfinished": 1}
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
            ledger.take(crash(f"m{k}"))
        elif state != "open":
            ledger.take(attempt(f"m{k}", 0, state, "too deep" if state == "rejected" else ""))
    summary = ledger.summary()
    for state in ("recorded", "rejected", "crashed"):
        assert summary[state] == ledger.count(state) == states.count(state)
    assert summary["unfinished"] == states.count("open")
    assert summary["motions"] == len(states) + 2
    assert sum(summary["recorded_from"].values()) == summary["recorded"]
    assert sum(summary["rejected_by_reason"].values()) == summary["rejected"]


def test_a_motion_from_elsewhere_is_noticed():
    ledger = make_ledger(1)
    ledger.take(crash("m0"))
    ledger.take(crash("stranger"))
    with pytest.raises(RuntimeError, match="add up"):
        ledger.summary()


# ------------------------------------------------------------------------------------------- reading it again

moves = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["failed", "recorded", "crashed", "lost", "run", "line"])), max_size=40
)


def apply(move, name, state, number):
    """The event of a move, or None if it is not possible. line: the motion's own line, which may come late."""
    if move == "run":
        return RunStarted(FINGERPRINT, 4)
    if move == "lost" and state == "recorded":
        return RecordingLost(name)
    if move == "line" and state in ("recorded", "rejected"):
        return MotionEnded(name, MotionState(state))
    if move == "crashed" and state == "open":
        return crash(name)
    if move in ("failed", "recorded") and state == "open":
        return attempt(name, number, move, "" if move == "recorded" else "fall", last=move == "recorded" or number == 3)
    return None


@settings(deadline=None)
@given(moves)
def test_a_journal_gives_the_ledger_that_wrote_it(tmp_path_factory, moves):
    """Whatever happened in however many sessions; what is expected is found by other means."""
    path = tmp_path_factory.mktemp("replay") / "journal.jsonl"
    journal, ledger = Journal(path), Ledger()
    first = [RunStarted(FINGERPRINT, 4), *dataset_events(make_dataset(4))]
    states, numbers, unwritten, attempts = {}, dict.fromkeys((f"m{k}" for k in range(4)), 0), set(), 0
    events = []
    for index, move in moves:
        name = f"m{index}"
        event = apply(move, name, states.get(name, "open"), numbers[name])
        if event is None:
            continue
        events.append(event)
        if move == "run":
            states = {key: state for key, state in states.items() if state != "crashed"}
        elif move == "lost":
            numbers[name] -= 1
            del states[name]
            unwritten.discard(name)
        elif move == "line":
            unwritten.discard(name)
        elif move == "crashed":
            states[name] = "crashed"
        else:
            attempts, numbers[name] = attempts + 1, numbers[name] + 1
            if event.attempt.next_fraction is None:
                states[name] = "recorded" if move == "recorded" else "rejected"
                unwritten.add(name)
    for event in first + events:
        journal.write(event)
        ledger.take(event)
    journal.close()
    assert read_ledger(path) == ledger
    assert {name: outcome.state for name, outcome in ledger.outcomes.items()} == states
    assert {name: ledger.next_attempt.get(name, 0) for name in numbers} == numbers
    assert set(ledger.unwritten) == unwritten
    assert (ledger.attempts, ledger.control_steps) == (attempts, 15 * attempts)
    assert ledger.sessions == 1 + sum(isinstance(event, RunStarted) for event in events)


def test_what_a_dataset_has_set_aside_since_is_told_once():
    ledger, dataset = make_ledger(3), make_dataset(3)
    assert ledger.missing_events(dataset) == []
    new = InvalidMotion("m0", "/again/m0.pkl", "has the same name as /m0.pkl")
    (event,) = ledger.missing_events(replace(dataset, invalid=(*dataset.invalid, new)))
    assert event is new
    ledger.take(event)
    assert ledger.missing_events(replace(dataset, invalid=(*dataset.invalid, new))) == []
    assert len(Ledger().missing_events(dataset)) == 5


@pytest.mark.parametrize(
    "events",
    [
        [RunStarted({"checkpoint": ""}, 0), attempt("m0")],
        [RunStarted(FINGERPRINT, 0), RecordingLost("m0")],
        [RunStarted(FINGERPRINT, 0), attempt("m0"), attempt("m0", 1)],
        [RunStarted(FINGERPRINT, 0), attempt("m0"), crash("m0")],
    ],
)
def test_a_journal_that_contradicts_itself_is_refused(tmp_path, events):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write(*events)
    with pytest.raises(InputError, match=r"journal\.jsonl: .*another version.*--overwrite"):
        read_ledger(tmp_path / "journal.jsonl")


def test_events_that_lack_something_are_refused(tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"event": "run", "time": 1.0, "motions": 0, "checkpoint_sha256": ""}\n')
    with pytest.raises(InputError, match="another version"):
        read_ledger(tmp_path / "journal.jsonl")
