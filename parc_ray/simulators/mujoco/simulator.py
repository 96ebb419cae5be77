"""The MuJoCo simulator: one model per env, stepped by a pool of threads.

PD drives are joint springs: three hinges in one body become a ball joint whose spring reference is the PD target
(written to qpos_spring every control step). That is the geodesic spherical drive of PhysX, and its damping is
integrated implicitly. Every env has its own model, with its tile as boxes, and is stepped by itself: what happens
in one env cannot depend on how many others there are, in bits.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, List, Sequence, Tuple

import mujoco
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.simulators.mujoco.character import compile_character, compile_model, ground_boxes, physical_character
from parc_ray.simulators.mujoco.engine import MUJOCO
from parc_ray.simulators.mujoco.settings import mujoco_settings
from parc_ray.simulators.mujoco.states import MujocoStates
from parc_ray.simulators.simulator import SimulatorConfig

CPU = torch.device("cpu")
LOST = (int(mujoco.mjtWarning.mjWARN_CONTACTFULL), int(mujoco.mjtWarning.mjWARN_CNSTRFULL))


@dataclass
class Env:
    """A character on a tile: its model, its state, and views into them that cost nothing to reach."""

    tile: int
    model: mujoco.MjModel
    data: mujoco.MjData
    qpos: npt.NDArray[np.float64]
    qvel: npt.NDArray[np.float64]
    spring: npt.NDArray[np.float64]
    external_force: npt.NDArray[np.float64]
    lost_contacts: Any
    """MuJoCo's counter of contacts that it dropped because its buffers were full."""
    lost_constraints: Any
    """MuJoCo's counter of constraints that it dropped because its buffers were full."""


class MujocoSimulator:
    """Simulator on the CPU with MuJoCo. Repeats to the bit, whatever the number of envs and threads."""

    engine = MUJOCO

    def __init__(self, config: SimulatorConfig, skeleton: Skeleton):
        """Raises InputError if MuJoCo cannot load the character."""
        self.version: str = mujoco.__version__
        self.num_envs = config.num_envs
        self.device = config.device
        self._config = config
        bare = compile_character(config, skeleton)
        self._states = MujocoStates(skeleton, bare, CPU)
        self._character = physical_character(config, skeleton)
        self._envs: List[Env | None] = [None] * config.num_envs
        self._spare: OrderedDict[int, Env] = OrderedDict()
        self._pool = ThreadPoolExecutor(max(1, config.threads))
        self._threads = max(1, config.threads)
        self._steps = mujoco_settings(config).steps_per_control
        self._qpos = np.zeros((config.num_envs, bare.nq))
        self._qvel = np.zeros((config.num_envs, bare.nv))
        self._force = np.zeros((config.num_envs, skeleton.num_bodies, 3))

    def reset(self, envs: Sequence[int], tiles: Sequence[int], state: CharacterState) -> None:
        """See Simulator.reset. Every env has a model of its own: the PD target is part of the model."""
        positions, velocities = self._states.from_state(state.to(CPU))
        qpos, qvel = positions.double().numpy(), velocities.double().numpy()
        for row, (index, tile) in enumerate(zip(envs, tiles)):
            self.park([index])
            env = self._spare.pop(tile, None) or self._build(tile)
            mujoco.mj_resetData(env.model, env.data)
            env.qpos[:], env.qvel[:] = qpos[row], qvel[row]
            self._envs[index] = env

    def step(self, envs: Sequence[int], targets: Tensor) -> CharacterState:
        """See Simulator.step."""
        springs = self._states.joint_positions(targets.cpu()).double().numpy()
        active = [self._envs[index] for index in envs]
        # Small pieces, so that a thread that drew the easy envs takes more of them.
        size = max(1, min(8, -(-len(active) // self._threads)))
        pieces = [(start, min(start + size, len(active))) for start in range(0, len(active), size)]
        if self._threads == 1 or len(pieces) == 1:
            for piece in pieces:
                self._step_piece(active, springs, piece)
        else:
            list(self._pool.map(lambda piece: self._step_piece(active, springs, piece), pieces))
        parts = (torch.from_numpy(part[: len(active)]).float() for part in (self._qpos, self._qvel, self._force))
        return self._states.to_state(*parts).to(self.device)

    def park(self, envs: Sequence[int]) -> None:
        """See Simulator.park. The models used last are kept, because a failed motion is soon tried again."""
        for index in envs:
            env, self._envs[index] = self._envs[index], None
            if env is not None:
                self._spare[env.tile] = env
        while len(self._spare) > self.num_envs:
            self._spare.popitem(last=False)

    @property
    def device_bytes(self) -> int:
        """See Simulator.device_bytes."""
        return 0

    def close(self) -> None:
        """See Simulator.close."""
        self._pool.shutdown()
        self._envs = [None] * self.num_envs
        self._spare.clear()

    def _build(self, tile: int) -> Env:
        model = compile_model(self._character, ground_boxes(self._config.tiles[tile]), self._config)
        data = mujoco.MjData(model)
        warnings = [data.warning[kind] for kind in LOST]
        return Env(tile, model, data, data.qpos, data.qvel, model.qpos_spring, data.cfrc_ext, *warnings)

    def _step_piece(self, active: List[Env | None], springs: npt.NDArray[np.float64], piece: Tuple[int, int]) -> None:
        # Every env owns its model, so this cannot be one array operation; what it does per env is C, without the GIL.
        steps = self._steps
        for row in range(*piece):
            env = active[row]
            assert env is not None, "an env was stepped before its first reset"
            env.spring[7:] = springs[row]
            mujoco.mj_step(env.model, env.data, steps)
            mujoco.mj_rnePostConstraint(env.model, env.data)
            self._qpos[row] = env.qpos
            self._qvel[row] = env.qvel
            self._force[row] = env.external_force[1:, 3:]
            if env.lost_contacts.number or env.lost_constraints.number:
                # MuJoCo's buffers were full and contacts were dropped: what happened then is not to be trusted.
                self._qpos[row] = np.nan
