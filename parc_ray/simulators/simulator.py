"""The Simulator interface: a running engine, driven by control steps."""

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
"""Friction of the ground and of characters. PhysX averages two values, MuJoCo takes their maximum; equal values make
this irrelevant. PARC's terrain has the same friction, because env.plane does not apply to it."""


@dataclass(frozen=True)
class SimulatorConfig:
    """All inputs for building a simulator."""

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
    """Physics steps per control step (PARC: sim_freq / control_freq * substeps); engine settings may override it."""
    device: torch.device
    """Device of the engine, if it supports several."""
    threads: int
    """CPU threads that the engine may use."""
    substeps: int = 1
    """Physics steps per step of an engine that has substeps (PARC: sim.substeps)."""
    control_mode: str = "pd"
    """pd: drives of the engine; pd_exp: torques computed before every engine step."""
    gravity: float = -9.81
    """Acceleration along z, m/s2."""
    torque_limits: bool = False
    """True to limit PD drives to the torque of the character's motors, if the engine supports it."""
    physx: PhysxConfig = field(default_factory=PhysxConfig)
    """Settings for PhysX engines."""
    mujoco: MujocoConfig = field(default_factory=MujocoConfig)
    """Settings for MuJoCo engines."""

    def __post_init__(self) -> None:
        # Warp needs a CUDA device with a number, and tensors on "cuda" report "cuda:0".
        if str(self.device) == "cuda":
            object.__setattr__(self, "device", torch.device("cuda", torch.cuda.current_device()))


class Simulator(Protocol):
    """Characters in num_envs slots; every env can use every tile. Handles tiles, not motions."""

    name: str
    """Name of the engine's record."""
    exact_copies: bool
    """True if `copy` copies everything that the next step reads, so that a copy moves bit-identically."""
    version: str
    """Version reported by the engine."""
    num_envs: int
    device: torch.device
    """Device of its state tensors."""

    @property
    def device_bytes(self) -> int:
        """Memory in use on a CUDA device, bytes; 0 without one."""

    def reset(self, envs: Sequence[int], tiles: Sequence[int], state: CharacterState) -> None:
        """Put the character of each given env on a tile, in the given state (contact_force is ignored)."""

    def step(self, envs: Sequence[int], targets: Tensor) -> CharacterState:
        """Hold PD targets [n, D] (rad) for one control step in the given envs; return their states, in order.

        Other envs do not move. A state that the engine could not integrate, or whose contacts it lost, is not finite.
        If the affected env is unknown, raises TooLargeError (contacts were lost; fewer envs may avoid that) or
        BrokenSimulationError. Errors may be raised later, when an env is reset or parked, so that no step has to wait
        for the device. So an env's results are not valid until it is parked.
        """

    def copy(self, envs: Sequence[int], sources: Sequence[int]) -> None:
        """Give the character of each given env the state of the one in a source env, on the same tile.

        Sources are read before any env is written, so an env may be both. If copies are not exact, an env and its
        source continue alike only if both are in `envs`: list every env of a population.
        """

    def park(self, envs: Sequence[int]) -> None:
        """Remove envs from the simulation until their next reset, so that they touch nothing."""

    def close(self) -> None:
        """Free the engine's threads and memory."""
