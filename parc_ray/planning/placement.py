"""Placement: how many actors run at a time, and what of the nodes each of them gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError

MAX_CPU_ACTORS = 8
"""Actors on CPUs by default, where there are as many CPUs: more processes would cost memory and bring little."""


@dataclass(frozen=True)
class Resources:
    """What a Ray cluster, or this machine, has."""

    nodes: Tuple[Tuple[int, int], ...]
    """CPUs and GPUs of each node; an actor runs on one node and cannot use what others have."""
    memory: int = 0
    """Bytes that actors may use on the smallest node; 0 if unknown."""
    dashboard: str = ""
    """host:port of Ray's dashboard; empty if there is none."""
    local_gpus: Optional[int] = None
    """GPUs of this machine, which `device: cuda:N` numbers; None on a cluster, where Ray assigns GPUs."""

    @property
    def cpus(self) -> int:
        """CPUs of all nodes."""
        return sum(cpus for cpus, _ in self.nodes)

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(gpus for _, gpus in self.nodes)

    def fit(self, cpus: int, gpus: float) -> int:
        """How many actors of so many CPUs and GPUs run at a time."""
        return sum(min(own // cpus, int(own_gpus / gpus) if gpus else own) for own, own_gpus in self.nodes)


@dataclass(frozen=True)
class Placement:
    """How many actors run at a time, and what each of them gets."""

    actors: int
    cpus: int
    gpus: float
    device: str
    notices: Tuple[str, ...] = ()
    """What is done differently from what the configuration asks for, and why."""


def _require_devices(devices: Sequence[str], resources: Resources) -> None:
    """Raises InputError unless all these CUDA devices ("cuda:N") exist."""
    count, owner = resources.gpus, "Ray"
    if resources.local_gpus is not None:
        count, owner = resources.local_gpus, "this machine"
    for device in devices:
        if int(device.partition(":")[2]) >= count:
            raise InputError(
                f"key 'device' names {device}, but {owner} has {count or 'no'} CUDA devices; name one that is "
                "there, or cuda (all that there are, else CPUs) or cpu"
            )


def place(config: RecordConfig, resources: Resources) -> Placement:
    """Actors for a configuration: one per CUDA device that it asks for, or CPU actors where there is none.

    Raises InputError if a CUDA device is named that is not there, or not even one actor fits the resources.
    """
    ray, devices, notices = config.ray, config.devices, []
    gpus = ray.gpus_per_actor if ray.gpus_per_actor is not None else float(devices != ["cpu"])
    if devices == ["cpu"]:
        gpus = 0.0
    elif resources.gpus == 0 and devices == ["cuda"]:
        notices.append(f"device: {config.device}, but Ray has no CUDA device: recording on CPUs")
        gpus = 0.0
    elif devices != ["cuda"]:
        _require_devices(devices, resources)
        if resources.local_gpus is None:
            notices.append(f"device: {', '.join(devices)}: on a cluster, Ray assigns GPUs; the numbers have no effect")
    if gpus:
        actors = len(devices) if devices != ["cuda"] else sum(int(own / gpus) for _, own in resources.nodes)
        actors = ray.num_actors or max(1, actors)
    else:
        actors = ray.num_actors or min(resources.cpus, MAX_CPU_ACTORS)
    share = range(max(own for own, _ in resources.nodes), 1, -1)
    cpus = ray.cpus_per_actor or next((count for count in share if resources.fit(count, gpus) >= actors), 1)
    fit = resources.fit(cpus, gpus)
    if fit == 0:
        nodes = ", ".join(f"{own} and {own_gpus}" for own, own_gpus in sorted(set(resources.nodes)))
        raise InputError(
            f"ray: an actor needs {cpus} CPUs and {gpus:g} GPUs, the nodes of Ray have {nodes}; "
            "lower cpus_per_actor or gpus_per_actor"
        )
    if fit < actors:
        notices.append(f"{actors} actors of {cpus} CPUs and {gpus:g} GPUs do not fit Ray at once: {fit} at a time")
    return Placement(min(actors, fit), cpus, gpus, "cuda:0" if gpus else "cpu", tuple(notices))
