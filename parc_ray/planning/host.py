"""Host: where the actors of a run work: a Ray cluster, or this machine, where a run is checked without Ray."""

from __future__ import annotations

import os

import torch
from typing_extensions import Protocol

from parc_ray.planning.placement import Placement, Resources
from parc_ray.simulators.engine import Engine, EngineCheck
from parc_ray.simulators.engine_check import check_locally


class Host(Protocol):
    """What has resources, and can try out an engine where an actor would work."""

    def resources(self) -> Resources:
        """What it has. Raises InputError if it cannot be reached."""

    def try_out(self, engine: Engine, placement: Placement) -> EngineCheck:
        """What comes of trying out an engine; an empty trial where that would tell nothing."""


class ThisMachine:
    """This machine, without Ray."""

    def resources(self) -> Resources:
        """See Host.resources."""
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        gpus = torch.cuda.device_count()
        return Resources(((cpus, gpus),), int(0.7 * memory), local_gpus=gpus)

    def try_out(self, engine: Engine, placement: Placement) -> EngineCheck:
        """See Host.try_out."""
        return check_locally(engine, placement.device)
