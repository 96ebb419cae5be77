"""Reference motions of whole-body tracking (BeyondMimic, mjlab): NumPy archives.

`joint_pos` [n, D] rad, `body_pos_w` [n, B, 3] m, `body_quat_w` [n, B, 4] wxyz, `fps`; body 0 is the root. mjlab's files
have joints and bodies in the MJCF's order, Isaac Lab's breadth first. Names are rare, so the order is detected from
the body positions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parc_ray.character.skeleton import Skeleton
from parc_ray.motions.importers import archive
from parc_ray.motions.importers.clip import ClipFormat, ReadOptions, SourceClip, fail
from parc_ray.motions.importers.joint_angles import JointAngles, numbers, to_clip

KEYS = ("joint_pos", "body_pos_w", "body_quat_w")
MAX_ERROR = 0.02
"""Maximum mean distance of the bodies from their positions in the file, m; a wrong order is off by decimetres."""


def tracking_clips(content: Any, path: Path, options: ReadOptions) -> dict[str, SourceClip]:
    """Return the clip of an archive. Raises InputError if no known joint order reproduces its body positions."""
    source = str(path)
    if not _recognize(content):
        fail(source, f"is no motion for tracking, which has the keys {', '.join(KEYS)}", "Give another --format")
    positions = torch.from_numpy(np.array(content["body_pos_w"], dtype=np.float64))
    rotations = np.array(content["body_quat_w"], dtype=np.float64)
    if positions.ndim != 3 or positions.shape[-1] != 3 or rotations.shape != (*positions.shape[:2], 4):
        fail(source, "its body_pos_w and body_quat_w do not fit each other", "Export it again, or leave it out")
    motion = JointAngles(
        root_pos=numbers(positions[:, 0].numpy(), (None, 3), "body positions", source),
        root_rot=rotations[:, 0][:, [1, 2, 3, 0]],
        angles=content["joint_pos"],
        fps=content.get("fps"),
        names=archive.names(content.get("joint_names")),
    )
    orders = [options.joint_order] if options.joint_order != "mjcf" else ["mjcf", "breadth-first"]
    clips = {order: to_clip(motion, replace(options, joint_order=order), source) for order in orders}
    errors = {order: _error(clip, positions, options.skeleton) for order, clip in clips.items()}
    best = min(orders, key=errors.__getitem__)
    if errors[best] > MAX_ERROR:
        fail(
            source,
            f"with its joints in the order {' or '.join(orders)}, bodies are {errors[best]:.2f} m from where it has "
            "them on average",
            "Is it of this character? Else name its joints with --joint-order FILE",
        )
    return {path.stem: clips[best]}


def _error(clip: SourceClip, positions: torch.Tensor, skeleton: Skeleton) -> float:
    """Return the mean distance (m) of the file's bodies [n, B', 3] from the nearest body of the clip."""
    body_pos, _ = skeleton.forward_kinematics(clip.root_pos.float(), clip.root_rot.float(), clip.joint_rot.float())
    step = max(1, len(positions) // 100)
    nearest: list[torch.Tensor] = [
        torch.cdist(there, here).amin(dim=1) for there, here in zip(positions[::step].float(), body_pos[::step])
    ]
    return float(torch.cat(nearest).mean())


def _recognize(content: Any) -> bool:
    return all(key in content for key in KEYS)


FORMAT = ClipFormat(
    name="tracking-npz", suffixes=(".npz",), load=archive.load_npz, recognize=_recognize, clips=tracking_clips
)
