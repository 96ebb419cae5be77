"""Parts: a character built from a few unit shapes, each placed, turned and stretched."""

from __future__ import annotations

import math
from typing import Dict, List, Sequence, Tuple

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.geoms import SHAPES, Geom
from parc_ray.character.rotations import quat_mul, quat_rotate

FloatArray = npt.NDArray[np.float32]
Mesh = Tuple[FloatArray, npt.NDArray[np.uint32]]
"""Vertices [V, 3] and triangles [T, 3]."""

Part = Tuple[int, Sequence[float], Sequence[float], Sequence[float]]
"""Body, position in its frame, rotation xyzw and scale."""

UNTURNED: FloatArray = np.array([1, 0, 0, 0], dtype=np.float32)
KINDS = ("cylinder", "ball", "box")


class Parts:
    """P shapes of one kind."""

    def __init__(self, parts: Sequence[Part], round_parts: bool):
        """parts: At least one. round_parts: Whether the unit shape looks the same from all sides."""
        self.body = torch.tensor([part[0] for part in parts])
        self._place = torch.tensor([list(part[1]) for part in parts], dtype=torch.float32)
        self._turn = torch.tensor([list(part[2]) for part in parts], dtype=torch.float32)
        self.stretch: FloatArray = np.array([part[3] for part in parts], dtype=np.float32)
        self._round = round_parts and bool((self.stretch == self.stretch[:, :1]).all())

    def at(self, position: FloatArray, rotation: FloatArray) -> Tuple[FloatArray, FloatArray]:
        """Places [..., P, 3] and turns [..., P, 4] (wxyz), of bodies at [..., B, 3] and [..., B, 4] (xyzw)."""
        turn = torch.from_numpy(rotation).index_select(-2, self.body)
        place = torch.from_numpy(position).index_select(-2, self.body)
        place = place + quat_rotate(turn, self._place.expand_as(place))
        if self._round:  # turns that nobody sees are not worth their way through the network
            return place.numpy(), np.broadcast_to(UNTURNED, turn.shape)
        turned = quat_mul(turn, self._turn.expand_as(turn))
        return place.numpy(), turned.roll(1, -1).numpy()


def character_parts(geoms: Sequence[Geom]) -> Dict[str, Parts]:
    """The parts of a character by kind, without meshes and other shapes that are not solid primitives."""
    parts: Dict[str, List[Part]] = {kind: [] for kind in KINDS}
    for geom in geoms:
        if geom.shape in SHAPES:
            kind = {"box": "box", "sphere": "ball", "ellipsoid": "ball"}.get(geom.shape, "cylinder")
            parts[kind].append((geom.body, geom.position, geom.rotation, geom.size))
        if geom.shape == "capsule":
            radius = geom.size[0]
            parts["ball"] += [(geom.body, end, geom.rotation, (radius, radius, radius)) for end in geom.ends]
    return {kind: Parts(own, kind == "ball") for kind, own in parts.items() if own}


def unit_mesh(kind: str) -> Mesh:
    """A ball or cylinder of radius 1, or a box; from -1 to 1 along every axis."""
    return {"ball": _ball, "cylinder": _cylinder, "box": _box}[kind]()


def _ball(sides: int = 24, rings: int = 13) -> Mesh:
    rise = np.linspace(-math.pi / 2, math.pi / 2, rings)
    angle = np.linspace(0, 2 * math.pi, sides, endpoint=False)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    flat = np.cos(rise)[:, None, None] * around
    points = np.concatenate([flat, np.broadcast_to(np.sin(rise)[:, None, None], (rings, sides, 1))], axis=-1)
    return points.reshape(-1, 3).astype(np.float32), _bands(rings, sides)


def _cylinder(sides: int = 24) -> Mesh:
    angle = np.linspace(0, 2 * math.pi, sides, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.ones(sides)], axis=-1)
    low, high = ring * (1, 1, -1), ring
    # The ends have rings of their own: a shared one would be lit as if the edge were round.
    points = np.concatenate([low * (0, 0, 1), low, low, high, high, high * (0, 0, 1)])
    bands = _bands(6, sides).reshape(5, -1, 3)
    return points.astype(np.float32), np.concatenate([bands[0], bands[2], bands[4]])


def _box() -> Mesh:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float32)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    points = np.concatenate([corners[list(side)] for side in sides])
    first = np.arange(0, 24, 4)[:, None]
    return points, np.concatenate([first + (0, 1, 2), first + (0, 2, 3)]).astype(np.uint32)


def _bands(rings: int, sides: int) -> npt.NDArray[np.uint32]:
    """Triangles between rings of points, one above the other, facing outwards."""
    ring, side = np.meshgrid(np.arange(rings - 1) * sides, np.arange(sides), indexing="ij")
    after = (side + 1) % sides
    a, b, c, d = ring + side, ring + after, ring + sides + after, ring + sides + side
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], axis=-2)
    return faces.reshape(-1, 3).astype(np.uint32)
