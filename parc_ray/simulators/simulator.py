"""The Simulator interface: one physics engine behind one control step."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata
from typing import Dict, Sequence, Tuple, Union

import torch
from torch import Tensor
from typing_extensions import Protocol

from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.environment import PhysxConfig
from parc_ray.errors import InputError
from parc_ray.motions.height_field import HeightField
from parc_ray.simulators import physx_package
from parc_ray.simulators.isaacgym_process import is_installed, require_installed

TITLES = {"isaacgym": "Isaac Gym", "physx": "PhysX", "mujoco": "MuJoCo"}
"""what messages call them, the best first"""
IMPLEMENTED = tuple(TITLES)
PLANNED = ("mujoco_warp",)
CONTROL_MODES: Dict[str, Tuple[str, ...]] = {"mujoco": ("pd",), "isaacgym": ("pd", "pd_exp"), "physx": ("pd",)}
"""which of PARC's control modes each simulator knows"""
SHARED_WORLD = ("isaacgym", "physx")
"""simulators that hold all tiles of a shard in one world"""


@dataclass(frozen=True)
class SimulatorConfig:
    """What a simulator is built from."""

    character: str
    """text of the character's MJCF"""
    character_source: str
    """where the text came from, for messages"""
    tiles: Sequence[HeightField]
    """one terrain per motion, in the motion's own frame"""
    num_envs: int
    control_freq: float
    """control steps per second"""
    steps_per_control: int
    """physics steps per control step (PARC: sim_freq / control_freq * substeps)"""
    friction: float
    device: torch.device
    """where the engine runs, if it can choose"""
    threads: int
    substeps: int = 1
    """so many physics steps are one step of an engine that has substeps of its own (PARC: sim.substeps)"""
    control_mode: str = "pd"
    """pd: drives of the engine; pd_exp: torques computed before every engine step"""
    gravity: float = -9.81
    """m/s2 along z"""
    torque_limits: bool = False
    """whether PD drives give no more than the character's motors can, where the engine can do that"""
    physx: PhysxConfig = field(default_factory=PhysxConfig)
    """settings for engines that are PhysX"""


class Simulator(Protocol):
    """Characters in num_envs slots; every env can stand on every tile. Knows tiles, not motions."""

    name: str
    version: str
    num_envs: int
    device: torch.device
    """where the tensors of its states are"""

    @property
    def device_bytes(self) -> int:
        """Memory that it takes on a CUDA device; 0 without one."""

    def reset(self, envs: Sequence[int], tiles: Sequence[int], state: CharacterState) -> None:
        """Put the character of each given env on a tile, in the given state (contact_force is ignored)."""

    def step(self, envs: Sequence[int], targets: Tensor) -> CharacterState:
        """Hold PD targets [n, D] (rad) for one control step in the given envs; return their states, in order.

        Envs that are not given do not move. A state that the engine could not integrate, or whose contacts it
        lost, is not finite. Where the engine cannot say which env is affected, it raises TooLargeError (contacts
        were lost, fewer envs may not lose any) or BrokenSimulationError.
        """

    def park(self, envs: Sequence[int]) -> None:
        """Take envs out of the simulation until their next reset, so that they touch nothing."""

    def close(self) -> None:
        """Free the engine's threads and memory."""


def choose_simulator(name: str, device: Union[str, Sequence[str]] = "cpu") -> str:
    """The simulator that a name stands for ("auto": the best one that is installed here and can use the devices).

    Raises InputError for one that is not here. Whether Isaac Gym works is not known yet: only a process without torch
    can try (isaacgym_process.probe). Nor is it known whether PhysX can use the device (physx_package.probe).
    """
    if name == "auto":
        if device != "cpu" and is_installed():
            return "isaacgym"
        return "mujoco" if physx_package.complaint() else "physx"
    if name == "isaacgym":
        require_installed()
    if name == "physx":
        physx_package.require_usable()
    if name in IMPLEMENTED:
        return name
    if name in PLANNED:
        raise InputError(f"simulator: {name!r} is not part of this version; use {' or '.join(map(repr, IMPLEMENTED))}")
    raise InputError(f"simulator: unknown simulator {name!r}; use one of: auto, {', '.join(IMPLEMENTED)}")


def engine_version(name: str) -> str:
    """Version of a simulator's engine that is installed here; empty if it does not say."""
    try:
        return metadata.version("ovphysx" if name == "physx" else name)
    except metadata.PackageNotFoundError:
        return ""


def create_simulator(name: str, config: SimulatorConfig, skeleton: Skeleton) -> Simulator:
    """Build a simulator by the name that choose_simulator returned.

    Raises InputError on an unfit character, TooLargeError where memory does not suffice. Isaac Gym must have been
    imported (isaacgym_process.import_isaacgym).
    """
    if name == "isaacgym":
        from parc_ray.simulators.isaacgym import IsaacGymSimulator

        return IsaacGymSimulator(config, skeleton)
    if name == "physx":
        physx_package.require_usable()
        from parc_ray.simulators.physx import PhysxSimulator

        return PhysxSimulator(config, skeleton)
    from parc_ray.simulators.mujoco import MujocoSimulator

    return MujocoSimulator(config, skeleton)
