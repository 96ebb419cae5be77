"""MimicKit's motion files (pickles): https://github.com/xbpeng/MimicKit

A dict with `fps`, `loop_mode` (0: ends, 1: loops) and `frames` [n, 6 + D]: the root's position and rotation vector,
then the character's degrees of freedom. The format has neither terrain nor contact labels; files written here add
`contacts` [n, B], which MimicKit ignores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np
import torch
from torch import Tensor

from parc_ray.character.rotations import exp_map_to_quat, quat_positive, quat_to_exp_map
from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError, quote
from parc_ray.files import plain_pickle
from parc_ray.motions.motion import LOOP_MODES, Motion
from parc_ray.motions.unset_joints import REMEDY, fill_dofs
from parc_ray.tensors.arrays import DoubleArray


@dataclass(frozen=True, eq=False)
class MimickitClip:
    """The content of a MimicKit file with n frames, float64."""

    root_pos: Tensor
    """[n, 3] m."""
    root_rot: Tensor
    """[n, 4] xyzw."""
    joint_rot: Tensor
    """[n, B - 1, 4] xyzw."""
    fps: float
    loop_mode: str
    """One of LOOP_MODES."""
    notes: tuple[str, ...] = ()
    """Joints without values."""


def is_mimickit(content: Any) -> bool:
    """Return whether this is the content of a MimicKit file; PARC's older files store loop modes by name."""
    return isinstance(content, dict) and "frames" in content and not isinstance(content.get("loop_mode", ""), str)


def mimickit_clip(content: Mapping[str, Any], skeleton: Skeleton, source: str) -> MimickitClip:
    """Return the clip in the content of a MimicKit file. Raises InputError if malformed or for another character."""
    table, notes = fill_dofs(_frames(content.get("frames"), 6 + skeleton.dof_count, source), skeleton, "frames", source)
    frames = torch.from_numpy(table)
    fps, mode = _scalar(content.get("fps")), _scalar(content.get("loop_mode"))
    if not isinstance(fps, (int, float, np.number)) or isinstance(fps, bool) or not 0.0 < float(fps) < 1e4:
        raise InputError(f"{source}: key 'fps' is {_describe(fps)} instead of a positive number. {REMEDY}")
    if not isinstance(mode, (int, np.integer)) or int(mode) not in (0, 1):
        raise InputError(
            f"{source}: key 'loop_mode' is {_describe(mode)} instead of 0 (ends) or 1 (starts over). {REMEDY}"
        )
    return MimickitClip(
        root_pos=frames[:, :3],
        root_rot=exp_map_to_quat(frames[:, 3:6]),
        joint_rot=quat_positive(skeleton.dof_to_rot(frames[:, 6:])),
        fps=float(fps),
        loop_mode=LOOP_MODES[int(mode)],
        notes=notes,
    )


def mimickit_file_bytes(motion: Motion, skeleton: Skeleton, misc: Mapping[str, Any] | None = None) -> bytes:
    """Return the bytes of a MimicKit file, without terrain; `misc` (plain values, numpy arrays) becomes extra keys.

    Frames are lists, as MimicKit itself writes them.
    """
    root_rot = quat_to_exp_map(torch.from_numpy(motion.root_rot))
    dof_pos = skeleton.rot_to_dof(torch.from_numpy(motion.joint_rot))
    frames = torch.cat((torch.from_numpy(motion.root_pos), root_rot, dof_pos), dim=1)
    return plain_pickle.dumps(
        {
            **(misc or {}),
            "loop_mode": LOOP_MODES.index(motion.loop_mode),
            "fps": int(motion.fps) if float(motion.fps).is_integer() else float(motion.fps),
            "frames": frames.tolist(),
            "contacts": motion.contacts,
        }
    )


def _scalar(value: Any) -> Any:
    """Return the number in an array with one element, as scalar tensors are read."""
    return value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _describe(value: Any) -> str:
    """Return a short description; the repr of a container from a file has no bound on length or depth."""
    plain = value is None or isinstance(value, (str, int, float, np.number))
    return quote(value, 40) if plain else f"a {type(value).__name__}"


def _frames(value: Any, width: int, source: str) -> DoubleArray:
    """Return the frames [n, width]."""
    try:
        frames = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{source}: key 'frames' is no table of numbers. {REMEDY}") from None
    if frames.ndim != 2 or frames.shape[1] != width:
        raise InputError(
            f"{source}: key 'frames' has shape {list(frames.shape)} instead of [any, {width}]: is it for this "
            "character?"
        )
    if len(frames) < 2:
        raise InputError(f"{source}: key 'frames' has {len(frames)} frame(s), but a motion needs at least 2. {REMEDY}")
    return frames
