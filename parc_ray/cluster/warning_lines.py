"""WarningLines: warnings of libraries in an actor's process, for the logs."""

from __future__ import annotations

import logging
import time

from parc_ray.errors import one_line, shorten

MAX_WARNINGS = 20
"""Maximum number of warnings in one report; the others are counted."""
LONGEST_WARNING = 1000
"""In characters."""


class WarningLines(logging.Handler):
    """Collects the warnings of this process."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[tuple[float, str]] = []

    def listen(self) -> None:
        """Start collecting; further calls have no effect."""
        logging.captureWarnings(True)
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        text = one_line(record.getMessage())
        self._lines.append((time.monotonic(), f"{record.levelname.lower()}: {shorten(text, LONGEST_WARNING)}"))

    def take(self) -> tuple[tuple[float, str], ...]:
        """Return the lines since the last call, each with its age (s)."""
        lines, self._lines = self._lines, []
        if len(lines) > MAX_WARNINGS:
            lines[MAX_WARNINGS:] = [(lines[-1][0], f"and {len(lines) - MAX_WARNINGS} more warnings")]
        now = time.monotonic()
        return tuple((now - then, line) for then, line in lines)
