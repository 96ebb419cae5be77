"""Plain MJCF: a compiled character as text without defaults, special notations or other files.

Numbers and inertia are explicit, gains are in the joints, and meshes are convex hulls with vertices in the text.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from typing import Any, Sequence
from xml.etree.ElementTree import Element, SubElement

import mujoco
import numpy as np

from parc_ray.character.compilation import CompiledCharacter
from parc_ray.character.gains import Gains
from parc_ray.tensors.arrays import FloatArray

SHAPES = {
    int(mujoco.mjtGeom.mjGEOM_SPHERE): ("sphere", 1),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): ("capsule", 2),
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): ("cylinder", 2),
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID): ("ellipsoid", 3),
    int(mujoco.mjtGeom.mjGEOM_BOX): ("box", 3),
    int(mujoco.mjtGeom.mjGEOM_MESH): ("mesh", 0),
}
"""Names of shapes, and the number of sizes of each."""
AXIS_TOLERANCE = 1e-6


def plain_mjcf(character: CompiledCharacter, gains: Sequence[Gains]) -> str:
    """Return the text of a character without obstacles."""
    model = character.model
    root = ElementTree.Element("mujoco")
    SubElement(root, "compiler", angle="radian", autolimits="false")
    assets, world = SubElement(root, "asset"), SubElement(root, "worldbody")
    bodies = [world]
    for number in range(1, model.nbody):
        bodies.append(_body(model, number, bodies[model.body_parentid[number]]))
    for number in range(model.njnt):
        _joint(model, number, bodies[model.jnt_bodyid[number]], gains[number])
    for number in range(model.ngeom):
        _geom(character, number, bodies[model.geom_bodyid[number]])
    for number in sorted({int(model.geom_dataid[geom]) for geom in hull_geoms(model)}):
        vertices = " ".join(f"{value:.9g}" for value in hull_vertices(model, number).ravel())
        SubElement(assets, "mesh", name=f"hull{number}", vertex=vertices)
    if character.excluded_pairs:
        contact = SubElement(root, "contact")
        for body1, body2 in character.excluded_pairs:
            SubElement(contact, "exclude", body1=body1, body2=body2)
    actuators = SubElement(root, "actuator")
    for number, own in enumerate(gains):
        if math.isfinite(own.torque_limit):
            SubElement(actuators, "motor", joint=model.joint(number).name, gear=repr(own.torque_limit))
    return ElementTree.tostring(root, encoding="unicode")


def hull_geoms(model: mujoco.MjModel) -> list[int]:
    """Return the geoms that are meshes and collide."""
    return [
        geom
        for geom in range(model.ngeom)
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH and collides(model, geom)
    ]


def collides(model: mujoco.MjModel, geom: int) -> bool:
    """Return whether a geom takes part in collisions."""
    return bool(model.geom_contype[geom] or model.geom_conaffinity[geom])


def hull_vertices(model: mujoco.MjModel, mesh: int) -> FloatArray:
    """Return the vertices [V, 3] of a mesh's convex hull, m, in the mesh's own frame.

    mesh_graph has numvert, numface, vert_edgeadr[numvert], vert_globalid[numvert], ... (mjmodel.h).
    """
    first, start = int(model.mesh_vertadr[mesh]), int(model.mesh_graphadr[mesh])
    vertices: FloatArray = model.mesh_vert[first : first + int(model.mesh_vertnum[mesh])]
    if start < 0:
        return vertices
    count = int(model.mesh_graph[start])
    hull: FloatArray = vertices[model.mesh_graph[start + 2 + count : start + 2 + 2 * count]]
    return hull


def _body(model: mujoco.MjModel, number: int, parent: Element) -> Element:
    body = SubElement(
        parent,
        "body",
        name=model.body(number).name,
        pos=_numbers(model.body_pos[number]),
        quat=_numbers(model.body_quat[number]),
    )
    SubElement(
        body,
        "inertial",
        pos=_numbers(model.body_ipos[number]),
        quat=_numbers(model.body_iquat[number]),
        mass=repr(float(model.body_mass[number])),
        diaginertia=_numbers(model.body_inertia[number]),
    )
    return body


def _joint(model: mujoco.MjModel, number: int, body: Element, gains: Gains) -> None:
    if model.jnt_type[number] == mujoco.mjtJoint.mjJNT_FREE:
        SubElement(body, "freejoint")
        return
    dof = int(model.jnt_dofadr[number])
    low, high = (float(value) for value in model.jnt_range[number])
    if low == high == 0:  # without limits
        low, high = -math.pi, math.pi
    axis = np.array(model.jnt_axis[number])
    nearest = np.round(axis)
    if np.abs(axis - nearest).max() < AXIS_TOLERANCE:
        axis = nearest
    SubElement(
        body,
        "joint",
        name=model.joint(number).name,
        type="hinge",
        axis=_numbers(axis + 0.0),
        range=f"{low!r} {high!r}",
        limited="true",
        stiffness=repr(gains.stiffness),
        damping=repr(gains.damping),
        armature=repr(float(model.dof_armature[dof])),
        frictionloss=repr(float(model.dof_frictionloss[dof])),
        margin=repr(float(model.jnt_margin[number])),
        solreflimit=_numbers(model.jnt_solref[number]),
        solimplimit=_numbers(model.jnt_solimp[number]),
        solreffriction=_numbers(model.dof_solref[dof]),
        solimpfriction=_numbers(model.dof_solimp[dof]),
    )


def _geom(character: CompiledCharacter, number: int, body: Element) -> None:
    model = character.model
    shape, sizes = SHAPES[int(model.geom_type[number])]
    if shape == "mesh" and not collides(model, number):
        return  # it only contributed mass, which is in the body's inertia
    own: dict[str, str] = {"type": shape, "pos": _numbers(model.geom_pos[number])}
    own["quat"] = _numbers(model.geom_quat[number])
    name = character.geom_names.get(model.geom(number).name, "")
    if name:
        own["name"] = name
    if shape == "mesh":
        own["mesh"] = f"hull{int(model.geom_dataid[number])}"
    else:
        own["size"] = _numbers(model.geom_size[number][:sizes])
    for key in ("contype", "conaffinity"):
        own[key] = str(int(getattr(model, f"geom_{key}")[number]))
    for key in ("solref", "solimp"):
        own[key] = _numbers(getattr(model, f"geom_{key}")[number])
    for key in ("margin", "gap", "solmix"):
        own[key] = repr(float(getattr(model, f"geom_{key}")[number]))
    SubElement(body, "geom", own)


def _numbers(values: Any) -> str:
    return " ".join(repr(float(value)) for value in values)
