"""BVH: the character's joints and their motion, without its shapes and the terrain.

Metres, y up, z ahead. A joint has the name and offset of the MJCF's body. Its channels, Zrotation Xrotation Yrotation,
are the rotation from its parent's axes to its own, R = Rz Rx Ry. Only the root has positions.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.euler import euler_angles
from parc_ray.exporting.format import ExportFormat, y_up
from parc_ray.exporting.recording import Recording
from parc_ray.tensors.arrays import DoubleArray

ORDER = "ZXY"
CHANNELS = " ".join(f"{axis}rotation" for axis in ORDER)
SHORTEST_BONE = 0.05
"""m; readers drop bones without a length."""


def bvh_bytes(recording: Recording) -> bytes:
    """Return a recording as a BVH file."""
    motion = recording.motion
    file = io.BytesIO()
    lines = ["HIERARCHY", *_joint(recording, 0), "MOTION"]
    lines += [f"Frames: {motion.num_frames}", f"Frame Time: {1.0 / motion.fps:.9g}"]
    file.write(("\n".join(lines) + "\n").encode("utf-8"))
    angles = np.degrees(euler_angles(_local_rotations(recording), ORDER)).reshape(motion.num_frames, -1)
    np.savetxt(file, np.concatenate([y_up(motion.root_pos), angles], axis=1), "%.6f")
    return file.getvalue()


def _local_rotations(recording: Recording) -> DoubleArray:
    """Return rotations [n, B, 4] from the parents' axes to the bodies', y up, in the order of the hierarchy."""
    motion = recording.motion
    turned = recording.skeleton.to_parents(torch.from_numpy(motion.joint_rot).double())
    rotations = np.concatenate([motion.root_rot[:, None].astype(np.float64), turned.numpy()], axis=1)
    return np.concatenate([y_up(rotations[..., :3]), rotations[..., 3:]], axis=-1)


def _joint(recording: Recording, body: int) -> list[str]:
    """Return the lines of a body and its descendants, depth first, in the order of the bodies."""
    skeleton = recording.skeleton
    children = [child for child, parent in enumerate(skeleton.parent_indices) if parent == body]
    name = "_".join(skeleton.body_names[body].split())
    offset = (0.0, 0.0, 0.0) if body == 0 else skeleton.local_translation[body].tolist()
    channels = f"CHANNELS 6 Xposition Yposition Zposition {CHANNELS}" if body == 0 else f"CHANNELS 3 {CHANNELS}"
    inner = [_offset(offset), channels]
    for child in children:
        inner += _joint(recording, child)
    if not children:
        inner += ["End Site", "{", f"  {_offset(_end(recording, body))}", "}"]
    return [f"{'ROOT' if body == 0 else 'JOINT'} {name}", "{", *(f"  {line}" for line in inner), "}"]


def _offset(offset: npt.ArrayLike) -> str:
    return "OFFSET " + " ".join(f"{value:.6f}" for value in y_up(np.asarray(offset, dtype=np.float64)))


def _end(recording: Recording, body: int) -> DoubleArray:
    """Return the end of a body without children, m in its own axes: twice as far as the middle of its shapes.

    If they surround its origin, the end lies in the direction from its parent.
    """
    middles = [geom.position for geom in recording.geoms if geom.body == body]
    end = 2.0 * np.mean(middles, axis=0) if middles else np.zeros(3)
    if np.linalg.norm(end) < SHORTEST_BONE:
        way = recording.skeleton.local_translation[body].double().numpy()
        end = SHORTEST_BONE * way / max(float(np.linalg.norm(way)), SHORTEST_BONE)
    return np.asarray(end)


FORMAT = ExportFormat("bvh", ".bvh", bvh_bytes)
