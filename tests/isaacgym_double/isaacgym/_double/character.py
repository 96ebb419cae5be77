"""An MJCF humanoid as Isaac Gym presents it, and as MuJoCo simulates it.

Three hinges in one body are three degrees of freedom that together form one spherical joint: positions are a
rotation vector, velocities are in the child's frame. MuJoCo gets a ball joint with a spring and a damper for them.
"""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from isaacgym._double.contract import MissingFile, not_modelled, refuse
from isaacgym._double.ground import Boxes
from isaacgym._double.values import DOF_PROPERTIES, ActuatorProperties, AssetOptions, DofDriveMode, SimParams

UNLIMITED = np.float32(np.finfo(np.float32).max)
UNUSED = 1e5
"""Depth (m) at which spare boxes wait"""

# MuJoCo would write warnings to MUJOCO_LOG.TXT in the working directory.
mujoco.set_mju_user_warning(lambda message: None)


class Character:
    """What load_asset reads: names, properties, and the MuJoCo model that actors copy."""

    def __init__(self, path: Path, options: AssetOptions) -> None:
        if not path.is_file():
            refuse(f"load_asset: no such file: {path}", MissingFile)
        if path.suffix != ".xml":
            not_modelled(f"asset {path.name}: anything but MJCF")
        _check_options(options)
        self.options = copy.deepcopy(options)
        self._document = _without_looks(ElementTree.parse(str(path)).getroot())
        for mesh in self._document.iter("mesh"):
            if mesh.get("vertex") is not None:
                not_modelled("a mesh whose vertices are in the MJCF")
        self._files = {file.name: file.read_bytes() for file in path.parent.glob("*.obj")}
        hinges = mujoco.MjModel.from_xml_string(ElementTree.tostring(self._document, encoding="unicode"), self._files)
        self.body_names: list[str] = [hinges.body(body).name for body in range(1, hinges.nbody)]
        self.dof_names: list[str] = [hinges.joint(joint).name for joint in range(1, hinges.njnt)]
        if hinges.jnt_type[0] != mujoco.mjtJoint.mjJNT_FREE or np.any(
            hinges.jnt_type[1:] != mujoco.mjtJoint.mjJNT_HINGE
        ):
            not_modelled("an asset that is not one free body with hinges")
        self.dof_properties = _dof_properties(hinges, options)
        self.actuators = [_actuator(hinges, number) for number in range(hinges.nu)]
        self.joints_of_body = [
            [int(joint) - 1 for joint in np.flatnonzero(hinges.jnt_bodyid == body + 1) if joint > 0]
            for body in range(len(self.body_names))
        ]
        self.shapes_of_body = [int(number) for number in hinges.body_geomnum[1:]]
        self.masses = np.array(hinges.body_mass[1:])
        self.centres = np.array(hinges.body_ipos[1:])
        self._columns()

    def _columns(self) -> None:
        """Where balls and hinges lie in joint positions (behind the root's seven) and among the dofs."""
        balls: list[list[int]] = []
        ball_dofs: list[list[int]] = []
        hinges: list[int] = []
        hinge_dofs: list[int] = []
        self.drives: list[list[int]] = []
        column = 0
        for joints in self.joints_of_body:
            if len(joints) == 3:
                balls.append([column, column + 1, column + 2, column + 3])
                ball_dofs.append(joints)
                column += 4
            elif len(joints) == 1:
                hinges.append(column)
                hinge_dofs += joints
                column += 1
            elif joints:
                not_modelled("a body with two hinges")
            if joints:
                self.drives.append(joints)
        self._balls = np.array(balls, dtype=int).reshape(-1, 4)
        self._ball_dofs = np.array(ball_dofs, dtype=int).reshape(-1, 3)
        self._hinges, self._hinge_dofs = np.array(hinges, dtype=int), np.array(hinge_dofs, dtype=int)
        self.joint_positions = column

    def to_joints(self, dofs: np.ndarray) -> np.ndarray:
        """Joint positions [n, J] of dof positions [n, D]."""
        joints = np.zeros((len(dofs), self.joint_positions))
        joints[:, self._hinges] = dofs[:, self._hinge_dofs]
        vector = dofs[:, self._ball_dofs]
        angle = np.linalg.norm(vector, axis=-1, keepdims=True)
        xyz = vector * (0.5 * np.sinc(angle / (2 * np.pi)))
        joints[:, self._balls] = np.concatenate([np.cos(angle / 2), xyz], axis=-1)
        return joints

    def to_dofs(self, joints: np.ndarray) -> np.ndarray:
        """Dof positions [n, D] of joint positions [n, J]."""
        dofs = np.zeros((len(joints), len(self.dof_names)))
        dofs[:, self._hinge_dofs] = joints[:, self._hinges]
        quaternion = joints[:, self._balls]
        quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
        sine = np.linalg.norm(quaternion[..., 1:], axis=-1, keepdims=True)
        angle = 2 * np.arctan2(sine, quaternion[..., :1])
        scale = np.where(sine > 1e-12, angle / np.where(sine > 1e-12, sine, 1.0), 2.0)
        dofs[:, self._ball_dofs] = quaternion[..., 1:] * scale
        return dofs

    def model(
        self, properties: np.ndarray, boxes: int, friction: float, self_collision: bool, params: SimParams
    ) -> Any:
        """A MuJoCo model with these dof properties [D] and room for so many boxes of ground."""
        root = ElementTree.Element("mujoco")
        for tag in ("compiler", "default"):
            root.extend(copy.deepcopy(element) for element in self._document.findall(tag))
        ElementTree.SubElement(root, "asset").extend(
            copy.deepcopy(mesh) for mesh in self._document.findall("asset/mesh")
        )
        step = params.dt / params.substeps
        gravity = f"0 0 {params.gravity.z!r}"
        option = ElementTree.SubElement(root, "option", timestep=repr(step), integrator="implicitfast", gravity=gravity)
        ElementTree.SubElement(option, "flag", multiccd="enable" if self._files else "disable")
        world = ElementTree.SubElement(root, "worldbody")
        for _ in range(boxes):
            ElementTree.SubElement(world, "geom", type="box", pos=f"0 0 {-UNUSED}", size="1e-3 1e-3 1e-3")
        body = copy.deepcopy(self._document.find("worldbody/body"))
        assert body is not None
        for element, joints in zip(_bodies(body), self.joints_of_body):
            _drive(element, properties[joints])
        world.append(body)
        model = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"), self._files)
        _prepare(model, boxes, friction, self_collision)
        return model


def _check_options(options: AssetOptions) -> None:
    for name in ("collapse_fixed_joints", "fix_base_link", "disable_gravity", "override_com", "override_inertia"):
        if getattr(options, name):
            not_modelled(f"AssetOptions.{name}")
    if options.default_dof_drive_mode not in (0, 1, 2, 3):
        refuse(f"AssetOptions.default_dof_drive_mode: no such mode: {options.default_dof_drive_mode}")


def _without_looks(root: ElementTree.Element) -> ElementTree.Element:
    """The document without what MuJoCo may not find or Isaac Gym's importer leaves out (the world's own geoms)."""
    world = root.find("worldbody")
    if world is None or len(world.findall("body")) != 1:
        not_modelled("an asset without exactly one root body")
    for child in list(world):
        if child.tag != "body":
            world.remove(child)
    for geom in root.iter("geom"):
        geom.attrib.pop("material", None)
    return root


def _dof_properties(model: Any, options: AssetOptions) -> np.ndarray:
    properties = np.zeros(model.njnt - 1, dtype=DOF_PROPERTIES)
    properties["hasLimits"] = model.jnt_limited[1:] != 0
    properties["lower"], properties["upper"] = model.jnt_range[1:, 0], model.jnt_range[1:, 1]
    properties["driveMode"] = options.default_dof_drive_mode
    properties["velocity"] = properties["effort"] = UNLIMITED
    properties["stiffness"] = model.jnt_stiffness[1:]
    properties["damping"] = model.dof_damping[6:]
    properties["armature"] = model.dof_armature[6:]
    return properties


def _actuator(model: Any, number: int) -> tuple[str, str, ActuatorProperties]:
    """Name, joint and properties of an actuator; the motor's gear is its effort."""
    properties = ActuatorProperties()
    properties.control_limited = bool(model.actuator_ctrllimited[number])
    properties.lower_control_limit = float(model.actuator_ctrlrange[number, 0])
    properties.upper_control_limit = float(model.actuator_ctrlrange[number, 1])
    properties.motor_effort = float(model.actuator_gear[number, 0])
    return model.actuator(number).name, model.joint(model.actuator_trnid[number, 0]).name, properties


def _bodies(root: ElementTree.Element) -> list[ElementTree.Element]:
    return [root] + [body for child in root.findall("body") for body in _bodies(child)]


def _drive(body: ElementTree.Element, properties: np.ndarray) -> None:
    """Spring and damper for a body's joint; three hinges become a ball."""
    joints = body.findall("joint")
    if not joints:
        return
    gains: dict[str, str] = {}
    position = properties["driveMode"] == int(DofDriveMode(1))
    for name in ("stiffness", "damping", "armature"):
        values = np.where(position, properties[name], 0.0) if name != "armature" else properties[name]
        if len(set(values.tolist())) > 1:
            not_modelled(f"different {name} in the three hinges of one body")
        gains[name] = repr(float(values[0]))
    if len(joints) == 1:
        joints[0].attrib.update(gains)
        return
    for joint in joints:
        body.remove(joint)
    body.insert(0, ElementTree.Element("joint", type="ball", limited="false", **gains))


def _prepare(model: Any, boxes: int, friction: float, self_collision: bool) -> None:
    """What the XML cannot say."""
    model.geom_condim[:] = 3
    model.geom_friction[:] = (friction, 0.005, 0.0001)
    model.geom_sameframe[:boxes] = 0
    if not self_collision:
        model.geom_contype[:boxes], model.geom_conaffinity[:boxes] = 1, 2
        model.geom_contype[boxes:], model.geom_conaffinity[boxes:] = 2, 1
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    # The ground's boxes move with the character, which the bounding volumes of the midphase would not notice.
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE


class Body:
    """One actor in its own MuJoCo world."""

    def __init__(self, model: Any, boxes: int) -> None:
        self.model = copy.copy(model)
        self.data = mujoco.MjData(self.model)
        self.capacity = boxes
        self.square: Any = None
        self.spring = self.model.qpos_spring
        self.qpos, self.qvel = self.data.qpos, self.data.qvel
        self.applied = self.data.qfrc_applied
        self.contact = self.data.cfrc_ext

    def stand_on(self, square: Any, boxes: Boxes) -> None:
        """Move the ground's boxes to those of a square."""
        centre, half = boxes
        used = len(centre)
        ground = slice(0, self.capacity)
        self.model.geom_pos[ground] = (0.0, 0.0, -UNUSED)
        self.model.geom_size[ground] = 1e-3
        self.model.geom_pos[:used], self.model.geom_size[:used] = centre, half
        self.model.geom_rbound[ground] = np.linalg.norm(self.model.geom_size[ground], axis=1)
        self.model.geom_aabb[ground, :3] = 0.0
        self.model.geom_aabb[ground, 3:] = self.model.geom_size[ground]
        self.square = square

    def place(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Start anew in this state."""
        mujoco.mj_resetData(self.model, self.data)
        self.qpos[:], self.qvel[:] = qpos, qvel

    def step(self, substeps: int, every: bool) -> np.ndarray:
        """Advance; the net contact force on each body [B, 3] (N), of the last substep or the mean over all."""
        if not every:
            mujoco.mj_step(self.model, self.data, substeps)
            mujoco.mj_rnePostConstraint(self.model, self.data)
            return np.array(self.contact[1:, 3:])
        total = np.zeros((self.model.nbody - 1, 3))
        for _ in range(substeps):
            mujoco.mj_step(self.model, self.data)
            mujoco.mj_rnePostConstraint(self.model, self.data)
            total += self.contact[1:, 3:]
        return total / substeps


def body_states(bodies: list[Body]) -> np.ndarray:
    """States [n, B, 13] of the bodies: origin, rotation xyzw, velocity of the centre of mass, angular velocity."""
    for body in bodies:
        mujoco.mj_kinematics(body.model, body.data)
        mujoco.mj_comPos(body.model, body.data)
        mujoco.mj_comVel(body.model, body.data)
    names = ("xpos", "xquat", "cvel", "xipos", "subtree_com")
    position, rotation, velocity, centre, total = (
        np.array([getattr(body.data, name)[1:] for body in bodies]) for name in names
    )
    # MuJoCo's velocities are those of a point at the centre of mass of the whole character.
    at_centre = velocity[..., 3:] + np.cross(velocity[..., :3], centre - total[:, :1])
    return np.concatenate([position, rotation[..., [1, 2, 3, 0]], at_centre, velocity[..., :3]], axis=-1)
