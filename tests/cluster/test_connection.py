"""Which GPUs a Ray on this machine has."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
import ray
import torch

from parc_ray.cluster import connection
from parc_ray.cluster.connection import connect, has_autoscaler, ray_session
from parc_ray.errors import InputError, LostRayError
from parc_ray.planning.placement import place
from tests.cluster.test_plan import config


@pytest.fixture
def started(monkeypatch):
    """What Ray was started with: its GPUs, and what its processes see."""
    seen = []

    def init(num_gpus=None, **options):
        visible = os.environ["CUDA_VISIBLE_DEVICES"]
        seen[:] = [num_gpus, visible]
        return SimpleNamespace(dashboard_url=None)

    nodes = lambda: [{"Alive": True, "NodeID": "here", "Resources": {"CPU": 8.0, "GPU": float(seen[0])}}]  # noqa: E731
    monkeypatch.setattr(
        connection, "ray", SimpleNamespace(init=init, is_initialized=lambda: False, nodes=nodes, __version__="2.10.0")
    )
    return seen


MIG = "MIG-8aaf61e4", "MIG-b0e3c1d9"


@pytest.mark.parametrize(
    "device, visible, gpus, shown",
    [
        ("cuda", None, 4, "0,1,2,3"),
        ("cuda:0", None, 4, "0"),
        ("cuda:1", None, 4, "1"),
        (["cuda:2", "cuda:3"], None, 4, "2,3"),
        ("cpu", None, 4, ""),
        ("cuda", "", 0, ""),
        ("cuda:1", "3, 0", 2, "0"),
        (["cuda:2", "cuda:0"], "GPU-5ee,GPU-a1,GPU-77", 3, "GPU-77,GPU-5ee"),
        ("cuda", ",".join(MIG), 2, ",".join(MIG)),
        ("cuda:1", ",".join(MIG), 2, MIG[1]),
        ("cuda", "1,-1,0", 1, "1"),
    ],
)
def test_a_number_counts_the_gpus_that_this_process_may_use(monkeypatch, started, device, visible, gpus, shown):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    settings = config(device)
    resources = connect(None, settings.devices)
    actors = len(shown.split(",")) if shown else 0
    assert started == [actors, shown]
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == visible, "a caller's next run counts from its own GPUs"
    placement = place(settings, resources)
    if actors:
        assert (placement.actors, placement.gpus, placement.device) == (actors, 1, "cuda:0")
        assert placement.notices == ()
    else:
        assert (placement.gpus, placement.device) == (0, "cpu")


@pytest.mark.parametrize("visible, count", [(None, 4), ("5,6", 2), ("", 0)])
def test_a_number_that_no_gpu_has_is_refused(monkeypatch, started, visible, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    settings = config(f"cuda:{count}")
    with pytest.raises(InputError, match=f"names cuda:{count}, but this machine has {count or 'no'} CUDA devices"):
        place(settings, connect(None, settings.devices))


@pytest.mark.slow
def test_actors_see_the_gpus_that_are_named(monkeypatch):
    """Ray itself, with names that it would not count here."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5ee,GPU-a1,GPU-77")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    settings = config(["cuda:1", "cuda:2"])

    def visible():
        import os

        return os.environ["CUDA_VISIBLE_DEVICES"], ray.get_gpu_ids()

    with ray_session():
        placement = place(settings, connect(None, settings.devices))
        remote = ray.remote(num_cpus=0, num_gpus=placement.gpus)(visible)
        blocked = ray.remote(num_cpus=0, num_gpus=placement.gpus)(lambda: (visible(), __import__("time").sleep(2))[0])
        seen = ray.get([blocked.remote() for _ in range(placement.actors)])
        assert sorted(seen) == [("GPU-77", ["GPU-77"]), ("GPU-a1", ["GPU-a1"])]
        assert ray.get(remote.remote()) in seen


def slow_start(**options):
    raise Exception("The current node timed out during startup.\nThis could happen because some of the raylets failed")


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        (None, LostRayError, r"Ray does not start on this machine: The current node timed out .* Run the same command"),
        ("HERE", InputError, r"ray\.address = 'HERE': cannot be joined: The current node timed out"),
    ],
)
def test_a_ray_that_does_not_answer_in_time_is_one_clear_message(monkeypatch, address, error, message):
    simulated = SimpleNamespace(init=slow_start, is_initialized=lambda: False)
    monkeypatch.setattr(connection, "ray", simulated)
    with pytest.raises(error, match=message):
        connect(address, ["cpu"])


@pytest.mark.slow
def test_a_ray_that_was_started_here_leaves_nothing_behind(address):
    """Recent versions of Ray give it a token, and actors on a cluster without tokens would die at once."""
    before = dict(os.environ)
    with ray_session():
        connect(None, ["cpu"])
        assert ray.is_initialized()
    assert not ray.is_initialized() and dict(os.environ) == before
    with ray_session():
        connect(address, ["cpu"])
        with ray_session():
            assert ray.get(ray.remote(num_cpus=0)(lambda: 7).remote()) == 7
        assert ray.is_initialized(), "the caller's Ray stays"


# ------------------------------------------------------------------------------------------- autoscalers

NOT_YET = {"load_metrics_report": {}, "monitor_pid": 38}
"""What the monitor of every new cluster writes before its first report"""
PLAIN = {"autoscaler_report": {"active_nodes": {"node_e520d0c3": 1}, "pending_launches": {}, "node_type_mapping": None}}
NEW_HEAD = {
    "autoscaler_report": {
        "active_nodes": {}, "idle_nodes": None, "pending_nodes": [], "pending_launches": {},
        "node_type_mapping": {"ffff0000": "ray.head.default"},
    }
}  # fmt: skip
"""As Ray 2.10 reports of a head that has just begun"""
GROWN = {"autoscaler_report": {"active_nodes": {"head": 1, "gpus": 2}}}


@pytest.mark.parametrize(
    "version, statuses, found",
    [
        (b"0", [PLAIN], False),
        (None, [NOT_YET, NOT_YET, PLAIN], False),
        (None, [NOT_YET, NEW_HEAD], True),
        (None, [None, GROWN], True),
        (b"1", [None], True),
        (b"0", [NOT_YET], False),
    ],
    ids=["a plain cluster", "a new one", "a new head", "a grown one", "the second version", "no report ever"],
)
def test_an_autoscaler_is_known_by_the_types_of_its_nodes(monkeypatch, version, statuses, found):
    left = list(statuses)

    def read(key, namespace=None):
        if namespace is not None:
            return version
        status = left.pop(0) if len(left) > 1 else left[0]
        return status if status is None else json.dumps(status).encode()

    monkeypatch.setattr(connection, "_read_store", read)
    monkeypatch.setattr(connection.time, "sleep", lambda seconds: None)
    assert has_autoscaler(patience=0.5) is found
