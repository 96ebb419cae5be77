"""Host: the place where actors work, a Ray cluster or this machine. On this machine, a run is checked without Ray."""

from __future__ import annotations

import os

import torch
from typing_extensions import Protocol

from parc_ray.planning.placement import Placement
from parc_ray.planning.resources import Resources
from parc_ray.simulators.engine import Engine, EngineCheck
from parc_ray.simulators.engine_check import check_locally


class Host(Protocol):
    """Reports resources, and checks engines where actors would work."""

    def resources(self) -> Resources:
        """Return its resources. Raises InputError if it cannot be reached."""

    def wait_for_node(self, placement: Placement) -> Resources:
        """Wait until a node fits an actor, and return the resources. Raises InputError if none joins in time."""

    def try_out(self, engine: Engine, placement: Placement) -> EngineCheck:
        """Return the check of an engine; empty if a check would be pointless.

        Raises InputError if no actor can be started.
        """


class ThisMachine:
    """This machine, without Ray."""

    def resources(self) -> Resources:
        """See Host.resources."""
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        gpus = torch.cuda.device_count()
        return Resources(((cpus, gpus),), int(0.7 * memory), local_gpus=gpus)

    def wait_for_node(self, placement: Placement) -> Resources:
        """See Host.wait_for_node. Never waits: on a single machine, place() raises instead."""
        return self.resources()

    def try_out(self, engine: Engine, placement: Placement) -> EngineCheck:
        """See Host.try_out."""
        return check_locally(engine, placement.device)
