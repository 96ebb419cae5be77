"""Joints without values: NaN in all frames becomes the identity, as in MimicKit; NaN in some is an error.

MimicKit's released humanoid_walk.pkl has no value for the neck in any frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError
from parc_ray.tensors.arrays import BoolArray

REMEDY = "Export it again, or leave it out"
ROOT_PARTS = ("root position", "root rotation")


def fill_dofs(
    frames: npt.NDArray[Any], skeleton: Skeleton, key: str, source: str
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Return frames [n, 6 + D] with the columns of unset joints at 0, and a note for each such joint.

    Raises InputError, which names the joint and the frame, if other numbers are not finite.
    """
    finite = np.isfinite(frames)
    if finite.all():
        return frames, ()
    for place, name in enumerate(ROOT_PARTS):
        _require(finite[:, 3 * place : 3 * place + 3].all(axis=1), name, key, source)
    filled = frames.copy()
    notes: list[str] = []
    for joint in skeleton.joints:
        own = slice(6 + joint.dof_index, 6 + joint.dof_index + joint.dof_count)
        rows = finite[:, own].all(axis=1)
        if joint.dof_count and not rows.any():
            filled[:, own] = 0.0
            notes.append(_note(joint.name))
        _require(rows | ~rows.any(), f"joint {joint.name}", key, source)
    return filled, tuple(notes)


def fill_rotations(
    rotations: npt.NDArray[Any], skeleton: Skeleton, key: str, source: str
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Return rotations [n, B - 1, 4] with the identity for unset joints, and a note for each. Raises like fill_dofs."""
    finite = np.isfinite(rotations).all(axis=-1)
    if finite.all():
        return rotations, ()
    filled = rotations.copy()
    notes: list[str] = []
    for index, joint in enumerate(skeleton.joints[1:]):
        if not finite[:, index].any():
            filled[:, index] = (0.0, 0.0, 0.0, 1.0)
            notes.append(_note(joint.name))
        else:
            _require(finite[:, index], f"joint {joint.name}", key, source)
    return filled, tuple(notes)


def _note(joint: str) -> str:
    return f"joint {joint} has no finite value in any frame; it is taken as the identity"


def _require(rows: BoolArray, name: str, key: str, source: str) -> None:
    if rows.all():
        return
    bad = np.flatnonzero(~rows)
    frames = f"frame {bad[0]}" if len(bad) == 1 else f"{len(bad)} frames, first in frame {bad[0]}"
    raise InputError(f"{source}: key '{key}': the {name} is not finite in {frames}. {REMEDY}")
