"""Balance: decides which actors hand over motions, so that all end together. Pure functions of measured speeds.

Every actor begins with a share of the motions. Where devices differ or nodes join, some actors would finish long before
others. They take over motions without an attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence


@dataclass(frozen=True)
class Load:
    """The work of one actor."""

    left: float
    """Remaining seconds of motion."""
    untouched: float
    """Remaining seconds of motion without an attempt."""
    speed: float
    """Seconds of motion per second."""


def handover(loads: Sequence[Load], speed: float, delay: float, least: float = 0.0, receivers: int = 1) -> list[float]:
    """Return the seconds of motion that each actor hands over to an idle one.

    speed: of the receiver, s of motion per s. delay: time until it starts, s. least: minimum time that it must be busy,
    s; otherwise all are 0. receivers: idle actors that will share, itself included.

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
    """Return the seconds of motion that an idle actor should take from `waiting`, which no actor has yet.

    The other arguments are those of handover.
    """
    queue = Load(waiting, waiting, 1e-9)
    return max(0.0, speed * (common_end([*loads, queue], speed, delay, receivers) - delay))


def useful_helpers(loads: Sequence[Load], speed: float, delay: float, least: float, most: int) -> int:
    """Return the number of further actors, up to `most`, that would be busy for `least` s (see handover)."""
    return max((count for count in range(1, most + 1) if any(handover(loads, speed, delay, least, count))), default=0)


def common_end(loads: Sequence[Load], speed: float, delay: float, receivers: int) -> float:
    """Return the time (s) until all end, if work can be shared freely.

    sum(speeds) * end = sum(left) + delay * sum(speeds of receivers), over actors with and without work. An actor that
    would end earlier also receives work.
    """
    done_early: list[Load] = []
    while True:
        others = receivers * speed
        late = others + sum(load.speed for load in done_early)
        end = (sum(load.left for load in loads) + delay * late) / (others + sum(load.speed for load in loads))
        early = [load for load in loads if load.left / load.speed + delay < end]
        if len(early) <= len(done_early):
            return end
        done_early = early
