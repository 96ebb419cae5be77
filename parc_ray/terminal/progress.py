"""Progress of a run: a live bar on a terminal, plain lines in a log, events for scripts."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Sequence

from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from parc_ray.runs.activity import Progress
from parc_ray.runs.journal import Journal
from parc_ray.runs.listener import RunListener
from parc_ray.runs.motion_state import MotionState
from parc_ray.terminal.screen import Screen

LINE_SECONDS = 10.0
EVENT_SECONDS = 1.0
SHORTEST_BAR = 8
"""Columns."""


class ProgressDisplay(RunListener):
    """Shows the progress of a run to people.

    with ProgressDisplay(screen) as display:
        ...
        display.progress(progress)
    """

    def __init__(self, screen: Screen):
        self.screen = screen
        self._last_line = time.monotonic()
        self._bar: Bar | None = None
        if screen.console.is_terminal and not screen.console.quiet:
            self._bar = Bar(
                TextColumn("{task.completed}/{task.total}"),
                BarColumn(bar_width=None, table_column=Column(min_width=SHORTEST_BAR, ratio=1)),
                TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
                console=screen.console,
                expand=True,
            )
            self._task = self._bar.add_task("", total=None, state="starting actors")

    def __enter__(self) -> ProgressDisplay:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def progress(self, progress: Progress) -> None:
        """Show it; in a log, every LINE_SECONDS."""
        now = time.monotonic()
        if self._bar:
            state = self._state(progress)
            self._bar.update(self._task, total=progress.motions, completed=progress.done, state=state)
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self.screen.say(f"{_done_of_all(progress)} motions, {self._state(progress)}")

    def _state(self, progress: Progress) -> str:
        """The parts of the line, as many as fit a terminal."""
        states, activity = progress.states, progress.activity
        left = progress.seconds_left
        parts = [
            (9, f"{states[MotionState.RECORDED]} recorded"),
            (9, f"{states[MotionState.REJECTED]} rejected"),
            (8, f"{states[MotionState.CRASHED]} crashed" if states[MotionState.CRASHED] else ""),
            (6, f"{activity.busy_envs:.0f}/{activity.envs} envs" if activity.actors else ""),
            (5, f"{activity.actors} actor{'s' * (activity.actors > 1)}" if activity.actors else ""),
            (3, f"{activity.starting} starting" if activity.starting else ""),
            (4, f"{activity.shards_waiting} shards waiting" if activity.shards_waiting else ""),
            (7, f"{progress.steps_per_second:,.0f} steps/s"),
            (2, _duration(progress.seconds)),
            (8, "" if left is None else f"about {_duration(left)} left"),
        ]
        parts = [part for part in parts if part[1]]
        room = self.screen.console.width - len(_done_of_all(progress)) - SHORTEST_BAR - 2
        while self._bar and len(parts) > 1 and len(_join_parts(parts)) > room:
            parts.remove(min(parts))
        return _join_parts(parts)


class ProgressEvents(RunListener):
    """Sends a progress event to scripts every EVENT_SECONDS, between the lines of the journal."""

    def __init__(self, journal: Journal):
        self._journal, self._last = journal, time.monotonic()

    def progress(self, progress: Progress) -> None:
        """Send it, if the last one was sent EVENT_SECONDS ago."""
        now = time.monotonic()
        if now - self._last >= EVENT_SECONDS:
            self._last = now
            self._journal.tell("progress", **progress.numbers())


def _done_of_all(progress: Progress) -> str:
    return f"{progress.done}/{progress.motions}"


def _join_parts(parts: Sequence[tuple[int, str]]) -> str:
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
