"""RetryPolicy: the next attempt at a motion."""

from __future__ import annotations

from dataclasses import dataclass

from parc_ray.config.record import RetryConfig
from parc_ray.recording.attempt import Attempt


@dataclass(frozen=True)
class RetryPolicy:
    """Decides which attempt follows at a motion without a recording, if any; no other code does.

    >>> policy = RetryPolicy(RetryConfig(), copies=(16, 32))
    >>> policy.next(7, 10.0, attempts=1, populations=1)
    Attempt(motion=7, number=1, start_fraction=0.0, copies=32)
    >>> policy.next(7, 10.0, attempts=1, populations=2)
    Attempt(motion=7, number=1, start_fraction=0.25, copies=0)
    >>> policy.next(7, 2.5, attempts=1, populations=2) is None
    True
    """

    config: RetryConfig
    copies: tuple[int, ...] = ()
    """Sizes of populations, in order."""

    def next(self, motion: int, length: float, attempts: int, populations: int = 0) -> Attempt | None:
        """Return the next attempt at a motion of `length` s after these attempts and populations; None to give up.

        The whole motion comes first, deterministic and then with every size; later starts record a part of it. Start
        fractions grow: once a segment is too short, all later ones are.
        """
        if attempts == 0:
            return Attempt(motion, 0, 0.0)
        if populations < len(self.copies):
            return Attempt(motion, populations, 0.0, self.copies[populations])
        if attempts > min(self.config.max_retries, len(self.config.start_fractions)):
            return None
        fraction = self.config.start_fractions[attempts - 1]
        # The tolerance absorbs rounding: (1 - 0.9) * 20 is slightly less than 2.
        long_enough = (1.0 - fraction) * length >= self.config.min_segment_seconds - 1e-9
        return Attempt(motion, attempts, fraction) if long_enough else None
