"""A small robot with the features of real ones: includes, default classes, Euler angles, servos, colliding meshes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Sequence

import mujoco
import numpy as np
import numpy.typing as npt

MAIN = """<mujoco model="legs">
  <!-- written by a tool -- which MuJoCo does not mind -->
  <compiler angle="degree" meshdir="meshes" eulerseq="zyx" autolimits="true"/>
  <option timestep="0.002"/>
  <include file="parts/assets.xml"/>
  <default>
    <joint armature="0.02" damping="0.3"/>
    <default class="drawn"><geom type="mesh" contype="0" conaffinity="0" density="0" material="grey"/></default>
    <default class="leg">
      <joint axis="0 2 0" range="-60 80"/>
      <position kp="40" kv="1.5" gear="2" forcerange="-25 25"/>
    </default>
  </default>
  <worldbody>
    <light pos="0 0 3"/><geom name="floor" type="plane" size="5 5 .1"/>
    <body name="base" pos="0 0 .5" euler="30 0 0">
      <freejoint/><site name="imu"/>
      <inertial pos="0.01 0 0.02" mass="4" fullinertia="0.05 0.04 0.03 0.001 0.002 0.003"/>
      <geom name="shell" class="drawn" mesh="absent"/>
      <geom type="box" size=".12 .06 .04"/>
      <body name="left thigh" pos="0 .08 0" axisangle="1 0 0 10" childclass="leg">
        <joint name="left_hip"/>
        <geom type="capsule" fromto="0 0 0 0 0 -.2" size=".03" density="800"/>
        <body name="left foot" pos="0 0 -.22">
          <joint name="left_ankle" axis="1 0 0" range="-20 20" damping="0.4"/>
          <geom type="mesh" mesh="foot" pos="0.02 0 0" euler="0 5 0" density="900"/>
        </body>
      </body>
      <body name="right thigh" pos="0 -.08 0" xyaxes="1 0 0 0 1 0" childclass="leg">
        <joint name="right_hip_x" axis="1 0 0"/><joint name="right_hip_y" axis="0 1 0"/>
        <joint name="right_hip_z" axis="0 0 1" armature="0.01"/>
        <geom type="cylinder" size=".03 .1" pos="0 0 -.1" density="800"/>
        <frame pos="0 0 -.22"><geom type="mesh" mesh="foot" mass="0.4"/></frame>
      </body>
    </body>
  </worldbody>
  <contact><exclude body1="base" body2="left foot"/><exclude body1="world" body2="base"/></contact>
  <include file="parts/actuators.xml"/>
  <sensor><gyro site="imu"/></sensor>
</mujoco>
"""
ASSETS = """<mujoco><asset>
  <texture name="grey" type="2d" builtin="flat" width="8" height="8"/><material name="grey" texture="grey"/>
  <mesh name="foot" file="foot.stl" scale="0.001 0.001 0.001"/><mesh name="absent" file="absent.obj"/>
</asset></mujoco>
"""
ACTUATORS = """<mujoco><actuator>
  <position class="leg" name="hip" joint="left_hip"/><position class="leg" joint="left_ankle" gear="1"/>
  <position class="leg" joint="right_hip_x"/><position class="leg" joint="right_hip_y"/>
  <position class="leg" joint="right_hip_z"/>
</actuator></mujoco>
"""


def write_robot(folder: Path) -> Path:
    """Write the robot without its visual mesh; return the path of its MJCF."""
    for name in ("parts", "meshes"):
        (folder / name).mkdir(parents=True)
    (folder / "parts" / "assets.xml").write_text(ASSETS)
    (folder / "parts" / "actuators.xml").write_text(ACTUATORS)
    (folder / "meshes" / "foot.stl").write_bytes(stl(foot()))
    path = folder / "robot.xml"
    path.write_text(MAIN)
    return path


def foot() -> npt.NDArray[np.float64]:
    """Return triangles [T, 3, 3] mm of an ellipsoid with more than 64 vertices, away from its origin."""
    rise, turn = np.linspace(-np.pi / 2, np.pi / 2, 13), np.linspace(0, 2 * np.pi, 25)
    grid = np.array([[(np.cos(r) * np.cos(t), np.cos(r) * np.sin(t), np.sin(r)) for t in turn] for r in rise])
    points = grid * (90, 40, 25) + (10, 0, -5)
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], 2).reshape(-1, 3, 3), np.stack([a, c, d], 2).reshape(-1, 3, 3)])
    area = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    return triangles[area > 1e-9]


def stl(triangles: npt.NDArray[np.float64]) -> bytes:
    """Return triangles [T, 3, 3] as a binary STL file."""
    rows = [struct.pack("<12fH", 0, 0, 0, *triangle.ravel(), 0) for triangle in triangles]
    return bytes(80) + struct.pack("<I", len(rows)) + b"".join(rows)


def as_mujoco_reads_it(path: Path) -> mujoco.MjModel:
    """Return MuJoCo's model of the robot, after adding the visual mesh and correcting the comment."""
    (path.parent / "meshes" / "absent.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"
    )
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    finally:
        (path.parent / "meshes" / "absent.obj").unlink()


def change(path: Path, changes: Sequence[Sequence[str]]) -> None:
    """Replace texts in a file. Each must occur."""
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)
