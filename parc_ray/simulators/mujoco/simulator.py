"""The MuJoCo simulator: a thread pool steps each env separately.

PD drives are joint springs: three hinges in one body become a ball joint whose spring reference is the PD target
(written to qpos_spring every control step). This is the geodesic spherical drive of PhysX, with implicitly
integrated damping. Every env has its own state, ground and targets and is stepped separately, so its result is
bit-identical for any number of envs.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Sequence

import mujoco
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.simulators.mujoco.character import NO_BOXES, compile_character, compile_model, physical_character
from parc_ray.simulators.mujoco.ground import (
    Ground,
    arrays_of_ground,
    can_exchange_grounds,
    ground_boxes,
    make_ground,
    pad_boxes,
)
from parc_ray.simulators.mujoco.settings import mujoco_settings
from parc_ray.simulators.mujoco.states import MujocoStates
from parc_ray.simulators.simulator import SimulatorConfig
from parc_ray.tensors.arrays import DoubleArray

CPU = torch.device("cpu")
LOST = (int(mujoco.mjtWarning.mjWARN_CONTACTFULL), int(mujoco.mjtWarning.mjWARN_CNSTRFULL))


STATE = int(mujoco.mjtState.mjSTATE_PHYSICS | mujoco.mjtState.mjSTATE_WARMSTART)
"""All that a step reads from the previous one: qpos, qvel, and the solver's initial accelerations."""


@dataclass(frozen=True)
class StepContext:
    """Model and data in which a thread steps envs whose grounds have the same key.

    Each thread has one; one per env would overflow the CPU's caches.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    ground: tuple[npt.NDArray[Any], ...]
    """The model's arrays_of_ground. Like the other fields, these are views with free access."""
    spring: DoubleArray
    """PD targets."""
    external_force: DoubleArray
    lost_contacts: Any
    """MuJoCo's counter of contacts dropped because of full buffers."""
    lost_constraints: Any
    """MuJoCo's counter of constraints dropped because of full buffers."""


class MujocoSimulator:
    """Simulator on the CPU with MuJoCo. Bit-identical results for any number of envs and threads."""

    name = "mujoco"
    exact_copies = True

    def __init__(self, config: SimulatorConfig, skeleton: Skeleton):
        """Raise InputError if MuJoCo cannot load the character."""
        self.version: str = mujoco.__version__
        self.num_envs = config.num_envs
        self.device = config.device
        self._config = config
        bare = compile_character(config, skeleton)
        self._states = MujocoStates(skeleton, bare, CPU)
        self._character = physical_character(config, skeleton)
        self._grounds: list[Ground | None] = [None] * config.num_envs
        # Cache recent grounds: a failed motion is soon retried.
        self._ground_of = lru_cache(2 * config.num_envs)(lambda tile: make_ground(ground_boxes(config.tiles[tile])))
        self._exchanges = can_exchange_grounds()
        if not self._exchanges:
            warnings.warn(
                f"MuJoCo {self.version} keeps a ground in another way than parc_ray knows: every tile is compiled "
                "into a model of its own, which takes more time and memory",
                stacklevel=2,
            )
        self._idle: dict[int, list[StepContext]] = {}
        """Unused contexts, by the key of their grounds."""
        self._pool = ThreadPoolExecutor(max(1, config.threads))
        self._threads = max(1, config.threads)
        self._steps = mujoco_settings(config).steps_per_control
        self._state = np.zeros((config.num_envs, mujoco.mj_stateSize(bare, STATE)))
        self._positions, self._velocities = slice(bare.nq), slice(bare.nq, bare.nq + bare.nv)
        self._force = np.zeros((config.num_envs, skeleton.num_bodies, 3))

    def reset(self, envs: Sequence[int], tiles: Sequence[int], state: CharacterState) -> None:
        """See Simulator.reset."""
        for index, tile in zip(envs, tiles):
            self._grounds[index] = self._ground_of(tile) if self._exchanges else Ground(tile, ())
        used = {ground.key for ground in self._grounds if ground is not None}
        if not self._exchanges:
            self._idle = {key: contexts for key, contexts in self._idle.items() if key in used}
        for key in used - set(self._idle):
            self._idle[key] = [self._step_context(key) for _ in range(self._threads)]
        positions, velocities = self._states.from_state(state.to(CPU))
        rows = list(envs)
        self._state[rows] = 0.0
        self._state[rows, self._positions], self._state[rows, self._velocities] = positions.numpy(), velocities.numpy()

    def step(self, envs: Sequence[int], targets: Tensor) -> CharacterState:
        """See Simulator.step."""
        springs = self._states.joint_positions(targets.cpu()).double().numpy()
        work = list(zip(envs, springs))
        # Small pieces balance the load between threads.
        size = max(1, min(8, -(-len(work) // self._threads)))
        pieces = [work[start : start + size] for start in range(0, len(work), size)]
        if self._threads == 1 or len(pieces) == 1:
            for piece in pieces:
                self._step_piece(piece)
        else:
            list(self._pool.map(self._step_piece, pieces))
        state, force = self._state[list(envs)], self._force[list(envs)]
        parts = (
            torch.from_numpy(part).float() for part in (state[:, self._positions], state[:, self._velocities], force)
        )
        return self._states.to_state(*parts).to(self.device)

    def copy(self, envs: Sequence[int], sources: Sequence[int]) -> None:
        """See Simulator.copy. STATE is all that a step reads from the previous one, so copies are exact."""
        self._state[list(envs)] = self._state[list(sources)]

    def park(self, envs: Sequence[int]) -> None:
        """See Simulator.park."""
        for index in envs:
            self._grounds[index] = None

    @property
    def device_bytes(self) -> int:
        """See Simulator.device_bytes."""
        return 0

    def close(self) -> None:
        """See Simulator.close."""
        self._pool.shutdown()
        self._grounds = [None] * self.num_envs
        self._idle.clear()

    def _step_context(self, key: int) -> StepContext:
        boxes = pad_boxes(NO_BOXES, key) if self._exchanges else ground_boxes(self._config.tiles[key])
        model = compile_model(self._character, boxes, self._config)
        data, ground = mujoco.MjData(model), arrays_of_ground(model, key) if self._exchanges else ()
        lost = (data.warning[kind] for kind in LOST)
        return StepContext(model, data, ground, model.qpos_spring, data.cfrc_ext, *lost)

    def _step_piece(self, piece: Sequence[tuple[int, DoubleArray]]) -> None:
        # Ground and targets are part of the model and differ between envs, so this cannot be one array operation; the
        # work per env is in C, without the GIL.
        for index, spring in piece:
            ground, state = self._grounds[index], self._state[index]
            assert ground is not None, "an env was stepped before its first reset"
            place = self._idle[ground.key].pop()
            for array, own in zip(place.ground, ground.arrays):
                array[...] = own
            place.spring[7:] = spring
            mujoco.mj_setState(place.model, place.data, state, STATE)
            mujoco.mj_step(place.model, place.data, self._steps)
            mujoco.mj_rnePostConstraint(place.model, place.data)
            mujoco.mj_getState(place.model, place.data, state, STATE)
            self._force[index] = place.external_force[1:, 3:]
            if place.lost_contacts.number or place.lost_constraints.number:
                # MuJoCo's buffers were full and contacts were dropped, so the result cannot be trusted.
                state[self._positions] = np.nan
                mujoco.mj_resetData(place.model, place.data)
            self._idle[ground.key].append(place)
