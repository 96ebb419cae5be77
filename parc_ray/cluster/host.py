"""RayHost: runs actors on Ray."""

from __future__ import annotations

from typing import Any, Callable

import ray
from ray.exceptions import GetTimeoutError, RayError

from parc_ray.cluster.connection import connect, read_resources
from parc_ray.cluster.driver import actor_class
from parc_ray.cluster.report import WorkReport
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError
from parc_ray.planning.placement import Placement
from parc_ray.planning.resources import Resources
from parc_ray.simulators.engine import Engine, EngineCheck
from parc_ray.simulators.engine_check import alternative


def _nothing() -> None:
    pass


class RayHost:
    """A Ray cluster, or Ray on this machine. It is joined or started on first use."""

    def __init__(self, config: RecordConfig, joined: Callable[[], None] = _nothing, thorough: bool = False) -> None:
        """joined: called once Ray is running, because ray.init takes over the process's signals.

        thorough: check every engine, even if a run would not spend an actor on it.
        """
        self._config, self._joined, self._thorough = config, joined, thorough

    def resources(self) -> Resources:
        """See Host.resources."""
        settings = self._config.ray
        resources = connect(settings.cluster, self._config.devices, settings.dashboard)
        self._joined()
        return resources

    def wait_for_node(self, placement: Placement) -> Resources:
        """See Host.wait_for_node. A waiting task makes an autoscaler add a node."""
        seconds = self._config.ray.wait_seconds
        task: Any = ray.remote(_nothing).options(num_cpus=placement.cpus, num_gpus=placement.gpus)
        reference = task.remote()
        try:
            ray.get(reference, timeout=seconds)
        except GetTimeoutError:
            ray.cancel(reference)
            raise InputError(
                f"ray: no node with {placement.needs} has joined for {seconds:g} s (ray.wait_seconds); can the cluster "
                "have one? Else use device: cpu, or lower cpus_per_actor or gpus_per_actor"
            ) from None
        return read_resources()

    def try_out(self, engine: Engine, placement: Placement) -> EngineCheck:
        """Return the check of an engine in an actor; empty if it is not worth an actor."""
        named = self._config.simulator == engine.name
        tells_nothing = engine.try_first == "never" or (engine.try_first == "unless named" and named)
        if tells_nothing and not self._thorough and not engine.first_start(placement.device):
            return EngineCheck()
        actor = actor_class(engine, placement.cpus, placement.gpus).remote()
        timeout = self._config.ray.timeout_seconds
        last_words = "Ray's logs have its last words"
        try:
            hello: WorkReport = ray.get(actor.hello.remote(), timeout=timeout)
            if hello.printouts and hello.device:
                last_words = f"its last words are in {hello.printouts[-1].path} on {hello.device.node}"
            engine_check: EngineCheck = ray.get(actor.try_out.remote(engine.name, placement.device), timeout=timeout)
        except GetTimeoutError:
            return EngineCheck(f"simulator: {engine.title} did not start within {timeout:g} s (ray.timeout_seconds)")
        except RayError as error:
            return EngineCheck(
                f"simulator: a process that only imports {engine.title} has died ({type(error).__name__}); do its own "
                f"examples run in this environment? {last_words}; {alternative()}"
            )
        finally:
            ray.kill(actor)
        return engine_check
