"""Engine: the record of one physics engine, its only interface to other rooms. Loads neither torch nor an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Callable, Mapping

from typing_extensions import Literal

if TYPE_CHECKING:
    from parc_ray.character.skeleton import Skeleton
    from parc_ray.motions.height_field import HeightField
    from parc_ray.simulators.simulator import Simulator, SimulatorConfig


def _nothing() -> str:
    return ""


def _no_news(device: str) -> str:
    return ""


def _fits(tile: HeightField) -> str:
    return ""


def _loads(config: SimulatorConfig, skeleton: Skeleton) -> None:
    pass


@dataclass(frozen=True)
class Engine:
    """One physics engine. Fields that are costly to compute, or import too early, are functions.

    Devices are "cpu" or torch's name of a CUDA device, "cuda:0".
    """

    name: str
    """Name in configurations, journals and recordings."""
    title: str
    """Name in messages."""
    package: str
    """The Python distribution that contains it; its version is the engine's."""
    physics: str
    """Name of its physics. Trackers transfer between engines with the same physics with little loss."""
    build: Callable[[SimulatorConfig, Skeleton], Simulator]
    """Builds a simulator. Raises InputError for an unsuitable character, TooLargeError if memory is insufficient."""
    try_out: Callable[[str], str]
    """Tries it on a device in this process and returns its version. Raises InputError if it does not work."""
    try_first: Literal["always", "unless named", "never"] = "always"
    """When a run tries it in one actor before starting the others.

    "unless named": not if the configuration names it, because a failing setup already reports the error. "never": it
    works wherever it is installed.
    """
    first_start: Callable[[str], str] = _no_news
    """Describes slow work of its first start on a device, such as kernel compilation; empty once done.

    Until then, one actor tries it before the others start, regardless of try_first.
    """
    unavailable_reason: Callable[[], str] = _nothing
    """Returns the reason why this Python environment cannot use it; empty if it can be tried."""
    import_first: Callable[[str], None] | None = None
    """Imports modules that must precede torch, for a device. Raises InputError if that fails."""
    variables: Callable[[], dict[str, str]] = dict
    """Environment variables that its processes must start with."""
    also_called: tuple[str, ...] = ()
    """Names used in other projects' files for engines with its physics."""
    needs_cuda: bool = False
    """True if it runs on CPUs only when the configuration names both the engine and the CPU."""
    control_modes: tuple[str, ...] = ("pd",)
    """PARC's control modes that it supports."""
    sections: tuple[str, ...] = ()
    """Sections of phys_record.yaml read only by it and similar engines; its recordings depend on them."""
    reusable_process: bool = True
    """True if a process can hold several simulations in succession."""
    shares_world: bool = False
    """True if the terrains of all motions of a shard lie in one world."""
    actor_bytes: int = 400 << 20
    """Host memory of an actor without envs: libraries and the tracker."""
    env_bytes: int = 2 << 20
    """Host memory of one env's physics."""
    max_envs: Mapping[str, int] = field(default_factory=lambda: {"cpu": 128, "cuda": 1024})
    """Default maximum of envs in one actor by kind of device: on CPUs more are not faster, a GPU needs many."""
    unsupported_reason: Callable[[HeightField], str] = _fits
    """Returns the reason why it cannot hold a terrain (a tile, in the motion's frame); empty if it can."""
    require_simulable: Callable[[SimulatorConfig, Skeleton], None] = _loads
    """Raises InputError for a character that it cannot load, if this is known without a device."""

    @property
    def version(self) -> str:
        """Installed version; empty if unknown."""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return ""


@dataclass(frozen=True)
class EngineCheck:
    """Result of trying an engine in a process; empty if it was not tried."""

    problem: str = ""
    """Reason why it does not work; empty if it does."""
    version: str = ""
    python: str = ""
    torch: str = ""
    devices: Mapping[str, str] = field(default_factory=dict)
    """Name, capability and memory of each CUDA device, by torch's name for it."""
