"""NumPy archives of MuJoCo's coordinates, qpos and qvel.

They belong to the character's MJCF, whose joints are hinges: three in one body are angles about x, y and z, each as it
lies after the one before. `model` is an MJCF that MuJoCo loads without other files: the character on the recording's
ground. The character's own file has the same coordinates, unless it has other moving bodies.
"""

from __future__ import annotations

import io
from xml.etree import ElementTree

import mujoco
import numpy as np

from parc_ray.character.meshes import without_looks
from parc_ray.errors import InputError
from parc_ray.exporting.format import ExportFormat
from parc_ray.exporting.qpos import qpos_of
from parc_ray.exporting.recording import Recording
from parc_ray.simulators.mujoco.ground import ground_boxes, ground_geoms
from parc_ray.tensors.arrays import DoubleArray


def npz_bytes(recording: Recording) -> bytes:
    """Return an archive of qpos [n, 7 + D], qvel [n, 6 + D], time [n] s, contacts [n, B], body_names and model.

    qpos begins with the root's position and quaternion wxyz, qvel with the velocity of its origin (world axes) and its
    angular velocity (its own axes). Velocities lead from each frame to the next by mj_integratePos; the last frame
    repeats that of the frame before.
    """
    text = _model_text(recording)
    try:
        model = mujoco.MjModel.from_xml_string(text)
    except (ValueError, mujoco.FatalError) as error:
        raise InputError(
            f"{recording.source}: MuJoCo cannot load the character: {error}. Choose another format"
        ) from error
    dofs = recording.skeleton.dof_count
    if (model.nq, model.nv) != (7 + dofs, 6 + dofs):
        raise InputError(
            f"{recording.source}: MuJoCo makes {model.nv - 6} degrees of freedom of the character, which has {dofs}"
        )
    qpos = qpos_of(recording)
    file = io.BytesIO()
    np.savez_compressed(
        file,
        qpos=qpos,
        qvel=_velocities(model, qpos, recording.motion.fps),
        time=recording.times,
        contacts=recording.motion.contacts,
        body_names=np.array(recording.skeleton.body_names),
        model=np.array(text),
    )
    return file.getvalue()


def _model_text(recording: Recording) -> str:
    """Return the MJCF of the character on its ground, without shapes from other files."""
    text = ElementTree.tostring(without_looks(recording.character, recording.source), encoding="unicode")
    ground = ground_geoms(ground_boxes(recording.motion.terrain))
    return text.replace("<worldbody>", f"<worldbody>{ground}", 1)


def _velocities(model: mujoco.MjModel, qpos: DoubleArray, fps: float) -> DoubleArray:
    """Return qvel [n, nv]; each frame's leads to the next frame."""
    qvel = np.zeros((len(qpos), model.nv))
    for frame in range(len(qpos) - 1):
        mujoco.mj_differentiatePos(model, qvel[frame], 1.0 / fps, qpos[frame], qpos[frame + 1])
    qvel[-1] = qvel[-2]
    return qvel


FORMAT = ExportFormat("npz", ".npz", npz_bytes)
