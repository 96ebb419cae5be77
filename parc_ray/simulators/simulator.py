"""The Simulator interface: an engine at work, behind one control step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

import torch
from torch import Tensor
from typing_extensions import Protocol

from parc_ray.character.state import CharacterState
from parc_ray.config.environment import PhysxConfig
from parc_ray.config.record import MujocoConfig
from parc_ray.motions.height_field import HeightField

FRICTION = 1.0
"""Friction of the ground and of characters. PhysX combines two by their average, MuJoCo by their maximum: equal values
make that irrelevant. PARC's terrain has the same, because env.plane does not apply to it."""


@dataclass(frozen=True)
class SimulatorConfig:
    """Everything a simulator is built from."""

    character: str
    """Text of the character's MJCF."""
    character_source: str
    """Source of the text, for messages."""
    tiles: Sequence[HeightField]
    """One terrain per motion, in the motion's own frame."""
    num_envs: int
    control_freq: float
    """Control steps per second."""
    steps_per_control: int
    """Physics steps per control step (PARC: sim_freq / control_freq * substeps), if the engine's own settings have no
    other."""
    device: torch.device
    """Device of the engine, if it supports several."""
    threads: int
    """CPU threads that the engine may use."""
    substeps: int = 1
    """Physics steps that make one step of an engine with substeps of its own (PARC: sim.substeps)."""
    control_mode: str = "pd"
    """pd: drives of the engine; pd_exp: torques computed before every engine step."""
    gravity: float = -9.81
    """Acceleration along z, m/s2."""
    torque_limits: bool = False
    """Whether PD drives are limited to the torque of the character's motors, where the engine can do that."""
    physx: PhysxConfig = field(default_factory=PhysxConfig)
    """Settings for engines that are PhysX."""
    mujoco: MujocoConfig = field(default_factory=MujocoConfig)
    """Settings for engines that are MuJoCo."""

    def __post_init__(self) -> None:
        # Warp knows no CUDA device without a number, and tensors on "cuda" say that they are on "cuda:0".
        if str(self.device) == "cuda":
            object.__setattr__(self, "device", torch.device("cuda", torch.cuda.current_device()))


class Simulator(Protocol):
    """Characters in num_envs slots; every env can stand on every tile. Knows tiles, not motions."""

    name: str
    """Of the engine's record."""
    exact_copies: bool
    """Whether `copy` copies all that the next step reads, so that a copy and its original move alike to the bit."""
    version: str
    """The engine's, as it says itself."""
    num_envs: int
    device: torch.device
    """Device of its state tensors."""

    @property
    def device_bytes(self) -> int:
        """Memory in use on a CUDA device; 0 without one."""

    def reset(self, envs: Sequence[int], tiles: Sequence[int], state: CharacterState) -> None:
        """Put the character of each given env on a tile, in the given state (contact_force is ignored)."""

    def step(self, envs: Sequence[int], targets: Tensor) -> CharacterState:
        """Hold PD targets [n, D] (rad) for one control step in the given envs; return their states, in order.

        Envs that are not given do not move. A state that the engine could not integrate, or whose contacts it
        lost, is not finite. Where the engine cannot say which env is affected, it raises TooLargeError (contacts
        were lost, fewer envs may not lose any) or BrokenSimulationError: now, or when an env is reset or parked, so
        that no step need wait for the device. So nothing that an env has done counts before it is parked.
        """

    def copy(self, envs: Sequence[int], sources: Sequence[int]) -> None:
        """Give the character of each given env the state of the one in a source env, on the same tile.

        Sources are read before any env is written, so an env may be both. If copies are not
        exact, an env and its source continue alike only if both are given: list every env of a population.
        """

    def park(self, envs: Sequence[int]) -> None:
        """Take envs out of the simulation until their next reset, so that they touch nothing."""

    def close(self) -> None:
        """Free the engine's threads and memory."""
