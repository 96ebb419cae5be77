"""The driver ended from outside, in every way there is: the same command goes on where it ended."""

from __future__ import annotations

import os
import signal
import socket
import sys

import psutil
import pytest

from parc_ray.runs.journal_reader import read_journal
from tests.cluster.command import SIMULATED, Command, actor_processes, record_command
from tests.cluster.runs import (
    Run,
    assert_accounted_for,
    assert_nothing_beside,
    assert_same_recordings,
    write_config,
)
from tests.cluster.waiting import PATIENCE, wait_until
from tests.reference import ROOT

SLOWLY = "from tests.cluster.simulated import install; install(seconds=0.1)"
FREQUENT_REPORTS = "from parc_ray.cluster import driver; driver.REPORT_SECONDS = 0.2"
INTERRUPTED = 130


def test_a_killed_driver_takes_its_ray_along_and_goes_on(many_motions, calm, tmp_path, go_on):
    """SIGKILL, with a Ray of its own: Ray goes with it (but for two helpers of Ray's, which take a minute)."""
    config = write_config(tmp_path, [many_motions], None, ray={"num_actors": 2})
    with Command(config, SLOWLY) as command:
        command.wait_for("motion", 5)
        pid = command.process.pid
        left = [p for p in psutil.Process(pid).children(recursive=True) if p.name() in ("raylet", "gcs_server")]
        left += actor_processes(pid)
        assert len(left) == 4
        command.kill()
        _, alive = psutil.wait_procs(left, timeout=PATIENCE)
        assert not alive
    run = go_on()
    assert run.code == 0, run.console
    assert_accounted_for(run)
    assert_same_recordings(run, calm)
    assert_nothing_beside(run)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_run_goes_on(many_motions, calm, address, tmp_path, go_on, name):
    config = write_config(tmp_path, [many_motions], address, ray={"num_actors": 2})
    with Command(config, SLOWLY) as command:
        command.wait_for("motion", 5)
        command.process.send_signal(getattr(signal, name))
        run = command.finish()
    assert run.code == INTERRUPTED, run.console
    assert "Traceback" not in run.console
    assert_accounted_for(run)
    assert run.summary["unfinished"] > 0
    before = run.events("motion")
    run = go_on()
    assert run.code == 0, run.console
    assert_accounted_for(run)
    assert_same_recordings(run, calm)
    assert run.events("motion")[: len(before)] == before


def test_two_runs_in_one_directory(many_motions, calm, address, tmp_path, go_on):
    """The second is refused, even with --overwrite, changes nothing, and the first does not notice."""
    config = write_config(tmp_path, [many_motions], address, ray={"num_actors": 2})
    with Command(config, "from tests.cluster.simulated import install; install(seconds=2.0)") as first:
        first.wait_for("attempt")
        second = record_command(config, SIMULATED, "--overwrite")
        assert second.code == 2, second.console
        assert f"pid {first.process.pid}" in second.console and os.uname().nodename in second.console
        assert "Traceback" not in second.console
        assert first.running
        first.process.terminate()
        assert first.finish().code == INTERRUPTED
    run = go_on()
    assert run.code == 0, run.console
    assert_accounted_for(run)
    assert_same_recordings(run, calm)


def test_two_runs_that_start_at_once(many_motions, calm, address, tmp_path):
    config = write_config(tmp_path, [many_motions], address, ray={"num_actors": 2})
    with Command(config, SLOWLY) as one, Command(config, SLOWLY) as other:
        runs = [one.finish(), other.finish()]
    assert sorted(run.code for run in runs) == [0, 2], [run.console for run in runs]
    assert_accounted_for(runs[0])
    assert_same_recordings(runs[0], calm)


def test_ray_job_stop(undisturbed, motions, tmp_path):
    """`ray job stop` sends SIGTERM: the run says what it has done, and the same job goes on with it."""
    from ray.cluster_utils import Cluster
    from ray.job_submission import JobStatus, JobSubmissionClient

    head = {"num_cpus": 2, "object_store_memory": 100 << 20, "include_dashboard": True, "dashboard_port": 0}
    head["dashboard_agent_listen_port"] = free_port()  # that of another Ray on this machine would not be shared
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        client = JobSubmissionClient(f"http://{cluster.webui_url}")
        config = write_config(tmp_path, [motions], None, max_envs_per_actor=1)
        program = f"{FREQUENT_REPORTS}; from parc_ray.cli import main; main()"
        # A job is given the address of any Ray on this machine, and other tests have theirs.
        command = f"RAY_ADDRESS={cluster.address} exec '{sys.executable}' -c '{program}'"
        job = {
            "entrypoint": f"cd '{ROOT}' && {command} record --config '{config}'",
            "runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT)}},
        }
        journal = tmp_path / "out" / "journal.jsonl"

        def has_event(kind):
            return journal.exists() and any(line["event"] == kind for line in read_journal(journal))

        first = client.submit_job(**job)
        wait_until(lambda: has_event("attempt"), "an attempt")
        assert client.stop_job(first)
        wait_until(lambda: client.get_job_status(first).is_terminal(), "the end of the first job")
        wait_until(lambda: has_event("end"), "the end of its run")
        run = Run(INTERRUPTED, tmp_path / "out", client.get_job_logs(first))
        assert run.summary["exit_code"] == INTERRUPTED
        assert "interrupted" in run.console and "Traceback" not in run.console
        assert_accounted_for(run)
        assert run.summary["unfinished"] > 0

        second = client.submit_job(**job)
        wait_until(lambda: client.get_job_status(second).is_terminal(), "the end of the second job")
        run = Run(0, tmp_path / "out", client.get_job_logs(second))
        assert client.get_job_status(second) == JobStatus.SUCCEEDED, run.console
        assert_accounted_for(run)
        assert_same_recordings(run, undisturbed)
    finally:
        cluster.shutdown()


def free_port():
    with socket.socket() as one:
        one.bind(("", 0))
        return one.getsockname()[1]
