"""Recovery in whole runs: at once, on a finished run, and over interruptions; the bundled tracker on mujoco."""

from __future__ import annotations

import json
import shutil

import pytest

import parc_ray
from parc_ray.errors import InputError
from parc_ray.motions.motion_file import motion_file_bytes, read_misc
from tests.cluster.runs import assert_accounted_for, record_run
from tests.recording.recovery_cases import RECOVERY, find_cases

pytestmark = pytest.mark.slow
KEYS = ("motion_data", "terrain_data", "misc_data")


@pytest.fixture(scope="module")
def cases():
    return find_cases()


@pytest.fixture(scope="module")
def lost_motions(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lost")
    for motion in (cases.easy, cases.first_size, cases.second_size, cases.hopeless):
        (folder / f"{motion.name}.pkl").write_bytes(motion_file_bytes(motion))
    return folder


@pytest.fixture(scope="module")
def at_once(lost_motions, address, tmp_path_factory):
    return record_run(tmp_path_factory.mktemp("at_once"), lost_motions, address, recovery=RECOVERY)


@pytest.fixture(scope="module")
def without(lost_motions, address, tmp_path_factory):
    return record_run(tmp_path_factory.mktemp("without"), lost_motions, address)


@pytest.fixture(scope="module")
def later(without, lost_motions, address, tmp_path_factory):
    folder = tmp_path_factory.mktemp("later")
    shutil.copytree(without.output, folder / "out")
    return record_run(folder, lost_motions, address, recovery=RECOVERY)


def same_recordings(run, other) -> bool:
    mine, theirs = run.recordings(), other.recordings()
    return mine.keys() == theirs.keys() and all(mine[n][part] == theirs[n][part] for n in mine for part in KEYS)


def test_a_run_with_recovery_keeps_the_three_kinds_apart(cases, at_once):
    run = parc_ray.read_run(at_once.output)
    how = {motion.name: motion.recorded_how for motion in run.motions}
    assert how == {
        cases.easy.name: "at once",
        cases.first_size.name: "recovered",
        cases.second_size.name: "recovered",
        cases.hopeless.name: "",
    }
    motions = {motion.name: motion for motion in run.motions}
    assert [(p.copies, p.number, p.outcome) for p in motions[cases.second_size.name].populations] == [
        (4, 0, "failed"), (8, 1, "recorded"),
    ]  # fmt: skip
    assert [a.number for a in motions[cases.second_size.name].attempts] == [0]
    assert motions[cases.second_size.name].last_attempt.copies == 8
    summary = at_once.summary
    assert summary["recorded_from"] == {"0": 1} and summary["recovered"] == {"4": 1, "8": 1}
    assert (summary["populations"], summary["attempts"]) == (5, len(at_once.events("attempt")))
    assert all("copies" not in line for line in at_once.events("attempt"))
    assert "recovered with 8 copies" in at_once.console
    assert run.frame().outcome.eq("failed").sum() == len(
        [a for m in run.motions for a in m.attempts if a.outcome == "failed"]
    )


def test_a_run_that_lost_motions_says_that_they_may_be_recovered(without, at_once):
    assert "motions were not recorded whole; parc-ray record --recover" in without.console
    assert "--recover" not in at_once.console


def test_recovering_a_finished_run_gives_the_bytes_of_recovering_at_once(cases, without, later, at_once):
    assert later.code == 0
    assert same_recordings(later, at_once)
    assert later.summary["recovered"] == at_once.summary["recovered"]
    kept = {name: parts for name, parts in without.recordings().items() if name == cases.easy.name}
    assert kept and all(later.recordings()[name] == parts for name, parts in kept.items())
    assert all(line["motions"] for line in later.events("reopened"))
    assert parc_ray.read_run(later.output).sessions[-1].exit_code == 0


def test_once_recovered_nothing_is_left_to_do(later, lost_motions, address):
    before = (later.output / "journal.jsonl").read_bytes()
    again = record_run(later.output.parent, lost_motions, address, recovery=RECOVERY)
    assert "nothing is left to do" in again.console
    assert (later.output / "journal.jsonl").read_bytes().startswith(before)


@pytest.mark.parametrize("cut", ["recovery", "motion"])
def test_a_kill_between_file_and_journal_harms_nothing(cut, later, at_once, lost_motions, address, tmp_path):
    """The recovered file replaces a part, then come the attempt's line and the motion's: cut off before either."""
    shutil.copytree(later.output, tmp_path / "out")
    journal = tmp_path / "out" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    events = [json.loads(line) for line in lines]
    index = next(i for i, e in enumerate(events) if e["event"] == "recovery" and e["outcome"] == "recorded")
    journal.write_text("".join(lines[: index + (cut == "motion")]))
    resumed = record_run(tmp_path, lost_motions, address, recovery=RECOVERY)
    assert resumed.code == 0 and same_recordings(resumed, at_once)


def test_other_recovery_is_refused_but_larger_sizes_may_follow(at_once, lost_motions, address, tmp_path):
    shutil.copytree(at_once.output, tmp_path / "out")
    with pytest.raises(InputError, match="recovered otherwise"):
        record_run(tmp_path, lost_motions, address, recovery={**RECOVERY, "noise": 0.3})
    more = record_run(tmp_path, lost_motions, address, recovery={"copies": [4, 8, 12]})
    assert same_recordings(more, at_once)
    assert [line["copies"] for line in more.events("recovery")].count(12) == 1
    assert read_misc(more.files[0].read_bytes())


def test_without_recovery_the_run_is_as_it_was(without):
    assert_accounted_for(without)
    assert without.summary["recovered"] == {} and without.summary["populations"] == 0
