"""Tables of robots' motions without a header, as deployment and tracking codes read them.

A row per frame: root position (m), root quaternion, one angle (rad) per joint in the MJCF's order. Three hinges in one
body are angles about x, y and z, each as it lies after the one before.
"""

from __future__ import annotations

import io

import numpy as np

from parc_ray.character.joint_order import dof_names
from parc_ray.exporting.format import ExportFormat
from parc_ray.exporting.qpos import qpos_of
from parc_ray.exporting.recording import Recording
from parc_ray.tensors.arrays import DoubleArray


def robot_csv_bytes(recording: Recording) -> bytes:
    """Return a recording as a table with quaternions xyzw, as Unitree and GMR have them."""
    return _table(qpos_of(recording)[:, [0, 1, 2, 4, 5, 6, 3, *range(7, 7 + recording.skeleton.dof_count)]])


def robot_csv_wxyz_bytes(recording: Recording) -> bytes:
    """Return a recording as a table with quaternions wxyz: MuJoCo's qpos."""
    return _table(qpos_of(recording))


def names_bytes(recording: Recording) -> bytes:
    """Return the names of the joints, one a line."""
    return ("\n".join(dof_names(recording.skeleton)) + "\n").encode("utf-8")


def _table(columns: DoubleArray) -> bytes:
    file = io.BytesIO()
    np.savetxt(file, columns, "%.9g", ",")
    return file.getvalue()


FORMAT = ExportFormat("robot-csv", ".csv", robot_csv_bytes, names_bytes)
FORMAT_WXYZ = ExportFormat("robot-csv-wxyz", ".csv", robot_csv_wxyz_bytes, names_bytes)
