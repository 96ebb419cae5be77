"""Imported clips, against what the formats' definitions say, computed here in another way."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import pytest
import torch
import yaml

from parc_ray.character.skeleton import load_skeleton, parse_skeleton
from parc_ray.character.surface import surface_points
from parc_ray.cli import app
from parc_ray.errors import InputError
from parc_ray.motions import importers
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.importers import FORMATS, ImportOptions, clips_in, import_clips
from parc_ray.motions.importers.bvh import bvh_clips, load_bvh
from parc_ray.motions.importers.bvh_document import parse_bvh, world_poses
from parc_ray.motions.importers.clip import ClipFormat, ReadOptions, SourceClip, resample
from parc_ray.motions.importers.deepmimic import deepmimic_clips, load_deepmimic
from parc_ray.motions.importers.placing import to_motion
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes, read_motion
from parc_ray.motions.scanning import load_dataset
from tests.reference import HUMANOID

SKELETON = load_skeleton(HUMANOID)
SURFACE = surface_points(HUMANOID.read_text(), "humanoid.xml", torch.device("cpu"))
READ = ReadOptions(SKELETON)
HOW = ImportOptions(READ, SURFACE)
THIGH, SHIN, HIP_ASIDE, SOLE = 0.421546, 0.40987, 0.084887, 0.05


def import_clip(path: Path, options: ImportOptions = HOW) -> Motion:
    (motion,) = import_clips(path, options)
    return motion


def read_deepmimic(path: Path) -> SourceClip:
    (clip,) = deepmimic_clips(load_deepmimic(path), path, READ).values()
    return clip


def read_bvh(path: Path, mapping: Path | str | None) -> SourceClip:
    options = ReadOptions(SKELETON, mapping=None if mapping is None else str(mapping))
    (clip,) = bvh_clips(load_bvh(path), path, options).values()
    return clip


def deepmimic_frame(
    duration: float,
    root: Sequence[float],
    knee: float = 0.0,
    hip: float = 0.0,
    turn: Sequence[float] = (1.0, 0.0, 0.0, 0.0),
) -> list[float]:
    """DeepMimic's humanoid, y up, standing with its knees bent by `knee` and its thighs raised by `hip`, rad."""
    ball = [1.0, 0.0, 0.0, 0.0]
    thigh = [math.cos(hip / 2), 0.0, 0.0, math.sin(hip / 2)]
    foot = [math.cos((knee - hip) / 2), 0.0, 0.0, math.sin((knee - hip) / 2)]
    leg = [*thigh, -knee, *foot]
    arm = [*ball, 0.3]
    return [duration, *root, *turn, *ball, *ball, *leg, *arm, *leg, *arm]


def write_deepmimic(path: Path, frames: list[Any], loop: str = "wrap") -> Path:
    path.write_text(json.dumps({"Loop": loop, "Frames": frames}))
    return path


def squats(path: Path, count: int = 20, advance: float = 0.02, drop: float = 0.4) -> Path:
    """A squat that travels along x and floats `drop` above the ground."""
    frames = []
    for index in range(count + 1):
        bend = 0.5 * (1.0 - math.cos(2 * math.pi * index / count))
        knee, hip = 1.0 * bend, 0.5 * bend
        height = THIGH * math.cos(hip) + SHIN * math.cos(knee - hip) + SOLE
        frames.append(deepmimic_frame(1 / 30, [index * advance, height + drop, 0.1], knee, hip))
    return write_deepmimic(path, frames)


def bodies(motion: Motion) -> np.ndarray:
    """World positions [n, B, 3] with 4 x 4 matrices, one body after the other."""
    positions = np.zeros((motion.num_frames, SKELETON.num_bodies, 3))
    for frame in range(motion.num_frames):
        poses: dict[int, np.ndarray] = {}
        for body, parent in enumerate(SKELETON.parent_indices):
            pose = np.eye(4)
            rotation = motion.root_rot[frame] if parent < 0 else motion.joint_rot[frame, body - 1]
            pose[:3, :3] = matrix(rotation)
            pose[:3, 3] = motion.root_pos[frame] if parent < 0 else SKELETON.local_translation[body].numpy()
            poses[body] = pose if parent < 0 else poses[parent] @ pose
            positions[frame, body] = poses[body][:3, 3]
    return positions


def matrix(xyzw: np.ndarray) -> np.ndarray:
    x, y, z, w = (float(part) for part in xyzw)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * skew + 2 * skew @ skew


# --- DeepMimic -----------------------------------------------------------------------------------------------


def test_a_deepmimic_squat_stands_on_the_ground_and_touches_it_with_its_feet(tmp_path):
    motion = import_clip(squats(tmp_path / "squat.txt"), HOW)
    assert (motion.name, motion.fps, motion.loop_mode, motion.num_frames) == ("squat", 30.0, "CLAMP", 21)
    placed = bodies(motion)
    feet = [SKELETON.body_index(f"{side}_foot") for side in ("right", "left")]
    assert np.abs(placed[:, feet, 2] - SOLE).max() < 0.01
    assert (motion.contacts[:, feet] == 1).all()
    assert motion.contacts.sum() == 2 * motion.num_frames
    # Right is right, the body looks and moves along x, and travels as far as the clip says.
    assert (placed[:, feet[0], 1] < placed[:, feet[1], 1]).all()
    np.testing.assert_allclose(motion.root_pos[-1, 0] - motion.root_pos[0, 0], 0.4, atol=1e-5)
    np.testing.assert_allclose(motion.root_pos[:, 1], -0.1, atol=1e-6)
    # Knees bend forwards, and hanging arms hang.
    knees = [SKELETON.body_index(f"{side}_shin") for side in ("right", "left")]
    assert (placed[10, knees, 0] > placed[10, feet, 0] + 0.1).all()
    hands, shoulders = (
        [SKELETON.body_index(f"{s}_{part}") for s in ("right", "left")] for part in ("hand", "upper_arm")
    )
    assert (placed[:, shoulders, 2] - placed[:, hands, 2] > 0.5).all()
    # DeepMimic's elbow bends the hand to the front.
    assert (placed[:, hands, 0] - placed[:, shoulders, 0] > 0.05).all()


def test_terrain_is_level_and_wide_enough_unless_one_is_given(tmp_path):
    path = squats(tmp_path / "squat.txt")
    level = import_clip(path, HOW).terrain
    assert level.is_flat and level.hf.max() == 0.0
    far = level.min_point + level.dx * (np.array(level.hf.shape) - 1)
    assert (level.min_point <= [-2.0, -2.1]).all() and (far >= [2.4, 1.9]).all()
    step = HeightField.flat((20, 20), 0.4, (-4.0, -4.0), height=0.7)
    raised = import_clip(path, ImportOptions(READ, SURFACE, step))
    assert raised.terrain is step
    np.testing.assert_allclose(raised.root_pos[:, 2], import_clip(path, HOW).root_pos[:, 2] + 0.7, atol=1e-5)


def test_a_jump_stays_in_the_air(tmp_path):
    stand = THIGH + SHIN + SOLE
    heights = [stand] * 20 + [stand + 0.5 * math.sin(math.pi * k / 20) for k in range(21)] + [stand] * 20
    frames = [deepmimic_frame(1 / 30, [0.0, height + 0.03, 0.0]) for height in heights]
    motion = import_clip(write_deepmimic(tmp_path / "jump.txt", frames), HOW)
    assert 0.4 < motion.root_pos[30, 2] - motion.root_pos[0, 2] < 0.51
    foot = SKELETON.body_index("left_foot")
    assert motion.contacts[:18, foot].all() and motion.contacts[-18:, foot].all()
    assert not motion.contacts[26:36].any()


def test_a_foot_that_rests_a_little_above_the_ground_stands_on_it(tmp_path):
    lifted = 2 * math.acos(1.0 - 0.04 / (THIGH + SHIN))
    frame = deepmimic_frame(1 / 30, [0.0, THIGH + SHIN + SOLE, 0.0])
    left = deepmimic_frame(1 / 30, [0.0, 0.0, 0.0], knee=lifted, hip=0.5 * lifted)
    frame[-14:-5] = left[-14:-5]
    motion = import_clip(write_deepmimic(tmp_path / "stand.txt", [frame] * 20), HOW)
    feet = [SKELETON.body_index(f"{side}_foot") for side in ("right", "left")]
    lower, higher = bodies(motion)[0, feet, 2]
    assert higher - lower == pytest.approx(0.04, abs=0.005)
    assert (motion.contacts[:, feet] == 1).all()
    assert motion.contacts.sum() == 2 * motion.num_frames  # shins are as near, but feet are below them


def test_speed_stretches_time(tmp_path):
    path = squats(tmp_path / "squat.txt")
    slow = import_clip(path, ImportOptions(READ, SURFACE, speed=0.5))
    assert (slow.name, slow.num_frames) == ("squat_speed50", 41)
    fast = import_clip(path, HOW)
    np.testing.assert_allclose(slow.joint_rot[::2], fast.joint_rot, atol=1e-5)
    np.testing.assert_allclose(slow.root_pos[::2, :2], fast.root_pos[:, :2], atol=1e-5)


def test_resampling_is_even_interpolation():
    angles = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    turned = torch.stack((0 * angles, 0 * angles, torch.sin(angles / 2), torch.cos(angles / 2)), dim=-1)
    times = torch.tensor([0.0, 0.05, 0.2], dtype=torch.float64)
    clip = SourceClip(times, torch.stack((times, times, times), dim=-1), turned, turned[:, None].expand(3, 14, 4))
    even = resample(clip)
    assert len(even.times) == 7
    expected = np.interp(np.arange(7) / 30, times.numpy(), angles.numpy())
    np.testing.assert_allclose(2 * torch.atan2(even.root_rot[:, 2], even.root_rot[:, 3]), expected, atol=1e-6)
    np.testing.assert_allclose(even.root_pos[:, 0], np.arange(7) / 30, atol=1e-12)


@pytest.mark.parametrize("degrees", [0.0, 5.0, 60.0])
def test_loops_go_on_without_a_jump(tmp_path, degrees):
    """Each cycle travels 0.4 m ahead and turns left by an angle; small angles are no turns."""
    frames = []
    for index in range(21):
        bend = 0.5 * (1.0 - math.cos(2 * math.pi * index / 20))
        half = math.radians(degrees) * index / 40
        frames.append(
            deepmimic_frame(1 / 30, [0.02 * index, 0.9, 0.0], bend, 0.5 * bend, [math.cos(half), 0, math.sin(half), 0])
        )
    path = write_deepmimic(tmp_path / "clip.txt", frames)
    motion = import_clip(path, ImportOptions(READ, SURFACE, loop=3))
    assert (motion.name, motion.num_frames) == ("clip_loop3", 61)
    moved = np.linalg.norm(np.diff(motion.root_pos, axis=0), axis=1)
    assert moved.max() < 0.03
    assert np.linalg.norm(np.diff(bodies(motion), axis=0), axis=2).max() < 0.12
    once = import_clip(path, HOW)
    np.testing.assert_allclose(motion.root_pos[:21, :2], once.root_pos[:, :2], atol=1e-5)
    turn = math.radians(degrees) if degrees > 20 else 0.0
    ends = np.cumsum([[0.4 * math.cos(k * turn), 0.4 * math.sin(k * turn)] for k in range(3)], axis=0)
    np.testing.assert_allclose(motion.root_pos[[20, 40, 60], :2], ends, atol=1e-4)
    if degrees != 5.0:  # there what is no turn fades out
        np.testing.assert_allclose(motion.joint_rot[20:41], once.joint_rot, atol=1e-4)


def test_what_does_not_loop_is_not_repeated(tmp_path):
    path = squats(tmp_path / "squat.txt")
    path.write_text(path.read_text().replace("wrap", "none"))
    with pytest.raises(InputError, match=r"squat.txt: cannot be repeated: the file says .* without --loop 2"):
        import_clip(path, ImportOptions(READ, SURFACE, loop=2))
    frames = [deepmimic_frame(0.1, [0, 0.9, 0], knee) for knee in (0.0, 0.5, 1.2)]
    with pytest.raises(InputError, match=r"bent.txt: cannot be repeated: a joint .* 69 degrees"):
        import_clip(write_deepmimic(tmp_path / "bent.txt", frames), ImportOptions(READ, SURFACE, loop=2))


def test_faults_of_deepmimic_clips_are_named(tmp_path):
    good = deepmimic_frame(0.1, [0, 0.9, 0])
    path = tmp_path / "clip.txt"
    bad_root = [*good[:4], 0.1, 0, 0, 0, *good[8:]]
    for frames, message in (
        ([good], r"clip.txt: key 'Frames' has 1 frame"),
        ([good, good[:20]], r"clip.txt: key 'Frames': frame 1 has 20 numbers instead of 44"),
        ([good, [*good[:-1], "x"]], r"frame 1 has something else than finite numbers"),
        ([[0.0, *good[1:]], good], r"frame 0 lasts 0 s"),
        ([good, bad_root], r"the rotation of pelvis in frame 1 is no unit quaternion"),
    ):
        with pytest.raises(InputError, match=message):
            read_deepmimic(write_deepmimic(path, frames))
    for text, message in (
        ("{", "is no JSON"),
        ("[1]", "has no list 'Frames'"),
        ('{"Frames": [1, 2]}', "frame 0 has 1 "),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_deepmimic(path)


# --- MimicKit ------------------------------------------------------------------------------------------------


def mimickit(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(3)
    frames = np.zeros((16, 34))
    frames[:, 0] = np.linspace(0.0, 1.0, 16)
    frames[:, 2] = 1.4
    frames[:, 5] = 0.3
    frames[:, 6:] = 0.2 * rng.normal(size=28)
    content = {"fps": 15, "loop_mode": 0, "frames": frames.tolist(), **changes}
    path.write_bytes(pickle.dumps({key: value for key, value in content.items() if value is not None}))
    return path


def test_a_mimickit_clip_keeps_its_degrees_of_freedom(tmp_path):
    path = mimickit(tmp_path / "clip.pkl")
    frames = np.array(pickle.loads(path.read_bytes())["frames"])
    motion = import_clip(path, HOW)
    assert motion.num_frames == 31 and motion.fps == 30.0
    dofs = SKELETON.rot_to_dof(torch.from_numpy(motion.joint_rot)).numpy()
    np.testing.assert_allclose(dofs[::2], frames[:, 6:], atol=1e-5)
    np.testing.assert_allclose(motion.root_rot[0], [0, 0, math.sin(0.15), math.cos(0.15)], atol=1e-6)
    np.testing.assert_allclose(motion.root_pos[::2, 0], frames[:, 0], atol=1e-6)
    pose = map(torch.from_numpy, (motion.root_pos, motion.root_rot, motion.joint_rot))
    points = SURFACE.positions(*SKELETON.forward_kinematics(*pose))
    assert abs(float(points[..., 2].min())) < 0.01


def test_faults_of_mimickit_clips_are_named(tmp_path):
    for changes, message in (
        ({"frames": None}, r"clip.pkl: is a dict of fps, loop_mode, and no mimickit or gmr or phc clip"),
        ({"fps": 0}, r"key 'fps' is 0 instead of a positive number"),
        ({"loop_mode": 7}, r"key 'loop_mode' is 7"),
        ({"frames": [[0.0] * 30] * 4}, r"key 'frames' has shape \[4, 30\] instead of \[any, 34\]"),
        ({"frames": [[0.0] * 34]}, r"key 'frames' has 1 frame"),
        ({"frames": [[0.0] * 34, [math.nan] * 34]}, r"key 'frames': the root position is not finite in frame 1"),
        ({"frames": [["a"]]}, r"key 'frames' is no table of numbers"),
    ):
        with pytest.raises(InputError, match=message):
            import_clip(mimickit(tmp_path / "clip.pkl", **changes), HOW)


# --- BVH -----------------------------------------------------------------------------------------------------

BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT RightUpLeg
  {
    OFFSET -8.5 0 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    JOINT RightLeg
    {
      OFFSET 0 -42 0
      CHANNELS 3 Zrotation Yrotation Xrotation
      End Site
      {
        OFFSET 0 -41 0
      }
    }
  }
}
MOTION
Frames: 3
Frame Time: 0.1
"""
MAPPING = """
up: y
facing: z
scale: 0.01
bodies: {pelvis: Hips, right_thigh: RightUpLeg, right_shin: RightLeg}
"""


def bvh_files(tmp_path: Path, rows: np.ndarray, mapping: str = MAPPING) -> Any:
    text = BVH + "\n".join(" ".join(f"{value:.6f}" for value in row) for row in rows) + "\n"
    (tmp_path / "clip.bvh").write_text(text)
    (tmp_path / "mapping.yaml").write_text(mapping)
    return tmp_path / "clip.bvh", tmp_path / "mapping.yaml"


def about(axis: str, degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return {
        "X": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "Y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "Z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def test_a_bvh_file_is_read_as_its_channels_say(tmp_path):
    rows = np.random.default_rng(1).uniform(-40.0, 40.0, size=(3, 12))
    path, _ = bvh_files(tmp_path, rows)
    positions, rotations = world_poses(parse_bvh(path.read_text(), "clip.bvh"))
    for frame, row in enumerate(rows):
        hips = about("Z", row[3]) @ about("Y", row[4]) @ about("X", row[5])
        thigh = hips @ about("Z", row[6]) @ about("Y", row[7]) @ about("X", row[8])
        knee = row[:3] + hips @ [-8.5, 0, 0] + thigh @ [0, -42, 0]
        np.testing.assert_allclose(positions[frame, 2], knee, atol=1e-4)
        np.testing.assert_allclose(matrix(rotations[frame, 1].numpy()), thigh, atol=1e-6)


def test_a_bvh_skeleton_becomes_the_character(tmp_path):
    """Looking along z with y up in the file, along x with z up here: x is left there, y is left here."""
    rows = np.zeros((3, 12))
    rows[:, :3] = [[10.0, 90.0, 0.0], [10.0, 90.0, 10.0], [10.0, 90.0, 20.0]]
    rows[:, 8] = -30.0  # about x: the thigh swings to the front
    rows[:, 11] = 70.0  # and the shin back
    path, mapping = bvh_files(tmp_path, rows)
    clip = read_bvh(path, mapping)
    np.testing.assert_allclose(clip.root_pos, [[0.0, 0.1, 0.9], [0.1, 0.1, 0.9], [0.2, 0.1, 0.9]], atol=1e-9)
    np.testing.assert_allclose(clip.root_rot.abs(), [[0, 0, 0, 1]] * 3, atol=1e-9)
    dofs = SKELETON.rot_to_dof(clip.joint_rot)[0]
    thigh, shin = (SKELETON.joints[SKELETON.body_index(name)].dof_index for name in ("right_thigh", "right_shin"))
    np.testing.assert_allclose(dofs[thigh : thigh + 3], [0.0, math.radians(-30), 0.0], atol=1e-6)
    assert float(dofs[shin]) == pytest.approx(math.radians(70))
    assert int((dofs.abs() > 1e-6).sum()) == 2  # all other bodies keep still
    assert import_clip(path, ImportOptions(ReadOptions(SKELETON, mapping=str(mapping)), SURFACE)).num_frames == 7


def test_another_rest_pose_is_taken_into_account(tmp_path):
    rows = np.zeros((3, 12))
    path, mapping = bvh_files(tmp_path, rows, f"{MAPPING}rest: {{right_thigh: [0, -90, 0], right_shin: [0, -90, 0]}}\n")
    dofs = SKELETON.rot_to_dof(read_bvh(path, mapping).joint_rot)[0]
    thigh = SKELETON.joints[SKELETON.body_index("right_thigh")].dof_index
    np.testing.assert_allclose(dofs[thigh : thigh + 4], [0.0, -math.pi / 2, 0.0, 0.0], atol=1e-6)


def test_faults_of_bvh_files_and_mappings_are_named(tmp_path):
    rows = np.zeros((3, 12))
    path, mapping = bvh_files(tmp_path, rows)
    with pytest.raises(
        InputError, match=r"its joints have neither the character's names nor .* Write a file for --mapping"
    ):
        read_bvh(path, None)
    good = path.read_text()
    for old, new, message in (
        ("HIERARCHY", "H", r"clip.bvh: is no BVH file.*\. Export it again, or leave it out"),
        ("Frames: 3", "Frames: 4", r"has 3 frames, but 'Frames:' says 4"),
        ("Frame Time: 0.1", "Frame Time: x", r"line 23 has something else than finite numbers"),
        ("Frame Time: 0.1", "Frame Time: 0", r"has 3 frame\(s\) of 0 s"),
        ("CHANNELS 3 Zrotation Yrotation Xrotation", "CHANNELS 2 Zrotation", r"line 9: .* miscounted channels"),
        ("OFFSET -8.5 0 0", "OFFSET -8.5 0", r"line 8: OFFSET has 2 numbers"),
        ("MOTION", "}", r"line 21: '}' is not expected"),
    ):
        path.write_text(good.replace(old, new, 1))
        with pytest.raises(InputError, match=message):
            read_bvh(path, mapping)
    path.write_text(good.replace("0.000000\n", "\n", 1))
    with pytest.raises(InputError, match=r"line 24 has 11 numbers instead of 12"):
        read_bvh(path, mapping)
    path.write_text(good)
    for old, new, message in (
        ("pelvis: Hips, ", "", r"mapping.yaml: key 'bodies' has no pelvis"),
        ("RightLeg", "Knee", r"mapping.yaml: key 'bodies.right_shin': .* has no joint 'Knee'; it has: Hips"),
        ("right_shin", "tail", r"mapping.yaml: key 'bodies.tail': the character has no such body"),
        ("facing: z", "facing: y", r"mapping.yaml: key 'facing' = 'y' is the axis that points up; give another"),
        ("scale: 0.01", "scale: 0", r"mapping.yaml: key 'scale' = 0: must be .*'auto'"),
    ):
        mapping.write_text(MAPPING.replace(old, new))
        with pytest.raises(InputError, match=message):
            read_bvh(path, mapping)


# --- All of them ---------------------------------------------------------------------------------------------


def test_formats_are_recognized_by_names_and_contents(tmp_path):
    names = [form.name for form in FORMATS]
    assert len(names) == len(set(names))
    with pytest.raises(InputError, match=r"clip.fbx: its name does not end .* \.bvh \(bvh\)"):
        import_clip(tmp_path / "clip.fbx")
    with pytest.raises(InputError, match="has no clips"):
        clips_in(tmp_path)
    with pytest.raises(InputError, match=r"--format toy: no such format; there are: deepmimic, mimickit, bvh"):
        import_clip(mimickit(tmp_path / "clip.pkl"), replace(HOW, format="toy"))
    with pytest.raises(InputError, match=r"clip.pkl: is no motion of GMR, which has the keys root_pos"):
        import_clip(tmp_path / "clip.pkl", replace(HOW, format="gmr"))
    motion = import_clip(tmp_path / "clip.pkl")
    (tmp_path / "parc.pkl").write_bytes(motion_file_bytes(motion))
    with pytest.raises(InputError, match=r"parc.pkl: is a motion file already: use it as it is"):
        import_clip(tmp_path / "parc.pkl")


def load_toy(path: Path) -> torch.Tensor:
    try:
        return torch.tensor([[float(part) for part in line.split()] for line in path.read_text().splitlines()])
    except ValueError as error:
        raise InputError(f"{path}: {error}; a row is: time x y z") from None


def toy_clips(rows: Any, path: Path, options: ReadOptions) -> dict[str, SourceClip]:
    """Rows of time and the root's place: the character stands upright and stiff."""
    rows = rows.double()
    upright = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    joints = upright.expand(len(rows), options.skeleton.num_bodies - 1, 4)
    return {path.stem: SourceClip(rows[:, 0], rows[:, 1:], upright.expand(len(rows), 4), joints.clone())}


def test_a_toy_format_is_imported_once_its_record_is_listed(tmp_path, invoke, monkeypatch):
    path = tmp_path / "slide.toy"
    path.write_text("0 0 0 2\n1 0.5 0 2\n")
    refused = invoke("dataset", "import", str(path), "-o", str(tmp_path / "out"))
    assert "its name does not end like that of a clip" in str(refused.exception)
    monkeypatch.setattr(
        importers, "FORMATS", (*FORMATS, ClipFormat("toy", (".toy",), load_toy, lambda rows: True, toy_clips))
    )
    result = invoke("dataset", "import", str(path), "-o", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    motion = read_motion(tmp_path / "out" / "slide.pkl", SKELETON)
    assert (motion.num_frames, motion.fps) == (31, 30.0)
    assert motion.root_pos[:, 0] == pytest.approx(np.linspace(0.0, 0.5, 31), abs=1e-5)
    height = THIGH + SHIN + SOLE
    assert motion.root_pos[:, 2] == pytest.approx(np.full(31, height), abs=0.02), "set down on its feet"
    path.write_text("nonsense")
    result = invoke("dataset", "import", str(path), "-o", str(tmp_path / "out"))
    assert "slide.toy: could not convert" in str(result.exception)


def test_the_command_imports_files_and_folders(tmp_path, invoke):
    clips = tmp_path / "clips"
    clips.mkdir()
    squats(clips / "b.txt")
    squats(clips / "a.txt")
    (clips / "notes.txt").write_text("no clip")
    single = mimickit(tmp_path / "single.pkl")
    result = invoke("dataset", "import", str(clips), str(single), "--output", str(tmp_path / "out"), "--speed", "0.5")
    assert result.exit_code == 0, result.output
    assert "left out" in result.output and "notes.txt: is no JSON" in result.output.replace("\n", "")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a_speed50.pkl", "b_speed50.pkl", "motions.yaml", "single_speed50.pkl"]
    assert read_motion(tmp_path / "out" / "a_speed50.pkl", SKELETON).num_frames == 41
    again = tmp_path / "again"
    again.mkdir()
    squats(again / "a.txt")
    result = invoke("dataset", "import", str(clips), str(again), "-o", str(tmp_path / "out"))
    assert "another clip is also named a" in str(result.exception)
    result = invoke("dataset", "import", str(clips / "notes.txt"), "-o", str(tmp_path / "out"))
    assert "notes.txt: is no JSON" in str(result.exception)


def test_imported_motions_are_listed_and_never_replaced_unasked(tmp_path, invoke):
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    squats(clips / "long.txt")
    squats(clips / "short.txt", count=10)
    arguments = ("dataset", "import", str(clips), "-o", str(out))
    assert invoke(*arguments).exit_code == 0
    listed = yaml.safe_load((out / "motions.yaml").read_text())["motions"]
    assert [(Path(entry["file"]).name, entry["weight"]) for entry in listed] == [
        ("long.pkl", pytest.approx(21 / 30)),
        ("short.pkl", pytest.approx(11 / 30)),
    ]
    assert len(load_dataset(out / "motions.yaml", SKELETON).entries) == 2
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    squats(clips / "long.txt", count=30)
    refused = invoke(*arguments)
    assert "long.pkl and 1 other already exist; choose another folder, or pass --overwrite" in str(refused.exception)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert invoke(*arguments, "--overwrite").exit_code == 0
    assert read_motion(out / "long.pkl", SKELETON).num_frames == 31


@pytest.fixture
def invoke():
    from typer.testing import CliRunner

    return lambda *arguments: CliRunner().invoke(app, list(arguments))


ROBOT_LEG = """<mujoco><worldbody><body name="pelvis" pos="0 0 1"><freejoint/><geom type="sphere" size=".1"/>
  <body name="thigh" pos="0 0 -.1"><joint name="hip" axis="0 1 0" range="-1 1" stiffness="9" damping="1"/>
    <geom type="capsule" fromto="0 0 0 0 0 -.3" size=".04"/>
    <body name="shin" pos="0 0 -.4"><joint name="knee" axis="0 1 0" range="-1 1" stiffness="9" damping="1"/>
      <geom type="capsule" fromto="0 0 -.1 0 0 -.36" size=".04"/>
      <body name="ankle_pitch" pos="0 0 -.4"><joint name="pitch" axis="0 1 0" range="-1 1" stiffness="9" damping="1"/>
        <inertial pos="0 0 0" mass=".1" diaginertia=".001 .001 .001"/>
        <body name="foot" pos="0 0 -.017"><joint name="roll" axis="1 0 0" range="-1 1" stiffness="9" damping="1"/>
          <geom type="box" size=".1 .05 .02" pos=".03 0 -.02"/></body></body></body></body></body>
</worldbody></mujoco>"""


def test_a_robots_shin_does_not_stand_where_its_foot_does():
    """Its ankle is two bodies with one hinge each, the first one without a geom."""
    skeleton = parse_skeleton(ROBOT_LEG, "leg.xml")
    surface = surface_points(ROBOT_LEG, "leg.xml", torch.device("cpu"))
    times, still = torch.arange(10, dtype=torch.float64) / 30, torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    upright = torch.tensor([0.0, 0.0, 0.957], dtype=torch.float64)
    clip = SourceClip(times, upright.expand(10, 3).clone(), still.expand(10, 4), still.expand(10, 4, 4))
    motion = to_motion(clip, "leg", skeleton, surface, None)
    labelled = [name for name, touches in zip(skeleton.body_names, motion.contacts.T) if touches.any()]
    assert labelled == ["foot"] and motion.contacts[:, -1].all()
