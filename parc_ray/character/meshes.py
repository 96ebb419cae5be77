"""Meshes: shapes in files of their own. No simulator here reads them; what is only to be seen is left out."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from parc_ray.character.geoms import SHAPES, read_geoms, require_shapes
from parc_ray.character.mjcf import Mjcf
from parc_ray.errors import InputError


def without_meshes(text: str, source: str) -> str:
    """MJCF text without its meshes; the text itself if it has none. source names it in messages.

    Raises InputError if a mesh collides, or has the mass of its body.
    """
    geoms = read_geoms(text, source)
    if all(geom.shape in SHAPES for geom in geoms):
        return text
    document = Mjcf(text, source)
    bodies = [body for _, body in document.bodies()]
    names = [body.get("name", "") for body in bodies]
    require_shapes(geoms, SHAPES, names, source)
    elements = [element for body in bodies for element in body.findall("geom")]
    for element, geom in zip(elements, geoms):
        if geom.shape in SHAPES:
            continue
        body = bodies[geom.body]
        if not geom.massless and body.find("inertial") is None:
            raise InputError(
                f"{source}: body {names[geom.body]!r} has its mass from a {geom.shape}, which is not read; give the "
                'body an <inertial>, or the geom density="0" if it has no mass'
            )
        body.remove(element)
    for asset in document.root.findall("asset"):
        for mesh in asset.findall("mesh"):
            asset.remove(mesh)
    for element in document.root.iter("geom"):
        element.attrib.pop("mesh", None)
    return ElementTree.tostring(document.root, encoding="unicode")
