"""Faults of actors, nodes, memory, engines and clocks, in whole runs: nothing is lost and nothing doubled."""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import threading
from contextlib import suppress

import pytest
import ray

from parc_ray.cluster import actor as actor_module
from parc_ray.cluster import driver, run
from parc_ray.cluster.actor import ShardActor, own_device
from parc_ray.cluster.failure_policy import FAILED_SETUPS
from parc_ray.cluster.report import WorkReport
from parc_ray.errors import LostRayError
from parc_ray.runs.journal import Journal
from parc_ray.runs.lines import line_of
from tests.cluster.command import SIMULATED, Command, actor_processes
from tests.cluster.conftest import SPECS
from tests.cluster.runs import assert_accounted_for, assert_same_recordings, record_run, write_config
from tests.cluster.simulated import simulated_actor
from tests.cluster.waiting import wait_until

STORE_BYTES = 80 << 20
"""of a node of the cluster that tests harm: the least that Ray accepts, and a little more"""


@pytest.fixture
def on_event(monkeypatch):
    """on_event(kind, act): call act() when the journal gets its first event of a kind."""

    def install(kind, act):
        waiting = [act]

        class Observed(Journal):
            def write(self, *events):
                super().write(*events)
                if any(line_of(event)["event"] == kind for event in events) and waiting:
                    waiting.pop()()

        monkeypatch.setattr(run, "Journal", Observed)

    return install


@pytest.fixture
def simulated_run(many_motions, address, tmp_path, monkeypatch):
    """Record many_motions with simulated recorders in this process."""
    monkeypatch.setattr(driver, "REPORT_SECONDS", 0.2)

    def start(place=address, seconds=0.02, **settings):
        monkeypatch.setattr(driver, "ShardActor", simulated_actor(seconds))
        return record_run(tmp_path, many_motions, place, **settings)

    return start


# ------------------------------------------------------------------------------------------- actors


def test_an_actor_that_stops_and_wakes_up_later_is_replaced(simulated_run, on_event, calm):
    """Stopped by a signal, neither Ray nor the actor knows; what it says after its death is not listened to."""
    stopped = []

    def stop():
        stopped.extend(actor_processes())
        for process in stopped:
            os.kill(process.pid, signal.SIGSTOP)
        wake = threading.Timer(6.0, lambda: [os.kill(p.pid, signal.SIGCONT) for p in stopped if p.is_running()])
        wake.start()

    on_event("attempt", stop)
    result = simulated_run(ray={"num_shards": 1, "timeout_seconds": 3.0})
    assert result.code == 0
    assert_accounted_for(result)
    assert_same_recordings(result, calm)
    assert "silent for 3 s" in result.events("death")[0]["reason"]
    assert stopped
    wait_until(lambda: not any(process.is_running() for process in stopped), "the end of the stopped actor")


# ------------------------------------------------------------------------------------------- devices


def partly_broken(folder):
    """Simulated recorders that cannot be set up on the first device used; others wait for its failures.

    They must not use functions of this file: Ray would import it, and torch with it, in every process.
    """

    class PartlyBrokenActor(simulated_actor(0.1)):
        def setup(self, *arguments):
            device, broken, failures = own_device(), folder / "broken", folder / "failures"
            with suppress(FileExistsError):
                broken.symlink_to(f"{device.node_id} {device.name}")
            if os.readlink(broken) == f"{device.node_id} {device.name}":
                with failures.open("a") as file:
                    file.write(".")
                return WorkReport(error="its driver is too old")
            wait_until(lambda: failures.stat().st_size >= FAILED_SETUPS, "the broken device's last setup")
            return super().setup(*arguments)

    return PartlyBrokenActor


@pytest.mark.parametrize("device, actors, slots", [("cpu", 3, 2), ("cuda", None, 1)])
def test_a_device_whose_setups_always_fail_gets_no_more_work(
    many_motions, calm, address, tmp_path, monkeypatch, device, actors, slots
):
    """A node of two, or a GPU of four: the others record everything, however quickly its setups fail."""
    monkeypatch.setattr(driver, "ShardActor", partly_broken(tmp_path))
    monkeypatch.setattr(driver, "REPORT_SECONDS", 0.2)
    result = record_run(tmp_path, many_motions, address, device=device, ray={"num_actors": actors, "num_shards": 8})
    assert result.code == 0, result.console
    assert_accounted_for(result)
    assert_same_recordings(result, calm)
    (aside,) = result.events("set_aside")
    place = {"node": socket.gethostname(), "device": aside["device"]}
    assert aside["node"] == place["node"] and aside["device"].startswith(device)
    line = re.escape(f"node {aside['node']}{'' if device == 'cpu' else ' ' + aside['device']}")
    line += f": {FAILED_SETUPS} setups have failed there .*: it gets no more work: its driver is too old"
    assert re.search(line, result.console) and re.search(line, result.log)
    deaths = result.events("death")
    assert FAILED_SETUPS <= len(deaths) <= FAILED_SETUPS + slots - 1
    assert all({key: death[key] for key in place} == place for death in deaths)
    assert len(result.events("idle")) <= slots
    assert {event["deaths"] for event in result.events("shard")} == {0}
    assert result.summary["attempts"] == calm.summary["attempts"]


# ------------------------------------------------------------------------------------------- nodes


@pytest.fixture(scope="module")
def own_cluster():
    """A Ray cluster for tests that harm it: a head without CPUs, and two nodes with two each."""
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": STORE_BYTES}
    quickly = {"health_check_period_ms": 300, "health_check_timeout_ms": 1000, "health_check_failure_threshold": 3}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": quickly, **memory}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    # A driver may be connected to any node of its machine, unless their addresses tell them apart.
    nodes = [cluster.add_node(num_cpus=2, node_ip_address=f"127.0.0.{2 + index}", **memory) for index in range(2)]
    cluster.wait_for_nodes()
    yield cluster, nodes
    cluster.shutdown()


def test_an_object_store_that_is_too_small(own_cluster, many_motions, tmp_path, monkeypatch):
    """Three shards on their way at a time, each as large as the store."""
    cluster, _ = own_cluster
    folder = tmp_path / "large"
    folder.mkdir()
    parts = pickle.loads((many_motions / "motion_000.pkl").read_bytes())
    for index in range(24):
        misc = os.urandom(16) * (12 * STORE_BYTES // 100 // 16)
        (folder / f"large_{index:02d}.pkl").write_bytes(pickle.dumps({**parts, "misc_data": misc}, protocol=4))
    monkeypatch.setattr(driver, "ShardActor", simulated_actor(0.02))
    result = record_run(tmp_path, folder, cluster.address, ray={"num_actors": 3, "num_shards": 3})
    assert result.code == 0, result.console
    assert_accounted_for(result)
    assert not result.events("death")


def on_node(address, seconds=0.1):
    """For Command: simulated recorders, and a driver that is connected to the node with an IP address."""
    return f"from tests.cluster.simulated import install; install(seconds={seconds}, node={address!r})"


@pytest.mark.skipif(not ray.__version__.startswith("2.10."), reason="newer Ray ends such a driver itself")
def test_the_drivers_own_node_leaves(own_cluster, many_motions, calm, tmp_path):
    """The run cannot go on, and blames no motion for it; the same command does."""
    cluster, _ = own_cluster
    node = cluster.add_node(num_cpus=0, node_ip_address="127.0.0.4", object_store_memory=STORE_BYTES)
    config = write_config(tmp_path, [many_motions], cluster.address, ray={"num_actors": 3, "num_shards": 8})
    with Command(config, on_node("127.0.0.4")) as command:
        command.wait_for("attempt")
        cluster.remove_node(node, allow_graceful=False)
        ended = command.finish()
    assert ended.code == LostRayError.exit_code, ended.console
    assert "Ray cannot be reached" in ended.console and "Traceback" not in ended.console
    with Command(config, on_node(cluster.head_node.node_ip_address, seconds=0.0)) as command:
        result = command.finish()
    assert result.code == 0, result.console
    assert_same_recordings(result, calm)


def test_nodes_that_leave_and_join(own_cluster, many_motions, calm, tmp_path):
    """First one leaves, then the other one too: the run waits until one joins."""
    cluster, nodes = own_cluster
    config = write_config(tmp_path, [many_motions], cluster.address, ray={"num_actors": 3, "num_shards": 6})
    with Command(config, on_node(cluster.head_node.node_ip_address)) as command:
        command.wait_for("attempt")
        cluster.remove_node(nodes[0], allow_graceful=False)
        command.wait_for("death")
        seen = len(command.events("attempt"))
        command.wait_until(lambda: len(command.events("attempt")) > seen, "an attempt on the node that is left")
        cluster.remove_node(nodes[1], allow_graceful=False)
        seen = len(command.events("death"))
        command.wait_until(lambda: len(command.events("death")) > seen, "the death of the other node's actors")
        cluster.add_node(num_cpus=2, object_store_memory=STORE_BYTES)
        result = command.finish()
    assert result.code == 0, result.console
    assert_accounted_for(result)
    assert_same_recordings(result, calm)


# ------------------------------------------------------------------------------------------- memory


OUT_OF_MEMORY = {
    "cuda": lambda: RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "torch on the host": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 99 bytes. Error code 12 (Cannot allocate memory)"
    ),
}


@pytest.mark.parametrize("kind, when", [("cuda", "setup"), ("torch on the host", "work")])
def test_too_little_memory_means_fewer_envs(undisturbed, motions, address, tmp_path, monkeypatch, kind, when):
    """Real recorders; more than two envs are too many."""
    error = OUT_OF_MEMORY[kind]

    class HungryActor(ShardActor):
        def setup(self, run, shard, threads, device):
            from parc_ray.cluster import actor
            from parc_ray.recording.build import build_recorder

            def build(run, shard, threads, device):
                recorder = build_recorder(run, shard, threads, device)
                if recorder.environment.num_envs > 2:
                    if when == "setup":
                        raise error()
                    recorder.environment.simulator.step = self.fail
                return recorder

            actor.build_recorder = build
            return super().setup(run, shard, threads, device)

        def fail(self, *_):
            raise error()

    monkeypatch.setattr(driver, "ShardActor", HungryActor)
    result = record_run(tmp_path, motions, address, max_envs_per_actor=4)
    assert result.code == 0, result.console
    assert_accounted_for(result)
    assert_same_recordings(result, undisturbed)
    assert "going on with at most 2 envs per actor" in result.console


def test_pythons_own_memory_error_is_one_too():
    assert actor_module._failure(MemoryError(), 8).too_large == 8


# ------------------------------------------------------------------------------------------- engines


def test_numbers_that_are_none_cost_one_attempt(undisturbed, motions, address, tmp_path, monkeypatch):
    """One env goes wrong in the first attempt at a motion; all others are as if nothing had happened."""
    harmed = "walk_001"

    class DivergingActor(ShardActor):
        def setup(self, *arguments):
            report = super().setup(*arguments)
            recorder, simulator = self._recorder, self._recorder.environment.simulator
            step = simulator.step

            def diverging(envs, targets):
                state = step(envs, targets)
                for place, env in enumerate(envs):
                    attempt = recorder._running.get(env)
                    if attempt and recorder.motions[attempt.motion].name == harmed and attempt.number == 0:
                        for value in vars(state).values():
                            value[place] = float("nan")
                return state

            simulator.step = diverging
            return report

    monkeypatch.setattr(driver, "ShardActor", DivergingActor)
    result = record_run(tmp_path, motions, address)
    assert result.code == 0, result.console
    assert_accounted_for(result)
    first = next(line for line in result.events("attempt") if line["motion"] == harmed)
    assert first["outcome"] == "failed" and "not finite" in first["reason"]
    mine, theirs = result.recordings(), undisturbed.recordings()
    mine.pop(harmed, None), theirs.pop(harmed, None)
    assert mine == theirs and len(mine) >= len(SPECS) // 2


# ------------------------------------------------------------------------------------------- clocks

JUMPING_CLOCK = """
import random, time
import ray
real, jumps, init = time.time, random.Random(5), ray.init
def jump():
    return real() + jumps.choice((-7200, 0, 86400))
def joined(**options):
    time.time = real
    try:
        return init(**options)
    finally:
        time.time = jump
time.time, ray.init = jump, joined
"""
"""But for the moment of joining: Ray itself gives up when its clock jumps then."""


def test_a_clock_that_jumps_changes_nothing(calm, many_motions, address, tmp_path):
    """In the driver and in the actors, and the time stamps of files too."""
    config = write_config(tmp_path, [many_motions], address, ray={"num_actors": 2})
    with Command(config, JUMPING_CLOCK + SIMULATED) as command:
        command.wait_for("motion", 10)
        command.kill()
    for path in (tmp_path / "out").rglob("*"):
        os.utime(path, (0, 0) if path.stat().st_ino % 2 else (4e9, 4e9))
    with Command(config, JUMPING_CLOCK + SIMULATED) as command:
        result = command.finish()
    assert result.code == 0, result.console
    assert_accounted_for(result)
    assert_same_recordings(result, calm)
