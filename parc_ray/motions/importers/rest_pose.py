"""The rest pose of a BVH file, compared with the character's.

With all rotations at zero, some files show a person in a T or A pose, others have all bones along one axis. Only joint
positions mean the same in all files. So the character is posed with its bones in the directions of the file's, in the
file's rest pose or, if no person can stand like that, in a frame of the clip. This gives the rotation from each joint
to its body. A rotation about a bone, which positions do not show, is assumed to be zero in this pose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np

from parc_ray.character.skeleton import Skeleton
from parc_ray.tensors.arrays import DoubleArray

SAME_DIRECTION = math.radians(15)
"""Direction difference of a bone from the character's that is still due to build, not pose."""
DOUBTFUL = math.radians(45)
"""Direction difference above which the rotation about the bone may be wrong and the user should check."""
IMPOSSIBLE = math.radians(100)
"""Direction difference impossible for a standing person with arms down or out."""
MAX_FRAMES = 200
"""Maximum frames of a clip to try."""
SHORTEST_BONE = 1e-6


@dataclass(frozen=True, eq=False)
class FittedPose:
    """The character's pose with its bones in the directions of a file's."""

    rotations: dict[str, DoubleArray]
    """World rotation matrix of each mapped body."""
    angles: dict[str, float]
    """Angle of each body from its rest pose relative to its parent, rad; for the root, from the vertical."""


class BoneFit:
    """Fits the character to joint positions.

    fit = BoneFit(skeleton, ["pelvis", "torso"]).pose(positions).angles["torso"]
    """

    def __init__(self, skeleton: Skeleton, bodies: Sequence[str]) -> None:
        self._parents: dict[str, str] = {}
        """Nearest mapped ancestor of each mapped body; empty for the root."""
        self._bones: dict[str, dict[str, DoubleArray]] = {body: {} for body in bodies}
        """Vectors to each mapped child of a mapped body, in its frame at rest."""
        self._turns: dict[str, DoubleArray] = {}
        """Rotations from each mapped body's frame at rest to its mapped ancestor's."""
        places, axes = _rest(skeleton)
        for index, body in enumerate(skeleton.body_names):
            if body not in self._bones:
                continue
            above = skeleton.parent_indices[index]
            while above >= 0 and skeleton.body_names[above] not in self._bones:
                above = skeleton.parent_indices[above]
            parent = skeleton.body_names[above] if above >= 0 else ""
            self._parents[body] = parent
            self._turns[body] = axes[index] if above < 0 else axes[above].T @ axes[index]
            if parent:
                self._bones[parent][body] = axes[above].T @ (places[index] - places[above])

    def pose(self, positions: Mapping[str, DoubleArray]) -> FittedPose:
        """Return the pose for positions [3] of the mapped bodies, z up, in any unit."""
        rotations: dict[str, DoubleArray] = {}
        angles: dict[str, float] = {}
        for body, parent in self._parents.items():
            rest = rotations[parent] @ self._turns[body] if parent else self._turns[body]
            bones = [(bone, positions[child] - positions[body]) for child, bone in self._bones[body].items()]
            bones = [(own, other) for own, other in bones if _length(own) > SHORTEST_BONE < _length(other)]
            fitted = rest if not bones else _align(rest, *bones[0]) if len(bones) == 1 else _kabsch(bones)
            angle = _angle(rest.T @ fitted)
            if not parent:
                angle = math.acos(min(1.0, max(-1.0, float(fitted[2] @ rest[2]))))
            rotations[body] = fitted if _angle(rest.T @ fitted) > SAME_DIRECTION else rest
            angles[body] = angle
        return FittedPose(rotations, angles)

    def scale(self, positions: Mapping[str, DoubleArray]) -> float:
        """Return metres per unit of the positions: the median over limbs, whose bones have one child."""
        ratios: list[float] = []
        for body, bones in self._bones.items():
            lengths = [(_length(bone), _length(positions[child] - positions[body])) for child, bone in bones.items()]
            ratios += [own / other for own, other in lengths if len(bones) == 1 and other > SHORTEST_BONE]
        return float(np.median(ratios)) if ratios else 1.0


def reference_frame(fit: BoneFit, bodies: Sequence[str], rest: DoubleArray, frames: DoubleArray) -> int | None:
    """Return the frame nearest to the character's rest pose; None if a person can stand in the file's rest pose.

    rest: positions [B, 3] of the bodies; frames: positions [n, B, 3].
    """
    if max(fit.pose(dict(zip(bodies, rest))).angles.values()) < IMPOSSIBLE:
        return None
    tried = sorted({int(frame) for frame in np.linspace(0, len(frames) - 1, min(len(frames), MAX_FRAMES))})
    sums = [sum(fit.pose(dict(zip(bodies, frames[frame]))).angles.values()) for frame in tried]
    return tried[int(np.argmin(sums))]


def up_axis(skeleton: Skeleton, bodies: Sequence[str], positions: DoubleArray) -> str:
    """Return y or z: the axis that separates the highest and lowest body at rest in positions [n, B, 3]."""
    places, _ = _rest(skeleton)
    heights = [float(places[skeleton.body_index(body)][2]) for body in bodies]
    span = (positions[:, int(np.argmax(heights))] - positions[:, int(np.argmin(heights))]).mean(axis=0)
    return "y" if abs(span[1]) >= abs(span[2]) else "z"


def matrix_to_quat(matrix: DoubleArray) -> DoubleArray:
    """Return the quaternion [4] (xyzw) of a rotation matrix, computed from its largest component."""
    trace = float(np.trace(matrix))
    squares = np.array([*(1.0 + 2.0 * np.diag(matrix) - trace), 1.0 + trace])
    largest = int(np.argmax(squares))
    if largest == 3:
        parts = [matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1], squares[3]]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        parts = [0.0, 0.0, 0.0, matrix[k, j] - matrix[j, k]]
        parts[i], parts[j], parts[k] = squares[i], matrix[i, j] + matrix[j, i], matrix[i, k] + matrix[k, i]
    quaternion = np.array(parts)
    unit: DoubleArray = quaternion / np.linalg.norm(quaternion)
    return unit


def _rest(skeleton: Skeleton) -> tuple[list[DoubleArray], list[DoubleArray]]:
    """Return position and rotation matrix of every body with all joints at zero."""
    places: list[DoubleArray] = []
    axes: list[DoubleArray] = []
    for index, parent in enumerate(skeleton.parent_indices):
        turn = _matrix(skeleton.local_rotation[index].double().numpy())
        offset = skeleton.local_translation[index].double().numpy()
        places.append(np.zeros(3) if parent < 0 else places[parent] + axes[parent] @ offset)
        axes.append(np.eye(3) if parent < 0 else axes[parent] @ turn)
    return places, axes


def _align(rest: DoubleArray, bone: DoubleArray, other: DoubleArray) -> DoubleArray:
    """Return the rotation nearest to `rest` that turns a bone to another direction."""
    start, end = rest @ bone / _length(bone), other / _length(other)
    axis = np.cross(start, end)
    sine, cosine = _length(axis), float(start @ end)
    if sine < 1e-9:
        if cosine > 0:
            return rest
        axis = np.cross(start, np.eye(3)[int(np.argmin(np.abs(start)))])
    return _rotation_about(axis / _length(axis), math.atan2(sine, cosine)) @ rest


def _kabsch(bones: Sequence[tuple[DoubleArray, DoubleArray]]) -> DoubleArray:
    """Return the rotation that best aligns bones with a common origin to other directions."""
    own = np.array([np.zeros(3), *(bone / _length(bone) for bone, _ in bones)])
    other = np.array([np.zeros(3), *(bone / _length(bone) for _, bone in bones)])
    u, _, v = np.linalg.svd((own - own.mean(axis=0)).T @ (other - other.mean(axis=0)))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(v.T @ u.T))])
    rotation: DoubleArray = v.T @ flip @ u.T
    return rotation


def _rotation_about(axis: DoubleArray, angle: float) -> DoubleArray:
    """Return the matrix of a rotation by an angle (Rodrigues' formula)."""
    x, y, z = axis
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    matrix: DoubleArray = np.eye(3) + math.sin(angle) * skew + (1.0 - math.cos(angle)) * skew @ skew
    return matrix


def _matrix(xyzw: DoubleArray) -> DoubleArray:
    vector, w = xyzw[:3], float(xyzw[3])
    sine = _length(vector)
    return np.eye(3) if sine < 1e-12 else _rotation_about(vector / sine, 2.0 * math.atan2(sine, w))


def _angle(matrix: DoubleArray) -> float:
    return math.acos(min(1.0, max(-1.0, (float(np.trace(matrix)) - 1.0) / 2.0)))


def _length(vector: DoubleArray) -> float:
    return float(np.linalg.norm(vector))
