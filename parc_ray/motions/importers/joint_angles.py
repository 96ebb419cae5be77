"""Joint angles of a robot, matched with the character's joints.

Robot motion files contain the root's pose and one angle per hinge: MuJoCo's qpos without its model. The most common
error is a different joint order, which the numbers do not reveal. Joints are matched by name if there are names.
Otherwise the assumed order is reported, and the angles are checked against the joint limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from torch import Tensor

from parc_ray.character.joint_order import breadth_first, dof_names, dofs_of
from parc_ray.character.rotations import axis_angle_to_quat, quat_mul, quat_normalize
from parc_ray.character.skeleton import AXES, Skeleton
from parc_ray.errors import quote
from parc_ray.files.reading import read_text
from parc_ray.motions.importers.clip import ReadOptions, SourceClip, fail
from parc_ray.tensors.arrays import DoubleArray

MAX_NORM_ERROR = 1e-2
BEYOND = 0.1
"""Angle beyond a joint's limit that counts as outside, rad; retargeting overshoots by less."""
MANY_FRAMES = 0.2
"""Share of frames outside a joint's limits that makes the order doubtful."""
MAX_FPS = 1e4
ORDERS = ("mjcf", "breadth-first")
ENDINGS = ("_joint", "_dof", "_link")


@dataclass(frozen=True, eq=False)
class JointAngles:
    """The content of a file of n frames, as arrays of any number type."""

    root_pos: Any
    """[n, 3] m"""
    root_rot: Any
    """[n, 4] xyzw"""
    angles: Any
    """[n, D] hinge angles; three hinges in one body turn about x, y and z, each rotated by those before it."""
    fps: Any
    names: tuple[str, ...] = ()
    """Joint of each column of `angles`; empty if the file does not state them."""


def to_clip(motion: JointAngles, options: ReadOptions, source: str) -> SourceClip:
    """Return the clip of a robot's motion. Raises InputError if it is malformed or has another character."""
    root_pos = numbers(motion.root_pos, (None, 3), "root positions", source)
    count = len(root_pos)
    if count < 2:
        fail(source, f"has {count} frame(s)", "A motion needs at least 2")
    root_rot = numbers(motion.root_rot, (count, 4), "root quaternions", source)
    error = np.abs(np.linalg.norm(root_rot, axis=1) - 1.0)
    if error.max() > MAX_NORM_ERROR:
        row = int(error.argmax())
        fail(source, f"the root rotation of frame {row} is no unit quaternion", "Is it another format?")
    angles = numbers(motion.angles, (count, None), "joint angles", source)
    names = _file_of_names(options.joint_order) or motion.names
    ordered, notes = _match(np.radians(angles) if options.degrees else angles, names, options, source)
    return SourceClip(
        times=torch.arange(count, dtype=torch.float64) / frame_rate(motion.fps, options, source),
        root_pos=torch.from_numpy(root_pos),
        root_rot=quat_normalize(torch.from_numpy(root_rot)),
        joint_rot=joint_rotations(torch.from_numpy(ordered), options.skeleton),
        notes=(*notes, *doubts(ordered, options.skeleton)),
    )


def numbers(value: Any, shape: tuple[int | None, ...], what: str, source: str) -> DoubleArray:
    """Return `value` as float64 of a shape, where None matches any size. Raises InputError if it is not finite."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        fail(source, f"its {what} are no table of numbers", "Is it another format?")
    if array.ndim == len(shape) + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        fail(source, f"its {what} have the shape {list(array.shape)} instead of [{expected}]", "Is it another format?")
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        fail(source, f"its {what} are not finite in frame {row}", "Export it again, or leave it out")
    return array


def frame_rate(fps: Any, options: ReadOptions, source: str) -> float:
    """Return the file's frames per second, else the option's. Raises InputError if neither is given."""
    if options.fps is not None:
        return options.fps
    if fps is None:
        fail(source, "does not say how many frames per second it has", "Give --fps, such as --fps 30")
    try:
        value = float(np.asarray(fps).reshape(()))
    except (TypeError, ValueError):
        value = np.nan
    if not 0.0 < value < MAX_FPS:
        fail(source, f"its fps is {quote(fps, 40)} instead of a positive number", "Give --fps, such as --fps 30")
    return value


def joint_rotations(angles: Tensor, skeleton: Skeleton) -> Tensor:
    """Return rotations [n, B - 1, 4] of hinge angles [n, D], float64. Three hinges of a body: R = Rx Ry Rz."""
    rotations = torch.zeros(len(angles), skeleton.num_bodies - 1, 4, dtype=torch.float64)
    rotations[..., 3] = 1.0
    for body, joint in enumerate(skeleton.joints):
        axes = AXES if joint.kind == "spherical" else (joint.axis,) * joint.dof_count
        for place, axis in enumerate(axes[: joint.dof_count]):
            turn = axis_angle_to_quat(
                torch.tensor(axis, dtype=torch.float64).expand(len(angles), 3), angles[:, joint.dof_index + place]
            )
            rotations[:, body - 1] = quat_mul(rotations[:, body - 1], turn)
    return quat_normalize(rotations)


def doubts(angles: DoubleArray, skeleton: Skeleton) -> list[str]:
    """Return a note if joints exceed their limits often enough to make order or units doubtful."""
    outside = shares_outside(angles, skeleton)
    names = [
        f"{name} ({100 * share:.0f} %)" for name, share in zip(dof_names(skeleton), outside) if share > MANY_FRAMES
    ]
    if not names:
        return []
    remedy = "check the order (--joint-order) and the units (--degrees)"
    other = angles[:, np.argsort(dofs_of(skeleton, breadth_first(skeleton)))]
    if shares_outside(other, skeleton).sum() < 0.5 * outside.sum():
        remedy = "--joint-order breadth-first fits better"
    return [f"joints are beyond their limits in many frames: {', '.join(names[:8])}; {remedy}"]


def shares_outside(angles: DoubleArray, skeleton: Skeleton) -> DoubleArray:
    """Return the share of frames [D] in which each joint is beyond its limits."""
    lower = np.array([limit for joint in skeleton.joints for limit in joint.lower])
    upper = np.array([limit for joint in skeleton.joints for limit in joint.upper])
    share: DoubleArray = ((angles < lower - BEYOND) | (angles > upper + BEYOND)).mean(axis=0)
    return share


def _match(
    angles: DoubleArray, names: Sequence[str], options: ReadOptions, source: str
) -> tuple[DoubleArray, list[str]]:
    """Return the angles in the character's order, and notes on how they were matched."""
    skeleton, own = options.skeleton, dof_names(options.skeleton)
    if names:
        return _match_names(angles, names, own, source)
    if angles.shape[1] != len(own):
        fail(
            source,
            f"has {angles.shape[1]} joint angles per frame, and the character has {len(own)}",
            "Give the character's MJCF with --character, or the names of the columns with --joint-order FILE",
        )
    if options.joint_order == "breadth-first":
        order = dofs_of(skeleton, breadth_first(skeleton))
        return angles[:, np.argsort(order)], [_order_note([own[index] for index in order], "breadth first")]
    return angles, [_order_note(own, "the MJCF's order")]


def _order_note(names: Sequence[str], order: str) -> str:
    return f"joint angles taken in {order}: {', '.join(names)}"


def _match_names(
    angles: DoubleArray, names: Sequence[str], own: Sequence[str], source: str
) -> tuple[DoubleArray, list[str]]:
    if len(names) != angles.shape[1]:
        fail(source, f"has {len(names)} joint names for {angles.shape[1]} columns", "Give one name per joint angle")
    columns: dict[str, int] = {_plain(name): column for column, name in enumerate(names)}
    matched = {index: columns[_plain(name)] for index, name in enumerate(own) if _plain(name) in columns}
    if not matched:
        fail(
            source,
            f"its joints ({', '.join(names[:5])}, ...) are not the character's ({', '.join(own[:5])}, ...)",
            "Give the character's MJCF with --character",
        )
    ordered = np.zeros((len(angles), len(own)))
    for index, column in matched.items():
        ordered[:, index] = angles[:, column]
    missing = [name for index, name in enumerate(own) if index not in matched]
    extra = [name for column, name in enumerate(names) if column not in matched.values()]
    notes = [f"joints that the file lacks stay at 0: {', '.join(missing)}"] if missing else []
    notes += [f"joints that the character lacks are left out: {', '.join(extra)}"] if extra else []
    return ordered, notes


def _plain(name: str) -> str:
    """Return a joint's name without the prefixes and suffixes that programs add."""
    plain = name.strip().lower().rpartition("/")[2].rpartition("dof.")[2].replace(".", "_")
    for ending in ENDINGS:
        plain = plain[: -len(ending)] if plain.endswith(ending) else plain
    return plain


def _file_of_names(joint_order: str) -> tuple[str, ...]:
    """Return the names in a file, separated by lines or commas; empty for the name of an order."""
    if joint_order in ORDERS:
        return ()
    lines = [line.strip() for line in read_text(Path(joint_order)).splitlines() if line.strip()]
    return tuple(lines if len(lines) > 1 else [name.strip() for line in lines for name in line.split(",")])
