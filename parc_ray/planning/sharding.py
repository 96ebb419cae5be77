"""Dataset -> shards, balanced by seconds of motion."""

from __future__ import annotations

import heapq
from typing import Sequence

from parc_ray.motions.dataset import MotionEntry


def plan_shards(entries: Sequence[MotionEntry], num_shards: int) -> list[list[MotionEntry]]:
    """Deal motions to at most num_shards shards: longest first, each to the shard with the least work.

    No shard is empty. Within a shard, motions keep the dataset order. The result depends only on the arguments.
    """
    shards: list[list[int]] = [[] for _ in range(max(1, min(num_shards, len(entries))))]
    load = [(0.0, index) for index in range(len(shards))]
    for place in sorted(range(len(entries)), key=lambda place: (-entries[place].length, place)):
        seconds, lightest = heapq.heappop(load)
        shards[lightest].append(place)
        heapq.heappush(load, (seconds + max(entries[place].length, 1e-9), lightest))
    return [[entries[place] for place in sorted(shard)] for shard in shards if shard]


def count_shards(
    entries: Sequence[MotionEntry], actors: int, wanted: int | None, max_motions: int, max_bytes: int
) -> int:
    """Return the number of shards: the requested one, else one per actor, or more if a shard would grow too large.

    max_motions and max_bytes (of motion files) limit one shard.
    """
    if wanted is not None:
        return min(wanted, len(entries))
    size = sum(entry.size for entry in entries)
    needed = max(-(-len(entries) // max_motions), -(-size // max_bytes))
    # Whole rounds: with 2 actors and 3 equal shards, one actor would idle for half of the run.
    return min(len(entries), -(-max(needed, actors) // actors) * actors)
