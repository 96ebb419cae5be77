"""Solids: the shapes of a character as meshes, for drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

import mujoco
import numpy as np
import numpy.typing as npt

from parc_ray.character.geoms import SHAPES, Geom
from parc_ray.character.orientation import Quaternion, Vector
from parc_ray.tensors.arrays import Mesh

SOLID_KINDS = ("cylinder", "ball", "box")


@dataclass(frozen=True)
class Solid:
    """A shape that is fixed to a body, scaled from a unit shape."""

    kind: str
    """One of SOLID_KINDS, or "hull 0", "hull 1", ...: a name of meshes_of."""
    body: int
    """Index of the body."""
    position: Vector
    """m, in the body's frame."""
    rotation: Quaternion
    """Unit quaternion xyzw, in the body's frame."""
    scale: Vector
    """Factors of its mesh along its own axes: half extents (m) of unit shapes, 1 for hulls."""


def solids_of(geoms: Sequence[Geom]) -> list[Solid]:
    """Return the solids of a character; a capsule becomes three. Meshes and other non-solid shapes are left out."""
    solids: list[Solid] = []
    hulls = hulls_of(geoms)
    for geom in geoms:
        if geom.shape == "hull":
            kind = f"hull {hulls.index(geom.hull)}"
            solids.append(Solid(kind, geom.body, geom.position, geom.rotation, (1.0, 1.0, 1.0)))
        elif geom.shape in SHAPES:
            kind = {"box": "box", "sphere": "ball", "ellipsoid": "ball"}.get(geom.shape, "cylinder")
            solids.append(Solid(kind, geom.body, geom.position, geom.rotation, geom.size))
        if geom.shape == "capsule":
            radius = geom.size[0]
            solids += [Solid("ball", geom.body, end, geom.rotation, (radius, radius, radius)) for end in geom.ends]
    return solids


def meshes_of(geoms: Sequence[Geom]) -> dict[str, Mesh]:
    """Return the meshes of all kinds of solids in a character, by kind."""
    return {
        **{kind: unit_mesh(kind) for kind in SOLID_KINDS},
        **{f"hull {number}": hull_mesh(hull) for number, hull in enumerate(hulls_of(geoms))},
    }


def hull_mesh(hull: Sequence[Vector]) -> Mesh:
    """Return the convex hull of points, facing outwards. Triangles do not share corners, so that edges are sharp.

    MuJoCo computes the triangles.
    """
    vertices = " ".join(f"{value:.9g}" for point in hull for value in point)
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><asset><mesh name="hull" vertex="{vertices}"/></asset>'
        '<worldbody><geom type="mesh" mesh="hull"/></worldbody></mujoco>'
    )
    axes = np.zeros(9)
    mujoco.mju_quat2Mat(axes, model.geom_quat[0])
    # MuJoCo moves a mesh to its centre of mass and aligns it with its axes of inertia.
    corners = model.mesh_vert @ axes.reshape(3, 3).T + model.geom_pos[0]
    triangles = corners[model.mesh_face].reshape(-1, 3)
    return triangles.astype(np.float32), np.arange(len(triangles), dtype=np.uint32).reshape(-1, 3)


def unit_mesh(kind: str) -> Mesh:
    """Return a ball or cylinder of radius 1, or a box, from -1 to 1 along every axis."""
    return {"ball": _ball, "cylinder": _cylinder, "box": _box}[kind]()


def hulls_of(geoms: Sequence[Geom]) -> list[tuple[Vector, ...]]:
    """Return the distinct hulls of a character, as vertices."""
    return list(dict.fromkeys(geom.hull for geom in geoms if geom.shape == "hull"))


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
    # The ends have separate rings: shared ones would be shaded as if the edge were round.
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
    """Return outward triangles between rings of points stacked on each other."""
    ring, side = np.meshgrid(np.arange(rings - 1) * sides, np.arange(sides), indexing="ij")
    after = (side + 1) % sides
    a, b, c, d = ring + side, ring + after, ring + sides + after, ring + sides + side
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], axis=-2)
    return faces.reshape(-1, 3).astype(np.uint32)
