"""RetryPolicy: which attempt follows at a motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from parc_ray.config.record import RetryConfig
from parc_ray.recording.attempt import Attempt


@dataclass(frozen=True)
class RetryPolicy:
    """The one place that decides which attempt follows at a motion without a recording, if any.

    >>> policy = RetryPolicy(RetryConfig())
    >>> policy.next(7, 10.0, attempts=0), policy.next(7, 10.0, attempts=1)
    (Attempt(motion=7, number=0, start_fraction=0.0), Attempt(motion=7, number=1, start_fraction=0.25))
    >>> policy.next(7, 10.0, attempts=4), policy.next(7, 2.5, attempts=1)
    (None, None)
    """

    config: RetryConfig

    def next(self, motion: int, length: float, attempts: int) -> Optional[Attempt]:
        """Return the attempt that follows `attempts` of them at a motion of `length` s; None to give up.

        Start fractions grow: once a segment is too short, all later ones are.
        """
        if attempts == 0:
            return Attempt(motion, 0, 0.0)
        if attempts > min(self.config.max_retries, len(self.config.start_fractions)):
            return None
        fraction = self.config.start_fractions[attempts - 1]
        # The tolerance is for rounding: (1 - 0.9) * 20 is slightly less than 2.
        long_enough = (1.0 - fraction) * length >= self.config.min_segment_seconds - 1e-9
        return Attempt(motion, attempts, fraction) if long_enough else None
