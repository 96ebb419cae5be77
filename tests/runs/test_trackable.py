"""The lists of what was trackable, beside the recordings."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from parc_ray.cli import app, run_command
from parc_ray.motions.dataset import MotionEntry
from parc_ray.runs.events import MotionEnded
from parc_ray.runs.history import read_run
from parc_ray.runs.motion_state import MotionState
from parc_ray.runs.trackable import accepted_motions, success_table
from parc_ray.tracking.metrics import METRICS
from tests.reference import DATA


def test_accepted_motions_are_those_recorded_from_their_start():
    names = ("whole", "later", "rejected", "crashed", "open", "also_whole", "recovered")
    entries = [
        MotionEntry(name, f"/in/{name}.pkl", weight, 61, 30.0, 2.0, (3, 3), 1) for weight, name in enumerate(names)
    ]
    outcomes = {
        "whole": MotionEnded("whole", MotionState.RECORDED),
        "also_whole": MotionEnded("also_whole", MotionState.RECORDED),
        "later": MotionEnded("later", MotionState.RECORDED, start_fraction=0.25),
        "rejected": MotionEnded("rejected", MotionState.REJECTED),
        "crashed": MotionEnded("crashed", MotionState.CRASHED),
        "recovered": MotionEnded("recovered", MotionState.RECORDED, copies=16),
    }
    assert accepted_motions(entries, outcomes) == [("/in/whole.pkl", 0), ("/in/also_whole.pkl", 5)]
    assert accepted_motions(entries, outcomes, recovered=True)[2:] == [("/in/recovered.pkl", 6)]


def test_the_command_writes_a_dataset_of_them(tmp_path):
    run, file = DATA / "runs_0_1_0" / "parc" / "finished", tmp_path / "trackable.yaml"

    def command(*arguments):
        with pytest.raises(SystemExit) as ended:
            run_command(app, ["dataset", "accepted", str(run), "-o", str(file), *arguments])
        return ended.value.code

    assert command() == 0
    lines = yaml.safe_load(file.read_text())["motions"]
    assert [Path(line["file"]).stem for line in lines] == ["idle_000", "turn_002"]
    assert all(line["weight"] > 0 for line in lines)
    assert command() == 2, "it exists"
    assert command("--overwrite", "--include", "recovered") == 0
    assert command("--overwrite", "--include", "everything") == 2


def test_the_table_has_a_row_per_motion():
    run = read_run(DATA / "runs_0_1_0" / "parc" / "finished")
    rows = {row["motion"]: row for row in csv.DictReader(io.StringIO(success_table(run)))}
    assert len(rows) == len(run.motions) == 7
    later, failed, invalid = rows["late_idle_106"], rows["fly_003"], rows["broken_108"]
    assert (later["state"], later["attempts"], later["start_fraction"], later["reason"]) == ("recorded", "3", "0.5", "")
    assert float(later["start_time"]) == 0.5 * float(later["motion_seconds"])
    assert 0.0 < float(later["root_error"]) < 0.3 and 0.4 <= float(later["contact_agreement"]) <= 1.0
    assert failed["state"] == "rejected" and failed["reason"].startswith("not tracked: ")
    assert float(failed["recorded_seconds"]) == 0.0
    assert invalid["state"] == "invalid" and {invalid[metric.name] for metric in METRICS} == {""}


def test_no_spreadsheet_takes_a_name_for_a_formula():
    run = read_run(DATA / "runs_0_1_0" / "parc" / "finished")
    first = replace(run.motions[0], name='=HYPERLINK("http://elsewhere")')
    rows = list(csv.DictReader(io.StringIO(success_table(replace(run, motions=(first, *run.motions[1:]))))))
    assert rows[0]["motion"] == '\'=HYPERLINK("http://elsewhere")'
    assert [row["motion"] for row in rows[1:]] == [motion.name for motion in run.motions[1:]]
