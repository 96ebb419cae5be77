"""Engine: the record of one physics engine, all that the other rooms know of it. Loads neither torch nor an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Callable, Dict, Mapping, Optional, Tuple

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
    """One physics engine. What is costly to know, or must not be imported early, is a function.

    Devices are "cpu" or torch's name of a CUDA device, "cuda:0".
    """

    name: str
    """Name in configurations, journals and recordings."""
    title: str
    """Name in messages."""
    package: str
    """The Python distribution that brings it; its version is the engine's."""
    physics: str
    """Name of its physics. Trackers move between engines of one physics with little loss."""
    build: Callable[[SimulatorConfig, Skeleton], Simulator]
    """Builds a simulator. Raises InputError on an unsuitable character, TooLargeError where memory does not suffice."""
    try_out: Callable[[str], str]
    """The engine's version, once it has worked on a device in this process. Raises InputError if it does not."""
    try_first: Literal["always", "unless named", "never"] = "always"
    """When a run tries it out in an actor before all others start.

    "unless named": not where the configuration asks for it by name, because a setup that fails says all there is to
    say. "never": it works wherever it is installed.
    """
    first_start: Callable[[str], str] = _no_news
    """Describes slow work of its first start on a device, such as kernel compilation; empty once done.

    Until then it is tried out in one actor before all others start, regardless of try_first.
    """
    unavailable_reason: Callable[[], str] = _nothing
    """Returns why it cannot be used in this Python environment; empty if it may be tried out."""
    import_first: Optional[Callable[[str], None]] = None
    """Imports what must be imported before torch, for a device. Raises InputError if that fails."""
    variables: Callable[[], Dict[str, str]] = dict
    """Environment variables with which its processes must start."""
    also_called: Tuple[str, ...] = ()
    """Names of engines with its physics in the files of other projects."""
    needs_cuda: bool = False
    """Whether it runs on CPUs only where the configuration asks for both, the engine and the CPU."""
    control_modes: Tuple[str, ...] = ("pd",)
    """PARC's control modes that it knows."""
    sections: Tuple[str, ...] = ()
    """Sections of phys_record.yaml that only it, and engines like it, read: what it records depends on them."""
    reusable_process: bool = True
    """Whether a process can hold one simulation after another."""
    shares_world: bool = False
    """Whether the terrains of all motions of a shard lie in one world."""
    actor_bytes: int = 400 << 20
    """Memory of an actor without envs: libraries and the tracker."""
    env_bytes: int = 2 << 20
    """Host memory of one env's physics."""
    max_envs: Mapping[str, int] = field(default_factory=lambda: {"cpu": 128, "cuda": 1024})
    """Default bound of envs in one actor by kind of device: on CPUs more are not faster, a GPU wants many."""
    unsupported_reason: Callable[[HeightField], str] = _fits
    """Returns why it cannot hold a motion's terrain (its tile, in the motion's frame); empty if it can."""
    require_simulable: Callable[[SimulatorConfig, Skeleton], None] = _loads
    """Raises InputError for a character that it cannot load, where that can be known without a device."""

    @property
    def version(self) -> str:
        """The version that is installed here; empty if it does not say."""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return ""


@dataclass(frozen=True)
class EngineCheck:
    """Result of trying out an engine in a process; empty if it was not tried."""

    problem: str = ""
    """Reason why it does not work there; empty if it does."""
    version: str = ""
    python: str = ""
    torch: str = ""
    devices: Mapping[str, str] = field(default_factory=dict)
    """Name, capability and memory of each CUDA device, by torch's name for it."""
