"""Poses of the SMPL body model: rotation vectors of its joints, in its order and axes (y up, z forward, x left).

https://smpl.is.tue.mpg.de; the rest pose is a T. A character either has SMPL's bodies under the names of PHC and
ProtoMotions, or PARC's fifteen bodies, which the nearest joints turn.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from parc_ray.character.rotations import exp_map_to_quat, quat_conjugate, quat_mul, quat_normalize
from parc_ray.character.skeleton import Skeleton
from parc_ray.motions.importers.clip import ReadOptions, SourceClip, fail
from parc_ray.motions.importers.joint_angles import numbers
from parc_ray.motions.importers.retargeting import retarget

JOINTS = (
    *("Pelvis", "L_Hip", "R_Hip", "Torso", "L_Knee", "R_Knee", "Spine", "L_Ankle", "R_Ankle", "Chest", "L_Toe"),
    *("R_Toe", "Neck", "L_Thorax", "R_Thorax", "Head", "L_Shoulder", "R_Shoulder", "L_Elbow", "R_Elbow", "L_Wrist"),
    *("R_Wrist", "L_Hand", "R_Hand"),
)
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
BODY_JOINTS = 22
"""Joints shared by SMPL, SMPL+H and SMPL-X; hands and face follow."""
HUMANOID_JOINTS = {
    "pelvis": "Pelvis",
    "torso": "Chest",
    "head": "Head",
    **{
        f"{side}_{body}": f"{side[0].upper()}_{joint}"
        for side in ("right", "left")
        for body, joint in (
            ("upper_arm", "Shoulder"),
            ("lower_arm", "Elbow"),
            ("hand", "Wrist"),
            ("thigh", "Hip"),
            ("shin", "Knee"),
            ("foot", "Ankle"),
        )
    },
}
UPRIGHT = (0.5, 0.5, 0.5, 0.5)
"""Rotation (xyzw) from SMPL's axes to a character's: z (forward) becomes x, x (left) y, and y (up) z."""


def to_clip(trans: Any, poses: Any, fps: float, options: ReadOptions, source: str) -> SourceClip:
    """Return a clip from root positions [n, 3] (m, z up) and poses [n, 24 * 3] or wider.

    Raises InputError if they are malformed, or the character has neither SMPL's bodies nor PARC's.
    """
    root_pos = torch.from_numpy(numbers(trans, (None, 3), "root positions", source))
    vectors = torch.as_tensor(numbers(_flat(poses), (len(root_pos), None), "poses", source))
    if vectors.shape[1] < 3 * BODY_JOINTS or vectors.shape[1] % 3:
        fail(source, f"its poses have {vectors.shape[1]} numbers per frame; SMPL has 3 for each of 24 joints", "")
    count = min(len(JOINTS), vectors.shape[1] // 3) if vectors.shape[1] == 72 else BODY_JOINTS
    turns = exp_map_to_quat(vectors[:, : 3 * count].reshape(len(vectors), count, 3))
    bodies = _bodies(options.skeleton, count, source)
    world: list[Tensor] = []
    for joint in range(count):
        parent = PARENTS[joint]
        world.append(turns[:, joint] if parent < 0 else quat_mul(world[parent], turns[:, joint]))
    back = quat_conjugate(torch.tensor(UPRIGHT, dtype=torch.float64))
    upright = {
        body: quat_normalize(quat_mul(world[joint], back.expand_as(world[joint]))) for body, joint in bodies.items()
    }
    root_rot, joint_rot = retarget(upright, options.skeleton)
    times = torch.arange(len(root_pos), dtype=torch.float64) / fps
    return SourceClip(times, root_pos, root_rot, joint_rot)


def _flat(poses: Any) -> Any:
    """Return poses [n, J, 3] as [n, J * 3]."""
    return poses.reshape(len(poses), -1) if getattr(poses, "ndim", 0) == 3 else poses


def _bodies(skeleton: Skeleton, count: int, source: str) -> dict[str, int]:
    """Return the joint that turns each body."""
    if all(name in skeleton.body_names for name in JOINTS[:BODY_JOINTS]):
        return {name: joint for joint, name in enumerate(JOINTS[:count]) if name in skeleton.body_names}
    if not all(name in skeleton.body_names for name in HUMANOID_JOINTS):
        fail(
            source,
            "is a motion of SMPL's body, and the character has neither SMPL's bodies (Pelvis, L_Hip, ...) nor PARC's",
            "Retarget it to the character first, for instance with GMR",
        )
    return {body: JOINTS.index(joint) for body, joint in HUMANOID_JOINTS.items()}
