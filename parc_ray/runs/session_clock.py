"""SessionClock: the working time of each session of a run."""

from __future__ import annotations

from parc_ray.runs.events import RunStarted, ShardStarted
from parc_ray.runs.journal_reader import JournalLine


class SessionClock:
    """Measures sessions from their first line in the journal to their last; 0 for a session with nothing to do."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        """Working time of each session."""
        self._began, self._works = 0.0, False

    def take(self, line: JournalLine) -> float:
        """Take the next line, and return the seconds since its session began."""
        if isinstance(line.event, RunStarted):
            self.seconds.append(0.0)
            self._began, self._works = line.clock, False
        now = max(0.0, line.clock - self._began)
        self._works = self._works or isinstance(line.event, ShardStarted)
        if self._works and self.seconds:
            self.seconds[-1] = max(self.seconds[-1], now)
        return now
