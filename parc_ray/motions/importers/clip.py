"""SourceClip: poses as read from a file, before conversion to a motion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, NoReturn

import torch
from torch import Tensor

from parc_ray.character.rotations import quat_normalize, slerp
from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError

FPS = 30
"""Frames per second of imported motions."""


@dataclass(frozen=True, eq=False)
class SourceClip:
    """Poses of a character at n times, float64 (metres, z up, quaternions xyzw)."""

    times: Tensor
    """[n] s, ascending from 0"""
    root_pos: Tensor
    """[n, 3]"""
    root_rot: Tensor
    """[n, 4]"""
    joint_rot: Tensor
    """Rotations relative to the parents [n, B - 1, 4]"""
    loops: bool | None = None
    """True if the last pose continues with the first; None if the file does not state it."""
    notes: tuple[str, ...] = ()
    """Assumptions and repairs that the user should check."""


@dataclass(frozen=True)
class ReadOptions:
    """Assumptions for information that a file lacks."""

    skeleton: Skeleton
    mapping: str | None = None
    """Mapping file for a BVH file, or the name of a built-in mapping."""
    fps: float | None = None
    """Frames per second, for files that do not state it."""
    joint_order: str = "mjcf"
    """Order of a robot's joint angles: `mjcf`, `breadth-first`, or a file of joint names."""
    wxyz: bool = False
    """True if the root quaternions of a CSV file begin with w."""
    degrees: bool = False
    """True if joint angles are in degrees."""


@dataclass(frozen=True)
class ClipFormat:
    """A file format of clips."""

    name: str
    """Value of --format."""
    suffixes: tuple[str, ...]
    """File name suffixes, in lower case."""
    load: Callable[[Path], Any]
    """Reads a file. Raises InputError if it cannot be read."""
    recognize: Callable[[Any], bool]
    """Returns True if content read by `load` has this format."""
    clips: Callable[[Any, Path, ReadOptions], dict[str, SourceClip]]
    """Returns the content's clips by name. Raises InputError if it is malformed or has another character."""


def refusal(source: object, problem: str) -> InputError:
    """Return the error for a file that is not a valid clip. source: the file."""
    return InputError(f"{source}: {problem}. Export it again, or leave it out")


def fail(source: object, problem: str, remedy: str) -> NoReturn:
    """Raise InputError with a specific remedy."""
    raise InputError(f"{source}: {problem}. {remedy}")


def change_speed(clip: SourceClip, speed: float) -> SourceClip:
    """Return the clip played at `speed` times its speed."""
    return replace(clip, times=clip.times / speed)


def resample(clip: SourceClip, fps: float = FPS) -> SourceClip:
    """Return the clip at evenly spaced times from its start, interpolated linearly and, for rotations, by slerp."""
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
