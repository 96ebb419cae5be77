"""BVH files, of any skeleton that a mapping file describes.

The mapping file (YAML) says which joint of the BVH file turns which body of the character:

    up: y                    # the file's axis that points up, y or z
    facing: z                # where it looks in its rest pose: x, y, z, -x, -y or -z
    scale: 0.01              # metres per unit
    bodies:                  # body: joint; bodies that are left out keep still relative to their parents
      pelvis: Hips
      right_thigh: RightUpLeg
    rest:                    # degrees about x, y and z by which a body of the file's rest pose is turned away
      right_upper_arm: [90, 0, 0]    # from the character's, in the character's axes (x ahead, z up), x first
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import Literal

from parc_ray.character.rotations import (
    axis_angle_to_quat,
    heading_to_quat,
    quat_conjugate,
    quat_mul,
    quat_normalize,
    quat_rotate,
)
from parc_ray.character.skeleton import Skeleton
from parc_ray.config.base import Strict
from parc_ray.config.loading import load_config
from parc_ray.errors import InputError, quote
from parc_ray.files.reading import read_text
from parc_ray.motions.importers.clip import Clip, Format, refusal

AXES = {"X": (1.0, 0.0, 0.0), "Y": (0.0, 1.0, 0.0), "Z": (0.0, 0.0, 1.0)}
CHANNELS = tuple(f"{axis}{kind}" for kind in ("position", "rotation") for axis in AXES)
MAX_JOINTS = 1000


class JointMapping(Strict):
    """What the joints of a BVH file are to the character."""

    up: Literal["y", "z"] = "y"
    facing: Literal["x", "y", "z", "-x", "-y", "-z"] = "z"
    scale: float = Field(1.0, gt=0)
    bodies: Dict[str, str]
    rest: Dict[str, Tuple[float, float, float]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """A joint of a BVH file."""

    name: str
    parent: int
    """Index of its parent; -1 for the root."""
    offset: Tuple[float, ...]
    channels: Tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """A BVH file."""

    nodes: Tuple[Node, ...]
    frame_time: float
    """Seconds per frame."""
    values: Tensor
    """[n, C] float64: values of all channels."""


def read_bvh(path: Path, skeleton: Skeleton, mapping: Optional[Path] = None) -> Clip:
    """The clip in a BVH file. Raises InputError if file and mapping do not fit each other or the character."""
    if mapping is None:
        raise InputError(f"{path}: say with --mapping FILE which of its joints are which bodies")
    described = load_config(mapping, JointMapping, None)
    document = parse_bvh(read_text(path, limit=1 << 28), str(path))
    joints = _joints(described, document, skeleton, path, mapping)
    positions, rotations = world_poses(document)
    upright = _upright(described, mapping)
    root = joints[skeleton.body_names[0]]
    bodies: List[Tensor] = []
    local: List[Tensor] = []
    for index, body in enumerate(skeleton.body_names):
        parent = skeleton.parent_indices[index]
        if body in joints:
            turned = quat_mul(upright.expand_as(rotations[:, 0]), rotations[:, joints[body]])
            pose = quat_mul(turned, _rest(described, body, upright).expand_as(turned))
        else:
            pose = quat_mul(bodies[parent], skeleton.local_rotation[index].double().expand_as(bodies[parent]))
        bodies.append(quat_normalize(pose))
        if parent >= 0:
            frame = quat_mul(bodies[parent], skeleton.local_rotation[index].double().expand_as(pose))
            local.append(quat_normalize(quat_mul(quat_conjugate(frame), bodies[index])))
            local[-1] = _within_joint(local[-1], skeleton, index)
            bodies[index] = quat_mul(frame, local[-1])
    root_pos = quat_rotate(upright.expand(len(positions), 4), described.scale * positions[:, root])
    times = torch.arange(len(positions), dtype=torch.float64) * document.frame_time
    return Clip(times, root_pos, bodies[0], torch.stack(local, dim=1))


def _joints(
    described: JointMapping, document: Document, skeleton: Skeleton, path: Path, mapping: Path
) -> Dict[str, int]:
    """Index of the joint that turns each mapped body."""
    names = [node.name for node in document.nodes]
    for key, bodies in (("bodies", described.bodies), ("rest", described.rest)):
        for body in bodies:
            if body not in skeleton.body_names:
                raise InputError(
                    f"{mapping}: key '{key}.{body}': the character has no such body; it has: "
                    f"{', '.join(skeleton.body_names)}"
                )
    for body, joint in described.bodies.items():
        if joint not in names:
            raise InputError(
                f"{mapping}: key 'bodies.{body}': {path} has no joint {quote(joint, 40)}; it has: "
                f"{', '.join(names[:40])}"
            )
    if skeleton.body_names[0] not in described.bodies:
        raise InputError(f"{mapping}: key 'bodies' has no {skeleton.body_names[0]}: give the root a joint")
    return {body: names.index(joint) for body, joint in described.bodies.items()}


def _upright(described: JointMapping, mapping: Path) -> Tensor:
    """Rotation from the file's axes to the character's: x ahead, z up."""
    rise = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    up = axis_angle_to_quat(rise, torch.tensor(0.5 * math.pi if described.up == "y" else 0.0, dtype=torch.float64))
    sign = -1.0 if described.facing.startswith("-") else 1.0
    facing = quat_rotate(up, sign * torch.tensor(AXES[described.facing[-1].upper()], dtype=torch.float64))
    if abs(float(facing[2])) > 0.5:
        raise InputError(f"{mapping}: key 'facing' = {described.facing!r} is the axis that points up; give another")
    return quat_normalize(quat_mul(heading_to_quat(-torch.atan2(facing[1], facing[0])), up))


def _rest(described: JointMapping, body: str, upright: Tensor) -> Tensor:
    """Rotation [4] from the character's rest pose to the file's, after the file's own axes."""
    turn = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    for axis, degrees in zip(AXES.values(), described.rest.get(body, (0.0, 0.0, 0.0))):
        angle = torch.tensor(math.radians(degrees), dtype=torch.float64)
        turn = quat_mul(axis_angle_to_quat(torch.tensor(axis, dtype=torch.float64), angle), turn)
    return quat_mul(quat_conjugate(upright), turn)


def _within_joint(rotation: Tensor, skeleton: Skeleton, body: int) -> Tensor:
    """What of rotations [n, 4] a body's joint can do: a hinge turns about its axis only."""
    joint = skeleton.joints[body]
    if joint.kind == "fixed":
        return torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64).expand_as(rotation)
    if joint.kind != "hinge":
        return rotation
    axis = torch.tensor(joint.axis, dtype=torch.float64)
    along = (rotation[:, :3] * axis).sum(-1, keepdim=True) * axis
    return quat_normalize(torch.cat((along, rotation[:, 3:]), dim=-1))


def world_poses(document: Document) -> Tuple[Tensor, Tensor]:
    """Positions [n, J, 3] and rotations [n, J, 4] of all joints in the file's axes and units."""
    positions: List[Tensor] = []
    rotations: List[Tensor] = []
    column, count = 0, len(document.values)
    for node in document.nodes:
        place = torch.tensor(node.offset, dtype=torch.float64).expand(count, 3).clone()
        turn = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64).expand(count, 4)
        for channel in node.channels:
            value = document.values[:, column]
            axis = torch.tensor(AXES[channel[0]], dtype=torch.float64).expand(count, 3)
            if channel.endswith("position"):
                # Files that give positions give them whole, whatever the offset says.
                place[:, "XYZ".index(channel[0])] = value
            else:
                turn = quat_mul(turn, axis_angle_to_quat(axis, torch.deg2rad(value)))
            column += 1
        if node.parent < 0:
            positions.append(place)
            rotations.append(turn)
        else:
            positions.append(positions[node.parent] + quat_rotate(rotations[node.parent], place))
            rotations.append(quat_mul(rotations[node.parent], turn))
    return torch.stack(positions, dim=1), torch.stack(rotations, dim=1)


def parse_bvh(text: str, source: str) -> Document:
    """The content of a BVH file. Raises InputError, which names the line, if it is none."""
    lines = iter(enumerate(text.splitlines(), start=1))
    words = ((number, line.split()) for number, line in lines if line.strip())
    nodes = _hierarchy(words, source)
    channels = sum(len(node.channels) for node in nodes)
    count = int(_header(words, ["Frames:"], source))
    frame_time = _header(words, ["Frame", "Time:"], source)
    if count < 2 or frame_time <= 0.0:
        raise refusal(source, f"has {count} frame(s) of {frame_time:g} s; a motion needs 2, of a positive time")
    rows = []
    for number, row in words:
        values = _numbers(row, number, source)
        if len(values) != channels:
            raise refusal(source, f"line {number} has {len(values)} numbers instead of {channels}, one per channel")
        rows.append(values)
    if len(rows) != count:
        raise refusal(source, f"has {len(rows)} frames, but 'Frames:' says {count}")
    return Document(tuple(nodes), frame_time, torch.tensor(rows, dtype=torch.float64))


Words = Iterator[Tuple[int, List[str]]]


def _hierarchy(words: Words, source: str) -> List[Node]:
    nodes: List[Node] = []
    open_: List[int] = []
    """Joints whose braces are open; -1 for an end site, which moves nothing."""
    number, first = next(words, (0, [""]))
    if first != ["HIERARCHY"]:
        raise refusal(source, "is no BVH file: it does not begin with HIERARCHY")
    name: Optional[str] = None
    for number, line in words:
        word = line[0]
        if word == "MOTION" and not open_ and nodes:
            return nodes
        if word in ("ROOT", "JOINT") and len(line) > 1:
            name = " ".join(line[1:])
        elif line[:2] == ["End", "Site"]:
            name = None
        elif word == "{":
            open_.append(-1 if name is None else len(nodes))
            if name is not None:
                parent = open_[-2] if len(open_) > 1 else -1
                nodes.append(Node(name, parent, (0.0, 0.0, 0.0), ()))
        elif word == "}" and open_:
            open_.pop()
        elif word == "OFFSET" and open_:
            offset = tuple(_numbers(line[1:], number, source))
            if len(offset) != 3:
                raise refusal(source, f"line {number}: OFFSET has {len(offset)} numbers instead of 3")
            if open_[-1] >= 0:
                nodes[open_[-1]] = replace(nodes[open_[-1]], offset=offset)
        elif word == "CHANNELS" and open_ and open_[-1] >= 0:
            channels = tuple(line[2:])
            if line[1:2] != [str(len(channels))] or any(channel not in CHANNELS for channel in channels):
                raise refusal(source, f"line {number}: {quote(' '.join(line), 80)}: unknown or miscounted channels")
            nodes[open_[-1]] = replace(nodes[open_[-1]], channels=channels)
        else:
            raise refusal(source, f"line {number}: {quote(' '.join(line), 80)} is not expected here")
        if len(nodes) > MAX_JOINTS:
            raise refusal(source, f"has more than {MAX_JOINTS} joints")
    raise refusal(source, f"ends before MOTION, in line {number}")


def _header(words: Words, expected: Sequence[str], source: str) -> float:
    """The number in the next line, which begins with the expected words."""
    number, line = next(words, (0, []))
    if line[:-1] != list(expected):
        raise refusal(source, f"line {number}: '{' '.join(expected)}' and a number are expected here")
    return _numbers(line[-1:], number, source)[0]


def _numbers(words: Sequence[str], number: int, source: str) -> List[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise refusal(source, f"line {number} has something else than finite numbers")
    return values


FORMAT = Format("BVH", (".bvh",), read_bvh)
