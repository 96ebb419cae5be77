"""BVH files: a joint tree, and its channel values in each frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Iterator, List, Sequence, Tuple

import torch
from torch import Tensor

from parc_ray.character.rotations import axis_angle_to_quat, quat_mul, quat_rotate
from parc_ray.errors import quote
from parc_ray.motions.importers.clip import refusal

AXES = {"X": (1.0, 0.0, 0.0), "Y": (0.0, 1.0, 0.0), "Z": (0.0, 0.0, 1.0)}
CHANNELS = tuple(f"{axis}{kind}" for kind in ("position", "rotation") for axis in AXES)
MAX_JOINTS = 1000


@dataclass(frozen=True)
class BvhNode:
    """A joint of a BVH file."""

    name: str
    parent: int
    """Index of its parent; -1 for the root."""
    offset: tuple[float, ...]
    channels: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """A BVH file."""

    nodes: tuple[BvhNode, ...]
    frame_time: float
    """Seconds per frame."""
    values: Tensor
    """[n, C] float64: values of all channels."""


def world_poses(document: Document) -> tuple[Tensor, Tensor]:
    """Return positions [n, J, 3] and rotations [n, J, 4] of all joints in the file's axes and units."""
    positions: list[Tensor] = []
    rotations: list[Tensor] = []
    column, count = 0, len(document.values)
    for node in document.nodes:
        place = torch.tensor(node.offset, dtype=torch.float64).expand(count, 3).clone()
        turn = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64).expand(count, 4)
        for channel in node.channels:
            value = document.values[:, column]
            axis = torch.tensor(AXES[channel[0]], dtype=torch.float64).expand(count, 3)
            if channel.endswith("position"):
                # Position channels are absolute and replace the offset.
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


def rest_positions(document: Document) -> Tensor:
    """Return positions [J, 3] of all joints with all rotations at zero, in the file's axes and units."""
    positions: list[Tensor] = []
    for node in document.nodes:
        offset = torch.tensor(node.offset, dtype=torch.float64)
        positions.append(offset if node.parent < 0 else positions[node.parent] + offset)
    return torch.stack(positions)


def parse_bvh(text: str, source: str) -> Document:
    """Return the content of a BVH file. Raises InputError, which names the line, if it is malformed."""
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


def _hierarchy(words: Words, source: str) -> list[BvhNode]:
    nodes: list[BvhNode] = []
    open_: list[int] = []
    """Joints with open braces; -1 for an end site, which has no channels."""
    number, first = next(words, (0, [""]))
    if first != ["HIERARCHY"]:
        raise refusal(source, "is no BVH file: it does not begin with HIERARCHY")
    name: str | None = None
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
                nodes.append(BvhNode(name, parent, (0.0, 0.0, 0.0), ()))
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
    """Return the number in the next line, which must begin with the expected words."""
    number, line = next(words, (0, []))
    if line[:-1] != list(expected):
        raise refusal(source, f"line {number}: '{' '.join(expected)}' and a number are expected here")
    return _numbers(line[-1:], number, source)[0]


def _numbers(words: Sequence[str], number: int, source: str) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise refusal(source, f"line {number} has something else than finite numbers")
    return values
