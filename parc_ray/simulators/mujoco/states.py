"""Conversion between character states and MuJoCo's positions and velocities."""

from __future__ import annotations

import mujoco
import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.tensors.rows import batch_last, pad_to_batch, reverse_dims


class MujocoStates:
    """Converts states on one device. A row's result does not depend on other rows, bit for bit.

    MuJoCo uses wxyz quaternions, the velocity of the root's origin, and the root's angular velocity in its own axes.
    """

    def __init__(self, skeleton: Skeleton, model: mujoco.MjModel, device: torch.device):
        """model: the character's; its body 1 is the root."""
        self._skeleton = skeleton.to(device)
        self._root_com = torch.tensor(model.body_ipos[1], dtype=torch.float32, device=device)
        balls, to_joints, to_dofs = _joint_tables(skeleton)
        self._balls, self._to_joints, self._to_dofs = balls.to(device), to_joints.to(device), to_dofs.to(device)

    def joint_positions(self, dof_pos: Tensor) -> Tensor:
        """Return the joint positions [n, nq - 7] after the root in qpos, from dofs [n, D]."""
        padded = pad_to_batch(dof_pos)
        sources = torch.cat((self._skeleton.dof_to_rot(padded).flatten(1), padded), dim=1)
        return sources.index_select(1, self._to_joints)[: len(dof_pos)]

    def from_state(self, state: CharacterState) -> tuple[Tensor, Tensor]:
        """Return qpos [n, nq] and qvel [n, nv] of states."""
        axes = rotations.quat_to_matrix(state.root_rot)
        origin_vel = state.root_vel - torch.linalg.cross(state.root_ang_vel, self._from_origin(axes))
        spin = rotations.matrix_apply(axes.transpose(-1, -2), state.root_ang_vel)
        root = (state.root_pos, state.root_rot[:, 3:], state.root_rot[:, :3])
        qpos = torch.cat((*root, self.joint_positions(state.dof_pos)), dim=1)
        return qpos, torch.cat((origin_vel, spin, state.dof_vel), dim=1)

    def to_state(self, qpos: Tensor, qvel: Tensor, contact_force: Tensor) -> CharacterState:
        """Return states from qpos [n, nq], qvel [n, nv] and contact forces [n, B, 3], all float32."""
        count = len(qpos)
        qpos, qvel = batch_last(pad_to_batch(qpos)), batch_last(pad_to_batch(qvel))
        root_rot = rotations.concatenate(qpos[:, 4:7], qpos[:, 3:4])
        axes = rotations.quat_to_matrix(root_rot)
        ang_vel = rotations.matrix_apply(axes, qvel[:, 3:6])
        parts = {
            "root_pos": qpos[:, :3],
            "root_rot": root_rot,
            "root_vel": qvel[:, :3] + torch.linalg.cross(ang_vel, self._from_origin(axes)),
            "root_ang_vel": ang_vel,
            "dof_pos": self._dof_positions(qpos[:, 7:]),
            "dof_vel": qvel[:, 6:],
        }
        return CharacterState(**{name: value[:count] for name, value in parts.items()}, contact_force=contact_force)

    def _dof_positions(self, joints: Tensor) -> Tensor:
        """Return degrees of freedom [n, D] of joint positions [n, nq - 7]."""
        quaternions = reverse_dims(joints).index_select(0, self._balls).unflatten(0, (4, len(self._balls) // 4))
        balls = rotations.quat_to_exp_map(reverse_dims(quaternions))
        sources = torch.cat((reverse_dims(balls).flatten(0, 1), reverse_dims(joints)))
        return reverse_dims(sources.index_select(0, self._to_dofs))

    def _from_origin(self, axes: Tensor) -> Tensor:
        """Return vectors [n, 3] m, world axes, from the root's origin to its centre of mass."""
        return rotations.matrix_apply(axes, self._root_com)


def _joint_tables(skeleton: Skeleton) -> tuple[Tensor, Tensor, Tensor]:
    """Return index tables between joint positions, in qpos order after the root, and the character's joints.

    The columns of ball joints' quaternions, [4 * balls], all x first, then all y, z and w; for each joint position its
    index among all joint rotations (flattened) followed by all dofs; for each dof its index among the balls' rotation
    vectors, all x first, followed by the joint positions.
    """
    balls: list[list[int]] = []
    to_joints: list[int] = []
    hinge_columns: dict[int, int] = {}
    dofs_start = 4 * (skeleton.num_bodies - 1)
    for body, joint in enumerate(skeleton.joints):
        column = len(to_joints)
        if joint.kind == "spherical":
            balls.append([column + 1, column + 2, column + 3, column])
            to_joints += [4 * (body - 1) + part for part in (3, 0, 1, 2)]
        elif joint.kind == "hinge":
            hinge_columns[joint.dof_index] = column
            to_joints.append(dofs_start + joint.dof_index)
    of_balls = iter([part * len(balls) + ball for ball in range(len(balls)) for part in range(3)])
    to_dofs = [
        3 * len(balls) + hinge_columns[dof] if dof in hinge_columns else next(of_balls)
        for dof in range(skeleton.dof_count)
    ]
    return (
        torch.tensor(balls, dtype=torch.int64).reshape(-1, 4).t().flatten(),
        torch.tensor(to_joints),
        torch.tensor(to_dofs),
    )
