"""Shapes: what a character looks like, as plain values for the report's page."""

from __future__ import annotations

from typing import Any, Dict, Sequence

from parc_ray.character.geoms import SHAPES, read_geoms
from parc_ray.character.skeleton import Skeleton


def character_shapes(text: str, source: str, skeleton: Skeleton) -> Dict[str, Any]:
    """Body tree and geoms of MJCF text. Raises InputError, see read_geoms.

    bodies: name, parent (-1 for the root), offset [3] m and turn [4] xyzw in the parent's frame; geoms: body, kind
    (ellipsoid, capsule, cylinder or box), size [3] m, place [3] m and turn [4] xyzw as in Geom. What is no solid
    shape, such as a mesh, is left out.
    """
    geoms = [
        {
            "body": geom.body,
            "kind": "ellipsoid" if geom.shape == "sphere" else geom.shape,
            "size": _rounded(geom.size),
            "place": _rounded(geom.position),
            "turn": _rounded(geom.rotation),
        }
        for geom in read_geoms(text, source)
        if geom.shape in SHAPES
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


def _rounded(values: Sequence[float]) -> Sequence[float]:
    return [round(float(value), 5) for value in values]
