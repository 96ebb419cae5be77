"""Engine registry, best first, and the choice of a run's engine. Loads neither torch nor an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator, Sequence

from parc_ray.errors import InputError, MissingDependencyError
from parc_ray.simulators.engine import Engine, EngineCheck
from parc_ray.simulators.isaacgym.engine import ISAAC_GYM
from parc_ray.simulators.mujoco.engine import MUJOCO
from parc_ray.simulators.mujoco_warp.engine import MUJOCO_WARP
from parc_ray.simulators.physx.engine import PHYSX

ENGINES: tuple[Engine, ...] = (ISAAC_GYM, PHYSX, MUJOCO_WARP, MUJOCO)
"""Best first; the last works everywhere."""
AUTO = "auto"
"""Configuration value for the best engine that works."""


@dataclass(frozen=True)
class Choice:
    """The engine chosen for a run."""

    engine: Engine
    engine_check: EngineCheck
    passed_over: tuple[str, ...] = ()
    """Reasons why preferred engines that were tried do not work."""
    trained_with: str = ""
    """The tracker's training engine, if the choice was to prefer it."""

    @property
    def notice(self) -> str:
        """Reason why this engine is not the expected one; empty if it is."""
        notice = ""
        if self.passed_over:
            notice = f"simulator: {self.engine.name}, because {'; and because '.join(self.passed_over)}"
        if self.trained_with and engine(self.trained_with).physics != self.engine.physics:
            notice = f"{notice or f'simulator: {self.engine.name}'}. The tracker was trained with {self.trained_with}, "
            notice += "which does not work here: expect fewer recordings"
        return notice


def engine(name: str) -> Engine:
    """Return an engine by name. Raises InputError, which lists the known ones, if it is unknown."""
    for known in ENGINES:
        if known.name == name:
            return known
    names = ", ".join((AUTO, *(known.name for known in ENGINES)))
    raise InputError(f"simulator: unknown simulator {name!r}; use one of: {names}")


def accept_any_engine(engine: Engine) -> EngineCheck:
    """Return an empty check: a try_out for choose_engine that accepts every engine."""
    return EngineCheck()


def choose_engine(
    wanted: str,
    asked: Sequence[str],
    device: str,
    try_out: Callable[[Engine], EngineCheck] = accept_any_engine,
    trained_with: str = "",
) -> Choice:
    """Return the named engine, or for "auto" the best one that is installed and passes its check.

    asked: the devices of the configuration. device: the device of an actor, "cpu" or "cuda:0".
    trained_with: the engine of the tracker's training. "auto" prefers engines with its physics.
    Raises InputError, with the reason, if an engine given by name is unknown, not installed, or does not work.
    """
    passed_over: list[str] = []
    for candidate in _candidates(wanted, asked, device, trained_with):
        engine_check = try_out(candidate)
        if not engine_check.problem:
            return Choice(candidate, engine_check, tuple(passed_over), trained_with if wanted == AUTO else "")
        if wanted != AUTO:
            raise MissingDependencyError(engine_check.problem)
        passed_over.append(engine_check.problem)
    raise MissingDependencyError(
        f"simulator: none works here: {'; '.join(passed_over) or 'none is installed'}. Install one: pip install mujoco"
    )


def _candidates(wanted: str, asked: Sequence[str], device: str, trained_with: str = "") -> Iterator[Engine]:
    """Yield the engines to try, best first."""
    if wanted != AUTO:
        named = engine(wanted)
        reason = named.unavailable_reason()
        if named.needs_cuda and device == "cpu" and list(asked) != ["cpu"]:
            reason = reason or f"{named.name} needs a CUDA device, and Ray has none; use device: cpu"
        if reason:
            raise MissingDependencyError(f"simulator: {reason}")
        yield named
        return
    physics = engine(trained_with).physics if trained_with else ""
    for known in sorted(ENGINES, key=lambda known: bool(physics) and known.physics != physics):
        if not (known.needs_cuda and device == "cpu") and not known.unavailable_reason():
            yield known
