from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from parc_ray.character.skeleton import Skeleton, load_skeleton
from parc_ray.motions.motion_file import Motion
from parc_ray.motions.synthetic import MotionSpec, generate_motion
from tests.reference import ERRORS, HUMANOID, ROOT
from tests.report.browser import Browser, open_browser
from tests.report.made_run import MadeRun


def pytest_addoption(parser):
    parser.addoption(
        "--reference-errors", action="store_true", help="print the largest error of every block (--numprocesses 0)"
    )
    parser.addoption("--kills", type=int, default=4, help="how many processes test_chaos.py kills")


def pytest_collection_modifyitems(items):
    """A file's tests share what is costly to make, so one process runs them; tests of runs also share a Ray cluster."""
    for item in items:
        place = Path(str(item.fspath)).relative_to(ROOT)
        group = "runs" if place.parts[:2] == ("tests", "cluster") else str(place)
        item.add_marker(pytest.mark.xdist_group(group))


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
