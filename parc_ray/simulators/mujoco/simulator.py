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
from typing import Any, Dict, List, Sequence, Tuple

import mujoco
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.batches import whole_batches
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.errors import InputError
from parc_ray.simulators.mujoco.character import compile_model, physical_character
from parc_ray.simulators.mujoco.engine import MUJOCO
from parc_ray.simulators.simulator import SimulatorConfig

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
        self.skeleton = skeleton
        self._config = config
        self._character = physical_character(config, skeleton)
        self._bare = compile_model(self._character, None, config)
        if (self._bare.nbody, self._bare.nv) != (skeleton.num_bodies + 1, skeleton.dof_count + 6):
            raise InputError(
                f"{config.character_source}: MuJoCo makes {self._bare.nbody - 1} bodies and {self._bare.nv - 6} "
                f"degrees of freedom of the character, which has {skeleton.num_bodies} and {skeleton.dof_count}: "
                "simplify it"
            )
        self._envs: List[Env | None] = [None] * config.num_envs
        self._spare: OrderedDict[int, Env] = OrderedDict()
        self._pool = ThreadPoolExecutor(max(1, config.threads))
        self._threads = max(1, config.threads)
        bodies = skeleton.num_bodies
        self._qpos = np.zeros((config.num_envs, self._bare.nq))
        self._qvel = np.zeros((config.num_envs, self._bare.nv))
        self._force = np.zeros((config.num_envs, bodies, 3))
        self._root_com = torch.tensor(self._bare.body_ipos[1], dtype=torch.float32)
        self._balls, self._to_springs, self._to_dofs = _joint_tables(skeleton)

    def reset(self, envs: Sequence[int], tiles: Sequence[int], state: CharacterState) -> None:
        """See Simulator.reset. Every env has a model of its own: the PD target is part of the model."""
        qpos, qvel = self._to_mujoco(state)
        for row, (index, tile) in enumerate(zip(envs, tiles)):
            self.park([index])
            env = self._spare.pop(tile, None) or self._build(tile)
            mujoco.mj_resetData(env.model, env.data)
            env.qpos[:], env.qvel[:] = qpos[row], qvel[row]
            self._envs[index] = env

    def step(self, envs: Sequence[int], targets: Tensor) -> CharacterState:
        """See Simulator.step."""
        springs = self._joint_positions(targets)
        active = [self._envs[index] for index in envs]
        # Small pieces, so that a thread that drew the easy envs takes more of them.
        size = max(1, min(8, -(-len(active) // self._threads)))
        pieces = [(start, min(start + size, len(active))) for start in range(0, len(active), size)]
        if self._threads == 1 or len(pieces) == 1:
            for piece in pieces:
                self._step_piece(active, springs, piece)
        else:
            list(self._pool.map(lambda piece: self._step_piece(active, springs, piece), pieces))
        return self._from_mujoco(len(active))

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
        model = compile_model(self._character, self._config.tiles[tile], self._config)
        data = mujoco.MjData(model)
        warnings = [data.warning[kind] for kind in LOST]
        return Env(tile, model, data, data.qpos, data.qvel, model.qpos_spring, data.cfrc_ext, *warnings)

    def _step_piece(self, active: List[Env | None], springs: npt.NDArray[np.float64], piece: Tuple[int, int]) -> None:
        # Every env owns its model, so this cannot be one array operation; what it does per env is C, without the GIL.
        steps = self._config.steps_per_control
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

    def _joint_positions(self, dof_pos: Tensor) -> npt.NDArray[np.float64]:
        """Positions of all joints below the root as MuJoCo stores them, [n, nq - 7]."""
        padded = whole_batches(dof_pos.cpu())
        sources = torch.cat((self.skeleton.dof_to_rot(padded).flatten(1), padded), dim=1)
        positions: npt.NDArray[np.float64] = sources.index_select(1, self._to_springs)[: len(dof_pos)].double().numpy()
        return positions

    def _dof_positions(self, joints: Tensor) -> Tensor:
        """Degrees of freedom [n, D] of joint positions [n, nq - 7]."""
        balls = rotations.quat_to_exp_map(joints[:, self._balls])
        return torch.cat((balls.flatten(1), joints), dim=1).index_select(1, self._to_dofs)

    def _to_mujoco(self, state: CharacterState) -> Tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        root_rot, ang_vel = state.root_rot.cpu(), state.root_ang_vel.cpu()
        axes = rotations.quat_to_matrix(root_rot)
        origin_vel = state.root_vel.cpu() - torch.linalg.cross(ang_vel, self._from_origin(axes))
        body_ang_vel = rotations.matrix_apply(axes.transpose(-1, -2), ang_vel)
        root = torch.cat((state.root_pos.cpu(), root_rot[:, 3:], root_rot[:, :3]), dim=1)
        qpos = np.concatenate((root.double().numpy(), self._joint_positions(state.dof_pos)), axis=1)
        return qpos, torch.cat((origin_vel, body_ang_vel, state.dof_vel.cpu()), dim=1).double().numpy()

    def _from_mujoco(self, count: int) -> CharacterState:
        """State of the first `count` rows. MuJoCo has the root velocity of the origin, and its spin in body axes."""
        qpos = whole_batches(torch.from_numpy(self._qpos[:count]).float())
        qvel = whole_batches(torch.from_numpy(self._qvel[:count]).float())
        root_rot = qpos[:, [4, 5, 6, 3]]
        axes = rotations.quat_to_matrix(root_rot)
        ang_vel = rotations.matrix_apply(axes, qvel[:, 3:6])
        parts = CharacterState(
            root_pos=qpos[:, :3],
            root_rot=root_rot,
            root_vel=qvel[:, :3] + torch.linalg.cross(ang_vel, self._from_origin(axes)),
            root_ang_vel=ang_vel,
            dof_pos=self._dof_positions(qpos[:, 7:]),
            dof_vel=qvel[:, 6:],
            contact_force=torch.from_numpy(self._force[:count]).float(),
        )
        return CharacterState(**{name: value[:count].to(self.device) for name, value in vars(parts).items()})

    def _from_origin(self, axes: Tensor) -> Tensor:
        """From the root's origin to its centre of mass, [n, 3] m, world axes."""
        return rotations.matrix_apply(axes, self._root_com)


def _joint_tables(skeleton: Skeleton) -> Tuple[Tensor, Tensor, Tensor]:
    """Index tables between joint positions, as they follow the root in qpos, and the character's joints.

    The columns of ball joints as xyzw quaternions, [balls, 4]; for each joint position its place among all joint
    rotations (flattened) followed by all dofs; for each dof its place among the balls' rotation vectors followed by
    the joint positions.
    """
    balls: List[List[int]] = []
    to_springs: List[int] = []
    hinge_columns: Dict[int, int] = {}
    dofs_start = 4 * (skeleton.num_bodies - 1)
    for body, joint in enumerate(skeleton.joints):
        column = len(to_springs)
        if joint.kind == "spherical":
            balls.append([column + 1, column + 2, column + 3, column])
            to_springs += [4 * (body - 1) + part for part in (3, 0, 1, 2)]
        elif joint.kind == "hinge":
            hinge_columns[joint.dof_index] = column
            to_springs.append(dofs_start + joint.dof_index)
    of_balls = iter(range(3 * len(balls)))
    to_dofs = [
        3 * len(balls) + hinge_columns[dof] if dof in hinge_columns else next(of_balls)
        for dof in range(skeleton.dof_count)
    ]
    return torch.tensor(balls, dtype=torch.int64).reshape(-1, 4), torch.tensor(to_springs), torch.tensor(to_dofs)
