from __future__ import annotations

from pathlib import Path

import pytest

from tests.reference import ERRORS, ROOT


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
