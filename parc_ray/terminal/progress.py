"""Progress of a run: a live bar on a terminal, plain lines in a log, events for scripts."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Deque, Optional, Sequence, Tuple, Type

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from parc_ray.runs.journal import Journal
from parc_ray.runs.ledger import Ledger
from parc_ray.runs.logger import RunLogger
from parc_ray.terminal.screen import Screen

LINE_SECONDS = 10.0
EVENT_SECONDS = 1.0
RATE_SECONDS = 10.0
"""Period over which control steps per second are measured."""
SHORTEST_BAR = 8
"""Columns."""


@dataclass(frozen=True)
class Activity:
    """What the actors do."""

    actors: int = 0
    """Actors that record."""
    starting: int = 0
    """Actors that are being set up."""
    envs: int = 0
    """Env slots of the actors that record."""
    busy_envs: float = 0.0
    """Env slots in use, on average since the last reports."""
    shards_waiting: int = 0
    """Shards without an actor."""


class RunProgress:
    """Shows what has become of the motions, what is at work, control steps per second and the time left.

    with RunProgress(screen, ledger, journal) as progress:
        ...
        progress.update(activity)
    """

    def __init__(
        self, screen: Screen, ledger: Ledger, journal: Optional[Journal] = None, logger: Optional[RunLogger] = None
    ):
        self.screen, self.ledger, self.journal, self.logger = screen, ledger, journal, logger
        self._start = self._last_line = self._last_event = time.monotonic()
        self._done_before = ledger.dealt_with
        self._steps: Deque[Tuple[float, int]] = deque([(self._start, ledger.env_steps)])
        """Times (monotonic s) and the control steps made until then, over the last RATE_SECONDS."""
        self._bar: Optional[Progress] = None
        if screen.console.is_terminal and not screen.console.quiet:
            self._bar = Progress(
                TextColumn("{task.completed}/{task.total}"),
                BarColumn(bar_width=None, table_column=Column(min_width=SHORTEST_BAR, ratio=1)),
                TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
                console=screen.console,
                expand=True,
            )
            self._task = self._bar.add_task("", total=ledger.total, state="starting actors")

    def __enter__(self) -> RunProgress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self._bar:
            self._bar.stop()

    def note(self, line: str) -> None:
        """Say something that stays on the screen or in the log."""
        self.screen.say(line)

    def update(self, activity: Activity) -> None:
        """Show the ledger as it is now."""
        ledger, now = self.ledger, time.monotonic()
        self._steps.append((now, ledger.env_steps))
        while len(self._steps) > 2 and now - self._steps[1][0] >= RATE_SECONDS:
            self._steps.popleft()
        (then, before), elapsed = self._steps[0], now - self._start
        rate = (ledger.env_steps - before) / max(now - then, 1e-9)
        done, remaining = ledger.dealt_with - self._done_before, ledger.total - self._done_before
        left = (ledger.total - ledger.dealt_with) * elapsed / done if 0 < done < remaining else None
        if self._bar:
            self._bar.update(self._task, completed=ledger.dealt_with, state=self._state(activity, rate, elapsed, left))
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self.note(f"{self._counted} motions, {self._state(activity, rate, elapsed, left)}")
        if now - self._last_event >= EVENT_SECONDS:
            self._last_event = now
            values = {
                "motions": ledger.total,
                **ledger.states(),
                "steps_per_second": round(rate, 1),
                "seconds_left": None if left is None else round(left, 1),
                **vars(activity),
            }
            if self.journal and self.journal.listener:
                self.journal.tell("progress", **values)
            if self.logger:
                self.logger.log(ledger.env_steps, values, "progress")

    def _state(self, activity: Activity, rate: float, elapsed: float, left: Optional[float]) -> str:
        """What is worth saying; on a terminal, as much of it as fits a line."""
        states = self.ledger.states()
        parts = [
            (9, f"{states['recorded']} recorded"),
            (9, f"{states['rejected']} rejected"),
            (8, f"{states['crashed']} crashed" if states["crashed"] else ""),
            (6, f"{activity.busy_envs:.0f}/{activity.envs} envs" if activity.actors else ""),
            (5, f"{activity.actors} actor{'s' * (activity.actors > 1)}" if activity.actors else ""),
            (3, f"{activity.starting} starting" if activity.starting else ""),
            (4, f"{activity.shards_waiting} shards waiting" if activity.shards_waiting else ""),
            (7, f"{rate:,.0f} steps/s"),
            (2, _duration(elapsed)),
            (8, "" if left is None else f"about {_duration(left)} left"),
        ]
        parts = [part for part in parts if part[1]]
        while self._bar and len(parts) > 1 and len(_joined(parts)) > self._room:
            parts.remove(min(parts))
        return _joined(parts)

    @property
    def _room(self) -> int:
        return self.screen.console.width - len(self._counted) - SHORTEST_BAR - 2

    @property
    def _counted(self) -> str:
        return f"{self.ledger.dealt_with}/{self.ledger.total}"


def _joined(parts: Sequence[Tuple[int, str]]) -> str:
    return ", ".join(text for _, text in parts)


def _duration(seconds: float) -> str:
    """Short, for people.

    >>> _duration(59.2), _duration(61), _duration(7500)
    ('59 s', '1:01 min', '2:05 h')
    """
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"
