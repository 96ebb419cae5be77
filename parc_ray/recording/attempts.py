"""Attempts at motions, and in which order they are made."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import List, Mapping, Optional, Sequence, Tuple

from parc_ray.config.record import RetryConfig


@dataclass(frozen=True)
class Attempt:
    """One try at one motion from one start fraction."""

    motion: int
    """Index into the shard's motions."""
    number: int
    """0 for the first attempt."""
    start_fraction: float
    """0 for the start of the motion."""


@dataclass(frozen=True)
class RetryPolicy:
    """Which attempt follows a failed one.

    >>> policy = RetryPolicy(RetryConfig())
    >>> policy.next_fraction(0, 10.0), policy.next_fraction(3, 10.0), policy.next_fraction(0, 2.5)
    (0.25, None, None)
    """

    config: RetryConfig

    def next_fraction(self, number: int, length: float) -> Optional[float]:
        """Start fraction after attempt `number` at a motion of `length` s has failed; None to give up.

        Fractions grow, so once a segment would be too short all later ones are.
        """
        fractions = self.config.start_fractions
        if number >= min(self.config.max_retries, len(fractions)):
            return None
        fraction = fractions[number]
        # A tolerance, because (1 - 0.9) * 20 is a little less than 2.
        return fraction if (1.0 - fraction) * length >= self.config.min_segment_seconds - 1e-9 else None

    def fraction_of(self, number: int) -> float:
        """Start fraction of attempt `number`."""
        return 0.0 if number == 0 else self.config.start_fractions[number - 1]


@dataclass
class RetryQueue:
    """Attempts waiting for a free env, the longest first.

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
        """Up to `count` of the attempts that are about to be taken, or nearly; they stay."""
        return [entry[-1] for entry in self._heap[:count]]

    def pop(self) -> Attempt:
        """Take the longest attempt. Raises IndexError when there is none."""
        return heapq.heappop(self._heap)[-1]


@dataclass(frozen=True)
class AttemptResult:
    """How one attempt ended. Plain values only: it travels between processes that may lack torch."""

    motion: str
    number: int
    start_fraction: float
    start_time: float
    """In the motion, s."""
    seconds: float
    """Simulated s."""
    outcome: str
    """recorded, failed (early termination) or rejected (acceptance)."""
    reason: str
    """What ended or disqualified it, in numbers; empty for a recording."""
    quality: Mapping[str, float]
    """Its metrics by name."""
    next_fraction: Optional[float]
    """Where the motion is tried again; None if this outcome is final."""
    recording: Optional[bytes] = field(default=None, repr=False)
    """Contents of a motion file; None if the attempt was not recorded."""
    trajectory: Optional[bytes] = field(default=None, repr=False)
    """Contents of a motion file of an unrecorded attempt; None if it is not kept or cannot be written as one."""
    recorded_seconds: float = 0.0
    criteria: Sequence[str] = ()
    """What ended it (one of REASONS), or the acceptance limits that disqualified it."""
    body: str = ""
    """Name of the body that strayed or fell; empty if the criterion is not about one."""
    env: Optional[int] = field(default=None, compare=False)
    """Slot in which it ran."""
    began: Optional[float] = field(default=None, compare=False)
    """s since its recorder was made, by a monotonic clock."""
    ended: Optional[float] = field(default=None, compare=False)
