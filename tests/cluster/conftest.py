"""A small dataset with every outcome, a persistent local Ray cluster, and runs of the dataset on it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import torch

from parc_ray.character.skeleton import Skeleton, load_skeleton
from parc_ray.cluster import driver
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.motions.motion_file import motion_file_bytes
from tests.cluster.runs import Run, fingerprints, record_run
from tests.cluster.simulated import simulated_actor
from tests.reference import HUMANOID, ROOT

# Ray's workers import the tests' actors by name, and older versions do not look where the driver was started.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))

SPECS = {
    "idle_000": MotionSpec("idle", 9, 2.0, difficulty=0.0),
    "walk_001": MotionSpec("walk", 2, 2.5, difficulty=0.0),
    "turn_002": MotionSpec("turn", 3, 2.0, difficulty=0.0),
    "fly_003": MotionSpec("walk", 4, 2.2, difficulty=0.5, flaw="fly"),
    "tumble_004": MotionSpec("idle", 5, 2.4, difficulty=0.0, flaw="tumble"),
    "late_idle_105": MotionSpec("idle", 12, 2.5, 0.0, "late", 0.25),
    "late_idle_106": MotionSpec("idle", 15, 2.5, 0.0, "late", 0.5),
    "idle_107": MotionSpec("idle", 4, 2.3, difficulty=0.5),
}
"""Easy motions, impossible ones, and some that can be tracked only from a later start"""
UNREADABLE, TWICE = "broken_108", "walk_001"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Use one thread: Ray, the actors and torch in this process share few cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def skeleton() -> Skeleton:
    return load_skeleton(HUMANOID)


@pytest.fixture(scope="session")
def motions(tmp_path_factory: pytest.TempPathFactory, skeleton: Skeleton) -> Iterator[Path]:
    """Return a folder of ten motion files: SPECS, an unreadable one and, in a subfolder, a duplicate name.

    Fails if a test changes a file, or adds one.
    """
    folder = tmp_path_factory.mktemp("motions")
    (folder / "more" / "deep").mkdir(parents=True)
    for name, spec in SPECS.items():
        place = folder / "more" if name == "fly_003" else folder
        (place / f"{name}.pkl").write_bytes(motion_file_bytes(generate_motion(spec, skeleton, name)))
    (folder / f"{UNREADABLE}.pkl").write_bytes(b"\x80\x04not a pickle")
    again = generate_motion(MotionSpec("idle", 1, 2.0), skeleton, TWICE)
    (folder / "more" / "deep" / f"{TWICE}.pkl").write_bytes(motion_file_bytes(again))
    before = fingerprints(folder)
    yield folder
    assert fingerprints(folder) == before


@pytest.fixture(scope="session")
def many_motions(tmp_path_factory: pytest.TempPathFactory, motions: Path) -> Path:
    """Return a folder of sixty motions for simulated recorders, which distinguish them by name."""
    folder = tmp_path_factory.mktemp("many")
    for index in range(60):
        shutil.copy(motions / "idle_000.pkl", folder / f"motion_{index:03d}.pkl")
    return folder


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Start a Ray cluster of two nodes, each with two pretended CPUs and two pretended GPUs."""
    try:
        cluster = start_ray()
    except Exception:
        cluster = retry_ray()
    yield cluster.address
    cluster.shutdown()


def start_ray() -> Any:
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "num_gpus": 2, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        cluster.wait_for_nodes()
    except Exception:
        cluster.shutdown()
        raise
    return cluster


def retry_ray() -> Any:
    """Retry the start of Ray, which may be too slow on a busy machine. One test fails if Ray does not start."""
    try:
        return start_ray()
    except Exception as error:
        RAY_PROBLEMS.append(f"Ray did not start, twice: {type(error).__name__}: {error}"[:300])
        pytest.fail(RAY_PROBLEMS[0], pytrace=False)


RAY_PROBLEMS: list[str] = []
"""Reason why Ray did not start: the first test that needs it fails, and the others are skipped."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if RAY_PROBLEMS and "address" in getattr(item, "fixturenames", ()):
        pytest.skip("Ray did not start: see the test that failed")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, motions: Path, address: str) -> Run:
    """Record the dataset with one actor in one shard, as the reference for all other runs."""
    return record_run(tmp_path_factory.mktemp("undisturbed"), motions, address)


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory, many_motions: Path, address: str) -> Run:
    """Record many_motions with one simulated recorder, as the reference for disturbed runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "ShardActor", simulated_actor(0.0))
        return record_run(tmp_path_factory.mktemp("calm"), many_motions, address)


@pytest.fixture
def go_on(tmp_path: Path, many_motions: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Run]:
    """Resume the run of many_motions in tmp_path in this process: a new process would take seconds to start."""

    def go_on() -> Run:
        monkeypatch.setattr(driver, "ShardActor", simulated_actor(0.0))
        return record_run(tmp_path, many_motions, address, ray={"num_actors": 2})

    return go_on
