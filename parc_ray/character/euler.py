"""Euler angles of rotations over time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.rotations import quat_normalize, quat_to_matrix
from parc_ray.tensors.arrays import DoubleArray

LOCKED = 1e-7
"""Cosine of the middle angle below which there is gimbal lock: only the others' sum or difference is defined."""


def euler_angles(rotations: npt.NDArray[np.floating], order: str) -> DoubleArray:
    """Return intrinsic Euler angles [n, ..., 3] (rad) of rotations [n, ..., 4] (xyzw), in an order such as "ZXY".

    As matrices, R = R_first R_second R_third. Each rotation has two triples, plus full turns. The result is the one
    nearest to the previous frame, so that angles are continuous in n if the rotations are.
    """
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    unit = quat_normalize(torch.from_numpy(np.asarray(rotations, dtype=np.float64)))
    matrix: DoubleArray = quat_to_matrix(unit).numpy()

    def part(row: int, column: int) -> DoubleArray:
        return np.asarray(matrix[..., row, column])

    cosine = np.hypot(part(i, i), part(i, j))
    locked = cosine < LOCKED
    first = np.where(locked, np.arctan2(sign * part(k, j), part(j, j)), np.arctan2(-sign * part(j, k), part(k, k)))
    second = np.arctan2(sign * part(i, k), cosine)
    third = np.where(locked, 0.0, np.arctan2(-sign * part(i, j), part(i, i)))
    return _continuous(np.stack([first, second, third], axis=-1))


def _continuous(angles: DoubleArray) -> DoubleArray:
    """Return equivalent angles [..., 3], each frame's nearest to those of the previous frame."""
    others = np.stack([angles[..., 0] + np.pi, np.pi - angles[..., 1], angles[..., 2] + np.pi], axis=-1)
    chosen = angles.copy()
    for n in range(1, len(chosen)):
        turns = [_wrap(candidate[n] - chosen[n - 1]) for candidate in (angles, others)]
        far, near = (np.abs(turn).sum(axis=-1, keepdims=True) for turn in turns)
        chosen[n] = chosen[n - 1] + np.where(far <= near, *turns)
    return chosen


def _wrap(angles: DoubleArray) -> DoubleArray:
    """Return the angles wrapped to [-pi, pi]."""
    return angles - 2 * np.pi * np.round(angles / (2 * np.pi))
