from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Iterator

import numpy as np
import pytest
import torch
from hypothesis import settings

from parc_ray.character.skeleton import Skeleton, load_skeleton
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.motions.motion import Motion
from tests.reference import ERRORS, HUMANOID
from tests.report.browser import Browser, open_browser
from tests.report.made_run import MadeRun

LONGEST = (
    "isaacgym",
    "faults",
    "interruptions",
    "driver",
    "disk",
    "chaos",
    "elastic",
    "recovery",
    "run",
    "conformance",
    "demo",
    "doctor",
    "isaacgym_types",
    "rehearsal",
    "cli",
    "generator",
)
"""Test files that take longest, the longest first"""
ONCE = (
    "tests/cluster/test_chaos.py",
    "tests/cluster/test_disk.py",
    "tests/cluster/test_failures.py",
    "tests/cluster/test_hostile.py",
    "tests/cluster/test_report.py",
    "tests/cluster/test_virtual.py",
    "tests/demo/test_generator.py",
    "tests/doctor/test_doctor.py",
    "tests/recording/test_recorder.py",
    "tests/recording/test_recovery.py",
    "tests/report/test_browser.py",
    "tests/test_fuzz.py",
    "tests/test_train_tracker.py",
    "tests/viewing/browser/test_viewer.py",
)
"""Test files whose slow tests are about our own algorithms and pages, which no version of a library changes"""


settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile("same")


def pytest_addoption(parser):
    parser.addoption(
        "--reference-errors", action="store_true", help="print the largest error of every block (--numprocesses 0)"
    )
    parser.addoption("--device", default="cpu", help="where test_conformance.py's engines work: cpu, cuda:0")
    parser.addoption(
        "--versions", action="store_true", help="leave out slow tests that no version of a library changes (ONCE)"
    )
    parser.addoption("--kills", type=int, default=4, help="how many processes test_chaos.py kills")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark tests that need a Ray cluster as slow, and apply --versions."""
    for item in items:
        if {"address", "own_cluster"} & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)
    if config.getoption("--versions"):
        once = [item for item in items if item.get_closest_marker("slow") and item.nodeid.split("::")[0] in ONCE]
        config.hook.pytest_deselected(items=once)
        items[:] = [item for item in items if item not in once]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Run a file's tests in one process, because they share costly fixtures; the longest files come first.

    Tests of whole runs share a Ray cluster and mostly wait: the first two processes have one each. The remaining
    files go to the process that is free first.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return nodeid.split("::")[0]

        def _assign_work_unit(self, node):
            with_ray = node.gateway.id in ("gw0", "gw1")
            files = sorted(
                self.workqueue, key=lambda file: (file.startswith("tests/cluster/") != with_ray, order(file))
            )
            self.workqueue.move_to_end(files[0], last=False)
            super()._assign_work_unit(node)

    def order(file):
        name = Path(file).stem[len("test_") :]
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    return ByFile(config, log)


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("--reference-errors"):
        terminalreporter.section("largest deviation from the reference, by test")
        for test, error in sorted(ERRORS.items()):
            terminalreporter.write_line(f"{error:9.2e}  {test}")


@pytest.fixture(scope="session")
def skeleton() -> Skeleton:
    return load_skeleton(HUMANOID)


@pytest.fixture(scope="session")
def walk(skeleton: Skeleton) -> Motion:
    return generate_motion(MotionSpec("walk", 2, 3.0, difficulty=0.5), skeleton, "walk")


@pytest.fixture()
def made(tmp_path: Path) -> MadeRun:
    return MadeRun(tmp_path / "out")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep motions out of the user's cache, and compiled kernels in a folder by Warp's version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("WARP_CACHE_PATH", str(Path(sys.prefix) / "warp_kernels"))
        yield
