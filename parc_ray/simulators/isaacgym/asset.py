"""Asset: a character as files for Isaac Gym's MJCF importer: one MJCF, and an OBJ file for each hull."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Sequence

from parc_ray.character.meshes import without_meshes
from parc_ray.character.mjcf import Mjcf
from parc_ray.character.orientation import Vector
from parc_ray.character.solids import hull_mesh

MJCF = "character.xml"


def asset_files(character: str, source: str) -> dict[str, str]:
    """Return texts by file name. A character without hulls only loses its visual meshes.

    Preview 4's importer does not document the `vertex` attribute of <mesh>, but it reads OBJ files and uses their
    convex hull for collisions. Raises InputError, see without_meshes.
    """
    text = without_meshes(character, source)
    document = Mjcf(text, source)
    hulls = [mesh for mesh in document.root.findall("asset/mesh") if mesh.get("vertex") is not None]
    if not hulls:
        return {MJCF: text}
    files: dict[str, str] = {}
    for mesh in hulls:
        values = document.numbers(mesh, "vertex")
        points = [(values[k], values[k + 1], values[k + 2]) for k in range(0, len(values) - 2, 3)]
        file = f"{len(files)}.obj"
        files[file] = _obj(points)
        del mesh.attrib["vertex"]
        mesh.set("file", file)
    return {MJCF: ElementTree.tostring(document.root, encoding="unicode"), **files}


def _obj(points: Sequence[Vector]) -> str:
    """Return the convex hull of points as a Wavefront OBJ file."""
    vertices, triangles = hull_mesh(points)
    corners = [" ".join(f"{value:.9g}" for value in vertex) for vertex in vertices]
    distinct = {corner: number for number, corner in enumerate(dict.fromkeys(corners), start=1)}
    faces = (" ".join(str(distinct[corners[vertex]]) for vertex in triangle) for triangle in triangles)
    return "".join([*(f"v {corner}\n" for corner in distinct), *(f"f {face}\n" for face in faces)])
