"""Geoms: the shapes of a character's bodies, with MuJoCo's default classes and notations resolved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Mapping, Sequence
from xml.etree.ElementTree import Element

from parc_ray.character.mjcf import Mjcf
from parc_ray.character.orientation import Quaternion, Vector, read_rotation, shortest_arc
from parc_ray.errors import InputError

SHAPES = ("sphere", "capsule", "box", "cylinder", "ellipsoid", "hull")
"""Shapes that may collide. A hull is a mesh with its vertices in the text; MJCF has other shapes, such as mesh."""

HULL_VERTICES = 64
"""Maximum number of vertices of a hull: PhysX's limit on a GPU."""

ROUND = ("capsule", "cylinder")
"""Shapes with an axis between two ends."""


@dataclass(frozen=True)
class Geom:
    """A shape that is fixed to a body."""

    body: int
    """Index of the body."""
    name: str
    """Empty if it has none."""
    shape: str
    """One of SHAPES, or another of MJCF's."""
    size: Vector
    """Half extents along its own axes, m; for a capsule, without its caps."""
    position: Vector
    """m, in the body's frame."""
    rotation: Quaternion
    """Unit quaternion xyzw, in the body's frame; capsules and cylinders extend along z."""
    ends: tuple[Vector, ...]
    """The two ends of a capsule's or cylinder's axis, m, in the body's frame; empty for other shapes."""
    collides: bool
    """False for geoms that are only drawn."""
    massless: bool
    """True if it adds no mass to its body."""
    hull: tuple[Vector, ...] = ()
    """Vertices of a hull, m, in its own frame; empty for other shapes."""


def read_geoms(text: str, source: str) -> tuple[Geom, ...]:
    """Return the geoms of all bodies of MJCF text, depth first; source names it in messages.

    Raises InputError for malformed numbers or invalid rotations.
    """
    document = Mjcf(text, source)
    hulls = {
        mesh.get("name", ""): _points(document.numbers(mesh, "vertex"))
        for mesh in document.root.findall("asset/mesh")
        if mesh.get("vertex") is not None
    }
    return tuple(
        _geom(document, index, geom, hulls)
        for index, (_, body) in enumerate(document.bodies())
        for geom in body.findall("geom")
    )


def require_shapes(
    geoms: Sequence[Geom], shapes: Sequence[str], bodies: Sequence[str], source: str, otherwise: str = ""
) -> None:
    """Raise InputError that names every colliding geom of another shape.

    bodies: Names of the bodies. otherwise: Another remedy, appended to the message.
    """
    others = [geom for geom in geoms if geom.collides and geom.shape not in shapes]
    if not others:
        return
    named = "; ".join(f"geom {geom.name!r} of body {bodies[geom.body]!r} has the shape {geom.shape}" for geom in others)
    drawn = '; geoms that are only drawn have contype="0" conaffinity="0"' if others[0].shape == "mesh" else ""
    raise InputError(f"{source}: {named}; supported shapes: {', '.join(shapes)}{drawn}{otherwise}")


def _points(values: Sequence[float]) -> tuple[Vector, ...]:
    return tuple(_vector(values[start : start + 3]) for start in range(0, len(values) - 2, 3))


def _geom(document: Mjcf, body: int, element: Element, hulls: Mapping[str, tuple[Vector, ...]]) -> Geom:
    shape = document.attribute(element, "type") or "sphere"
    mesh = document.attribute(element, "mesh")
    if mesh is not None:
        # Other shapes with a mesh are fitted to it, and the mesh may be in a file.
        shape = "hull" if shape == "mesh" and mesh in hulls else "mesh"
    sizes = [*document.numbers(element, "size", "0"), 0.0, 0.0, 0.0]
    between = document.numbers(element, "fromto", "")
    if between:
        start, end = _vector(document.numbers(element, "fromto", None, 6)), _vector(between[3:])
        position, rotation, half = _segment(start, end)
        size = (sizes[0], sizes[0], half)
    else:
        position = _vector(document.numbers(element, "pos", "0 0 0", 3))
        rotation = read_rotation(document, element)
        size = _half_extents(shape, sizes)
        start, end = (_along(position, rotation, sign * size[2]) for sign in (-1.0, 1.0))
    return Geom(
        body=body,
        name=element.get("name", ""),
        shape=shape,
        size=size,
        position=position,
        rotation=rotation,
        ends=(start, end) if shape in ROUND else (),
        collides=any(document.numbers(element, name, "1", 1)[0] for name in ("contype", "conaffinity")),
        massless=document.numbers(element, "mass", "1", 1)[0] == 0
        or document.numbers(element, "density", "1", 1)[0] == 0,
        hull=hulls[mesh] if mesh is not None and shape == "hull" else (),
    )


def _half_extents(shape: str, sizes: Sequence[float]) -> Vector:
    if shape == "sphere":
        return sizes[0], sizes[0], sizes[0]
    if shape in ROUND:
        return sizes[0], sizes[0], sizes[1]
    return _vector(sizes)


def _vector(values: Sequence[float]) -> Vector:
    x, y, z = values[:3]
    return x, y, z


def _segment(start: Vector, end: Vector) -> tuple[Vector, Quaternion, float]:
    """Return centre, rotation of the z axis to the direction from end to start (as in MuJoCo), and half length."""
    direction = [a - b for a, b in zip(start, end)]
    length = math.sqrt(sum(part * part for part in direction))
    middle = _vector([(a + b) / 2 for a, b in zip(start, end)])
    turn = shortest_arc([part / length for part in direction]) if length else (0.0, 0.0, 0.0, 1.0)
    return middle, turn, length / 2


def _along(position: Vector, rotation: Quaternion, distance: float) -> Vector:
    """Return the point at a distance along the z axis of a frame."""
    x, y, z, w = rotation
    axis: list[float] = [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]
    return _vector([origin + distance * part for origin, part in zip(position, axis)])
