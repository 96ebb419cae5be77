"""Euler angles of rotations over time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.rotations import quat_normalize, quat_to_matrix

DoubleArray = npt.NDArray[np.float64]

LOCKED = 1e-7
"""Cosine of the middle angle below which only the sum or difference of the other two is known."""


def euler_angles(rotations: npt.NDArray[np.floating], order: str) -> DoubleArray:
    """Angles [n, ..., 3] (rad) of rotations [n, ..., 4] (xyzw) about axes that turn along, such as order "ZXY".

    A rotation is the first angle's about the first axis, then the second's about the second axis as it lies then, and
    so on: as a matrix, R = R_first R_second R_third. They are continuous in n where the rotations are: of the two
    triples that are one rotation, and of their whole turns, that which is nearest to the frame before.
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
    """The same rotations, each frame's angles [..., 3] as near to those of the frame before as can be."""
    others = np.stack([angles[..., 0] + np.pi, np.pi - angles[..., 1], angles[..., 2] + np.pi], axis=-1)
    chosen = angles.copy()
    for n in range(1, len(chosen)):
        turns = [_wrapped(candidate[n] - chosen[n - 1]) for candidate in (angles, others)]
        far, near = (np.abs(turn).sum(axis=-1, keepdims=True) for turn in turns)
        chosen[n] = chosen[n - 1] + np.where(far <= near, *turns)
    return chosen


def _wrapped(angles: DoubleArray) -> DoubleArray:
    """The angles within half a turn of 0."""
    return angles - 2 * np.pi * np.round(angles / (2 * np.pi))
