"""Archives for whole-body tracking (BeyondMimic, mjlab): joints, and poses and velocities of all bodies in the world.

joint_pos and joint_vel [n, D]; body_pos_w [n, B, 3], body_quat_w [n, B, 4] (wxyz), body_lin_vel_w and body_ang_vel_w
[n, B, 3]; fps [1]; joint_names and body_names. Positions and velocities are those of the bodies' origins, as mjlab has
them; Isaac Lab's linear velocities are those of centres of mass.
"""

from __future__ import annotations

import io
from typing import Any, Sequence

import numpy as np
import torch

from parc_ray.character.joint_order import breadth_first, dof_names, dofs_of
from parc_ray.character.rotations import quat_conjugate, quat_mul, quat_normalize, quat_to_exp_map
from parc_ray.exporting.format import ExportFormat
from parc_ray.exporting.qpos import qpos_of
from parc_ray.exporting.recording import Recording
from parc_ray.tensors.arrays import DoubleArray


def tracking_bytes(recording: Recording) -> bytes:
    """Return a recording as an archive with joints and bodies in the MJCF's order, which is mjlab's."""
    return _archive(recording, range(recording.skeleton.num_bodies))


def tracking_isaaclab_bytes(recording: Recording) -> bytes:
    """Return a recording as an archive with joints and bodies breadth first, which is Isaac Lab's order."""
    return _archive(recording, breadth_first(recording.skeleton))


def _archive(recording: Recording, bodies: Sequence[int]) -> bytes:
    fps, order = recording.motion.fps, list(bodies)
    joints = dofs_of(recording.skeleton, order)
    positions, rotations = (part[:, order].astype(np.float64) for part in recording.body_poses())
    joint_pos = qpos_of(recording)[:, 7:][:, joints]
    names = dof_names(recording.skeleton)
    arrays = {
        "joint_pos": joint_pos,
        "joint_vel": np.gradient(joint_pos, 1.0 / fps, axis=0),
        "body_pos_w": positions,
        "body_quat_w": rotations[..., [3, 0, 1, 2]],
        "body_lin_vel_w": np.gradient(positions, 1.0 / fps, axis=0),
        "body_ang_vel_w": _angular_velocities(rotations, fps),
    }
    file = io.BytesIO()
    contents: dict[str, Any] = {name: array.astype(np.float32) for name, array in arrays.items()}
    contents["fps"] = np.array([fps], dtype=np.float32)
    contents["joint_names"] = np.array([names[joint] for joint in joints])
    contents["body_names"] = np.array([recording.skeleton.body_names[body] for body in order])
    np.savez(file, **contents)
    return file.getvalue()


def _angular_velocities(rotations: DoubleArray, fps: float) -> DoubleArray:
    """Return velocities [n, B, 3] (rad/s, world axes) of rotations [n, B, 4], by differences as np.gradient takes them.

    log(q[k + 1] q[k - 1]^-1) / 2 dt, and one-sided at the ends.
    """
    turns = torch.from_numpy(rotations)
    before, after = torch.cat((turns[:1], turns[:-1])), torch.cat((turns[1:], turns[-1:]))
    steps = np.full((len(rotations), 1, 1), 2.0)
    steps[[0, -1]] = 1.0
    turn = quat_normalize(quat_mul(after, quat_conjugate(before)))
    velocities: DoubleArray = quat_to_exp_map(turn).numpy() * fps / steps
    return velocities


FORMAT = ExportFormat("tracking-npz", ".npz", tracking_bytes)
FORMAT_ISAACLAB = ExportFormat("tracking-npz-isaaclab", ".npz", tracking_isaaclab_bytes)
