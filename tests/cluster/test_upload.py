"""output.upload: a run whose files go to S3, too."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import yaml

from parc_ray.cluster import driver
from parc_ray.runs import upload as uploading
from parc_ray.runs.address import Address
from tests.cluster.runs import assert_accounted_for, assert_same_recordings, fingerprints, record_run
from tests.cluster.simulated import simulated_actor
from tests.s3 import s3_files, s3_server

DONE, NOT_ALL_UPLOADED, INTERRUPTED = 0, 7, 130


@pytest.fixture
def s3(monkeypatch):
    with s3_server(monkeypatch) as client:
        yield client


def test_a_run_on_s3(many_motions, calm, address, tmp_path, monkeypatch, s3):
    """A recording does not arrive: the run does not mind. The same command simulates nothing, and sends it."""
    monkeypatch.setattr(driver, "ShardActor", simulated_actor(0.0))
    monkeypatch.setattr(uploading, "PAUSES", (0.0,))
    monkeypatch.setattr(uploading, "HURRY_SECONDS", 0.2)
    output, write, released = {"upload": "s3://bucket/runs/1"}, Address.write, threading.Event()
    lost = calm.files[3].relative_to(calm.output).as_posix()

    def lose(self, name, content):
        if name != lost:
            write(self, name, content)

    def hang(self, name, content):
        if name == "journal.jsonl":
            os.kill(os.getpid(), signal.SIGINT)
        released.wait(0.0 if name.endswith(".tmp") else 60.0)

    with monkeypatch.context() as patch:
        patch.setattr(Address, "write", lose)
        run = record_run(tmp_path, many_motions, address, output=output)
        assert run.code == NOT_ALL_UPLOADED, run.console
        told = f"error: output.upload s3://bucket/runs/1: 1 files of the run are missing there ({lost}"
        assert told in run.console, run.console
        assert run.summary["exit_code"] == DONE
        assert_accounted_for(run)
        assert_same_recordings(run, calm)
        assert lost not in s3_files(s3, "runs/1/")

        patch.setattr(Address, "write", hang)
        run = record_run(tmp_path, many_motions, "nowhere:1", output=output)
        assert run.code == INTERRUPTED and "not copied yet" in run.console, run.console
        released.set()

    run = record_run(tmp_path, many_motions, "nowhere:1", output=output)
    assert run.code == DONE and "copies: s3://bucket/runs/1" in run.console, run.console
    copies = s3_files(s3, "runs/1/")
    assert copies.keys() == fingerprints(run.output).keys() - {"uploads.jsonl"}
    for name, content in copies.items():
        assert content == (run.output / name).read_bytes() or name == "recorded_motions.yaml"
    listed = yaml.safe_load(copies["recorded_motions.yaml"])["motions"]
    assert {motion["file"] for motion in listed} == {str(path.relative_to(run.output)) for path in run.files}
    assert not any(b"testing" in content for content in copies.values()), "the credentials"
