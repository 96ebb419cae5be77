"""Why little was recorded, of runs made to show each pattern."""

from __future__ import annotations

import re
from typing import Any, Sequence, Tuple

import pytest

from parc_ray.report.diagnosis import Diagnosis, diagnose
from parc_ray.report.page import page_data
from parc_ray.report.statistics import statistics_of
from parc_ray.runs.history import read_run
from parc_ray.session import explain
from tests.report.made_run import MadeRun

Attempts = Sequence[Tuple[float, float]]
"""start and seconds of the attempts at a motion, which all fail"""


@pytest.fixture
def made(tmp_path) -> MadeRun:
    return MadeRun(tmp_path / "out put")


def failing(made: MadeRun, motions: Sequence[Attempts], recorded: int = 0, **values: Any) -> MadeRun:
    """A run whose first motions are recorded and whose others fail."""
    made.begin(recorded + len(motions))
    for index in range(recorded + len(motions)):
        made.planned(f"m{index}", 10.0)
    for index in range(recorded):
        made.attempt(f"m{index}", outcome="recorded", seconds=10.0, recording=b"x")
        made.final(f"m{index}", "recorded")
    for index, attempts in enumerate(motions, start=recorded):
        later: list[float | None] = [start / 10.0 for start, _ in attempts[1:]]
        for number, ((start, seconds), again) in enumerate(zip(attempts, [*later, None])):
            made.attempt(
                f"m{index}", number, seconds=seconds, start=start, fraction=start / 10.0, again=again, **values
            )
        made.final(f"m{index}", "rejected", "failed")
    return made


def diagnosis_of(made: MadeRun) -> Diagnosis:
    found = diagnose(read_run(made.path))
    assert found is not None
    return found


def test_all_fail_at_once(made):
    found = diagnosis_of(failing(made, [[(0.0, 0.4), (2.5, 0.6)], [(0.0, 0.5)], [(0.0, 3.0)]]))
    assert found.pattern.name == "at once"
    assert "3 of 4 attempts that failed did so within 1 s" in found.pattern.finding
    assert "checkpoint and env_file do not fit" in found.pattern.meaning
    assert "another engine than mujoco 4.0.0" in found.pattern.meaning
    assert found.facts[0] == (
        "0 of 3 motions were recorded; 4 attempts failed, 0 attempts tracked to the end but not accepted."
    )
    assert found.facts[1] == "Half of the attempts that failed did so within 0.6 s."


def test_all_fail_at_one_place(made):
    found = diagnosis_of(failing(made, [[(0.0, 6.0), (2.5, 3.6), (5.0, 1.2)], [(0.0, 4.0), (2.5, 1.6)]]))
    assert found.pattern.name == "one place"
    assert "2 of 2 motions" in found.pattern.finding and "(m0: 6.0 to 6.2 s)" in found.pattern.finding
    assert "terrain does not fit" in found.pattern.meaning
    assert found.example == "m0"


def test_attempts_that_begin_at_one_place_show_no_place(made):
    found = diagnosis_of(failing(made, [[(0.0, 4.0)], [(0.0, 4.0)]]))
    assert found.pattern.name == "here and there"


def test_attempts_fail_here_and_there(made):
    found = diagnosis_of(failing(made, [[(0.0, 3.0), (2.5, 4.0)], [(0.0, 2.0), (2.5, 2.0)], [(0.0, 9.0)]]))
    assert found.pattern.name == "here and there"
    assert "not trained long enough" in found.pattern.meaning
    assert found.example == "m2"  # whose attempt came farthest


def test_attempts_are_tracked_but_not_accepted(made):
    made.begin(3)
    for index in range(3):
        made.planned(f"m{index}", 2.0)
        made.attempt(f"m{index}", outcome="rejected", criteria=["min_contact_agreement"])
        made.final(f"m{index}", "rejected", "min_contact_agreement")
    found = diagnosis_of(made)
    assert found.pattern.name == "not accepted"
    assert "3 attempts tracked to the end, but mostly broke acceptance.min_contact_agreement" in found.pattern.finding
    assert "contact labels" in found.pattern.meaning
    assert len(found.facts) == 2  # no attempt failed, so none took any time to


def test_the_commonest_criteria_and_bodies_are_named(made):
    made.begin(7)
    for index, (criterion, body) in enumerate([("body position", "left_foot")] * 5 + [("fall", "torso")] * 2):
        made.planned(f"m{index}", 10.0)
        made.attempt(f"m{index}", seconds=2.0, criteria=[criterion], body=body)
        made.final(f"m{index}", "rejected", "failed")
    told = "Most were ended by: body position (5), fall (2); bodies: left_foot (5), torso (2)."
    assert told in diagnosis_of(made).facts


def test_nothing_is_said_where_half_is_recorded(made):
    failing(made, [[(0.0, 0.4)]] * 2, recorded=2)
    assert diagnose(read_run(made.path)) is None


def test_motions_without_an_outcome_do_not_count(made):
    failing(made, [[(0.0, 0.4)]], recorded=1)
    made.planned("later", 2.0)
    assert diagnose(read_run(made.path)) is None


def test_kept_failures_are_shown_by_the_viewer(made):
    without = diagnosis_of(failing(made, [[(0.0, 3.0)]]))
    assert without.advice[0].startswith(f"parc-ray view '{made.path}' shows the references")
    assert "record.keep_failures: true" in without.advice[1]
    kept = failing(MadeRun(made.path.parent / "kept"), [[(0.0, 3.0)]], trajectory=b"x")
    (advice,) = diagnosis_of(kept).advice
    assert advice.startswith(f"parc-ray view {kept.path} shows the references and, of m0")


def test_the_report_has_the_same_block(made):
    run = read_run(failing(made, [[(0.0, 0.4)]]).path)
    data = page_data(run, statistics_of(run), None, [])
    assert data["diagnosis"] == diagnosis_of(made).lines()
    recorded = read_run(failing(MadeRun(made.path.parent / "good"), [], recorded=1).path)
    assert page_data(recorded, statistics_of(recorded), None, [])["diagnosis"] is None


def test_a_run_says_it_at_its_end(made, capsys):
    from parc_ray.terminal.screen import open_screen

    failing(made, [[(0.0, 0.4)]])
    explain(made.path, {"attempted": 1, "recorded": 0}, open_screen())
    printed = capsys.readouterr().out
    assert "Why so little was recorded:" in printed
    assert all(line in printed for line in diagnosis_of(made).lines())
    explain(made.path, {"attempted": 2, "recorded": 1}, open_screen())
    assert capsys.readouterr().out == ""
    (made.path / "journal.jsonl").unlink()
    explain(made.path, {"attempted": 1, "recorded": 0}, open_screen())
    assert re.search("no diagnosis of .*holds no run", capsys.readouterr().out)
