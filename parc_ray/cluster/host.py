"""RayHost: Ray as the place where the actors of a run work."""

from __future__ import annotations

from typing import Callable

import ray
from ray.exceptions import GetTimeoutError, RayError

from parc_ray.cluster.actor import WorkReport
from parc_ray.cluster.connection import connect
from parc_ray.cluster.driver import actor_class
from parc_ray.config.record import RecordConfig
from parc_ray.planning.placement import Placement, Resources
from parc_ray.simulators.engine import Engine, EngineCheck
from parc_ray.simulators.engine_check import alternative


def _nothing() -> None:
    pass


class RayHost:
    """A Ray cluster, or a Ray on this machine. It is joined, or started, when it is first asked for."""

    def __init__(self, config: RecordConfig, joined: Callable[[], None] = _nothing, thorough: bool = False) -> None:
        """joined: called once Ray is there, which takes the process's signals for itself.

        thorough: whether every engine is tried out, also where a run would not spend an actor on it.
        """
        self._config, self._joined, self._thorough = config, joined, thorough

    def resources(self) -> Resources:
        """See Host.resources."""
        settings = self._config.ray
        resources = connect(settings.cluster, self._config.devices, settings.dashboard)
        self._joined()
        return resources

    def try_out(self, engine: Engine, placement: Placement) -> EngineCheck:
        """What comes of trying out an engine in an actor, or an empty trial where that is worth no actor."""
        named = self._config.simulator == engine.name
        tells_nothing = engine.try_first == "never" or (engine.try_first == "unless named" and named)
        if tells_nothing and not self._thorough and not engine.first_start(placement.device):
            return EngineCheck()
        actor, timeout = actor_class(engine, placement).remote(), self._config.ray.timeout_seconds
        last_words = "Ray's logs have its last words"
        try:
            hello: WorkReport = ray.get(actor.hello.remote(), timeout=timeout)
            if hello.printouts and hello.device:
                last_words = f"its last words are in {hello.printouts[-1].path} on {hello.device.node}"
            trial: EngineCheck = ray.get(actor.try_out.remote(engine.name, placement.device), timeout=timeout)
        except GetTimeoutError:
            return EngineCheck(f"simulator: {engine.title} did not start within {timeout:g} s (ray.timeout_seconds)")
        except RayError as error:
            return EngineCheck(
                f"simulator: a process that only imports {engine.title} has died ({type(error).__name__}); do its own "
                f"examples run in this environment? {last_words}; {alternative()}"
            )
        finally:
            ray.kill(actor)
        return trial
