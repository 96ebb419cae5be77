from __future__ import annotations

from tests.reference import ERRORS


def pytest_addoption(parser):
    parser.addoption("--reference-errors", action="store_true", help="print the largest error of every block")
    parser.addoption("--kills", type=int, default=4, help="how many processes test_chaos.py kills")


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("--reference-errors"):
        terminalreporter.section("largest deviation from the reference, by test")
        for test, error in sorted(ERRORS.items()):
            terminalreporter.write_line(f"{error:9.2e}  {test}")
