"""RetryQueue: the attempts of a shard that wait for a free env."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Callable

from parc_ray.recording.attempt import Attempt


@dataclass
class RetryQueue:
    """Attempts waiting for free envs: single-env attempts before populations, then longest first.

    >>> queue = RetryQueue()
    >>> for motion, seconds in enumerate((2.0, 9.0, 5.0)):
    ...     queue.add(Attempt(motion, 0, 0.0), seconds)
    >>> [queue.pop().motion for _ in range(len(queue))]
    [1, 2, 0]
    """

    _heap: list[tuple[bool, float, int, int, Attempt]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, attempt: Attempt, seconds: float) -> None:
        """Queue an attempt of `seconds` of simulated time."""
        heapq.heappush(self._heap, (attempt.copies > 0, -seconds, attempt.motion, attempt.number, attempt))

    def peek(self, count: int) -> list[Attempt]:
        """Return up to `count` of the next attempts, in approximate order, without taking them."""
        return [entry[-1] for entry in self._heap[:count]]

    def pop(self) -> Attempt:
        """Take the next attempt. Raises IndexError if the queue is empty."""
        return heapq.heappop(self._heap)[-1]

    def seconds(self, matches: Callable[[Attempt], bool]) -> float:
        """Return the simulated seconds of the waiting attempts that match."""
        return -sum(entry[1] for entry in self._heap if matches(entry[-1]))

    def remove(self, seconds: float, matches: Callable[[Attempt], bool]) -> list[Attempt]:
        """Remove about `seconds` of matching attempts, long and short ones alike."""
        entries = sorted(entry for entry in self._heap if matches(entry[-1]))
        total = -sum(entry[1] for entry in entries)
        removed, due = [], 0.0
        for entry in entries:
            due -= entry[1] * min(1.0, seconds / total)
            if due >= -entry[1] / 2:
                removed.append(entry)
                due += entry[1]
        rest = set(removed)
        self._heap = [entry for entry in self._heap if entry not in rest]
        heapq.heapify(self._heap)
        return [entry[-1] for entry in removed]
