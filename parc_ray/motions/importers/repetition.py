"""Repetition of looping clips."""

from __future__ import annotations

import math
from dataclasses import replace

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
from parc_ray.errors import InputError
from parc_ray.motions.importers.clip import SourceClip

SEAM_SECONDS = 0.2
"""Blend time from the last pose of a repeated clip to its first, s."""
MAX_SEAM_ANGLE = 0.8
"""Maximum difference of any joint between the first and last pose of a looping clip, rad."""
SMALLEST_TURN = 0.3
"""Difference between first and last heading below which a clip counts as straight, rad."""


def repeat(clip: SourceClip, count: int, source: str) -> SourceClip:
    """Return the clip `count` times in a row, each pass starting at the end position and heading of the last.

    The difference between the last pose and the first fades out within SEAM_SECONDS. Raises InputError, which starts
    with `source`, if the clip does not loop.
    """
    if count == 1:
        return clip
    _require_loop(clip, count, source)
    passes = [clip]
    for index in range(1, count):
        passes.append(_continue(passes[-1], clip, index * _turn(clip)))
    # The first frame of a pass is the last one of the pass before it.
    rest = [(part.times[1:], part.root_pos[1:], part.root_rot[1:], part.joint_rot[1:]) for part in passes[1:]]
    times, root_pos, root_rot, joint_rot = (
        torch.cat(column) for column in zip((clip.times, clip.root_pos, clip.root_rot, clip.joint_rot), *rest)
    )
    return replace(clip, times=times, root_pos=root_pos, root_rot=root_rot, joint_rot=joint_rot)


def _require_loop(clip: SourceClip, count: int, source: str) -> None:
    remedy = f"Import it without --loop {count}."
    if clip.loops is False:
        raise InputError(f"{source}: cannot be repeated: the file says that it does not loop. {remedy}")
    gap = float(quat_diff_angle(clip.joint_rot[0], clip.joint_rot[-1]).max())
    if gap > MAX_SEAM_ANGLE:
        raise InputError(
            f"{source}: cannot be repeated: a joint of its last pose is {math.degrees(gap):.0f} degrees from that of "
            f"its first (at most {math.degrees(MAX_SEAM_ANGLE):.0f} are possible). {remedy}"
        )


def _turn(clip: SourceClip) -> Tensor:
    """Return the change of heading over the clip, rad; 0 if it counts as straight."""
    angle = calc_heading(quat_mul(clip.root_rot[-1], quat_conjugate(clip.root_rot[0])))
    return angle * (angle.abs() >= SMALLEST_TURN)


def _continue(before: SourceClip, clip: SourceClip, angle: Tensor) -> SourceClip:
    """Return the clip rotated about z by an angle (rad) and moved to the end of another."""
    turn = heading_to_quat(angle)
    root_pos = quat_rotate(turn.expand(len(clip.times), 4), clip.root_pos - clip.root_pos[0])
    root_rot = quat_mul(turn.expand_as(clip.root_rot), clip.root_rot)
    height = before.root_pos[-1, 2] - clip.root_pos[0, 2]
    share = (1.0 - clip.times / SEAM_SECONDS).clamp(0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    root_pos = root_pos + before.root_pos[-1]
    root_pos[:, 2] -= height * (1.0 - share)
    return replace(
        clip,
        times=before.times[-1] + clip.times,
        root_pos=root_pos,
        root_rot=_fade(root_rot, before.root_rot[-1], share),
        joint_rot=_fade(clip.joint_rot, before.joint_rot[-1], share.unsqueeze(-1).expand(clip.joint_rot.shape[:-1])),
    )


def _fade(rotations: Tensor, start: Tensor, share: Tensor) -> Tensor:
    """Return rotations [n, ..., 4] faded from `start`; `share` is the remaining difference in each frame."""
    missing = quat_normalize(quat_mul(quat_conjugate(rotations[0]), start)).expand_as(rotations)
    identity = torch.zeros_like(rotations)
    identity[..., 3] = 1.0
    return quat_normalize(quat_mul(rotations, slerp(identity, missing, share)))
