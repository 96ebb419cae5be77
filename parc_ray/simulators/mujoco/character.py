"""A character as a MuJoCo model, alone or on a tile.

PD drives are joint springs: three hinges in one body become a ball joint whose spring reference is the PD target.
"""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree
from typing import List, Sequence, Tuple
from xml.etree.ElementTree import Element, SubElement

import mujoco
import numpy as np

from parc_ray.character.meshes import without_meshes
from parc_ray.character.mjcf import Mjcf
from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError
from parc_ray.motions.box_cover import Boxes
from parc_ray.simulators.mujoco.ground import ground_geoms
from parc_ray.simulators.mujoco.settings import mujoco_settings
from parc_ray.simulators.simulator import FRICTION, SimulatorConfig

NO_BOXES = Boxes(np.zeros((0, 3)), np.zeros((0, 3)))

# MuJoCo would write warnings to MUJOCO_LOG.TXT in the working directory; the simulator notices those that matter.
mujoco.set_mju_user_warning(lambda message: None)


def physical_character(config: SimulatorConfig, skeleton: Skeleton) -> Tuple[str, str]:
    """The character's MJCF as this simulator needs it: ball joints with springs, no floor, looks or actuators.

    In two pieces of text, between which the geoms of a tile belong.
    """
    root = plain_character(config.character, config.character_source)
    SubElement(
        root,
        "option",
        timestep=repr(mujoco_settings(config).timestep),
        integrator="implicitfast",
        gravity=f"0 0 {config.gravity!r}",
    )
    body = root.find("worldbody/body")
    assert body is not None
    for element, joint in zip(_bodies(body), skeleton.joints):
        _drive(element, joint.kind, joint.stiffness, joint.damping, joint.armature, config.character_source)
    head, _, tail = ElementTree.tostring(root, encoding="unicode").partition("<worldbody>")
    return f"{head}<worldbody>", tail


def plain_character(character: str, source: str) -> Element:
    """A model of a character alone: its bodies with their joints and solid shapes, without floor, looks and actuators.

    Raises InputError for a body that has its mass from a mesh.
    """
    document = Mjcf(without_meshes(character, source), source)
    root = ElementTree.Element("mujoco")
    for tag in ("compiler", "default"):
        for element in document.root.findall(tag):
            root.append(copy.deepcopy(element))
    compiler = root.find("compiler")
    if compiler is not None:
        compiler.attrib.pop("meshdir", None)
    body = copy.deepcopy(document.root_body())
    _strip(body)
    SubElement(root, "worldbody").append(body)
    for default in root.iter("default"):
        for geom in default.findall("geom"):
            geom.attrib.pop("material", None)
    return root


def _bodies(root: Element) -> List[Element]:
    """All bodies depth first."""
    return [root] + [body for child in root.findall("body") for body in _bodies(child)]


def _drive(
    body: Element,
    kind: str,
    stiffness: Sequence[float],
    damping: Sequence[float],
    armature: Sequence[float],
    source: str,
) -> None:
    """Give a body's joint the PD gains as spring and damper; three hinges become one ball joint."""
    joints = body.findall("joint")
    if kind == "hinge":
        joints[0].set("stiffness", repr(stiffness[0]))
        joints[0].set("damping", repr(damping[0]))
        joints[0].set("limited", "true")
    if kind == "spherical":
        for name, values in (("stiffness", stiffness), ("damping", damping), ("armature", armature)):
            if len(set(values)) > 1:
                raise InputError(
                    f"{source}: the three hinges of body {body.get('name')!r} have different {name} {tuple(values)}; "
                    "a spherical drive needs one value"
                )
        for joint in joints:
            body.remove(joint)
        ball = Element(
            "joint",
            name=str(joints[0].get("name") or body.get("name")),
            type="ball",
            limited="false",
            stiffness=repr(stiffness[0]),
            damping=repr(damping[0]),
            armature=repr(armature[0]),
        )
        body.insert(0, ball)


def _strip(root: Element) -> None:
    """Drop what only looks need."""
    for body in _bodies(root):
        for child in list(body):
            if child.tag not in ("body", "geom", "joint", "freejoint", "inertial"):
                body.remove(child)
            elif child.tag == "geom":
                child.attrib.pop("material", None)


def compile_character(config: SimulatorConfig, skeleton: Skeleton) -> mujoco.MjModel:
    """The character as MuJoCo reads it, in empty space: bodies 1, 2, ... are the skeleton's. Raises InputError."""
    model = compile_model(physical_character(config, skeleton), NO_BOXES, config)
    if (model.nbody, model.nv) != (skeleton.num_bodies + 1, skeleton.dof_count + 6):
        raise InputError(
            f"{config.character_source}: MuJoCo makes {model.nbody - 1} bodies and {model.nv - 6} degrees of freedom "
            f"of the character, which has {skeleton.num_bodies} and {skeleton.dof_count}: simplify it"
        )
    return model


def compile_model(character: Tuple[str, str], boxes: Boxes, config: SimulatorConfig) -> mujoco.MjModel:
    """The model of the character (from physical_character) on ground of boxes, whose geoms come before its own."""
    head, tail = character
    try:
        model = mujoco.MjModel.from_xml_string(f"{head}{ground_geoms(boxes)}{tail}")
    except (ValueError, mujoco.FatalError) as error:
        raise InputError(f"{config.character_source}: MuJoCo cannot load the character: {error}") from error
    # PARC's humanoid.xml has condim 1 (no friction): PhysX, which it was written for, does not know the attribute.
    model.geom_condim[:] = 3
    model.geom_friction[:] = (FRICTION, 0.005, 0.0001)
    contact_time = mujoco_settings(config).contact_time
    if contact_time is not None:
        model.geom_solref[:] = (contact_time, 1.0)
    # A diverged state must stay visible: MuJoCo would put the character back to its initial pose, silently.
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    return model
