"""Robots' motions in others' formats, against MuJoCo's poses of the same joint angles."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from parc_ray.character.skeleton import parse_skeleton
from parc_ray.errors import InputError
from parc_ray.motions import importers
from parc_ray.motions.importers.clip import ReadOptions, SourceClip

LEG = """
<body name="{side}_hip" pos="0 {y} -.05"><joint name="{side}_hip_pitch_joint" axis="0 1 0" range="-2 .3"/>
  <geom size=".05"/>
  <body name="{side}_roll" pos=".02 0 -.05"><joint name="{side}_hip_roll_joint" axis="1 0 0" range="-.5 .5"/>
    <geom size=".05"/>
    <body name="{side}_shin" pos="0 0 -.3"><joint name="{side}_knee_joint" axis="0 1 0" range="0 2.5"/>
      <geom size=".05"/>
    </body>
  </body>
</body>
"""
ROBOT = f"""
<mujoco model="robot">
  <compiler angle="radian"/>
  <worldbody><body name="pelvis" pos="0 0 .8"><freejoint/><geom size=".1"/>
    {LEG.format(side="left", y=".1")}{LEG.format(side="right", y="-.1")}
    <body name="torso" pos="0 0 .2" quat=".9 .1 .2 .3">
      <joint name="waist_x" axis="1 0 0" range="-1 1"/>
      <joint name="waist_y" axis="0 1 0" range="-1 1"/>
      <joint name="waist_z" axis="0 0 1" range="-1 1"/>
      <geom size=".1"/>
    </body>
  </body></worldbody>
</mujoco>
"""
SKELETON = parse_skeleton(ROBOT, "robot.xml")
MODEL = mujoco.MjModel.from_xml_string(ROBOT)
OPTIONS = ReadOptions(SKELETON)
JOINTS = [MODEL.joint(index).name for index in range(1, MODEL.njnt)]
BREADTH_FIRST = [0, 3, 6, 7, 8, 1, 4, 2, 5]
"""Left and right hip, waist, rolls, knees: by depth in the tree above."""
FPS = 50


@pytest.fixture(scope="module")
def qpos() -> Any:
    """Frames [n, 16] within the joints' limits."""
    rng = np.random.default_rng(4)
    frames = np.zeros((12, MODEL.nq))
    frames[:, :3] = rng.normal(size=(12, 3))
    frames[:, 3:7] = rng.normal(size=(12, 4))
    frames[:, 3:7] /= np.linalg.norm(frames[:, 3:7], axis=1, keepdims=True)
    low, high = MODEL.jnt_range[1:].T
    frames[:, 7:] = rng.uniform(low, high, size=(12, MODEL.nq - 7))
    return frames


def bodies(qpos: Any) -> Any:
    """Positions [n, B, 3] and quaternions [n, B, 4] (wxyz) by MuJoCo."""
    data = mujoco.MjData(MODEL)
    positions, rotations = [], []
    for frame in qpos:
        data.qpos[:] = frame
        mujoco.mj_kinematics(MODEL, data)
        positions.append(data.xpos[1:].copy())
        rotations.append(data.xquat[1:].copy())
    return np.array(positions), np.array(rotations)


def read(path: Path, options: ReadOptions = OPTIONS, form: str | None = None) -> dict[str, SourceClip]:
    found, content = importers.open_clips(path, form)
    return found.clips(content, path, options)


def assert_same_poses(clip: SourceClip, qpos: Any, fps: float = FPS) -> None:
    positions, _ = SKELETON.forward_kinematics(clip.root_pos.float(), clip.root_rot.float(), clip.joint_rot.float())
    np.testing.assert_allclose(positions, bodies(qpos)[0], atol=1e-5)
    np.testing.assert_allclose(clip.times, np.arange(len(qpos)) / fps, atol=1e-9)


def gmr(path: Path, qpos: Any, **more: Any) -> Path:
    content = {"fps": FPS, "root_pos": qpos[:, :3], "root_rot": qpos[:, [4, 5, 6, 3]], "dof_pos": qpos[:, 7:], **more}
    path.write_bytes(pickle.dumps(content))
    return path


# GMR


def test_gmr(tmp_path: Path, qpos: Any) -> None:
    (clip,) = read(gmr(tmp_path / "walk.pkl", qpos, local_body_pos=None, link_body_list=None)).values()
    assert_same_poses(clip, qpos)
    assert clip.notes == (f"joint angles taken in the MJCF's order: {', '.join(JOINTS)}",)


def test_names_in_a_file_decide_on_the_order(tmp_path: Path, qpos: Any) -> None:
    shuffled = np.random.default_rng(0).permutation(len(JOINTS))
    columns = np.concatenate([qpos[:, :7], qpos[:, 7:][:, shuffled]], axis=1)
    names = [JOINTS[index].replace("_joint", "") for index in shuffled]
    (clip,) = read(gmr(tmp_path / "walk.pkl", columns, dof_names=names)).values()
    assert_same_poses(clip, qpos)
    assert clip.notes == ()


def test_bodies_in_a_file_decide_on_the_order(tmp_path: Path, qpos: Any) -> None:
    other = [6, 7, 8, 3, 4, 5, 0, 1, 2]
    legs = {side: [f"{side}_{part}" for part in ("hip", "roll", "shin")] for side in ("left", "right")}
    links = ["pelvis", "torso", "imu", *legs["right"], *legs["left"]]
    columns = np.concatenate([qpos[:, :7], qpos[:, 7:][:, other]], axis=1)
    (clip,) = read(gmr(tmp_path / "walk.pkl", columns, link_body_list=links)).values()
    assert_same_poses(clip, qpos)


def test_missing_and_additional_joints_are_noted(tmp_path: Path, qpos: Any) -> None:
    columns = np.concatenate([qpos[:, :7], qpos[:, 8:], qpos[:, 7:8]], axis=1)
    (clip,) = read(gmr(tmp_path / "walk.pkl", columns, dof_names=[*JOINTS[1:], "gripper"])).values()
    still = qpos.copy()
    still[:, 7] = 0.0
    assert_same_poses(clip, still)
    assert clip.notes == (
        "joints that the file lacks stay at 0: left_hip_pitch_joint",
        "joints that the character lacks are left out: gripper",
    )


# The order of joints, and their units


def test_another_order_is_noticed_by_the_limits_of_the_joints(tmp_path: Path, qpos: Any) -> None:
    columns = np.concatenate([qpos[:, :7], qpos[:, 7:][:, BREADTH_FIRST]], axis=1)
    path = gmr(tmp_path / "walk.pkl", columns)
    (clip,) = read(path).values()
    (_, doubt) = clip.notes
    assert doubt.startswith("joints are beyond their limits in many frames: ") and "left_knee_joint (" in doubt
    assert doubt.endswith("--joint-order breadth-first fits better")
    (clip,) = read(path, replace(OPTIONS, joint_order="breadth-first")).values()
    assert_same_poses(clip, qpos)
    assert len(clip.notes) == 1 and "breadth first: left_hip_pitch_joint, right_hip_pitch_joint" in clip.notes[0]


def test_names_in_a_file_of_their_own(tmp_path: Path, qpos: Any) -> None:
    names = tmp_path / "joints.txt"
    names.write_text("\n".join(JOINTS[index] for index in BREADTH_FIRST))
    columns = np.concatenate([qpos[:, :7], qpos[:, 7:][:, BREADTH_FIRST]], axis=1)
    (clip,) = read(gmr(tmp_path / "walk.pkl", columns), replace(OPTIONS, joint_order=str(names))).values()
    assert_same_poses(clip, qpos)
    names.write_text("\n".join(JOINTS[:4]))
    with pytest.raises(InputError, match=r"has 4 joint names for 9 columns"):
        read(tmp_path / "walk.pkl", replace(OPTIONS, joint_order=str(names)))


def test_degrees(tmp_path: Path, qpos: Any) -> None:
    columns = np.concatenate([qpos[:, :7], np.degrees(qpos[:, 7:])], axis=1)
    path = gmr(tmp_path / "walk.pkl", columns)
    (clip,) = read(path).values()
    assert "the units (--degrees)" in clip.notes[1]
    (clip,) = read(path, replace(OPTIONS, degrees=True)).values()
    assert_same_poses(clip, qpos)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dof_pos": np.zeros((12, 23))}, r"walk\.pkl: has 23 joint angles per frame, and the character has 9"),
        ({"dof_pos": np.full((12, 9), np.nan)}, "its joint angles are not finite in frame 0"),
        ({"dof_pos": np.zeros((11, 9))}, r"its joint angles have the shape \[11, 9\] instead of \[12, any\]"),
        ({"dof_pos": "x"}, "its joint angles are no table of numbers"),
        ({"root_rot": np.ones((12, 4))}, "the root rotation of frame 0 is no unit quaternion"),
        ({"fps": 0}, "its fps is 0 instead of a positive number. Give --fps"),
        ({"fps": None}, "does not say how many frames per second it has. Give --fps"),
        ({"dof_names": [f"finger_{n}" for n in range(9)]}, r"its joints \(finger_0, .*\) are not the character's"),
    ],
)
def test_faults_are_named(tmp_path: Path, qpos: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(gmr(tmp_path / "walk.pkl", qpos, **changes))


# Tables


def test_a_table_without_a_header(tmp_path: Path, qpos: Any) -> None:
    path = tmp_path / "walk.csv"
    np.savetxt(path, qpos[:, [0, 1, 2, 4, 5, 6, 3, *range(7, 16)]], delimiter=",", fmt="%.12f")
    (clip,) = read(path, replace(OPTIONS, fps=30.0)).values()
    assert_same_poses(clip, qpos, 30.0)
    np.savetxt(path, qpos, delimiter=",", fmt="%.12f")
    (clip,) = read(path, replace(OPTIONS, fps=30.0, wxyz=True)).values()
    assert_same_poses(clip, qpos, 30.0)
    with pytest.raises(InputError, match=r"walk\.csv: does not say how many frames per second"):
        read(path)


def test_a_table_with_a_header(tmp_path: Path, qpos: Any) -> None:
    path = tmp_path / "walk.csv"
    columns = qpos[:, [0, 1, 2, 4, 5, 6, 3, *(7 + index for index in BREADTH_FIRST)]]
    names = ["x", "y", "z", "qx", "qy", "qz", "qw", *(JOINTS[index] for index in BREADTH_FIRST)]
    np.savetxt(path, columns, delimiter=",", fmt="%.12f", header=",".join(names), comments="")
    (clip,) = read(path, replace(OPTIONS, fps=30.0)).values()
    assert_same_poses(clip, qpos, 30.0)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,2,3"] * 3, r"walk\.csv: has 3 columns; root position and quaternion alone are 7"),
        (["1,2,3,4,5,6,7,8"] * 2 + ["1,2"], "line 3 has 2 numbers instead of 8"),
        (["1,2,3,4,5,6,7,8", "1,2,3,4,5,6,7,x"], "line 2 has something else than finite numbers"),
        (["1,2,3,4,5,6,7,8", "1,2,3,4,5,6,7,nan"], "line 2 has something else than finite numbers"),
        (["1,2,3,4,5,6,7,8"], "has 1 line"),
        (["Frame,root_translateX,c,d,e,f,g,h", "1,2,3,4,5,6,7,8"], "its header begins with Frame"),
    ],
)
def test_faults_of_tables_are_named(tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "walk.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=message):
        read(path, replace(OPTIONS, fps=30.0))


# PHC and its relatives


def test_many_motions_in_a_file_of_phc(tmp_path: Path, qpos: Any) -> None:
    motion = {"root_trans_offset": qpos[:, :3], "root_rot": qpos[:, [4, 5, 6, 3]], "fps": np.array(FPS)}
    content = {
        "0-ACCAD/walk 1": {**motion, "dof": qpos[:, 7:], "pose_aa": np.zeros((12, 10, 3))},
        "run": {**motion, "dof": qpos[:, 7:, None]},
    }
    path = tmp_path / "motions.pkl"
    path.write_bytes(pickle.dumps(content))
    clips = read(path)
    assert list(clips) == ["0-ACCAD-walk_1", "run"]
    for clip in clips.values():
        assert_same_poses(clip, qpos)
    path.write_bytes(pickle.dumps({"run": {"root_trans_offset": qpos[:, :3], "fps": 30}}))
    with pytest.raises(InputError, match=r"motion 'run': has neither 'dof' and 'root_rot' nor 'pose_aa'"):
        read(path)


# Archives for tracking


def tracking(path: Path, qpos: Any, order: list[int], **more: Any) -> Path:
    positions, rotations = bodies(qpos)
    content = {"fps": [FPS], "joint_pos": qpos[:, 7:][:, order], "body_pos_w": positions, "body_quat_w": rotations}
    np.savez(path, **{**content, **more})
    return path


@pytest.mark.parametrize("order", [list(range(9)), BREADTH_FIRST])
def test_the_order_of_an_archive_is_found_by_its_bodies(tmp_path: Path, qpos: Any, order: list[int]) -> None:
    (clip,) = read(tracking(tmp_path / "walk.npz", qpos, order)).values()
    assert_same_poses(clip, qpos)


def test_an_archive_in_an_unknown_order_is_refused(tmp_path: Path, qpos: Any) -> None:
    other = [8, 7, 6, 5, 4, 3, 2, 1, 0]
    path = tracking(tmp_path / "walk.npz", qpos, other)
    with pytest.raises(InputError, match=r"mjcf or breadth-first, bodies are 0\.\d\d m from where it has them"):
        read(path)
    names = np.array([JOINTS[index] for index in other])
    (clip,) = read(tracking(tmp_path / "walk.npz", qpos, other, joint_names=names)).values()
    assert_same_poses(clip, qpos)


@pytest.mark.parametrize("content", [b"PK\x03\x04 and nothing", b"", b"x" * 100])
def test_a_damaged_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "walk.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"walk\.npz: is no readable NumPy archive"):
        read(path)


def test_pickles_in_an_archive_are_not_run(tmp_path: Path, qpos: Any) -> None:
    path = tracking(tmp_path / "walk.npz", qpos, list(range(9)), extras=np.array([{"a": 1}], dtype=object))
    (clip,) = read(path).values()
    assert_same_poses(clip, qpos)


# ProtoMotions


def protomotions(path: Path, qpos: Any, **changes: Any) -> Path:
    positions, rotations = bodies(qpos)
    content = {
        "rigid_body_pos": torch.tensor(positions, dtype=torch.float32),
        "rigid_body_rot": torch.tensor(rotations[..., [1, 2, 3, 0]], dtype=torch.float32),
        "dof_pos": torch.zeros(len(qpos), 9),
        "rigid_body_contacts": torch.zeros(len(qpos), 8, dtype=torch.bool),
        "fps": FPS,
    }
    torch.save({key: value for key, value in {**content, **changes}.items() if value is not None}, path)
    return path


def test_protomotions(tmp_path: Path, qpos: Any) -> None:
    (clip,) = read(protomotions(tmp_path / "walk.motion", qpos)).values()
    assert_same_poses(clip, qpos)
    (clip,) = read(protomotions(tmp_path / "walk.motion", qpos, fps=torch.tensor(25.0))).values()
    assert_same_poses(clip, qpos, 25.0)


def test_faults_of_protomotions_files_are_named(tmp_path: Path, qpos: Any) -> None:
    path = tmp_path / "walk.motion"
    _, rotations = bodies(qpos)
    for changes, message in (
        ({"rigid_body_rot": torch.tensor(rotations, dtype=torch.float32)}, r"bodies are \d\.\d\d m from where it has"),
        ({"rigid_body_pos": torch.zeros(12, 5, 3)}, r"its body positions have the shape \[12, 5, 3\]"),
        ({"rigid_body_rot": None}, "is no motion of ProtoMotions"),
        ({"fps": None}, "does not say how many frames per second"),
    ):
        with pytest.raises(InputError, match=message):
            read(protomotions(path, qpos, **changes))
    path.write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(InputError, match=r"walk\.motion: not a checkpoint of plain tensors.* Export it again"):
        read(path)
