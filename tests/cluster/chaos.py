"""Kills at random times, of actors and drivers, until a run has ended all the same."""

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
"""How often a driver is killed before it has actors, or when it has none any longer: most of its time is this"""


IN_A_ROW = 3
"""So many kills at most without any attempt between them: on a slow machine there would be no progress at all"""


@dataclass
class Toll:
    """How many processes were killed."""

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
    """Run the command, again and again after kills of the driver, until it ends by itself.

    pause: seconds between two kills, at least and at most; most: no more kills than that in this run.
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
    """Recordings that the journal knows of, and marks that change when they are written again."""
    if not (run.output / "journal.jsonl").exists():
        return {}
    paths = [run.output / line["path"] for line in run.events("motion") if line["state"] == "recorded"]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}
