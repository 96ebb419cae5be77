"""Shapes: what a character looks like, from its MJCF, as plain values for a page."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Sequence, Tuple
from xml.etree.ElementTree import Element

from parc_ray.character.mjcf import Mjcf
from parc_ray.character.skeleton import Skeleton

Shape = Dict[str, Any]


def character_shapes(text: str, source: str, skeleton: Skeleton) -> Dict[str, Any]:
    """Body tree and geoms of MJCF text. Raises InputError where a geom's numbers are no numbers.

    bodies: name, parent (-1 for the root), offset [3] m and turn [4] xyzw in the parent's frame; geoms: body, kind
    (ellipsoid, capsule, cylinder or box), size [3] m (half extents; of round ones radius, radius, half length of the
    straight part), place [3] and turn [4] in the body's frame, long side along z. Geoms that only collide elsewhere
    (planes, meshes) are left out.
    """
    document = Mjcf(text, source)
    geoms = [
        {"body": index, **shape}
        for index, (_, body) in enumerate(document.bodies())
        for geom in body.findall("geom")
        for shape in _shape(document, geom)
    ]
    bodies = [
        {"name": name, "parent": parent, "offset": _rounded(offset), "turn": _rounded(turn)}
        for name, parent, offset, turn in zip(
            skeleton.body_names,
            skeleton.parent_indices,
            skeleton.local_translation.tolist(),
            skeleton.local_rotation.tolist(),
        )
    ]
    return {"bodies": bodies, "geoms": geoms}


def _shape(document: Mjcf, geom: Element) -> List[Shape]:
    """One shape, or none."""
    kind = document.attribute(geom, "type") or "sphere"
    if kind not in ("sphere", "ellipsoid", "capsule", "cylinder", "box"):
        return []
    size = (document.numbers(geom, "size", "0") + [0.0, 0.0])[:3]
    place, (w, x, y, z) = document.numbers(geom, "pos", "0 0 0"), document.numbers(geom, "quat", "1 0 0 0")
    turn = [x, y, z, w]
    if kind == "sphere":
        kind, size = "ellipsoid", [size[0]] * 3
    elif kind in ("capsule", "cylinder"):
        size = [size[0], size[0], size[1]]
    ends = document.numbers(geom, "fromto", "")
    if len(ends) == 6:
        place, turn, half = _between(ends[:3], ends[3:])
        size = [size[0], size[0], half]
    return [{"kind": kind, "size": _rounded(size), "place": _rounded(place), "turn": _rounded(turn)}]


def _between(start: Sequence[float], end: Sequence[float]) -> Tuple[List[float], List[float], float]:
    """Middle of a segment, the shortest turn (xyzw) of the z axis onto it, and half its length."""
    dx, dy, dz = (b - a for a, b in zip(start, end))
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    middle = [(a + b) / 2 for a, b in zip(start, end)]
    if length == 0.0:
        return middle, [0.0, 0.0, 0.0, 1.0], 0.0
    x, y, w = -dy / length, dx / length, 1.0 + dz / length
    norm = math.sqrt(x * x + y * y + w * w)
    turn = [x / norm, y / norm, 0.0, w / norm] if norm > 1e-6 else [1.0, 0.0, 0.0, 0.0]
    return middle, turn, length / 2


def _rounded(values: Sequence[float]) -> List[float]:
    return [round(float(value), 5) for value in values]
