"""Every format, read back without our code, against MuJoCo's poses of the character."""

from __future__ import annotations

import csv
import io
import pickle
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from parc_ray.errors import InputError
from parc_ray.exporting import FORMATS
from parc_ray.exporting.recording import Recording
from tests.exporting.gltf import Gltf
from tests.exporting.truth import CHARACTERS, Truth, truth
from tests.reference import HUMANOID

ROUNDING = 2e-5
"""m: what float32 leaves at the end of a limb"""


@pytest.fixture(scope="module", params=CHARACTERS)
def true(request: pytest.FixtureRequest) -> Truth:
    return truth(request.param)


def content(name: str, recording: Recording) -> bytes:
    return FORMATS[name].content(recording)


def y_up(points):
    """From x ahead and z up to z ahead and y up."""
    return np.stack([points[..., 1], points[..., 2], points[..., 0]], axis=-1)


def test_bvh(true: Truth, tmp_path: Path) -> None:
    bvhio = pytest.importorskip("bvhio")
    path = tmp_path / "truth.bvh"
    path.write_bytes(content("bvh", true.recording))
    names = ["_".join(name.split()) for name in true.recording.skeleton.body_names]
    root, expected = bvhio.readAsHierarchy(str(path)), y_up(true.body_pos)
    assert bvhio.readAsBvh(str(path)).FrameTime == pytest.approx(0.05)
    seen = 0
    for frame in range(len(expected)):
        root.loadPose(frame)
        for joint, _, _ in root.layout():
            place = np.array(joint.PositionWorld)
            error = np.abs(place - expected[frame, names.index(joint.Name)]).max()
            assert error < ROUNDING, f"{joint.Name} in frame {frame}"
            seen += 1
    assert seen == expected[..., 0].size


def test_bvh_angles_do_not_jump() -> None:
    """Also where the arms hang straight down or the body lies: programs interpolate between frames."""
    base, turns = truth("humanoid", 2).recording, np.radians(np.arange(0.0, 720.0, 3.0))
    about_y = np.stack([0 * turns, np.sin(turns / 2), 0 * turns, np.cos(turns / 2)], axis=-1).astype(np.float32)
    still = np.tile(np.array([0, 0, 0, 1], dtype=np.float32), (len(turns), 14, 1))
    motion = replace(
        base.motion,
        root_pos=np.zeros((len(turns), 3), dtype=np.float32),
        root_rot=about_y,
        joint_rot=still,
        contacts=np.zeros((len(turns), 15), dtype=np.float32),
    )
    lines = content("bvh", replace(base, motion=motion)).decode().splitlines()
    rows = np.loadtxt(lines[lines.index("MOTION") + 3 :])
    assert np.abs(np.diff(rows[:, 3:6], axis=0)).max() < 3.1


def test_glb(true: Truth) -> None:
    pytest.importorskip("pygltflib")
    recording = true.recording
    gltf = Gltf(content("glb", recording))
    np.testing.assert_allclose(gltf.times, np.arange(12) / 20, atol=1e-6)
    solids = [geom.position for geom in recording.geoms]
    for frame in (0, 5, 11):
        placed = gltf.placed(frame)
        for body, name in enumerate(recording.skeleton.body_names):
            where = placed[gltf.nodes[name]][:3, 3]
            np.testing.assert_allclose(where, y_up(true.body_pos[frame, body]), atol=ROUNDING)
        shapes = [matrix[:3, 3] for node, matrix in placed.items() if "mesh" in gltf.json["nodes"][node]]
        for geom in range(len(solids)):
            assert np.abs(np.array(shapes) - y_up(true.geom_pos[frame, geom])).max(axis=1).min() < ROUNDING


def test_glb_has_the_terrain(true: Truth) -> None:
    pytest.importorskip("pygltflib")
    gltf, terrain = Gltf(content("glb", true.recording)), true.recording.motion.terrain
    node = gltf.nodes["terrain"]
    (primitive,) = gltf.json["meshes"][gltf.json["nodes"][node]["mesh"]]["primitives"]
    vertices = gltf.array(primitive["attributes"]["POSITION"])
    triangles = vertices[gltf.array(primitive["indices"])[:, 0].reshape(-1, 3)]
    places = gltf.placed(0)[node] @ np.append(triangles.mean(axis=1), np.ones((len(triangles), 1)), axis=1).T
    level = np.ptp(triangles[..., 2], axis=1) == 0
    heights = terrain.height_at(places[[2, 0]].T[level])
    np.testing.assert_allclose(places[1, level], heights, atol=1e-6)
    assert level.sum() == 2 * terrain.hf.size


def test_glb_opens_elsewhere(true: Truth) -> None:
    """In a loader of others; it knows no animations, so it shows the first frame."""
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("pygltflib")
    scene = trimesh.load(io.BytesIO(content("glb", true.recording)), file_type="glb")
    for body, name in enumerate(true.recording.skeleton.body_names):
        matrix, _ = scene.graph[name]
        np.testing.assert_allclose(matrix[:3, 3], y_up(true.body_pos[0, body]), atol=ROUNDING)
    assert scene.area > 0


def test_glb_without_its_library(true: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pygltflib", None)
    with pytest.raises(InputError, match=r'pip install "parc-ray\[export\]"'):
        content("glb", true.recording)


def test_npz(true: Truth) -> None:
    archive = np.load(io.BytesIO(content("npz", true.recording)))
    model = mujoco.MjModel.from_xml_string(str(archive["model"]))
    data, qpos, qvel = mujoco.MjData(model), archive["qpos"], archive["qvel"]
    assert list(archive["body_names"]) == [model.body(body).name for body in range(1, model.nbody)]
    np.testing.assert_array_equal(archive["contacts"], true.recording.motion.contacts)
    assert (np.diff(archive["time"]) == pytest.approx(1 / 20)) and len(qpos) == len(qvel) == 12
    for frame in range(12):
        data.qpos[:] = qpos[frame]
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(data.xpos[1:], true.body_pos[frame], atol=ROUNDING)
        following = qpos[frame].copy()
        mujoco.mj_integratePos(model, following, qvel[frame], 1 / 20)
        if frame < 11:
            data.qpos[:] = following
            mujoco.mj_kinematics(model, data)
            np.testing.assert_allclose(data.xpos[1:], true.body_pos[frame + 1], atol=ROUNDING)
    np.testing.assert_array_equal(qvel[-1], qvel[-2])


def test_npz_fits_the_characters_own_file() -> None:
    own, true = mujoco.MjModel.from_xml_path(str(HUMANOID)), truth("humanoid")
    data = mujoco.MjData(own)
    data.qpos[:] = np.load(io.BytesIO(content("npz", true.recording)))["qpos"][3]
    mujoco.mj_kinematics(own, data)
    np.testing.assert_allclose(data.xpos[1:], true.body_pos[3], atol=ROUNDING)


def test_npz_has_the_ground(true: Truth) -> None:
    """Rays from above meet the terrain where the motion's height field has it."""
    model = mujoco.MjModel.from_xml_string(str(np.load(io.BytesIO(content("npz", true.recording)))["model"]))
    data, terrain, geom = mujoco.MjData(model), true.recording.motion.terrain, np.zeros(1, dtype=np.int32)
    data.qpos[:7] = (100, 0, 0, 1, 0, 0, 0)
    mujoco.mj_forward(model, data)
    for x, y in ((-1.0, -0.5), (-0.2, 0.3), (0.6, 0.7)):
        distance = mujoco.mj_ray(model, data, np.array([x, y, 9.0]), np.array([0, 0, -1.0]), None, 1, -1, geom)
        assert 9.0 - distance == pytest.approx(float(terrain.height_at(np.array([x, y]))), abs=1e-6)


def test_csv(true: Truth) -> None:
    recording = true.recording
    header, *rows = csv.reader(io.StringIO(content("csv", recording).decode("utf-8")))
    assert len(set(header)) == len(header) == len(rows[0]) and len(rows) == 12
    table = {name: np.array([float(row[k]) for row in rows]) for k, name in enumerate(header)}
    np.testing.assert_allclose(table["time"], np.arange(12) / 20, atol=1e-9)
    np.testing.assert_array_equal(table["root_rot.w"].astype(np.float32), recording.motion.root_rot[:, 3])
    for body, name in enumerate(recording.skeleton.body_names):
        found = np.stack([table[f"body_pos.{name}.{axis}"] for axis in "xyz"], axis=1)
        np.testing.assert_allclose(found, true.body_pos[:, body], atol=ROUNDING)
        np.testing.assert_array_equal(table[f"contact.{name}"], recording.motion.contacts[:, body])
    dofs = [name for name in header if name.startswith("dof.")]
    assert len(dofs) == recording.skeleton.dof_count


def test_mimickit(true: Truth) -> None:
    clip = pickle.loads(content("mimickit", true.recording))
    frames = np.array(clip["frames"])
    assert (clip["fps"], clip["loop_mode"]) == (20, 0)
    np.testing.assert_allclose(frames[:, :3], true.qpos[:, :3], atol=1e-6)
    for rotation, quat in zip(frames[:, 3:6], true.qpos[:, 3:7]):
        found, angle = np.empty(4), np.linalg.norm(rotation)
        mujoco.mju_axisAngle2Quat(found, rotation / angle, angle)
        assert abs(found @ quat) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(frames[:, 6:], true.recording.dof_pos(), atol=1e-6)


def breadth_first(model: mujoco.MjModel) -> list[int]:
    """Bodies by depth in MuJoCo's tree, without the world."""
    depth = [0] * model.nbody
    for body in range(1, model.nbody):
        depth[body] = depth[model.body_parentid[body]] + 1
    return [body - 1 for body in sorted(range(1, model.nbody), key=lambda body: depth[body])]


@pytest.mark.parametrize(("name", "rotation"), [("robot-csv", [4, 5, 6, 3]), ("robot-csv-wxyz", [3, 4, 5, 6])])
def test_robot_csv(true: Truth, name: str, rotation: list[int]) -> None:
    """Without a header, and with the angles of MuJoCo's hinges, by the poses that they lead to."""
    rows = np.loadtxt(io.BytesIO(content(name, true.recording)), delimiter=",")
    model = mujoco.MjModel.from_xml_string(true.recording.character)
    data, qpos = mujoco.MjData(model), np.empty((12, model.nq))
    qpos[:, :3], qpos[:, rotation], qpos[:, 7:] = rows[:, :3], rows[:, 3:7], rows[:, 7:]
    for frame in range(12):
        data.qpos[:] = qpos[frame]
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(data.xpos[1:], true.body_pos[frame], atol=ROUNDING)
    names = FORMATS[name].names
    assert names is not None
    assert names(true.recording).decode().splitlines() == [model.joint(k).name for k in range(1, model.njnt)]


@pytest.mark.parametrize("name", ["tracking-npz", "tracking-npz-isaaclab"])
def test_tracking_npz(true: Truth, name: str) -> None:
    archive = np.load(io.BytesIO(content(name, true.recording)))
    model = mujoco.MjModel.from_xml_string(true.recording.character)
    bodies = breadth_first(model) if name == "tracking-npz-isaaclab" else list(range(model.nbody - 1))
    joints = [
        k for body in bodies for k in range(1, model.njnt) if model.jnt_bodyid[k] == body + 1
    ]  # fmt: skip
    assert list(archive["body_names"]) == [model.body(body + 1).name for body in bodies]
    assert list(archive["joint_names"]) == [model.joint(joint).name for joint in joints]
    assert archive["fps"] == [20.0] and archive["fps"].shape == (1,)
    np.testing.assert_allclose(archive["body_pos_w"], true.body_pos[:, bodies], atol=ROUNDING)
    data = mujoco.MjData(model)
    for frame in range(12):
        data.qpos[:3], data.qpos[3:7] = archive["body_pos_w"][frame, 0], archive["body_quat_w"][frame, 0]
        for column, joint in enumerate(joints):
            data.qpos[model.jnt_qposadr[joint]] = archive["joint_pos"][frame, column]
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(data.xpos[1:][bodies], archive["body_pos_w"][frame], atol=ROUNDING)
        turned = (data.xquat[1:][bodies] * archive["body_quat_w"][frame]).sum(-1)
        np.testing.assert_allclose(np.abs(turned), 1.0, atol=1e-5)


def test_velocities_for_tracking_are_those_of_a_steady_motion() -> None:
    """A body that moves and turns evenly, and bends one knee, has the same velocities in all frames."""
    base = truth("humanoid", 2).recording
    skeleton, times = base.skeleton, np.arange(8) / 50
    shin = skeleton.body_index("left_shin")
    root_rot = np.zeros((8, 4), dtype=np.float32)
    root_rot[:, 2], root_rot[:, 3] = np.sin(times), np.cos(times)  # about z at 2 rad/s
    joint_rot = np.tile(np.array([0, 0, 0, 1], dtype=np.float32), (8, 14, 1))
    joint_rot[:, shin - 1, 1], joint_rot[:, shin - 1, 3] = np.sin(1.5 * times), np.cos(1.5 * times)  # 3 rad/s
    motion = replace(
        base.motion,
        root_pos=np.stack([0.5 * times, -times, 0 * times], axis=1).astype(np.float32),
        root_rot=root_rot,
        joint_rot=joint_rot,
        contacts=np.zeros((8, 15), dtype=np.float32),
        fps=50.0,
    )
    archive = np.load(io.BytesIO(content("tracking-npz", replace(base, motion=motion))))
    np.testing.assert_allclose(archive["body_lin_vel_w"][:, 0], np.tile([0.5, -1.0, 0.0], (8, 1)), atol=1e-4)
    np.testing.assert_allclose(archive["body_ang_vel_w"][:, 0], np.tile([0.0, 0.0, 2.0], (8, 1)), atol=1e-3)
    knee = skeleton.joints[shin].dof_index
    np.testing.assert_allclose(archive["joint_vel"][:, knee], 3.0, atol=1e-3)
    hinge = np.stack([-np.sin(2 * times), np.cos(2 * times), 0 * times], axis=1)
    np.testing.assert_allclose(archive["body_ang_vel_w"][1:-1, shin], (3.0 * hinge + [0.0, 0.0, 2.0])[1:-1], atol=0.02)
