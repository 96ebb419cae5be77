"""parallel_map: order, shares, workers that die, and parents that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from parc_ray.files.parallel import CHUNK, parallel_map
from tests.reference import ROOT

ITEMS = list(range(CHUNK * 6))


@dataclass(frozen=True)
class Task:
    """Says which process worked on an item; kills a worker at `deadly`, the first time only if `once` is given."""

    own: int
    deadly: int = -1
    once: str = ""

    def __call__(self, item: int) -> tuple[int, int]:
        if item == self.deadly and os.getpid() != self.own and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            os._exit(9)
        return item, os.getpid()


def test_few_items_are_computed_here() -> None:
    assert list(parallel_map(abs, [-1, 2, -3], worth_it=4)) == [1, 2, 3]
    assert list(parallel_map(abs, [], worth_it=0)) == []
    own = os.getpid()
    assert list(parallel_map(Task(own), ITEMS, worth_it=len(ITEMS) + 1, workers=2)) == [(item, own) for item in ITEMS]


@pytest.mark.slow
def test_workers_compute_all_of_many_in_order() -> None:
    done = list(parallel_map(Task(os.getpid()), ITEMS, worth_it=1, workers=2))
    assert [item for item, _ in done] == ITEMS
    assert os.getpid() not in {pid for _, pid in done}


@pytest.mark.slow
def test_a_worker_that_dies_once_is_replaced(tmp_path: Path) -> None:
    done = list(parallel_map(Task(os.getpid(), 40, str(tmp_path / "died")), ITEMS, worth_it=1, workers=2))
    assert [item for item, _ in done] == ITEMS
    assert (tmp_path / "died").exists()
    assert os.getpid() not in {pid for _, pid in done}


@pytest.mark.slow
def test_what_kills_every_worker_is_computed_here() -> None:
    done = list(parallel_map(Task(os.getpid(), 40), ITEMS, worth_it=1, workers=2))
    assert [item for item, _ in done] == ITEMS
    assert done[40] == (40, os.getpid())


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_workers_end_with_a_parent_that_is_killed() -> None:
    """A pool that nobody closes would wait for work forever."""
    script = "\n".join([
        "import os, sys, time",
        "from parc_ray.files.parallel import parallel_map",
        "if __name__ == '__main__':",
        "    for _ in parallel_map(time.sleep, [0.01] * 10000, 1, 2):",
        "        print('working', flush=True)",
        "        time.sleep(60)",
    ])  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == b"working\n"
        os.kill(parent.pid, signal.SIGKILL)
        assert parent.stdout.read() == b"", "workers hold the pipe open as long as they live"
