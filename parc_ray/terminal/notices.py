"""Notices of a run: Python's logger `parc_ray`, shown on the screen and kept in the logs.

A notice is a record of level INFO, an alert one of level WARNING. A program that imports parc_ray may attach handlers
of its own.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import Iterator

from parc_ray.runs.logs import Logs
from parc_ray.terminal.screen import Screen

LOGGER = logging.getLogger("parc_ray")


def notice(line: str, shard: int | None = None) -> None:
    """Tell people who look on; shard: whose actor it is about."""
    LOGGER.info(line, extra={"shard": shard})


def alert(line: str) -> None:
    """Tell people, whether they look on or not."""
    LOGGER.warning(line, extra={"shard": None})


@contextmanager
def handle_notices(screen: Screen, logs: Logs) -> Iterator[None]:
    """Show notices on a screen and write them to logs while this context lasts."""
    handlers, level = (_LogFiles(logs), _OnScreen(screen)), LOGGER.level
    LOGGER.setLevel(min(level or logging.INFO, logging.INFO))
    for handler in handlers:
        LOGGER.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)


class _OnScreen(logging.Handler):
    def __init__(self, screen: Screen):
        super().__init__(logging.INFO)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        shard = getattr(record, "shard", None)
        line = record.getMessage() if shard is None else f"shard {shard}: {record.getMessage()}"
        (self._screen.alert if record.levelno >= logging.WARNING else self._screen.say)(line)


class _LogFiles(logging.Handler):
    def __init__(self, logs: Logs):
        super().__init__(logging.INFO)
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        self._logs.write([(0.0, record.getMessage())], getattr(record, "shard", None))
