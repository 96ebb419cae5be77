"""Shapes: a character's geometry as plain values for the report's page."""

from __future__ import annotations

from typing import Any, Sequence

from parc_ray.character.geoms import SHAPES, Geom, read_geoms
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.solids import hull_mesh


def character_shapes(text: str, source: str, skeleton: Skeleton) -> dict[str, Any]:
    """Return the body tree and geoms of MJCF text. Raises InputError, see read_geoms.

    bodies: name, parent (-1 for the root), offset [3] m and turn [4] xyzw in the parent's frame; geoms: body, kind
    (ellipsoid, capsule, cylinder, box or hull), size [3] m, place [3] m and turn [4] xyzw as in Geom, and for a hull
    its triangles [T * 3][3] m. Shapes that are not solid, such as visual meshes, are left out.
    """
    geoms = [
        {
            "body": geom.body,
            "kind": "ellipsoid" if geom.shape == "sphere" else geom.shape,
            "size": _round(geom.size),
            "place": _round(geom.position),
            "turn": _round(geom.rotation),
            **({"triangles": _triangles(geom)} if geom.shape == "hull" else {}),
        }
        for geom in read_geoms(text, source)
        if geom.shape in SHAPES
    ]
    bodies = [
        {"name": name, "parent": parent, "offset": _round(offset), "turn": _round(turn)}
        for name, parent, offset, turn in zip(
            skeleton.body_names,
            skeleton.parent_indices,
            skeleton.local_translation.tolist(),
            skeleton.local_rotation.tolist(),
        )
    ]
    return {"bodies": bodies, "geoms": geoms}


def _triangles(geom: Geom) -> list[Sequence[float]]:
    vertices, triangles = hull_mesh(geom.hull)
    return [_round(vertices[corner]) for corner in triangles.ravel()]


def _round(values: Sequence[float]) -> Sequence[float]:
    return [round(float(value), 5) for value in values]
