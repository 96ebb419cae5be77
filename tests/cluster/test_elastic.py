"""Real clusters that grow from nothing, shrink, and differ; simulated recorders on pretended GPUs."""

from __future__ import annotations

import signal
import time

import pytest
from ray.cluster_utils import Cluster

from parc_ray.errors import LostRayError
from tests.cluster.command import Command
from tests.cluster.runs import assert_accounted_for, assert_same_recordings, write_config

pytestmark = pytest.mark.slow

STORE_BYTES = 80 << 20
QUICKLY = {
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
    "health_check_initial_delay_ms": 0,
}


@pytest.fixture
def cluster():
    """A head that can have no actor, and notices soon if a node is gone."""
    head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False, "_system_config": QUICKLY}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


def recorders(cluster, seconds=0.15):
    """For Command: simulated recorders, and a driver that is connected to the head."""
    return f"""
from parc_ray.cluster import node_watch, scheduler
from tests.cluster.simulated import install
install(seconds={seconds}, node={cluster.head_node.node_ip_address!r})
scheduler.LATENCY_SECONDS = 0.3
scheduler.SHORTEST = 0.5
node_watch.PATIENCE_SECONDS = 4.0
"""


def add_node(cluster, cpus, number):
    """Nodes need addresses of their own: a driver may be connected to any node with its address."""
    place = {"node_ip_address": f"127.0.0.{number}", "object_store_memory": STORE_BYTES}
    return cluster.add_node(num_cpus=cpus, num_gpus=1, **place)


def test_a_cluster_that_grows_from_nothing_and_changes(cluster, many_motions, calm, tmp_path):
    """The second node takes over motions of the first, which dies; a smaller one replaces it."""
    settings = {"gpus_per_actor": 1, "num_actors": 3, "cpus_per_actor": None}
    config = write_config(tmp_path, [many_motions], cluster.address, device="cuda", ray=settings)
    with Command(config, recorders(cluster)) as command:
        command.wait_until(lambda: "waiting for a node with 1 CPU and 1 GPU" in command.console, "the first node")
        first = add_node(cluster, 4, 2)
        command.wait_for("attempt", 3)
        add_node(cluster, 2, 3)
        command.wait_for("ready", 2)
        one, two = command.events("shard")
        assert set(two["motions"]) < set(one["motions"]), "handed over"
        cluster.remove_node(first, allow_graceful=False)
        command.wait_for("death")
        add_node(cluster, 1, 4)
        result = command.finish()
    assert result.code == 0, result.console
    assert_accounted_for(result)
    assert_same_recordings(result, calm)
    assert len({event["node"] for event in result.events("death")}) == 1
    assert len(result.events("ready")) >= 3, "the third node was used"


def test_a_node_that_never_comes_ends_the_run(cluster, many_motions, tmp_path):
    ray = {"gpus_per_actor": 1, "cpus_per_actor": None, "wait_seconds": 2.0}
    config = write_config(tmp_path, [many_motions], cluster.address, device="cuda", ray=ray)
    with Command(config, recorders(cluster)) as command:
        result = command.finish()
    assert result.code == 2
    assert "no node with 1 CPU and 1 GPU has joined for 2 s (ray.wait_seconds)" in " ".join(result.console.split())
    assert "Traceback" not in result.console


def test_a_head_that_is_gone_ends_the_run_with_its_summary(cluster, many_motions, calm, tmp_path):
    """Ray itself would end the process after a minute, with exit code 1 and a stack."""
    add_node(cluster, 1, 2)
    config = write_config(tmp_path, [many_motions], cluster.address, device="cuda", ray={"num_actors": 1})
    with Command(config, recorders(cluster, 0.5)) as command:
        command.wait_for("attempt", 2)
        cluster.head_node.kill_gcs_server()
        result = command.finish()
    assert result.code == LostRayError.exit_code, result.console
    assert "Ray's head at" in result.console and "Traceback" not in result.console
    assert result.summary["exit_code"] == LostRayError.exit_code
    assert result.summary["attempts"] >= 2 and result.summary["unfinished"] > 0
    assert_accounted_for(result)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_signals_however_many_end_the_run_quietly(cluster, many_motions, tmp_path, number):
    add_node(cluster, 1, 2)
    config = write_config(tmp_path, [many_motions], cluster.address, device="cuda", ray={"num_actors": 1})
    with Command(config, recorders(cluster, 0.5)) as command:
        command.wait_for("attempt")
        for _ in range(6 if number == signal.SIGINT else 1):
            if command.running:
                command.process.send_signal(number)
            time.sleep(0.15)
        result = command.finish()
    assert result.code == 130, result.console
    assert "Traceback" not in result.console and "interrupted" in result.console
