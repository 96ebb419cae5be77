"""Resources: CPUs, GPUs and memory of a Ray cluster or of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence


@dataclass(frozen=True)
class Resources:
    """Resources of the live nodes."""

    nodes: tuple[tuple[int, int], ...]
    """CPUs and GPUs of each node. An actor runs on one node and cannot use those of others."""
    memory: int = 0
    """Bytes available to actors on the smallest node; 0 if unknown."""
    dashboard: str = ""
    """host:port of Ray's dashboard; empty if there is none."""
    local_gpus: int | None = None
    """GPUs of this machine, numbered by `device: cuda:N`; None on a cluster, where Ray assigns GPUs."""
    autoscaler: bool = False
    """True if an autoscaler adds nodes for waiting actors."""

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(gpus for _, gpus in self.nodes)


def share_nodes(
    nodes: Sequence[tuple[int, int]], gpus: float, cpus: int | None, most: int | None
) -> list[tuple[int, int]]:
    """Return the number of actors on each node, and the CPUs of each actor.

    nodes: CPUs and GPUs of each. gpus: of each actor. cpus: of each actor; None shares all CPUs of a node among its
    actors. most: maximum number of actors on all nodes. An actor is placed where its share of CPUs is largest.

    >>> share_nodes([(64, 8), (4, 1)], 1.0, None, None)
    [(8, 8), (1, 4)]
    """
    rooms = [min(own // (cpus or 1), int(own_gpus / gpus) if gpus else own) for own, own_gpus in nodes]
    counts = [0] * len(rooms)
    for _ in range(sum(rooms) if most is None else min(most, sum(rooms))):
        free = [node for node, room in enumerate(rooms) if counts[node] < room]
        counts[max(free, key=lambda node: (nodes[node][0] / (counts[node] + 1), -node))] += 1
    return [(count, cpus or own // max(count, 1)) for count, (own, _) in zip(counts, nodes)]
