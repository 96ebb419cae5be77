"""DeepMimic's clips (JSON, `humanoid3d_*.txt`): https://github.com/xbpeng/DeepMimic

A frame is a list of 44 numbers: its duration, the root's position (y up) and rotation (wxyz), then the joints' in the
order of JOINTS, four numbers per ball and one per hinge. In the rest pose the arms hang down.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parc_ray.character.rotations import axis_angle_to_quat, norm, quat_mul, quat_normalize
from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError, quote
from parc_ray.files.reading import read_text
from parc_ray.motions.importers.clip import ClipFormat, ReadOptions, SourceClip, refusal

JOINTS = (
    ("torso", 4),
    ("head", 4),
    ("right_thigh", 4),
    ("right_shin", 1),
    ("right_foot", 4),
    ("right_upper_arm", 4),
    ("right_lower_arm", 1),
    ("left_thigh", 4),
    ("left_shin", 1),
    ("left_foot", 4),
    ("left_upper_arm", 4),
    ("left_lower_arm", 1),
)
"""Body of each joint, and its number of values."""
HINGE_SIGNS = {"right_shin": -1.0, "left_shin": -1.0, "right_lower_arm": 1.0, "left_lower_arm": -1.0}
"""Signs that convert the clips' angles to the character's."""
HANGING = {"right_upper_arm": 0.5 * math.pi, "left_upper_arm": -0.5 * math.pi}
"""Rotation about x from the character's outstretched arms to the clips' hanging arms, rad."""
NUMBERS = 8 + sum(count for _, count in JOINTS)
MAX_NORM_ERROR = 0.5
"""Maximum error of a quaternion's length; in DeepMimic's own clips it reaches 0.42."""


def deepmimic_clips(document: Any, path: Path, options: ReadOptions) -> dict[str, SourceClip]:
    """Return the clip of DeepMimic's humanoid. Raises InputError if malformed or for another character."""
    skeleton = options.skeleton
    frames = _frames(document, path)
    durations = frames[:-1, 0]
    if not bool((durations > 0.0).all()):
        row = int((durations <= 0.0).nonzero()[0])
        raise refusal(path, f"key 'Frames': frame {row} lasts {float(durations[row]):g} s: it must be positive")
    joint_rot = torch.zeros(len(frames), skeleton.num_bodies - 1, 4, dtype=torch.float64)
    joint_rot[..., 3] = 1.0
    column = 8
    for body, count in JOINTS:
        part = frames[:, column : column + count]
        joint_rot[:, _joint(skeleton, body, path)] = _rotation(body, part, skeleton, path)
        column += count
    clip = SourceClip(
        times=torch.cat((torch.zeros(1, dtype=torch.float64), torch.cumsum(durations, 0))),
        root_pos=_z_up(frames[:, 1:4]),
        root_rot=_ball(frames[:, 4:8], "pelvis", path),
        joint_rot=joint_rot,
        loops=document.get("Loop", "none") == "wrap",
    )
    return {path.stem: clip}


def load_deepmimic(path: Path) -> dict[str, Any]:
    """Return the content of a DeepMimic clip. Raises InputError if it is not one."""
    try:
        document = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise refusal(path, f"is no JSON, and so no DeepMimic clip: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("Frames"), list):
        raise refusal(path, "is no DeepMimic clip: it has no list 'Frames'")
    return document


def _frames(document: dict[str, Any], path: Path) -> Tensor:
    """Return the frames [n, NUMBERS], float64."""
    rows: list[list[float]] = document["Frames"]
    if len(rows) < 2:
        raise refusal(path, f"key 'Frames' has {len(rows)} frame(s), but a motion needs at least 2")
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != NUMBERS:
            size = f"{len(row)} numbers" if isinstance(row, list) else quote(row, 40)
            raise refusal(path, f"key 'Frames': frame {index} has {size} instead of {NUMBERS}")
        if not all(type(number) in (int, float) and math.isfinite(number) for number in row):
            raise refusal(path, f"key 'Frames': frame {index} has something else than finite numbers")
    return torch.tensor(rows, dtype=torch.float64)


def _joint(skeleton: Skeleton, body: str, path: Path) -> int:
    try:
        return skeleton.body_index(body) - 1
    except InputError as error:
        raise InputError(f"{path}: DeepMimic's clips fit PARC's humanoid only, not --character: {error}") from None


def _rotation(body: str, part: Tensor, skeleton: Skeleton, path: Path) -> Tensor:
    """Return rotations [n, 4] of a body relative to its parent."""
    if body in HINGE_SIGNS:
        axis = torch.tensor(skeleton.joints[skeleton.body_index(body)].axis, dtype=torch.float64)
        return axis_angle_to_quat(axis.expand(len(part), 3), HINGE_SIGNS[body] * part[:, 0])
    rotation = _ball(part, body, path)
    if body in HANGING:
        x_axis = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        rotation = quat_mul(rotation, axis_angle_to_quat(x_axis, torch.tensor(HANGING[body])).expand_as(rotation))
    return quat_normalize(rotation)


def _ball(part: Tensor, body: str, path: Path) -> Tensor:
    """Convert quaternions [n, 4] from wxyz, y up, to unit length, xyzw, z up."""
    error = (norm(part) - 1.0).abs()
    if float(error.max()) > MAX_NORM_ERROR:
        row = int(error.argmax())
        raise refusal(path, f"key 'Frames': the rotation of {body} in frame {row} is no unit quaternion")
    return quat_normalize(torch.cat((_z_up(part[:, 1:]), part[:, :1]), dim=1))


def _z_up(vectors: Tensor) -> Tensor:
    x, y, z = vectors.unbind(-1)
    return torch.stack((x, -z, y), dim=-1)


FORMAT = ClipFormat(
    name="deepmimic",
    suffixes=(".txt", ".json"),
    load=load_deepmimic,
    recognize=lambda document: True,
    clips=deepmimic_clips,
)
