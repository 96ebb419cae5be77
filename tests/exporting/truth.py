"""Motions with poses computed by MuJoCo, the reference for every export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from parc_ray.character.geoms import read_geoms
from parc_ray.character.skeleton import parse_skeleton
from parc_ray.exporting.recording import Recording
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion import Motion
from tests.reference import HUMANOID

ARM = """
<mujoco>
  <worldbody>
    <body name="base">
      <freejoint/>
      <geom type="box" size=".1 .2 .3"/>
      <body name="upper arm" pos=".1 .2 .3" quat=".6 .8 0 0">
        <joint name="elbow, bent" axis="0 1 0" range="-170 170" stiffness="1" damping="1"/>
        <geom type="capsule" fromto="0 0 0 .3 0 0" size=".04"/>
        <body name="tool" pos=".3 0 0" quat=".5 .5 .5 .5">
          <geom type="ellipsoid" size=".05 .06 .07" pos="0 .1 0"/>
        </body>
        <body name="hand" pos=".1 0 -.2" quat=".8 0 -.6 0">
          <joint name="hand_x" axis="1 0 0" range="-170 170" stiffness="1" damping="1"/>
          <joint name="hand_y" axis="0 1 0" range="-170 170" stiffness="1" damping="1"/>
          <joint name="hand_z" axis="0 0 1" range="-170 170" stiffness="1" damping="1"/>
          <geom type="cylinder" size=".05 .1"/>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
"""Turned bodies, a hinge, a ball and a fixed body"""
CHARACTERS = {"humanoid": HUMANOID.read_text(encoding="utf-8"), "arm": ARM}


@dataclass(frozen=True)
class Truth:
    """A recording of n frames, and MuJoCo's poses of its character."""

    recording: Recording
    qpos: Any
    """[n, nq]"""
    body_pos: Any
    """[n, B, 3] m"""
    geom_pos: Any
    """[n, G, 3] m, of the character's shapes."""


def truth(character: str, frames: int = 12, seed: int = 0) -> Truth:
    """Return a character that turns and bends at random, beyond its joint limits, at 20 frames per second."""
    text, random = CHARACTERS[character], np.random.default_rng(seed)
    model = mujoco.MjModel.from_xml_string(text)
    data, skeleton = mujoco.MjData(model), parse_skeleton(text, character)
    qpos = np.empty((frames, model.nq))
    qpos[0] = random.normal(size=model.nq)
    qpos[0, 3:7] /= np.linalg.norm(qpos[0, 3:7])
    for frame in range(1, frames):
        qpos[frame] = qpos[frame - 1]
        mujoco.mj_integratePos(model, qpos[frame], random.normal(size=model.nv) * 6.0, 0.05)
    bodies = skeleton.num_bodies
    positions, rotations = np.empty((frames, bodies, 3)), np.empty((frames, bodies, 4))
    geoms = [geom for geom in range(model.ngeom) if model.geom_bodyid[geom]]
    geom_positions, joints = np.empty((frames, len(geoms), 3)), np.empty((frames, bodies - 1, 4))
    for frame in range(frames):
        data.qpos[:] = qpos[frame]
        mujoco.mj_kinematics(model, data)
        positions[frame], rotations[frame] = data.xpos[1:], data.xquat[1:]
        geom_positions[frame] = data.geom_xpos[geoms]
        for body in range(2, model.nbody):
            joints[frame, body - 2] = relative(data.xquat[model.body_parentid[body]], data.xquat[body])
            joints[frame, body - 2] = relative(model.body_quat[body], joints[frame, body - 2])
    hf = random.integers(0, 3, size=(5, 4)).astype(np.float32) * 0.2
    motion = Motion(
        name="truth",
        root_pos=qpos[:, :3].astype(np.float32),
        root_rot=xyzw(rotations[:, 0]),
        joint_rot=xyzw(joints),
        contacts=random.integers(0, 2, size=(frames, bodies)).astype(np.float32),
        fps=20.0,
        loop_mode="CLAMP",
        terrain=HeightField(hf, np.stack([hf, hf], axis=-1), np.array([-1.0, -0.5], dtype=np.float32), 0.4),
    )
    recording = Recording(motion, skeleton, read_geoms(text, character), text, character)
    return Truth(recording, qpos, positions, geom_positions)


def relative(parent: Any, child: Any) -> Any:
    """Return parent^-1 * child, wxyz."""
    inverse, result = np.empty(4), np.empty(4)
    mujoco.mju_negQuat(inverse, parent)
    mujoco.mju_mulQuat(result, inverse, child)
    return result


def xyzw(rotations: Any) -> Any:
    """Return quaternions wxyz as those of a motion: xyzw, float32, w >= 0."""
    rotations = np.where(rotations[..., :1] < 0, -rotations, rotations)
    return rotations[..., [1, 2, 3, 0]].astype(np.float32)
