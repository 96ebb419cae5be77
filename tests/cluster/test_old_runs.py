"""Runs of version 0.1.0 stay readable, comparable and resumable, with the same recordings.

data/runs_0_1_0 holds what 0.1.0 wrote: a finished run with failures, retries and a lost recording, the same run killed
in between (and then robbed of a recording), and a run of a MimicKit tracker.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field

import parc_ray
from parc_ray.config.base import fingerprint_values, since
from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig, RetryConfig
from parc_ray.planning.fingerprint import fingerprint
from parc_ray.runs.journal_reader import read_journal
from parc_ray.simulators.mujoco.engine import MUJOCO
from tests.planning.prepared import prepared
from tests.reference import DATA, ROOT

RUNS = DATA / "runs_0_1_0"


@pytest.fixture()
def parc(tmp_path, monkeypatch) -> Path:
    return moved(tmp_path, "parc", monkeypatch)


@pytest.fixture()
def mimickit(tmp_path, monkeypatch) -> Path:
    return moved(tmp_path, "mimickit", monkeypatch)


def moved(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a folder of runs, whose journals say that the runs were made there."""
    folder = tmp_path / name
    shutil.copytree(RUNS / name, folder)
    for journal in folder.glob("*/journal.jsonl"):
        journal.write_text(journal.read_text().replace(f"/iteration/{name}", str(folder)))
    monkeypatch.chdir(folder)
    return folder


def hashes(output: Path) -> dict:
    files = sorted((output / "recorded_motions").rglob("*.pkl"))
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_finished_run_is_read(parc):
    run = parc_ray.read_run(parc / "finished")
    states = {motion.name: (motion.state, motion.start_fraction) for motion in run.motions}
    assert states == {
        "idle_000": ("recorded", 0.0),
        "turn_002": ("recorded", 0.0),
        "late_idle_105": ("recorded", 0.25),
        "late_idle_106": ("recorded", 0.5),
        "fly_003": ("rejected", None),
        "tumble_004": ("rejected", None),
        "broken_108": ("invalid", None),
    }
    attempts = {motion.name: [attempt.outcome for attempt in motion.attempts] for motion in run.motions}
    assert attempts["idle_000"] == ["lost", "recorded"]
    assert attempts["late_idle_106"] == ["failed", "failed", "recorded"]
    fallen = next(motion for motion in run.motions if motion.name == "tumble_004").attempts[0]
    assert fallen.criteria and fallen.reason.startswith(fallen.criteria[0]) and fallen.quality["root_error"] > 0
    for motion in run.motions:
        if motion.recording:
            assert len(parc_ray.read_recording(motion.recording).motion.root_pos) > 30
    assert json.dumps([motion.state for motion in run.motions]).count("recorded") == 4
    assert {f"{motion.state}" for motion in run.motions} == {"recorded", "rejected", "invalid"}


def test_an_interrupted_run_is_read(parc):
    run = parc_ray.read_run(parc / "interrupted")
    states = [motion.state for motion in run.motions]
    assert states.count("recorded") == 3 and states.count("unfinished") == 3 and run.sessions[-1].exit_code is None


def test_a_run_of_mimickit_is_read(mimickit):
    (motion,) = parc_ray.read_run(mimickit / "finished").motions
    assert (motion.state, motion.start_fraction, motion.recorded_seconds) == ("recorded", 0.0, 2.0)


@pytest.mark.parametrize("family", ["parc", "mimickit"])
def test_fingerprints_are_as_they_were(family, request):
    """Whatever keys have been added since: at their defaults they are no part of it."""
    folder = request.getfixturevalue(family)
    config = load_config(Path("finished.yaml"), RecordConfig, None).model_copy(update={"output_dir": Path("anew")})
    before = next(read_journal(folder / "finished" / "journal.jsonl"))["fingerprint"]
    before = {key: value for key, value in before.items() if not key.startswith("version of")}
    now = fingerprint(prepared(config).inputs.files)
    assert {key: value for key, value in now.items() if not key.startswith("version of")} == before


def test_a_later_key_is_part_of_a_fingerprint_only_if_it_is_set():
    class Later(RetryConfig):
        patience: float = Field(1.0, json_schema_extra=since("0.2"))

    assert fingerprint_values(Later()) == RetryConfig().model_dump()
    assert fingerprint_values(Later(patience=2.0)) == {**RetryConfig().model_dump(), "patience": 2.0}


@pytest.mark.slow
def test_an_interrupted_run_is_resumed(parc):
    """What was recorded stays; the rest comes out as in the finished run, on another type of CPU nearly so."""
    begun = next(read_journal(parc / "interrupted" / "journal.jsonl"))
    if begun["fingerprint"]["version of mujoco"] != MUJOCO.version:
        pytest.skip("the run began with another version of MuJoCo")
    kept = hashes(parc / "interrupted")
    done = parc_ray_command("record", "--config", "interrupted.yaml")
    assert done.returncode == 0, done.stderr
    assert kept.items() <= hashes(parc / "interrupted").items()
    for path in hashes(parc / "finished"):
        again, before = (parc_ray.read_recording(parc / name / path) for name in ("interrupted", "finished"))
        assert again.motion.root_pos == pytest.approx(before.motion.root_pos, abs=0.02)
    summaries = [json.loads((parc / name / "summary.json").read_text()) for name in ("interrupted", "finished")]
    same = ("motions", "recorded", "rejected", "invalid", "recorded_from", "rejected_by_reason", "recorded_seconds")
    assert all(summaries[0][key] == summaries[1][key] for key in same)
    lost = [line for line in read_journal(parc / "interrupted" / "journal.jsonl") if line["event"] == "lost"]
    assert [line["motion"] for line in lost] == ["turn_002"]


@pytest.mark.slow
def test_finished_runs_are_compared_reported_and_exported(parc, mimickit):
    compared = parc_ray_command("compare", str(parc / "finished"), str(parc / "interrupted"), "--json")
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)["candidate"]["unfinished"] == 3
    for folder in (parc, mimickit):
        reported = parc_ray_command("report", str(folder / "finished"))
        assert reported.returncode == 0, reported.stderr
        assert (folder / "finished" / "report.html").stat().st_size > 50_000
    exported = parc_ray_command("export", str(parc / "finished"), "--to", "csv", "-o", str(parc / "csv"))
    assert exported.returncode == 0 and len(list((parc / "csv").rglob("*.csv"))) == 4, exported.stderr


def parc_ray_command(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-m", "parc_ray", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
