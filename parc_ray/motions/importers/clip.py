"""A clip: what every format is read into, before it becomes a motion."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional, Tuple

import torch
from torch import Tensor

from parc_ray.character.rotations import (
    calc_heading,
    heading_to_quat,
    quat_conjugate,
    quat_diff_angle,
    quat_mul,
    quat_normalize,
    quat_rotate,
    slerp,
)
from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError

FPS = 30
"""Frames per second of imported motions."""
SEAM_SECONDS = 0.2
"""Time in which a repeated clip comes from its last pose to its first."""
MAX_SEAM_ANGLE = 0.8
"""Maximum difference of any joint between the first and last pose of a clip that loops, rad."""
SMALLEST_TURN = 0.3
"""Difference between first and last heading below which a clip goes straight on, rad."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Poses of a character at n times, float64 (metres, z up, quaternions xyzw)."""

    times: Tensor
    """[n] s, ascending from 0"""
    root_pos: Tensor
    """[n, 3]"""
    root_rot: Tensor
    """[n, 4]"""
    joint_rot: Tensor
    """Rotations relative to the parents [n, B - 1, 4]"""
    loops: Optional[bool] = None
    """Whether the last pose leads on to the first; None if the file does not say."""


@dataclass(frozen=True)
class Format:
    """A file format that clips come in."""

    name: str
    suffixes: Tuple[str, ...]
    """Endings of its files' names, in lower case."""
    read: Callable[[Path, Skeleton, Optional[Path]], Clip]
    """Reads a file for a character; the last argument is the mapping file, if there is one."""


def refusal(source: object, problem: str) -> InputError:
    """What to raise for a file that is no clip, or a broken one. source: the file."""
    return InputError(f"{source}: {problem}. Export it again, or leave it out")


def faster(clip: Clip, speed: float) -> Clip:
    """The clip played at `speed` times its pace."""
    return replace(clip, times=clip.times / speed)


def resampled(clip: Clip, fps: float = FPS) -> Clip:
    """The clip at evenly spaced times from its beginning on: positions interpolated linearly, rotations by slerp."""
    count = int(float(clip.times[-1]) * fps + 1e-6) + 1
    times = torch.arange(count, dtype=torch.float64) / fps
    high = torch.searchsorted(clip.times, times).clamp(1, len(clip.times) - 1)
    low = high - 1
    blend = ((times - clip.times[low]) / (clip.times[high] - clip.times[low])).clamp(0.0, 1.0)
    mix = blend.unsqueeze(-1)
    return replace(
        clip,
        times=times,
        root_pos=torch.lerp(clip.root_pos[low], clip.root_pos[high], mix),
        root_rot=quat_normalize(slerp(clip.root_rot[low], clip.root_rot[high], blend)),
        joint_rot=quat_normalize(
            slerp(clip.joint_rot[low], clip.joint_rot[high], mix.expand(-1, clip.joint_rot.shape[1]))
        ),
    )


def looped(clip: Clip, count: int, source: str) -> Clip:
    """The clip `count` times in a row: each goes on from where and in which direction the one before it has ended.

    What is left between the last pose and the first fades out within SEAM_SECONDS. Raises InputError, which starts
    with `source`, if the clip does not loop.
    """
    if count == 1:
        return clip
    _require_loop(clip, count, source)
    parts = [clip]
    for index in range(1, count):
        parts.append(_continued(parts[-1], clip, index * _turning(clip)))
    # The first frame of a repetition is the last one of what it continues.
    rest = [(part.times[1:], part.root_pos[1:], part.root_rot[1:], part.joint_rot[1:]) for part in parts[1:]]
    times, root_pos, root_rot, joint_rot = (
        torch.cat(column) for column in zip((clip.times, clip.root_pos, clip.root_rot, clip.joint_rot), *rest)
    )
    return Clip(times, root_pos, root_rot, joint_rot, clip.loops)


def _require_loop(clip: Clip, count: int, source: str) -> None:
    remedy = f"Import it without --loop {count}."
    if clip.loops is False:
        raise InputError(f"{source}: cannot be repeated: the file says that it does not loop. {remedy}")
    gap = float(quat_diff_angle(clip.joint_rot[0], clip.joint_rot[-1]).max())
    if gap > MAX_SEAM_ANGLE:
        raise InputError(
            f"{source}: cannot be repeated: a joint of its last pose is {math.degrees(gap):.0f} degrees from that of "
            f"its first (at most {math.degrees(MAX_SEAM_ANGLE):.0f} are possible). {remedy}"
        )


def _turning(clip: Clip) -> Tensor:
    """By how much the heading changes in the clip, rad; 0 if it goes straight on."""
    angle = calc_heading(quat_mul(clip.root_rot[-1], quat_conjugate(clip.root_rot[0])))
    return angle * (angle.abs() >= SMALLEST_TURN)


def _continued(before: Clip, clip: Clip, angle: Tensor) -> Clip:
    """The clip, turned about z by an angle (rad) and moved so that it goes on where another has ended."""
    turn = heading_to_quat(angle)
    root_pos = quat_rotate(turn.expand(len(clip.times), 4), clip.root_pos - clip.root_pos[0])
    root_rot = quat_mul(turn.expand_as(clip.root_rot), clip.root_rot)
    height = before.root_pos[-1, 2] - clip.root_pos[0, 2]
    left = (1.0 - clip.times / SEAM_SECONDS).clamp(0.0, 1.0)
    left = left * left * (3.0 - 2.0 * left)
    root_pos = root_pos + before.root_pos[-1]
    root_pos[:, 2] -= height * (1.0 - left)
    return Clip(
        times=before.times[-1] + clip.times,
        root_pos=root_pos,
        root_rot=_faded(root_rot, before.root_rot[-1], left),
        joint_rot=_faded(clip.joint_rot, before.joint_rot[-1], left.unsqueeze(-1).expand(clip.joint_rot.shape[:-1])),
    )


def _faded(rotations: Tensor, start: Tensor, left: Tensor) -> Tensor:
    """Rotations [n, ..., 4] that begin at `start`: the share `left` of the difference is still there."""
    missing = quat_normalize(quat_mul(quat_conjugate(rotations[0]), start)).expand_as(rotations)
    none = torch.zeros_like(rotations)
    none[..., 3] = 1.0
    return quat_normalize(quat_mul(rotations, slerp(none, missing, left)))
