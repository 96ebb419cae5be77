"""Progress of a run: a live bar on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Optional, Type

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from parc_ray.cluster.ledger import Ledger
from parc_ray.errors import printable

LINE_SECONDS = 10.0


class RunProgress:
    """Shows motions done, recorded and failed, control steps per second and the time left.

    with RunProgress(console, ledger) as progress:
        ...
        progress.update()
    """

    def __init__(self, console: Console, ledger: Ledger):
        self.console, self.ledger = console, ledger
        self._start = self._last_line = time.monotonic()
        self._bar: Optional[Progress] = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.completed}/{task.total} motions"),
                BarColumn(),
                TextColumn("{task.fields[state]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=console,
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
        self.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)

    def update(self) -> None:
        """Show the ledger as it is now."""
        ledger, now = self.ledger, time.monotonic()
        rate = ledger.env_steps / max(now - self._start, 1e-9)
        state = f"{ledger.count('recorded')} recorded, {ledger.count('rejected')} rejected, {rate:,.0f} steps/s"
        if self._bar:
            self._bar.update(self._task, completed=ledger.dealt_with, state=state)
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            done, elapsed = ledger.dealt_with, now - self._start
            left = f", about {(ledger.total - done) * elapsed / done:.0f} s left" if done else ""
            self.note(f"{done}/{ledger.total} motions, {state}, {elapsed:.0f} s{left}")
