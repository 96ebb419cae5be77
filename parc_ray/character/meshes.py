"""MJCF without purely visual elements, such as visual meshes. Hulls, with vertices in the text, are kept."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree
from xml.etree.ElementTree import Element, SubElement

from parc_ray.character.geoms import SHAPES, read_geoms, require_shapes
from parc_ray.character.mjcf import Mjcf
from parc_ray.errors import InputError


def without_meshes(text: str, source: str) -> str:
    """Return MJCF text without its visual meshes; the text itself if it has none. source names it in messages.

    Raises InputError if a mesh collides or determines its body's mass.
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
    hulls = set()
    for asset in document.root.findall("asset"):
        for mesh in asset.findall("mesh"):
            if mesh.get("vertex") is None:
                asset.remove(mesh)
            else:
                hulls.add(mesh.get("name"))
    for element in document.root.iter("geom"):
        if element.get("mesh") not in hulls:
            element.attrib.pop("mesh", None)
    return ElementTree.tostring(document.root, encoding="unicode")


def without_looks(character: str, source: str) -> Element:
    """Return a model of the character only: bodies, joints, solid shapes and excluded pairs; no floor or actuators.

    Raises InputError for a body with its mass from a mesh.
    """
    document = Mjcf(without_meshes(character, source), source)
    root = ElementTree.Element("mujoco")
    hulls = [mesh for mesh in document.root.findall("asset/mesh") if mesh.get("vertex") is not None]
    if hulls:
        SubElement(root, "asset").extend(copy.deepcopy(hulls))
    for tag in ("compiler", "default"):
        for element in document.root.findall(tag):
            root.append(copy.deepcopy(element))
    compiler = root.find("compiler")
    if compiler is not None:
        compiler.attrib.pop("meshdir", None)
    body = copy.deepcopy(document.root_body())
    for parent in list(body.iter("body")):
        for child in list(parent):
            if child.tag not in ("body", "geom", "joint", "freejoint", "inertial"):
                parent.remove(child)
            elif child.tag == "geom":
                child.attrib.pop("material", None)
    SubElement(root, "worldbody").append(body)
    for default in root.iter("default"):
        for geom in default.findall("geom"):
            geom.attrib.pop("material", None)
    pairs = document.excluded_pairs()
    if pairs:
        contact = SubElement(root, "contact")
        for body1, body2 in pairs:
            SubElement(contact, "exclude", body1=body1, body2=body2)
    return root
