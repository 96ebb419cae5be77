"""Helpers: other processes that share out tasks."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from parc_ray.files.helpers import CHUNK, parallel_map

ITEMS = list(range(CHUNK * 100))


@dataclass(frozen=True)
class Task:
    """Says who worked on an item. Until a helper has begun, its own process takes its time."""

    own: int
    begun: Path
    deadly: bool = False
    """Whether helpers die of it."""

    def __call__(self, item):
        if os.getpid() != self.own:
            self.begun.touch()
            if self.deadly:
                os._exit(9)
        elif not self.begun.exists():
            time.sleep(0.02)
        return item, os.getpid()


def test_few_items_are_done_here():
    assert list(parallel_map(abs, [-1, 2, -3], worth_it=4)) == [1, 2, 3]
    assert list(parallel_map(abs, [], worth_it=0)) == []


def test_helpers_do_their_share(tmp_path):
    done = list(parallel_map(Task(os.getpid(), tmp_path / "begun"), ITEMS, worth_it=1, helpers=1))
    assert [item for item, _ in done] == ITEMS
    assert len({pid for _, pid in done}) == 2


def test_a_helper_that_dies_leaves_its_items_to_others(tmp_path):
    done = list(parallel_map(Task(os.getpid(), tmp_path / "begun", deadly=True), ITEMS, worth_it=1, helpers=1))
    assert (tmp_path / "begun").exists()
    assert done == [(item, os.getpid()) for item in ITEMS]
