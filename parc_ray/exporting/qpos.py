"""MuJoCo's coordinates of recordings."""

from __future__ import annotations

import numpy as np

from parc_ray.character.euler import euler_angles
from parc_ray.exporting.recording import Recording
from parc_ray.tensors.arrays import DoubleArray


def qpos_of(recording: Recording) -> DoubleArray:
    """Return qpos [n, 7 + D]: root position (m), root quaternion wxyz, angles (rad) of the hinges in MJCF order."""
    motion = recording.motion
    dofs = recording.dof_pos().astype(np.float64)
    for body, joint in enumerate(recording.skeleton.joints):
        if joint.kind == "spherical":
            own = slice(joint.dof_index, joint.dof_index + 3)
            dofs[:, own] = euler_angles(motion.joint_rot[:, body - 1], "XYZ")
    return np.concatenate([motion.root_pos, motion.root_rot[:, [3, 0, 1, 2]], dofs], axis=1, dtype=np.float64)
