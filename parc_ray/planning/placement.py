"""Placement: the number of actors at a time, and the CPUs and GPUs of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError
from parc_ray.planning.resources import Resources, share_nodes

MAX_CPU_ACTORS = 8
"""Default number of actors on CPUs, given enough CPUs; more processes cost memory and gain little."""


@dataclass(frozen=True)
class Placement:
    """The actors of a run."""

    shares: tuple[int, ...]
    """CPUs of each actor on the live nodes, largest first; empty while no node fits an actor."""
    gpus: float
    """GPUs of each actor."""
    device: str
    """Device of every actor: "cpu", or "cuda:0" because Ray shows an actor only its own GPUs."""
    cpus_per_actor: int | None = None
    """Configured CPUs of each actor; None shares the CPUs of each node."""
    most: int | None = None
    """Maximum number of actors; None for as many as the nodes fit."""
    grows: bool = False
    """True if the run requests more actors than its nodes fit now, because nodes may join."""
    notices: tuple[str, ...] = ()
    """Deviations from the configuration, with reasons."""

    @property
    def actors(self) -> int:
        """Number of actors at a time on the live nodes, at least one."""
        return max(1, len(self.shares))

    @property
    def cpus(self) -> int:
        """Minimum CPUs of an actor."""
        return min(self.shares, default=self.cpus_per_actor or 1)

    @property
    def needs(self) -> str:
        """Resources that one actor needs.

        >>> Placement((4, 2), 1.0, "cuda:0").needs
        '2 CPUs and 1 GPU'
        """
        return f"{_count(self.cpus, 'CPU')} and {_count(self.gpus, 'GPU')}"

    @property
    def description(self) -> str:
        """CPUs and GPUs of each actor.

        >>> Placement((4, 2), 1.0, "cuda:0").description
        '2 to 4 CPUs and 1 GPU each'
        """
        most = max(self.shares, default=self.cpus)
        least = "" if most == self.cpus else f"{self.cpus} to "
        return f"{least}{_count(most, 'CPU')} and {_count(self.gpus, 'GPU')} each"


def place(config: RecordConfig, resources: Resources) -> Placement:
    """Return one actor for each requested CUDA device, or CPU actors if there is none.

    If nodes with GPUs may join, actors wait for them. Raises InputError if a named CUDA device does not exist, or if
    the nodes cannot fit a single actor and no other node may join.
    """
    ray, devices = config.ray, config.devices
    notices: list[str] = []
    gpus = ray.gpus_per_actor if ray.gpus_per_actor is not None else 1.0
    joined = resources.local_gpus is None and ray.cluster is not None
    gpus_may_come = joined and (resources.autoscaler or bool(ray.gpus_per_actor))
    if devices == ["cpu"]:
        gpus = 0.0
    elif not resources.gpus and devices == ["cuda"] and not gpus_may_come:
        notices.append(f"device: {config.device}, but Ray has no CUDA device: recording on CPUs")
        gpus = 0.0
    elif devices != ["cuda"]:
        if resources.gpus or not gpus_may_come:
            _require_devices(devices, resources)
        if resources.local_gpus is None:
            notices.append(f"device: {', '.join(devices)}: on a cluster, Ray assigns GPUs; the numbers have no effect")
    wanted = ray.num_actors or (len(devices) if gpus and devices != ["cuda"] else None)
    most = wanted if gpus or wanted else MAX_CPU_ACTORS
    shares = _shares(resources, gpus, ray.cpus_per_actor, most)
    waits = joined and (resources.autoscaler or (gpus_may_come and gpus > 0))
    if not shares and not waits:
        nodes = ", ".join(f"{own} and {own_gpus}" for own, own_gpus in sorted(set(resources.nodes)))
        raise InputError(
            f"ray: an actor needs {ray.cpus_per_actor or 1} CPUs and {gpus:g} GPUs, the nodes of Ray have {nodes}; "
            "lower cpus_per_actor or gpus_per_actor"
        )
    grows = joined and (waits or ray.num_actors is not None)
    if wanted and len(shares) < wanted:
        until = "until nodes join" if grows else "at a time"
        notices.append(
            f"{wanted} actors of {min(shares, default=ray.cpus_per_actor or 1)} CPUs and {gpus:g} GPUs do not fit Ray "
            f"at once: {len(shares)} {until}"
        )
    device = "cuda:0" if gpus else "cpu"
    return Placement(shares, gpus, device, ray.cpus_per_actor, most, grows, tuple(notices))


def _shares(resources: Resources, gpus: float, cpus: int | None, most: int | None) -> tuple[int, ...]:
    shared = share_nodes(resources.nodes, gpus, cpus, most)
    return tuple(sorted((own for count, own in shared for _ in range(count)), reverse=True))


def _require_devices(devices: Sequence[str], resources: Resources) -> None:
    """Raise InputError unless all these CUDA devices ("cuda:N") exist."""
    count, owner = resources.gpus, "Ray"
    if resources.local_gpus is not None:
        count, owner = resources.local_gpus, "this machine"
    for device in devices:
        if int(device.partition(":")[2]) >= count:
            raise InputError(
                f"key 'device' names {device}, but {owner} has {count or 'no'} CUDA devices; name one that is "
                "there, or cuda (all that there are, else CPUs) or cpu"
            )


def _count(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'' if number == 1 else 's'}"
