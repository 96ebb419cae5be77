"""Motions of ProtoMotions (https://github.com/NVlabs/ProtoMotions): `.motion` files written by torch.save.

A dict with `rigid_body_pos` [n, B, 3] m and `rigid_body_rot` [n, B, 4] (xyzw) of all bodies in the world, in the MJCF's
order, and `fps`. Body rotations are read instead of joint angles, whose notation depends on the robot, and are checked
against the positions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from parc_ray.character.rotations import quat_normalize
from parc_ray.files.checkpoint import Checkpoint, StoredTensor
from parc_ray.files.reading import read_bytes
from parc_ray.motions.importers.clip import ClipFormat, ReadOptions, SourceClip, fail
from parc_ray.motions.importers.joint_angles import frame_rate, numbers
from parc_ray.motions.importers.pickled import has_keys
from parc_ray.motions.importers.retargeting import retarget

KEYS = ("rigid_body_pos", "rigid_body_rot")
MAX_ERROR = 0.02
"""Maximum mean distance of the bodies from their positions in the file, m."""


def load_motion(path: Path) -> Any:
    """Return the content of a torch.save file, tensors as arrays. Raises InputError if it is damaged."""
    checkpoint = Checkpoint(read_bytes(path), str(path), "Export it again, or leave it out")
    state = checkpoint.state
    if not isinstance(state, dict):
        return state
    return {
        key: checkpoint.read(value).float().numpy() if isinstance(value, StoredTensor) else value
        for key, value in state.items()
    }


def protomotions_clips(content: Any, path: Path, options: ReadOptions) -> dict[str, SourceClip]:
    """Return the clip of a file. Raises InputError if it is malformed or has another character."""
    source, skeleton = str(path), options.skeleton
    if not has_keys(content, KEYS):
        fail(source, f"is no motion of ProtoMotions, which has the keys {', '.join(KEYS)}", "Give another --format")
    positions = torch.from_numpy(numbers(content[KEYS[0]], (None, skeleton.num_bodies, 3), "body positions", source))
    shape = (len(positions), skeleton.num_bodies, 4)
    rotations = quat_normalize(torch.from_numpy(numbers(content[KEYS[1]], shape, "body rotations", source)))
    world = {body: rotations[:, index] for index, body in enumerate(skeleton.body_names)}
    root_rot, joint_rot = retarget(world, skeleton)
    clip = SourceClip(
        times=torch.arange(len(positions), dtype=torch.float64) / frame_rate(content.get("fps"), options, source),
        root_pos=positions[:, 0],
        root_rot=root_rot,
        joint_rot=joint_rot,
    )
    found, _ = skeleton.forward_kinematics(clip.root_pos.float(), root_rot.float(), joint_rot.float())
    error = float((found - positions).norm(dim=-1).mean())
    if not error <= MAX_ERROR:
        fail(
            source,
            f"bodies are {error:.2f} m from where it has them on average",
            "Is it of this character, with its bodies in the MJCF's order? Give the MJCF with --character",
        )
    return {path.stem: clip}


FORMAT = ClipFormat(
    name="protomotions",
    suffixes=(".motion",),
    load=load_motion,
    recognize=lambda content: True,
    clips=protomotions_clips,
)
