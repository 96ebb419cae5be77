"""A character as a MuJoCo model, alone or on a tile.

PD drives are joint springs: three hinges in one body become a ball joint whose spring reference is the PD target.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from xml.etree.ElementTree import Element, SubElement

import mujoco
import numpy as np

from parc_ray.character.meshes import without_looks
from parc_ray.character.skeleton import Joint, Skeleton, parse_skeleton
from parc_ray.errors import InputError
from parc_ray.motions.box_cover import Boxes
from parc_ray.simulators.mujoco.ground import ground_geoms
from parc_ray.simulators.mujoco.settings import mujoco_settings
from parc_ray.simulators.simulator import FRICTION, SimulatorConfig

ROOT_DOFS = 6
NO_BOXES = Boxes(np.zeros((0, 3)), np.zeros((0, 3)))

# MuJoCo would write warnings to MUJOCO_LOG.TXT in the working directory; the simulator detects those that matter.
mujoco.set_mju_user_warning(lambda message: None)


def physical_character(config: SimulatorConfig, skeleton: Skeleton) -> tuple[str, str]:
    """Return the character's MJCF for this simulator: ball joints with springs; no floor, looks or actuators.

    The text is in two parts; a tile's geoms go between them.
    """
    root = without_looks(config.character, config.character_source)
    option = SubElement(
        root,
        "option",
        timestep=repr(mujoco_settings(config).timestep),
        integrator="implicitfast",
        gravity=f"0 0 {config.gravity!r}",
    )
    if root.find("asset/mesh") is not None:
        # Otherwise MuJoCo 3 gives a hull one contact point with the ground, on which it rocks. Later the default.
        SubElement(option, "flag", multiccd="enable")
    body = root.find("worldbody/body")
    assert body is not None
    for element, joint in zip(_bodies(body), skeleton.joints):
        _drive(element, joint, config.character_source)
    head, _, tail = ElementTree.tostring(root, encoding="unicode").partition("<worldbody>")
    return f"{head}<worldbody>", tail


def _bodies(root: Element) -> list[Element]:
    """Return all bodies in depth-first order."""
    return [root] + [body for child in root.findall("body") for body in _bodies(child)]


def _drive(body: Element, joint: Joint, source: str) -> None:
    """Give a body's joint the PD gains as spring and damper; three hinges become one ball joint."""
    hinges = body.findall("joint")
    if joint.kind == "hinge":
        hinges[0].set("stiffness", repr(joint.stiffness[0]))
        hinges[0].set("damping", repr(joint.damping[0]))
        hinges[0].set("limited", "true")
    if joint.kind == "spherical":
        if len(set(joint.stiffness)) > 1:
            raise InputError(
                f"{source}: the three hinges of body {body.get('name')!r} have different stiffness {joint.stiffness}; "
                "a spherical drive needs one value"
            )
        for hinge in hinges:
            body.remove(hinge)
        ball = Element(
            "joint",
            name=str(hinges[0].get("name") or body.get("name")),
            type="ball",
            limited="false",
            stiffness=repr(joint.stiffness[0]),
            damping=repr(joint.damping[0]),
            armature=repr(joint.armature[0]),
        )
        body.insert(0, ball)


def _set_per_axis(model: mujoco.MjModel, skeleton: Skeleton) -> None:
    """Set damping and armature of ball joints whose axes differ, which MJCF cannot express."""
    differing = [j for j in skeleton.joints if len(set(j.armature)) > 1 or len(set(j.damping)) > 1]
    for joint in differing:
        first = ROOT_DOFS + joint.dof_index
        model.dof_armature[first : first + joint.dof_count] = joint.armature
        # From MuJoCo 3.4 on, a dof may have several coefficients; the first is the linear one.
        damping = model.dof_damping.reshape(model.nv, -1)
        damping[first : first + joint.dof_count, 0] = joint.damping
    if differing:
        mujoco.mj_setConst(model, mujoco.MjData(model))


def compile_character(config: SimulatorConfig, skeleton: Skeleton) -> mujoco.MjModel:
    """Return the character's model in empty space; bodies 1, 2, ... are the skeleton's. Raises InputError."""
    model = compile_model(physical_character(config, skeleton), NO_BOXES, config)
    if (model.nbody, model.nv) != (skeleton.num_bodies + 1, skeleton.dof_count + 6):
        raise InputError(
            f"{config.character_source}: MuJoCo makes {model.nbody - 1} bodies and {model.nv - 6} degrees of freedom "
            f"of the character, which has {skeleton.num_bodies} and {skeleton.dof_count}: simplify it"
        )
    return model


def compile_model(character: tuple[str, str], boxes: Boxes, config: SimulatorConfig) -> mujoco.MjModel:
    """Return the model of a physical_character on ground of boxes, whose geoms precede the character's."""
    head, tail = character
    try:
        model = mujoco.MjModel.from_xml_string(f"{head}{ground_geoms(boxes)}{tail}")
    except (ValueError, mujoco.FatalError) as error:
        raise InputError(f"{config.character_source}: MuJoCo cannot load the character: {error}") from error
    # PARC's humanoid.xml has condim 1 (no friction); it was written for PhysX, which ignores the attribute.
    model.geom_condim[:] = 3
    model.geom_friction[:] = (FRICTION, 0.005, 0.0001)
    contact_time = mujoco_settings(config).contact_time
    if contact_time is not None:
        model.geom_solref[:] = (contact_time, 1.0)
    _set_per_axis(model, parse_skeleton(config.character, config.character_source))
    # A diverged state must stay visible; by default, MuJoCo silently resets the character to its initial pose.
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    return model
