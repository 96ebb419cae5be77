"""record.keep_failures: trajectories of failed attempts beside the recordings, which do not depend on them."""

from __future__ import annotations

import json
import shutil

import pytest

from parc_ray.cluster import driver
from parc_ray.config.dataset import DatasetConfig
from parc_ray.motions.motion_file import read_misc, read_motion
from parc_ray.motions.scanning import create_dataset
from parc_ray.runs.history import read_run
from tests.cluster.runs import assert_accounted_for, assert_same_recordings, fingerprints, record_run
from tests.cluster.simulated import simulated_actor
from tests.reference import HUMANOID

KEEP = {"keep_failures": True}


def kept_files(run):
    """(motion, number) of every file in failed_attempts."""
    found = [path for path in (run.output / "failed_attempts").rglob("*") if path.is_file()]
    assert all(path.parent.parent == run.output / "failed_attempts" for path in found)
    return {(path.parent.name, int(path.name[len("attempt_") : -len(".pkl")])) for path in found}


def failed_attempts(run):
    return {(line["motion"], line["number"]): line for line in run.events("attempt") if line["outcome"] != "recorded"}


def test_failures_are_kept_and_recordings_are_as_without(undisturbed, motions, address, tmp_path, skeleton):
    run = record_run(tmp_path, motions, address, record=KEEP)
    assert run.code == 0, run.console
    assert_accounted_for(run)
    assert_same_recordings(run, undisturbed)
    failed = failed_attempts(run)
    assert failed and kept_files(run) == set(failed)
    for (name, number), line in failed.items():
        path = run.output / "failed_attempts" / name / f"attempt_{number}.pkl"
        motion, origin = read_motion(path, skeleton), read_misc(path.read_bytes())["recording"]
        assert motion.num_frames == round(line["seconds"] * 30) + 1
        assert path.stat().st_size == line["trajectory_bytes"]
        assert (origin["source_motion"], origin["attempt"]) == (name, number)
        for key in ("outcome", "reason", "body", "start_fraction", "start_time", "quality"):
            assert origin[key] == line[key]
        assert list(origin["criteria"]) == line["criteria"]
    told = {(m.name, a.number): a.trajectory for m, a in read_run(run.output).attempts() if a.trajectory}
    assert told == {key: run.output / "failed_attempts" / key[0] / f"attempt_{key[1]}.pkl" for key in failed}
    assert not any(attempt.trajectory for _, attempt in read_run(undisturbed.output).attempts())
    settings = {"save_path": tmp_path / "next.yaml", "char_filepath": HUMANOID}
    scanned = create_dataset(DatasetConfig(folder_paths=[run.output / "recorded_motions"], **settings), skeleton)
    assert {entry.name for entry in scanned.entries} == {path.stem for path in run.files}


@pytest.fixture
def record(many_motions, address, tmp_path, monkeypatch):
    """Record many_motions in tmp_path with simulated recorders."""
    monkeypatch.setattr(driver, "ShardActor", simulated_actor(0.0))

    def recorded(**settings):
        run = record_run(tmp_path, many_motions, address, **settings)
        assert run.code == 0, run.console
        assert_accounted_for(run)
        return run

    return recorded


def test_a_run_goes_on_with_and_without_them(calm, record, tmp_path):
    """Also one whose journal is older than they are, and one that was killed between a file and its line."""
    output = tmp_path / "out"
    shutil.copytree(calm.output, output)
    lines = [json.loads(line) for line in (output / "journal.jsonl").read_text().splitlines()]
    attempts = [place for place, line in enumerate(lines) if line["event"] == "attempt"]
    cut = lines[: attempts[len(attempts) // 2]]
    for line in cut:
        line.pop("trajectory_bytes", None)
    assert "keep_failures" not in cut[0]["fingerprint"]["record"]
    (output / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in cut))
    before = {(line["motion"], line["number"]) for line in cut if line["event"] == "attempt"}
    first, number = next((m, n) for m, n in failed_attempts(calm) if (m, n) not in before)
    done = next((m, n) for m, n in failed_attempts(calm) if (m, n) in before)
    for name, file in ((first, f"attempt_{number}.pkl"), (done[0], f"attempt_{done[1]}.pkl"), (done[0], "mine.pkl")):
        (output / "failed_attempts" / name).mkdir(parents=True, exist_ok=True)
        (output / "failed_attempts" / name / file).write_bytes(b"from before")
    run = record(record=KEEP)
    assert "going on with an earlier run" in run.console
    assert_same_recordings(run, calm)
    stray = output / "failed_attempts" / done[0] / "mine.pkl"
    assert stray.read_bytes() == b"from before", "what is not ours stays"
    stray.unlink()
    assert kept_files(run) == {key for key in failed_attempts(run) if key not in before} | {done}
    for (name, number), line in failed_attempts(run).items():
        path = output / "failed_attempts" / name / f"attempt_{number}.pkl"
        if (name, number) not in before:
            assert path.stat().st_size == line["trajectory_bytes"]
    kept = fingerprints(output / "failed_attempts")
    again = record()
    assert "nothing is left to do" in again.console
    assert fingerprints(output / "failed_attempts") == kept


def test_half_a_failure_is_not_left(calm, record, tmp_path):
    """The file of an attempt whose line was not written goes when the run goes on without them."""
    run = record(record=KEEP)
    lines = (run.output / "journal.jsonl").read_text().splitlines(keepends=True)
    last = [place for place, line in enumerate(lines) if '"failed"' in line][-1]
    (run.output / "journal.jsonl").write_text("".join(lines[:last]))
    left = run.output / "failed_attempts" / "motion_000" / ".0123456789abcdef.tmp"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    missing = json.loads(lines[last])
    run = record()
    assert_same_recordings(run, calm)
    assert not left.exists()
    assert (missing["motion"], missing["number"]) not in kept_files(run)
    kept = {key for key, line in failed_attempts(run).items() if line["trajectory_bytes"]}
    assert kept_files(run) == kept


def test_overwrite_deletes_them(calm, record):
    run = record(record=KEEP)
    assert kept_files(run) == set(failed_attempts(run))
    run = record(overwrite=True)
    assert not (run.output / "failed_attempts").exists()
    assert_same_recordings(run, calm)
