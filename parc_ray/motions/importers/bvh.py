"""BVH files of any skeleton; a mapping assigns joints to bodies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import torch
from torch import Tensor

from parc_ray.character.rotations import (
    axis_angle_to_quat,
    heading_to_quat,
    quat_conjugate,
    quat_mul,
    quat_normalize,
    quat_rotate,
)
from parc_ray.errors import InputError
from parc_ray.files.reading import read_text
from parc_ray.motions.importers.bvh_document import AXES, Document, parse_bvh, rest_positions, world_poses
from parc_ray.motions.importers.clip import ClipFormat, ReadOptions, SourceClip
from parc_ray.motions.importers.joint_mapping import JointMapping, find_mapping, joint_indices
from parc_ray.motions.importers.rest_pose import DOUBTFUL, BoneFit, matrix_to_quat, reference_frame, up_axis
from parc_ray.motions.importers.retargeting import retarget
from parc_ray.tensors.arrays import DoubleArray

MAX_BYTES = 1 << 28
MAX_SCALE_RATIO = 2.0
"""Ratio of limb lengths between file and character above which the unit is doubtful."""


def load_bvh(path: Path) -> Document:
    """Return the content of a BVH file. Raises InputError, which names the line, if it is malformed."""
    return parse_bvh(read_text(path, limit=MAX_BYTES), str(path))


def bvh_clips(document: Any, path: Path, options: ReadOptions) -> dict[str, SourceClip]:
    """Return the clip of a BVH file. Raises InputError if file and mapping do not fit each other or the character."""
    skeleton = options.skeleton
    names = [node.name for node in document.nodes]
    mapping, label, notes = find_mapping(options.mapping, names, skeleton, path)
    joints = joint_indices(mapping, label, names, skeleton, path)
    positions, rotations = (part[:, list(joints.values())] for part in world_poses(document))
    if mapping.up == "auto":
        up = up_axis(skeleton, list(joints), positions.numpy())
        mapping = mapping.model_copy(update={"up": up, "facing": "z" if up == "y" else "-y"})
    upright = _upright(mapping, label)
    world = _World(
        bodies=tuple(joints),
        rest=quat_rotate(upright, rest_positions(document)[list(joints.values())]).numpy(),
        upright=upright,
        positions=quat_rotate(upright, positions),
        rotations=quat_mul(upright.expand_as(rotations), rotations),
    )
    fit = BoneFit(skeleton, world.bodies)
    offsets, doubts = _offsets(world, fit)
    for body in mapping.rest:
        offsets[body] = quat_mul(quat_conjugate(upright), _turn(mapping.rest[body]))
    root_rot, joint_rot = retarget(
        {
            body: quat_mul(world.rotations[:, index], offsets[body].expand(len(positions), 4))
            for index, body in enumerate(world.bodies)
        },
        skeleton,
    )
    scale, scale_notes = _scale(mapping, fit.scale(dict(zip(world.bodies, world.rest))))
    root = world.bodies.index(skeleton.body_names[0])
    clip = SourceClip(
        times=torch.arange(len(positions), dtype=torch.float64) * document.frame_time,
        root_pos=scale * world.positions[:, root],
        root_rot=root_rot,
        joint_rot=joint_rot,
        notes=(*notes, *([] if set(mapping.rest) >= set(joints) else doubts), *scale_notes),
    )
    return {path.stem: clip}


@dataclass(frozen=True, eq=False)
class _World:
    """The B mapped joints of a file, in the character's axes and the file's units."""

    bodies: tuple[str, ...]
    """Bodies that the joints turn."""
    rest: DoubleArray
    """[B, 3] positions where all rotations are zero."""
    upright: Tensor
    """[4] rotation from the file's axes, which are also every joint's axes at rest."""
    positions: Tensor
    """[n, B, 3]"""
    rotations: Tensor
    """[n, B, 4]"""


def _offsets(world: _World, fit: BoneFit) -> tuple[dict[str, Tensor], list[str]]:
    """Return the rotation [4] from each joint to its body, and a note on doubtful bodies."""
    frames = world.positions.numpy()
    frame = reference_frame(fit, world.bodies, world.rest, frames)
    pose = fit.pose(dict(zip(world.bodies, world.rest if frame is None else frames[frame])))
    offsets: dict[str, Tensor] = {}
    for index, body in enumerate(world.bodies):
        joint = world.upright if frame is None else world.rotations[frame, index]
        offsets[body] = quat_mul(quat_conjugate(joint), torch.from_numpy(matrix_to_quat(pose.rotations[body])))
    doubtful = [f"{body} ({math.degrees(angle):.0f})" for body, angle in pose.angles.items() if angle > DOUBTFUL]
    notes = []
    if frame is not None:
        notes.append(f"its rest pose is no standing pose: bodies are aligned with their bones in frame {frame}")
    if doubtful:
        where = "its rest pose" if frame is None else "that frame"
        notes.append(
            f"degrees from the character's rest pose in {where}: {', '.join(doubtful)}; check how they turn about "
            "their bones, and write 'rest' in a mapping file where it is wrong"
        )
    return offsets, notes


def _scale(mapping: JointMapping, fitting: float) -> tuple[float, list[str]]:
    """Return metres per unit, and a note if the file's bone lengths differ greatly."""
    if mapping.scale == "auto":
        return fitting, []
    if 1.0 / MAX_SCALE_RATIO < mapping.scale / fitting < MAX_SCALE_RATIO:
        return mapping.scale, []
    note = f"with scale {mapping.scale:g} its limbs are {mapping.scale / fitting:.2g} times the character's"
    return mapping.scale, [f"{note}; scale {fitting:.3g} fits"]


def _upright(mapping: JointMapping, label: str) -> Tensor:
    """Return the rotation [4] from the file's axes to the character's: x forward, z up."""
    rise = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    up = axis_angle_to_quat(rise, torch.tensor(0.5 * math.pi if mapping.up == "y" else 0.0, dtype=torch.float64))
    sign = -1.0 if mapping.facing.startswith("-") else 1.0
    facing = quat_rotate(up, sign * torch.tensor(AXES[mapping.facing[-1].upper()], dtype=torch.float64))
    if abs(float(facing[2])) > 0.5:
        raise InputError(f"{label}: key 'facing' = {mapping.facing!r} is the axis that points up; give another")
    return quat_normalize(quat_mul(heading_to_quat(-torch.atan2(facing[1], facing[0])), up))


def _turn(angles: Sequence[float]) -> Tensor:
    """Return the rotation [4] by degrees about x, then y, then z."""
    turn = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    for axis, degrees in zip(AXES.values(), angles):
        angle = torch.tensor(math.radians(degrees), dtype=torch.float64)
        turn = quat_mul(axis_angle_to_quat(torch.tensor(axis, dtype=torch.float64), angle), turn)
    return turn


FORMAT = ClipFormat(name="bvh", suffixes=(".bvh",), load=load_bvh, recognize=lambda document: True, clips=bvh_clips)
