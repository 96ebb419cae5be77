"""MimicKit's characters: small ones of the same structure, and its own where they have been downloaded."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from parc_ray.character.character import read_character
from parc_ray.character.decisions import describe, warnings
from tests.character.robots import stl

SWORD = """<mujoco model="humanoid">
  <compiler coordinate="local"/>
  <statistic extent="2" center="0 0 1"/>
  <option timestep="0.00555"/>
  <default>
    <motor ctrlrange="-1 1" ctrllimited="true"/><geom type="capsule" condim="1" friction="1.0 0.05 0.05"/>
    <joint type="hinge" damping="0.1" stiffness="5" armature=".007" limited="true" solimplimit="0 .99 .01"/>
  </default>
  <worldbody>
    <geom name="floor" type="plane" conaffinity="1" size="100 100 .2"/>
    <body name="pelvis" pos="0 0 1"><freejoint name="root"/>
      <geom name="pelvis" type="sphere" size=".09" density="2226"/>
      <body name="right_hand" pos="0 0 .3">
        <joint name="right_hand_x" axis="1 0 0" range="-90 90" stiffness="40" damping="4" armature=".01"/>
        <joint name="right_hand_y" axis="0 1 0" range="-90 90" stiffness="40" damping="4" armature=".003"/>
        <joint name="right_hand_z" axis="0 0 1" range="-90 90" stiffness="40" damping="4" armature=".003"/>
        <geom name="right_hand" type="sphere" size=".04" density="1865"/>
        <body name="sword" pos="0 0 .1"><geom name="sword" fromto="0 0 0 .7 0 0" size=".01" mass="1"/></body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="x" gear="100" joint="right_hand_x"/><motor name="y" gear="100" joint="right_hand_y"/>
    <motor name="z" gear="100" joint="right_hand_z"/>
  </actuator>
</mujoco>
"""
"""Of humanoid_sword_shield.xml: a ball joint with armatures of its own on each axis, a body without a joint."""

PI = """<mujoco model="pi">
  <compiler angle="radian" meshdir="../meshes/" autolimits="true"/>
  <default><joint stiffness="50" damping="1" armature="0.01"/></default>
  <asset><mesh name="base_link" file="base_link.STL"/><mesh name="thigh" file="thigh.STL"/></asset>
  <worldbody><body name="base_link" pos="0 0 .4">
    <inertial pos="0 0 0" mass="1" diaginertia="0.0001 0.0001 0001"/><freejoint/>
    <geom type="mesh" contype="0" conaffinity="0" group="1" density="0" mesh="base_link"/>
    <geom type="mesh" mesh="base_link"/>
    <body name="thigh" pos="0 0 -.1">
      <inertial pos="0 0 -.05" quat=".7 0 .7 0" mass=".3" diaginertia="0.0002 0.0002 0.0001"/>
      <joint name="thigh" axis="0 1 0" range="-1.5 1.5" actuatorfrcrange="-20 20"/>
      <geom type="mesh" mesh="thigh"/>
    </body>
  </body></worldbody>
  <actuator><motor name="thigh" joint="thigh"/></actuator>
</mujoco>
"""
"""Of Pi Plus: meshes that collide, in a folder beside the MJCF's, and an inertia that no solid has."""

ROBOTS = ("humanoid", "humanoid_sword_shield", "g1", "go2", "pi_plus", "smpl")
MIMICKIT = os.environ.get("MIMICKIT", "")
COMMAND = "git clone https://github.com/xbpeng/MimicKit, download its data as its README says, MIMICKIT=MimicKit pytest"


def test_a_sword_hand_has_its_own_armature_on_each_axis(tmp_path: Path) -> None:
    path = tmp_path / "sword.xml"
    path.write_text(SWORD)
    character = read_character(path)
    assert character.text == SWORD
    assert character.skeleton.joints[1].armature == (0.01, 0.003, 0.003)
    assert character.skeleton.joints[2].kind == "fixed"
    assert describe(character.decisions) == ["armature or damping of its own on each axis: right_hand"]


def test_a_pi_plus_has_hulls_and_a_mended_inertia(tmp_path: Path) -> None:
    for folder in ("xml", "meshes"):
        (tmp_path / folder).mkdir()
    tetrahedron = 0.1 * np.eye(4, 3)[[[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]]
    for name in ("base_link", "thigh"):
        (tmp_path / "meshes" / f"{name}.STL").write_bytes(stl(tetrahedron))
    path = tmp_path / "xml" / "pi.xml"
    path.write_text(PI)
    character = read_character(path)
    assert describe(character.decisions) == [
        "gains from its joints",
        "2 colliding meshes as convex hulls, 8 of 8 vertices",
        "body base_link: no solid has the moments of inertia 0.0001 0.0001 1; taken as 0.0001 0.0001 0.0002",
    ]
    joint = character.skeleton.joints[1]
    assert (joint.stiffness, joint.damping, joint.torque_limit) == ((50,), (1,), (20,))


@pytest.mark.skipif(not MIMICKIT, reason=COMMAND)
@pytest.mark.parametrize("robot", ROBOTS)
def test_mimickits_own_character_is_accepted(robot: str) -> None:
    root = Path(MIMICKIT)
    content = yaml.safe_load((root / "data" / "envs" / f"deepmimic_{robot}_env.yaml").read_text())
    character = read_character(root / content["char_file"])
    assert not warnings(character.decisions, "") and character.skeleton.dof_count
