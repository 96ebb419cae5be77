"""Kill actors and drivers at random times until a run ends nevertheless."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.cluster.command import Command, actor_processes
from tests.cluster.runs import Run

STARTING = 0.05
"""Probability of killing a driver without actors, before they start or after they end: its most common state"""


IN_A_ROW = 3
"""Maximum kills without an attempt between them: without it, a slow machine would make no progress"""


@dataclass
class Toll:
    """Number of killed processes."""

    actors: int = 0
    drivers: int = 0
    runs: int = 0

    @property
    def total(self) -> int:
        return self.actors + self.drivers


def record_in_chaos(
    config: Path,
    prepare: str,
    random: Random,
    toll: Toll,
    pause: tuple[float, float],
    driver_share: float = 0.2,
    most: int = 1000,
) -> Run:
    """Run the command until it ends by itself; restart it after each kill of the driver.

    pause: minimum and maximum seconds between two kills; most: maximum number of kills.
    """
    kept: dict[Path, tuple[int, int]] = {}
    last = toll.total + most
    attempts, killed_before = 0, toll.total
    toll.runs += 1
    while True:
        with Command(config, prepare) as command:
            while command.running:
                time.sleep(random.uniform(*pause))
                victims = actor_processes()
                if len(command.events("attempt")) > attempts:
                    attempts, killed_before = len(command.events("attempt")), toll.total
                if toll.total >= last or toll.total - killed_before >= IN_A_ROW:
                    continue
                if not victims and random.random() > STARTING:
                    continue
                if random.random() < driver_share or not victims:
                    if command.running:
                        command.kill()
                        toll.drivers += 1
                else:
                    with suppress(ProcessLookupError):
                        os.kill(random.choice(victims).pid, signal.SIGKILL)
                        toll.actors += 1
            run = command.finish()
        now = journalled_files(run)
        assert kept.items() <= now.items(), "a recording was written again, or is gone"
        kept = now
        if run.code != -signal.SIGKILL:
            return run


def journalled_files(run: Run) -> dict[Path, tuple[int, int]]:
    """Return the recordings in the journal, with marks that change when a file is rewritten."""
    if not (run.output / "journal.jsonl").exists():
        return {}
    paths = [run.output / line["path"] for line in run.events("motion") if line["state"] == "recorded"]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}
