"""Obstacles: reasons why a compiled character cannot be simulated."""

from __future__ import annotations

from typing import Sequence

import mujoco
import numpy as np

from parc_ray.character.compilation import CompiledCharacter
from parc_ray.character.gains import Gains
from parc_ray.character.plain_mjcf import AXIS_TOLERANCE, SHAPES, collides
from parc_ray.errors import InputError

NO_GAINS = (
    "nothing would drive it. Give each <joint> a stiffness and a damping (N m / rad, N m s / rad), or one <position "
    'kp="..." kv="..."> actuator: the gains that the tracker was trained with'
)


def require_supported(character: CompiledCharacter, gains: Sequence[Gains], source: str, driven: bool) -> None:
    """Raise InputError that names every reason why a compiled character cannot be simulated."""
    model = character.model
    hinges = hinges_of(model)
    obstacles = [*_bad_tree(model), *_bad_joints(model), *_bad_shapes(character)]
    meant = [joint for joint in hinges if gains[joint].actuated] or hinges
    if driven and hinges and not any(gains[joint].stiffness for joint in meant):
        obstacles.append(f"{len(meant)} of {len(meant)} degrees of freedom have no gains: {NO_GAINS}")
    if obstacles:
        raise InputError(f"{source}: {'; '.join(obstacles)}")


def _bad_tree(model: mujoco.MjModel) -> list[str]:
    if model.nbody < 3:
        return ["the character has one body only; a tracker needs an articulated one"]
    root = model.body(1)
    if not any(joint_kind(model, joint) == mujoco.mjtJoint.mjJNT_FREE for joint in joints_of(model, 1)):
        return [f"body {root.name!r} is the root and needs a <freejoint/>: characters move freely"]
    return []


def _bad_joints(model: mujoco.MjModel) -> list[str]:
    obstacles = []
    for body in range(2, model.nbody):
        joints, name = joints_of(model, body), model.body(body).name
        others = [
            model.joint(joint).name for joint in joints if joint_kind(model, joint) != mujoco.mjtJoint.mjJNT_HINGE
        ]
        axes = [np.round(model.jnt_axis[joint], 6) + 0.0 for joint in joints]
        if others:
            obstacles.append(f"body {name!r}: joint {', '.join(map(repr, others))} is not a hinge")
        elif len(joints) not in (0, 1, 3):
            obstacles.append(f"body {name!r} has {len(joints)} joints: one hinge, or three that form a ball, can be")
        elif len(joints) == 3 and np.abs(np.array(axes) - np.eye(3)).max() > AXIS_TOLERANCE:
            shown = ", ".join(f"({' '.join(f'{value:g}' for value in axis)})" for axis in axes)
            obstacles.append(f"body {name!r}: the axes of its three hinges are {shown}; they must be x, y, z")
        for joint in joints:
            if np.abs(model.jnt_pos[joint]).max() > 0:
                obstacles.append(f"joint {model.joint(joint).name!r} is off the origin of its body ('pos')")
            if joint_kind(model, joint) == mujoco.mjtJoint.mjJNT_HINGE and model.qpos0[model.jnt_qposadr[joint]]:
                obstacles.append(f"joint {model.joint(joint).name!r} is not at 0 in the file's pose ('ref')")
    return obstacles


def _bad_shapes(character: CompiledCharacter) -> list[str]:
    model = character.model
    return [
        f"geom {character.geom_names[model.geom(geom).name]!r} of body {model.body(model.geom_bodyid[geom]).name!r} is "
        f"a {mujoco.mjtGeom(model.geom_type[geom]).name[len('mjGEOM_') :].lower()}, which characters cannot have"
        for geom in range(model.ngeom)
        if int(model.geom_type[geom]) not in SHAPES and collides(model, geom)
    ]


def joints_of(model: mujoco.MjModel, body: int) -> list[int]:
    first = int(model.body_jntadr[body])
    return list(range(first, first + int(model.body_jntnum[body]))) if first >= 0 else []


def hinges_of(model: mujoco.MjModel) -> list[int]:
    return [joint for joint in range(model.njnt) if joint_kind(model, joint) == mujoco.mjtJoint.mjJNT_HINGE]


def joint_kind(model: mujoco.MjModel, joint: int) -> int:
    return int(model.jnt_type[joint])
