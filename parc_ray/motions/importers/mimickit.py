"""MimicKit's clips (pickles): https://github.com/xbpeng/MimicKit

A dict with `fps`, `loop_mode` (0: it ends, 1: it starts over) and `frames` [n, 6 + D]: the root's position and rotation
vector, then the degrees of freedom of the character that the clip was made for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch

from parc_ray.character.rotations import exp_map_to_quat, quat_positive
from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError, shown
from parc_ray.files import plain_pickle
from parc_ray.files.reading import read_bytes
from parc_ray.motions.importers.clip import Clip, Format

LOOP_MODES = {0: False, 1: True}


def read_mimickit(path: Path, skeleton: Skeleton, mapping: Optional[Path] = None) -> Clip:
    """The clip in a MimicKit file. Raises InputError if it is none, or of another character."""
    content = plain_pickle.loads(read_bytes(path), str(path))
    if not isinstance(content, dict) or "frames" not in content:
        raise InputError(f"{path}: is no MimicKit clip: it has no 'frames'")
    frames = torch.from_numpy(_frames(content["frames"], 6 + skeleton.dof_count, path))
    fps, mode = content.get("fps"), content.get("loop_mode")
    if not isinstance(fps, (int, float, np.number)) or isinstance(fps, bool) or not 0.0 < float(fps) < 1e4:
        raise InputError(f"{path}: key 'fps' is {shown(fps, 40)} instead of a positive number")
    if not isinstance(mode, (int, np.integer)) or int(mode) not in LOOP_MODES:
        raise InputError(f"{path}: key 'loop_mode' is {shown(mode, 40)} instead of 0 (it ends) or 1 (it starts over)")
    return Clip(
        times=torch.arange(len(frames), dtype=torch.float64) / float(fps),
        root_pos=frames[:, :3],
        root_rot=exp_map_to_quat(frames[:, 3:6]),
        joint_rot=quat_positive(skeleton.dof_to_rot(frames[:, 6:])),
        loops=LOOP_MODES[int(mode)],
    )


def _frames(value: Any, width: int, path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[n, width] float64."""
    try:
        frames = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{path}: key 'frames' is no table of numbers") from None
    if frames.ndim != 2 or frames.shape[1] != width:
        raise InputError(
            f"{path}: key 'frames' has shape {list(frames.shape)} instead of [any, {width}]: is it for this character?"
        )
    if len(frames) < 2:
        raise InputError(f"{path}: key 'frames' has {len(frames)} frame(s), but a motion needs at least 2")
    if not np.isfinite(frames).all():
        row = int(np.argwhere(~np.isfinite(frames))[0][0])
        raise InputError(f"{path}: key 'frames' is not finite, first in row {row}")
    return frames


FORMAT = Format("MimicKit", (".pkl", ".pickle"), read_mimickit)
