"""RetryQueue: the attempts of a shard that wait for a free env."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import List, Tuple

from parc_ray.recording.attempt import Attempt


@dataclass
class RetryQueue:
    """Attempts waiting for a free env, longest first.

    >>> queue = RetryQueue()
    >>> for motion, seconds in enumerate((2.0, 9.0, 5.0)):
    ...     queue.add(Attempt(motion, 0, 0.0), seconds)
    >>> [queue.pop().motion for _ in range(len(queue))]
    [1, 2, 0]
    """

    _heap: List[Tuple[float, int, int, Attempt]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, attempt: Attempt, seconds: float) -> None:
        """Queue an attempt of `seconds` of simulated time."""
        heapq.heappush(self._heap, (-seconds, attempt.motion, attempt.number, attempt))

    def peek(self, count: int) -> List[Attempt]:
        """Return up to `count` of the next attempts, in approximate order, without taking them."""
        return [entry[-1] for entry in self._heap[:count]]

    def pop(self) -> Attempt:
        """Take the longest attempt. Raises IndexError if the queue is empty."""
        return heapq.heappop(self._heap)[-1]
