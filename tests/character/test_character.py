"""Any MJCF as a character, compared with what MuJoCo makes of the same files."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest

from parc_ray.character.character import Character, read_character
from parc_ray.character.decisions import describe, warnings
from parc_ray.character.geoms import read_geoms
from parc_ray.errors import InputError
from tests.character.robots import as_mujoco_reads_it, change, foot, write_robot
from tests.reference import DATA, HUMANOID


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_robot(tmp_path)


def model_of(character: Character) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(character.text)


@pytest.mark.parametrize("file", [HUMANOID, DATA / "mimickit" / "robot.xml"], ids=["humanoid", "robot"])
def test_a_file_that_is_plain_stays_as_it_is(file: Path) -> None:
    character = read_character(file)
    assert character.text == file.read_text()
    assert describe(character.decisions) == [] == warnings(character.decisions, "a.xml")


def test_the_plain_text_moves_as_mujoco_says(path: Path) -> None:
    """The same mass matrix, gravity and Coriolis forces, and body poses, in random states."""
    ours, theirs = model_of(read_character(path)), as_mujoco_reads_it(path)
    assert (ours.nq, ours.nv, ours.nbody) == (theirs.nq, theirs.nv, theirs.nbody)
    random = np.random.default_rng(0)
    for _ in range(5):
        both = []
        qpos, qvel = random.normal(size=ours.nq), random.normal(size=ours.nv)
        for model in (ours, theirs):
            data, mass = mujoco.MjData(model), np.zeros((model.nv, model.nv))
            data.qpos[:], data.qvel[:] = qpos, qvel
            mujoco.mj_forward(model, data)
            for column in range(model.nv):
                mujoco.mj_mulM(model, data, mass[column], np.eye(model.nv)[column])
            both.append((mass, data.qfrc_bias.copy(), data.xpos.copy(), data.xquat.copy()))
        for own, other in zip(*both):
            np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6)


def test_gains_are_the_torques_of_the_servos(path: Path) -> None:
    """In MuJoCo, of the original: its servos and dampers together, at random angles and targets."""
    skeleton, model = read_character(path).skeleton, as_mujoco_reads_it(path)
    data, random = mujoco.MjData(model), np.random.default_rng(1)
    mujoco.mj_resetData(model, data)
    data.qpos[7:], data.qvel[:] = 0.02 * random.normal(size=5), 0.02 * random.normal(size=11)
    targets = data.qpos[7:] + 0.02 * random.normal(size=5)
    data.ctrl[:] = targets * [2, 1, 2, 2, 2]  # of lengths: angles times gears
    mujoco.mj_forward(model, data)
    torque = data.qfrc_actuator[6:] + data.qfrc_passive[6:]
    joints = [joint for joint in skeleton.joints if joint.dof_count]
    stiffness, damping, limit, armature = (
        np.array([value for joint in joints for value in getattr(joint, name)])
        for name in ("stiffness", "damping", "torque_limit", "armature")
    )
    np.testing.assert_allclose(stiffness * (targets - data.qpos[7:]) - damping * data.qvel[6:], torque, rtol=1e-6)
    np.testing.assert_allclose(limit, [50, 25, 50, 50, 50])
    np.testing.assert_allclose(armature, [0.02, 0.02, 0.02, 0.02, 0.01])


def test_colliding_meshes_become_hulls(path: Path) -> None:
    character = read_character(path)
    hulls = [geom for geom in read_geoms(character.text, "a.xml") if geom.shape == "hull"]
    assert [geom.body for geom in hulls] == [2, 3]
    assert all(geom.collides and 32 < len(geom.hull) <= 64 for geom in hulls)
    # Its reach in any direction is that of the mesh, to 6 mm of 90, and never farther.
    model, theirs = model_of(character), as_mujoco_reads_it(path)
    own, other = (
        next(k for k in range(m.ngeom) if m.geom_bodyid[k] == 3 and m.geom_type[k] == mujoco.mjtGeom.mjGEOM_MESH)
        for m in (model, theirs)
    )
    directions = np.random.default_rng(2).normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    reach = [(vertices_of(m, k) @ directions.T).max(axis=0) for m, k in ((model, own), (theirs, other))]
    shrunk = reach[1] - reach[0]
    assert shrunk.min() > -1e-6 and shrunk.max() < 0.006 and shrunk.mean() < 0.001, shrunk
    scale = (foot() / 1000 @ directions.T).reshape(-1, 200).max(axis=0).mean()
    assert scale == pytest.approx(reach[1].mean(), rel=0.2)


def vertices_of(model: mujoco.MjModel, geom: int) -> np.ndarray:
    """Vertices of a geom's mesh in its body's frame."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, model.geom_quat[geom])
    mesh = int(model.geom_dataid[geom])
    first = int(model.mesh_vertadr[mesh])
    vertices = model.mesh_vert[first : first + int(model.mesh_vertnum[mesh])]
    return vertices @ matrix.reshape(3, 3).T + model.geom_pos[geom]


def test_decisions_are_told(path: Path) -> None:
    change(
        path,
        [
            ('damping="0.4"', ""),
            ('range="-20 20"', 'range="0 0" limited="false"'),
            ('kv="1.5"', ""),
            (' damping="0.3"', ""),
        ],
    )
    change(path, [("<sensor>", '<equality><joint joint1="left_hip" joint2="left_ankle"/></equality><sensor>')])
    character, vertices = read_character(path), as_mujoco_reads_it(path).mesh_vertnum[0]
    assert describe(character.decisions) == [
        "gains of 5 degrees of freedom from its <position> actuators",
        f"1 colliding meshes as convex hulls, 64 of {vertices} vertices",
        "without limits, taken as one turn: left_ankle",
        "not simulated: <equality><joint>",
        "armature or damping of its own on each axis: right_hip",
        "1 pairs of bodies do not collide (<exclude>)",
    ]
    assert warnings(character.decisions, "a.xml") == [
        "a.xml: no damping, so these joints may oscillate: left_hip, left_ankle, right_hip"
    ]
    ankle = next(joint for joint in character.skeleton.joints if joint.name == "left_ankle")
    assert (ankle.lower, ankle.upper) == ((-np.pi,), (np.pi,))


def test_bodies_without_a_name_get_one(path: Path) -> None:
    """Cameras and sensors are often mounted on such bodies."""
    head = '<body pos="0 0 .1"><geom type="sphere" size=".02" mass=".3"/></body><body name="body1" pos="0 0 .2"/>'
    change(path, [('<geom type="box" size=".12 .06 .04"/>', f'<geom type="box" size=".12 .06 .04"/>{head}')])
    character = read_character(path)
    assert "bodies without a name are called body1_" in describe(character.decisions)
    names = character.skeleton.body_names
    assert names[:3] == ("base", "body1_", "body1")
    mine, theirs = mujoco.MjModel.from_xml_string(character.text), as_mujoco_reads_it(path)
    assert mine.body_mass.sum() == pytest.approx(theirs.body_mass.sum())
    assert mine.body("body1_").mass == pytest.approx(0.3)


def test_a_robot_without_gains_is_refused_but_can_be_shown(path: Path) -> None:
    change(path.parent / "parts" / "actuators.xml", [("<position", "<motor")])
    change(path, [('<position kp="40" kv="1.5" gear="2" forcerange="-25 25"/>', '<motor gear="30"/>')])
    with pytest.raises(InputError, match="5 of 5 degrees of freedom have no gains: nothing would drive it") as error:
        read_character(path)
    assert str(error.value).startswith(f"{path}: ") and "<position" in str(error.value)
    character = read_character(path, driven=False)
    assert character.decisions.undriven == ("left_hip", "left_ankle", "right_hip")
    torques = [value for joint in character.skeleton.joints for value in joint.torque_limit]
    assert torques == [30, 1, 30, 30, 30]


def test_springs_without_motors_are_no_gains(path: Path) -> None:
    """As in robots with passive toes: what is driven has no gains, so nothing holds the robot."""
    change(
        path.parent / "parts" / "actuators.xml",
        [("<position", "<motor"), ('<motor class="leg" joint="left_ankle" gear="1"/>', "")],
    )
    change(path, [('<position kp="40" kv="1.5" gear="2" forcerange="-25 25"/>', '<motor gear="30"/>')])
    change(path, [('damping="0.4"', 'stiffness="100"')])
    with pytest.raises(InputError, match="4 of 4 degrees of freedom have no gains"):
        read_character(path)


def test_plain_files_without_gains_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "robot.xml"
    path.write_text((DATA / "mimickit" / "robot.xml").read_text().replace('stiffness="60"', ""))
    with pytest.raises(InputError, match="6 of 6 degrees of freedom have no gains"):
        read_character(path)


def test_all_obstacles_are_named_at_once(path: Path) -> None:
    change(path, [
        ("<freejoint/>", ""),
        ('axis="1 0 0" range', 'type="slide" range'),
        ('<joint name="right_hip_z" axis="0 0 1" armature="0.01"/>', ""),
        ('<joint name="left_hip"/>', '<joint name="left_hip" pos="0 0 0.1" ref="5"/>'),
    ])  # fmt: skip
    actuators = path.parent / "parts" / "actuators.xml"
    actuators.write_text("<mujoco/>")
    with pytest.raises(InputError) as error:
        read_character(path)
    for obstacle in (
        "body 'base' is the root and needs a <freejoint/>",
        "joint 'left_hip' is off the origin of its body",
        "joint 'left_hip' is not at 0 in the file's pose",
        "body 'left foot': joint 'left_ankle' is not a hinge",
        "body 'right thigh' has 2 joints",
        "3 of 3 degrees of freedom have no gains",
    ):
        assert obstacle in str(error.value), obstacle


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("foot.stl", "gone.stl", "gone.stl: no such file"),
        ("foot.stl", "/etc/passwd.stl", "is not relative to the character's folder"),
        ("foot.stl", "foot.dae", "is none of .stl, .obj"),
        ("foot.stl", "pipe.stl", "is a pipe"),
        ("foot.stl", "empty.stl", "MuJoCo cannot load the character"),
        ('mesh name="foot"', 'mesh name="other"', "there is no mesh 'foot'"),
        ("<asset>", '<include file="parts/assets.xml"/><asset>', "includes 'parts/assets.xml' within itself"),
        ("<asset>", '<include file="robot.xml"/><asset>', "includes 'robot.xml' within itself"),
        ("<asset>", '<include file="assets.xml"/><asset>', "includes 'assets.xml' within itself"),
        ("<asset>", "<asset", "assets.xml: not valid XML"),
        ("<asset>", '<include file="/dev/zero"/><asset>', "is not relative"),
    ],
)
def test_files_that_cannot_be_read_are_refused(path: Path, old: str, new: str, says: str) -> None:
    os.mkfifo(path.parent / "meshes" / "pipe.stl")
    (path.parent / "meshes" / "empty.stl").write_bytes(b"")
    (path.parent / "meshes" / "foot.dae").write_bytes(b"")
    change(path.parent / "parts" / "assets.xml", [(old, new)])
    with pytest.raises(InputError, match=says):
        read_character(path)


def test_moments_of_inertia_that_no_solid_has_are_lowered(path: Path) -> None:
    change(path, [('fullinertia="0.05 0.04 0.03 0.001 0.002 0.003"', 'diaginertia="0.0001 0.0002 0001"')])
    character = read_character(path)
    assert character.decisions.mended_inertia == (("base", "0.0001 0.0002 1", "0.0001 0.0002 0.0003"),)
    np.testing.assert_allclose(sorted(model_of(character).body_inertia[1]), [0.0001, 0.0002, 0.0003], rtol=1e-9)


def test_an_earlier_run_keeps_its_text_while_its_files_are_the_same(path: Path, tmp_path: Path) -> None:
    """As if another version of MuJoCo had made its hulls."""
    now = read_character(path)
    earlier = now.text.replace('name="hull0" vertex="', 'name="hull0" vertex="0 0 0 ')
    assert earlier != now.text
    stored = tmp_path / "record_character.xml"
    stored.write_text(earlier)
    digest = Character(earlier, "", now.skeleton, now.decisions).sha256
    assert read_character(path, digest, stored).text == earlier
    assert read_character(path, now.sha256, stored).text == now.text  # not what the run had
    change(path, [('kp="40"', 'kp="41"')])
    assert read_character(path, digest, stored).text not in (earlier, now.text)


def test_a_run_from_before_keeps_its_file_as_it_is(tmp_path: Path) -> None:
    """Even one whose robot would now be refused."""
    path = tmp_path / "robot.xml"
    text = (DATA / "mimickit" / "robot.xml").read_text().replace('stiffness="60"', "")
    path.write_text(text)
    skeleton = read_character(DATA / "mimickit" / "robot.xml").skeleton
    digest = Character(text, "", skeleton, read_character(DATA / "mimickit" / "robot.xml").decisions).sha256
    assert read_character(path, digest).text == text


def test_a_compiled_text_is_itself_plain(path: Path, tmp_path: Path) -> None:
    text = read_character(path).text
    again = tmp_path / "again.xml"
    again.write_text(text)
    assert read_character(again).text == text
    ElementTree.fromstring(text)
