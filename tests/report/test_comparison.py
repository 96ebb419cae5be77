"""Two runs side by side: journals that are known line by line, and properties of any two runs."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from parc_ray import cli
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.report.comparison import compare_runs, compare_values, sign_test
from parc_ray.report.comparison_text import print_comparison
from parc_ray.runs.history import Run, RunMotion, Session, read_run
from parc_ray.runs.motion_state import MotionState
from parc_ray.tracking.metrics import BY_NAME, METRICS, Metric
from tests.report.made_run import QUALITY, MadeRun

NAMES = ("won", "lost", "same", "earlier", "later", "neither", "cut", "crash")


def metrics(**changes):
    return {**QUALITY, **changes}


@pytest.fixture()
def runs(tmp_path):
    """Two runs of eight motions in common, in which everything happens; one is cut off."""
    a, b = MadeRun(tmp_path / "a"), MadeRun(tmp_path / "b")
    for run, own in ((a, "mine"), (b, "theirs")):
        run.begin(10)
        for name in NAMES:
            run.planned(name, 4.0, content=name.encode())
        run.planned(own, content=b"own")
        run.planned("edited", content=own.encode())
        run.final("bad", "invalid", "is empty", path="bad.pkl")
        run.event("shard", shard=0, motions=list(NAMES), envs=2, deaths=0)
        run.now = 2.0
    a.attempt("won", again=0.25, seconds=1.0)
    a.attempt("won", 1, fraction=0.25, start=1.0, seconds=0.5, reason="root position after 0.50 s")
    b.attempt("won", again=0.25, seconds=2.0)
    b.attempt("won", 1, "recorded", fraction=0.25, start=1.0, seconds=3.0)
    a.attempt("lost", outcome="recorded", seconds=4.0)
    b.attempt("lost", outcome="rejected", seconds=4.0)
    a.attempt("same", outcome="recorded", seconds=4.0, quality=metrics(root_error=0.04, contact_agreement=0.5))
    b.attempt("same", outcome="recorded", seconds=4.0, quality=metrics(root_error=0.01, contact_agreement=None))
    a.attempt("earlier", again=0.5, seconds=1.0)
    a.attempt("earlier", 1, "recorded", fraction=0.5, start=2.0, seconds=2.0)
    b.attempt("earlier", outcome="recorded", seconds=4.0)
    a.attempt("later", outcome="recorded", seconds=4.0)
    b.attempt("later", again=0.25, seconds=3.0)
    b.attempt("later", 1, "recorded", fraction=0.25, start=1.0, seconds=3.0)
    a.attempt("neither", seconds=0.5)
    b.attempt("neither", seconds=0.5, criteria=["fall"], body="head")
    a.attempt("cut", outcome="recorded", seconds=4.0)
    b.attempt("cut", again=0.25, seconds=2.0)
    a.final("crash", "crashed", "actor died")
    b.attempt("crash", outcome="recorded", seconds=4.0)
    a.event("end", exit_code=3)
    return a.path, b.path


@pytest.fixture()
def comparison(runs):
    return compare_runs(*map(read_run, runs))


def names(changes):
    return [change.motion for change in changes]


# ------------------------------------------------------------------------------------------- known journals


def test_every_motion_is_one_thing(comparison):
    assert comparison.compared == 8
    assert (names(comparison.won), names(comparison.lost)) == (["won"], ["lost"])
    assert (names(comparison.earlier), names(comparison.later)) == (["earlier"], ["later"])
    assert (comparison.same_start, comparison.neither) == (1, 1)
    assert names(comparison.undecided) == ["crash", "cut"]
    assert (comparison.only_baseline, comparison.only_candidate) == (("mine",), ("theirs",))
    assert comparison.changed == ("edited",)
    (won,) = comparison.won
    assert (won.baseline.state, won.baseline.reason) == ("rejected", "not tracked: root position after 0.50 s")
    assert (won.candidate.start_fraction, won.candidate.recorded_seconds) == (0.25, 3.0)


def test_counts_are_of_the_motions_that_are_compared(comparison):
    a, b = comparison.baseline, comparison.candidate
    assert (a.motions, a.invalid, b.motions) == (11, 1, 11)
    assert a.recorded_from == {"0": 4, "0.5": 1} and b.recorded_from == {"0": 3, "0.25": 2}
    assert a.rejected == {"not tracked: root position": 2}
    assert b.rejected == {"not accepted: max_penetration": 1, "not tracked: fall": 1}
    assert (a.crashed, a.unfinished, b.crashed, b.unfinished) == (1, 0, 0, 1)
    assert (a.exit_code, b.exit_code) == (3, None)
    assert (a.recorded_seconds, b.recorded_seconds) == (18.0, 18.0)
    assert (a.control_steps, b.control_steps) == (21 * 30, 29.5 * 30) and a.steps_per_second == 10.5 * 30


def test_figures_of_pairs(comparison):
    by_name = {row.metric.name: row for row in comparison.quality}
    root = by_name["root_error"]
    assert (root.pairs, root.baseline, root.candidate) == (1, 0.04, 0.01)
    assert root.difference == pytest.approx(-0.03) and root.deviation is None and root.interval is None
    assert by_name["contact_agreement"].pairs == 0, "what one of them lacks is no pair"
    first = comparison.first_attempts
    before, after = [1.0, 4.0, 4.0, 1.0, 4.0, 0.5, 4.0], [2.0, 4.0, 4.0, 4.0, 3.0, 0.5, 2.0]
    assert (first.seconds.pairs, first.longer, first.shorter, first.equal) == (7, 2, 2, 3)
    assert (first.whole_baseline, first.whole_candidate) == (4, 3)
    assert first.seconds.baseline == pytest.approx(np.mean(before))
    assert first.seconds.difference == pytest.approx(np.mean(np.subtract(after, before)))
    assert first.seconds.deviation == pytest.approx(np.std(np.subtract(after, before), ddof=1))


def test_a_lost_recording_is_no_first_attempt(made):
    made.begin(1)
    made.planned("motion")
    made.event("shard", shard=0, motions=["motion"], envs=1, deaths=0)
    made.attempt("motion", outcome="recorded", seconds=2.0)
    made.event("lost", motion="motion")
    lost = read_run(made.path)
    assert compare_runs(lost, lost).first_attempts.seconds.pairs == 0
    made.attempt("motion", outcome="recorded", seconds=2.0)
    again = read_run(made.path)
    assert compare_runs(again, again).first_attempts.seconds.pairs == 1


def test_what_differs_is_named(runs):
    _, b = runs
    lines = [json.loads(line) for line in (b / "journal.jsonl").read_text().splitlines()]
    lines[0]["fingerprint"].update({"simulator": "physx", "version of physx": "0.7", "retry": {"max_retries": 5}})
    del lines[0]["fingerprint"]["version of mujoco"]
    lines[0]["config"].update({"seed": 3, "device": "cuda", "model_file": "/elsewhere/model.pt"})
    lines[0]["config"]["recovery"] = {"copies": [16, 32], "noise": 0.6}
    lines[0]["versions"]["torch"] = "2.4"
    (b / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = {s.key: (s.baseline, s.candidate) for s in compare_runs(*map(read_run, runs)).settings}
    assert found == {
        "simulator": ("mujoco", "physx"),
        "version of mujoco": ("4.0.0", None),
        "version of physx": (None, "0.7"),
        "retry.max_retries": (None, 5),
        "version of torch": (None, "2.4"),
        "device": (None, "cuda"),
        "recovery": ("off", "copies [16, 32], noise 0.6"),
    }, "the same checkpoint in another place is the same"
    lines[0]["fingerprint"]["model_file (sha256)"] = "f" * 64
    (b / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = {s.key for s in compare_runs(*map(read_run, runs)).settings}
    assert {"model_file", "model_file (sha256)"} <= found


# ------------------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize(
    "more, fewer, probability",
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 0.0625),
        (0, 6, 0.03125),
        (8, 2, 0.109375),
        (16, 6, 0.052478790283203125),
        (51, 49, 0.9204107626128206),
        (1000, 0, 2.0**-999),
        (4000, 0, 0.0),
    ],
)
def test_the_sign_test_is_exact(more, fewer, probability):
    assert sign_test(more, fewer) == sign_test(fewer, more) == pytest.approx(probability, rel=1e-12)


@pytest.mark.parametrize("coins", range(11))
def test_the_sign_test_counts_all_throws(coins):
    throws = [sum(throw) for throw in itertools.product((0, 1), repeat=coins)]
    for heads in range(coins + 1):
        uneven = sum(abs(2 * sum_ - coins) >= abs(2 * heads - coins) for sum_ in throws)
        assert sign_test(heads, coins - heads) == uneven / len(throws)


def test_the_interval_is_that_of_a_mean():
    """Of many normal differences the known one; it holds the truth in about 95 of 100 cases, skewed ones included."""
    generator = np.random.default_rng(1)
    values = generator.normal(0.3, 2.0, 900)
    low, high = compare_values(BY_NAME["root_error"], [(0.0, value) for value in values]).interval
    half = 1.96 * values.std(ddof=1) / 30
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    for draw in (lambda: generator.normal(1.0, 1.0, 60), lambda: generator.exponential(1.0, 60)):
        held = [compare_values(BY_NAME["root_error"], [(0.0, value) for value in draw()]).interval for _ in range(200)]
        assert 0.88 <= np.mean([low <= 1.0 <= high for low, high in held]) <= 0.99
    assert compare_values(BY_NAME["root_error"], [(0.0, float(k)) for k in range(9)]).interval is None


@pytest.mark.parametrize("better, change, verdict", [("lower", -1.0, "better"), ("higher", -1.0, "worse")])
def test_a_verdict_needs_an_interval_without_zero(better, change, verdict):
    metric = Metric("x", "X", "", better=better)
    pairs = [(5.0, 5.0 + change + 0.01 * k) for k in range(20)]
    assert compare_values(metric, pairs).verdict == verdict
    assert compare_values(metric, [(b, a) for a, b in pairs]).verdict != verdict
    assert compare_values(metric, pairs[:5]).verdict == ""
    assert compare_values(metric, [(1.0, 1.0 + (-1) ** k) for k in range(20)]).verdict == ""


def test_every_figure_is_compared(comparison):
    assert [row.metric for row in comparison.quality] == list(METRICS)


# ------------------------------------------------------------------------------------------- any two runs

FATES = ("recorded", "rejected", "crashed", "unfinished")


def outcome(recorded):
    return Outcome.RECORDED if recorded else Outcome.FAILED


def past_motion(name, state, fraction, errors):
    attempts = []
    if state != "unfinished":
        first = state == "recorded" and not fraction
        attempts.append(RunAttempt(name, 0, 0.0, 0.0, errors[0], outcome(first), criteria=("fall",)))
        if not first:
            attempts.append(RunAttempt(name, 1, fraction, 1.0, 2.0, outcome(state == "recorded")))
        quality = dict.fromkeys(BY_NAME, errors[1])
        attempts[-1] = replace(attempts[-1], quality=quality)
    recorded = state == "recorded"
    return RunMotion(
        name, f"{name}.pkl", MotionState(state), "", 4.0, 0.0, name, fraction if recorded else None, 2.0 * recorded,
        attempts=tuple(attempts),
    )  # fmt: skip


def past_run(motions):
    session = Session(0.0, 10.0, 0, "", {}, {})
    fingerprint = {"simulator": "mujoco", "env_file": {"env": {"control_freq": 30}}}
    return Run(Path("run"), Path(), "", fingerprint, tuple(motions), (session,), ())


numbers = st.integers(0, 1000).map(lambda value: value / 64)
fates = st.tuples(st.sampled_from(FATES), st.sampled_from([0.0, 0.25, 0.5]), st.tuples(numbers, numbers | st.none()))
both_fates = st.lists(st.tuples(fates, fates), min_size=1, max_size=30)


@settings(deadline=None, max_examples=60)
@given(both_fates)
def test_the_other_way_round_everything_is_the_negative(drawn):
    before = past_run(past_motion(f"m{k}", *a) for k, (a, _) in enumerate(drawn))
    after = past_run(past_motion(f"m{k}", *b) for k, (_, b) in list(enumerate(drawn))[::-1])
    there, back = compare_runs(before, after), compare_runs(after, before)
    for one, other in (("won", "lost"), ("earlier", "later"), ("undecided", "undecided")):
        assert names(getattr(there, one)) == names(getattr(back, other))
    assert (there.same_start, there.neither, there.probability) == (back.same_start, back.neither, back.probability)
    parts = (there.won, there.lost, there.earlier, there.later, there.undecided)
    assert sum(map(len, parts)) + there.same_start + there.neither == there.compared == len(drawn)
    assert (there.baseline, there.candidate) == (back.candidate, back.baseline)
    first, last = there.first_attempts, back.first_attempts
    assert (first.longer, first.shorter, first.equal) == (last.shorter, last.longer, last.equal)
    for one, other in zip((*there.quality, first.seconds), (*back.quality, last.seconds)):
        assert (one.pairs, one.baseline, one.candidate) == (other.pairs, other.candidate, other.baseline)
        assert (one.difference is None) == (one.pairs == 0)
        if one.pairs:
            assert one.difference == -other.difference
            assert one.deviation == other.deviation
            assert one.quartiles == pytest.approx([-value for value in other.quartiles[::-1]], abs=1e-12)
        assert (one.interval is None) == (one.pairs < 10)
        if one.interval:
            assert one.interval == pytest.approx([-value for value in other.interval[::-1]], abs=1e-12)
            assert one.interval[0] <= one.difference <= one.interval[1]


@settings(deadline=None, max_examples=20)
@given(st.lists(fates, min_size=1, max_size=30))
def test_a_run_is_equal_to_itself(drawn):
    run = past_run(past_motion(f"m{k}", *fate) for k, fate in enumerate(drawn))
    same = compare_runs(run, run)
    assert not (same.won or same.lost or same.earlier or same.later or same.settings) and same.probability == 1.0
    for row in (*same.quality, same.first_attempts.seconds):
        assert row.difference in (None, 0.0) and row.verdict == ""
        assert row.interval in (None, (0.0, 0.0))


# ------------------------------------------------------------------------------------------- on the terminal


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["compare", *map(str, arguments)])


def test_what_is_printed(runs):
    result = invoke(*runs)
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    for part in (
        "A, the baseline", "8 motions are compared", "1 only in A, not compared: mine",
        "1 of the same name, but with other content, not compared: edited", "A has ended with exit code 3",
        "B has not ended, or was killed (1 of these motions unfinished", "1 won: recorded in B, rejected in A",
        "1 won against 1 lost: as even as it can be", "won not tracked: root position after 0.50 s recorded from 25%",
        "2 longer against 2 shorter", "few pairs",
    ):  # fmt: skip
        assert part in text, (part, result.output)
    assert max(map(len, result.output.splitlines()[2:])) <= 100
    assert "\x1b" not in result.output


def test_a_narrow_terminal_shows_less(comparison):
    console = Console(file=io.StringIO(), width=80)
    print_comparison(comparison, console)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines()[2:])) <= 80
    assert "quartiles" not in text and "contact agreement, %" in text


def test_json_is_the_whole_comparison(runs, comparison):
    document = json.loads(invoke(*runs, "--json").output)
    expected = json.loads(json.dumps(asdict(comparison)))
    for row in (*expected["quality"], expected["first_attempts"]["seconds"]):
        row.update({key: row["metric"][key] for key in ("name", "better")})
        del row["metric"]
    for row in (*document["quality"], document["first_attempts"]["seconds"]):
        assert row.pop("verdict") in ("", "better", "worse")
    assert document == expected


def long_runs(tmp_path, name):
    made = [MadeRun(tmp_path / side) for side in "ab"]
    for run, outcome in zip(made, ("failed", "recorded")):
        run.begin(30)
        for k in range(30):
            run.planned(name.format(k))
        run.event("shard", shard=0, motions=[], envs=1, deaths=0)
        for k in range(30):
            run.attempt(name.format(k), outcome=outcome, seconds=2.0)
        run.event("end", exit_code=0)
    return [run.path for run in made]


def test_long_lists_are_shortened(tmp_path):
    runs = long_runs(tmp_path, "motion_{:02d}")
    brief, whole = invoke(*runs).output, invoke(*runs, "--all").output
    assert "motion_07" in brief and "motion_08" not in brief and "and 22 more motions; --all shows them" in brief
    assert all(f"motion_{k:02d}" in whole for k in range(30)) and "--all" not in whole
    assert "30 won against 0 lost" in brief and "less than 0.1% of comparisons" in " ".join(brief.split())


def test_hostile_names_are_shown_as_they_are(tmp_path):
    name = "[red]x[/] \x1b[2J {{}} :boom: " + "long" * 40 + "{:02d}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", lambda *_: None)
        runs = long_runs(tmp_path, name)
    result = invoke(*runs, "--all")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output and "[red]x[/]" in result.output and "\\x1b[2J" in result.output
    assert max(map(len, result.output.splitlines()[2:])) <= 100
    document = json.loads(invoke(*runs, "--json").output)
    assert document["won"][0]["motion"] == name.format(0)


def test_runs_without_a_common_motion_are_refused(tmp_path, made):
    other = MadeRun(tmp_path / "other")
    for run, content in ((made, b"one"), (other, b"another")):
        run.begin(1)
        run.planned("motion", content=content)
        run.event("shard", shard=0, motions=["motion"], envs=1, deaths=0)
    for arguments, message in (
        ((made.path, other.path), "no motion in common (1 and 1 motions, and 1 of the same name have other content)"),
        ((made.path, tmp_path), "holds no run"),
    ):
        with pytest.raises(cli.InputError) as caught:
            cli.app(["compare", *map(str, arguments)], standalone_mode=False)
        assert message in str(caught.value)
