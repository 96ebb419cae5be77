"""Pace: the speed of a run."""

from __future__ import annotations

import time
from collections import deque

from parc_ray.runs.activity import Activity, Progress
from parc_ray.runs.ledger import Ledger

RATE_SECONDS = 10.0
"""Period over which control steps per second are measured."""
ESTIMATE_SECONDS = 5.0
"""Working time before the time left is estimated: the first motions to end are the shortest."""


class Pace:
    """Measures the speed of a run.

    pace = Pace(ledger)
    progress = pace.measure(activity)
    """

    def __init__(self, ledger: Ledger):
        self._ledger = ledger
        self._start = time.monotonic()
        self._working_since = self._start
        self._steps_before = ledger.env_steps
        self._done_before = ledger.dealt_with
        self._steps: deque[tuple[float, int]] = deque([(self._start, ledger.env_steps)])
        """Times (monotonic s) and total control steps at each, over the last RATE_SECONDS."""

    def measure(self, activity: Activity) -> Progress:
        """Return the current progress."""
        ledger, now = self._ledger, time.monotonic()
        if ledger.env_steps == self._steps_before:
            self._working_since = now  # actors are still being set up
        self._steps.append((now, ledger.env_steps))
        while len(self._steps) > 2 and now - self._steps[1][0] >= RATE_SECONDS:
            self._steps.popleft()
        (then, before), elapsed = self._steps[0], now - self._start
        working = now - self._working_since
        done, remaining = ledger.dealt_with - self._done_before, ledger.total - self._done_before
        return Progress(
            motions=ledger.total,
            states=ledger.states(),
            activity=activity,
            env_steps=ledger.env_steps,
            seconds=elapsed,
            steps_per_second=(ledger.env_steps - before) / max(now - then, 1e-9),
            seconds_left=(
                (ledger.total - ledger.dealt_with) * working / done
                if 0 < done < remaining and working >= ESTIMATE_SECONDS
                else None
            ),
        )
