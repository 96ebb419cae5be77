from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from parc_ray.character.skeleton import Skeleton, load_skeleton
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.motions.motion_file import Motion
from tests.reference import ERRORS, HUMANOID
from tests.report.browser import Browser, open_browser
from tests.report.made_run import MadeRun


def pytest_addoption(parser):
    parser.addoption(
        "--reference-errors", action="store_true", help="print the largest error of every block (--numprocesses 0)"
    )
    parser.addoption("--kills", type=int, default=4, help="how many processes test_chaos.py kills")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests share what is costly to make, so one process runs them; most tests of runs share a Ray cluster."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            engine = file.endswith(("test_isaacgym.py", "test_physx.py"))  # for whichever process is done first
            return "tests/cluster" if file.startswith("tests/cluster/") and not engine else file

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
