"""Balance: which actors hand over motions, so that all end together. Pure functions of measured speeds.

Every actor begins with a share of the motions. Where devices differ or nodes join, some actors would finish long before
others. These take over motions that no attempt has begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence


@dataclass(frozen=True)
class Load:
    """The work of one actor."""

    left: float
    """Seconds of motion that it has yet to do."""
    untouched: float
    """Those of them that no attempt has begun."""
    speed: float
    """Seconds of motion per second."""


def handover(loads: Sequence[Load], speed: float, delay: float, least: float = 0.0, receivers: int = 1) -> List[float]:
    """Return the seconds of motion that each actor hands over to one that has nothing to do.

    speed: of the receiver, s of motion per s. delay: s before it begins. least: s that it must be busy, or all are 0.
    receivers: actors without work, itself included, that are going to share.

    >>> slow, fast = Load(left=100.0, untouched=90.0, speed=1.0), Load(left=10.0, untouched=0.0, speed=5.0)
    >>> handover([slow, fast], speed=4.0, delay=1.0)
    [43.6, 0.0]
    """
    end = common_end(loads, speed, delay, receivers)
    wanted = speed * (end - delay)
    spare = [max(0.0, min(load.untouched, load.left - load.speed * end)) for load in loads]
    total = sum(spare)
    if not total or min(wanted, total) < speed * least:
        return [0.0] * len(loads)
    return [seconds * min(1.0, wanted / total) for seconds in spare]


def fair_share(loads: Sequence[Load], waiting: float, speed: float, delay: float, receivers: int) -> float:
    """Return the seconds of motion, of `waiting` that no actor has, that one should take which has nothing to do.

    The other arguments are those of handover.
    """
    queue = Load(waiting, waiting, 1e-9)
    return max(0.0, speed * (common_end([*loads, queue], speed, delay, receivers) - delay))


def useful_helpers(loads: Sequence[Load], speed: float, delay: float, least: float, most: int) -> int:
    """Return how many more actors, up to `most`, would be busy for `least` s (see handover)."""
    return max((count for count in range(1, most + 1) if any(handover(loads, speed, delay, least, count))), default=0)


def common_end(loads: Sequence[Load], speed: float, delay: float, receivers: int) -> float:
    """Return the time (s) until all end, if work can be shared freely.

    sum(speeds) * end = sum(left) + delay * sum(speeds of receivers), over actors with and without work. An actor that
    would end earlier will receive, too.
    """
    done_early: List[Load] = []
    while True:
        others = receivers * speed
        late = others + sum(load.speed for load in done_early)
        end = (sum(load.left for load in loads) + delay * late) / (others + sum(load.speed for load in loads))
        early = [load for load in loads if load.left / load.speed + delay < end]
        if len(early) <= len(done_early):
            return end
        done_early = early
