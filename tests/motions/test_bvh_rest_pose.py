"""BVH files of persons in one pose under different conventions of rest, against the positions of their joints."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parc_ray.character.skeleton import load_skeleton
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.errors import InputError
from parc_ray.exporting import FORMATS
from parc_ray.exporting.recording import Recording
from parc_ray.motions.importers.bvh import bvh_clips, load_bvh
from parc_ray.motions.importers.clip import ReadOptions, SourceClip
from tests.reference import HUMANOID

SKELETON = load_skeleton(HUMANOID)
BODIES = SKELETON.body_names
Matrix = Any


def turn(axis: str, degrees: float) -> Matrix:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


@dataclass(frozen=True)
class Person:
    """A tree of joints, x left, y up, z ahead, in centimetres: children, their offsets in a T pose, and their names."""

    offsets: dict[str, tuple[str, tuple[float, float, float]]]
    names: dict[str, str]

    def children(self, joint: str) -> list[str]:
        return [name for name, (parent, _) in self.offsets.items() if parent == joint]


def person(**names: str) -> Person:
    offsets = {"hips": ("", (0, 0, 0)), "spine": ("hips", (0, 14, 1)), "chest": ("spine", (0, 20, -1))}
    offsets.update(neck=("chest", (0, 22, 0)), head=("neck", (0, 10, 1)))
    for side, sign in (("left", 1), ("right", -1)):
        offsets[f"{side}_collar"] = ("chest", (4 * sign, 18, 1))
        offsets[f"{side}_arm"] = (f"{side}_collar", (14 * sign, 0, 0))
        offsets[f"{side}_forearm"] = (f"{side}_arm", (28 * sign, 0, 0))
        offsets[f"{side}_hand"] = (f"{side}_forearm", (25 * sign, 0, 0))
        offsets[f"{side}_leg"] = ("hips", (9 * sign, -3, 0))
        offsets[f"{side}_shin"] = (f"{side}_leg", (0, -42, 0))
        offsets[f"{side}_foot"] = (f"{side}_shin", (0, -41, 0))
    return Person({name: (parent, tuple(map(float, offset))) for name, (parent, offset) in offsets.items()}, names)


LAFAN1 = person(
    hips="Hips", spine="Spine", chest="Spine2", neck="Neck", head="Head",
    **{f"{s}_{j}": s.title() + n for s in ("left", "right") for j, n in (
        ("collar", "Shoulder"), ("arm", "Arm"), ("forearm", "ForeArm"), ("hand", "Hand"), ("leg", "UpLeg"),
        ("shin", "Leg"), ("foot", "Foot"))},
)  # fmt: skip
XSENS = person(
    hips="Hips", spine="Chest", chest="Chest4", neck="Neck", head="Head",
    **{f"{s}_{j}": s.title() + n for s in ("left", "right") for j, n in (
        ("collar", "Collar"), ("arm", "Shoulder"), ("forearm", "Elbow"), ("hand", "Wrist"), ("leg", "Hip"),
        ("shin", "Knee"), ("foot", "Ankle"))},
)  # fmt: skip
MIXAMO = replace(LAFAN1, names={joint: f"mixamorig:{name}" for joint, name in LAFAN1.names.items()})


def poses() -> list[dict[str, Matrix]]:
    """Turns of joints from the T pose in the parent's axes: arms down, then a step with bent knees and elbows."""
    down = {"left_arm": turn("z", -85), "right_arm": turn("z", 85)}
    step = {
        "hips": turn("y", 25) @ turn("x", 5),
        "spine": turn("x", 10),
        "head": turn("y", 20),
        "left_arm": turn("z", -80) @ turn("y", -30),
        "left_forearm": turn("y", -60),
        "right_arm": turn("z", 70) @ turn("y", -25),
        "right_forearm": turn("y", 50),
        "left_leg": turn("x", -50) @ turn("z", 4),
        "left_shin": turn("x", 60),
        "left_foot": turn("x", -10),
        "right_leg": turn("x", 20),
        "right_shin": turn("x", 15),
    }
    return [down, step, {**step, "left_shin": turn("x", 30)}]


def euler(matrix: Matrix) -> list[float]:
    """Degrees about z, y, x: R = Rz Ry Rx."""
    return [
        math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])),
        math.degrees(math.asin(max(-1.0, min(1.0, -matrix[2, 0])))),
        math.degrees(math.atan2(matrix[2, 1], matrix[2, 2])),
    ]


def write(path: Path, who: Person, rest: dict[str, Matrix], world: Matrix) -> Path:
    """The poses as a BVH file in which the axes of each joint in the T pose are `rest`, and the world is turned."""
    lines, order = ["HIERARCHY"], []

    def joint(name: str) -> None:
        parent, offset = who.offsets[name]
        own = rest[parent].T @ np.array(offset) if parent else np.zeros(3)
        lines.extend([f"{'JOINT' if parent else 'ROOT'} {who.names[name]}", "{", f"OFFSET {' '.join(map(str, own))}"])
        channels = "3 " if parent else "6 Xposition Yposition Zposition "
        lines.append(f"CHANNELS {channels}Zrotation Yrotation Xrotation")
        order.append(name)
        for child in who.children(name):
            joint(child)
        if not who.children(name):
            lines.extend(["End Site", "{", "OFFSET 1 0 0", "}"])
        lines.append("}")

    joint("hips")
    rows = []
    for frame, pose in enumerate(poses()):
        row = list(world @ np.array([0.0, 90.0, 10.0 * frame]))
        for name in order:
            parent = who.offsets[name][0]
            turned = pose.get(name, np.eye(3)) @ rest[name]
            row += euler(rest[parent].T @ turned if parent else world @ turned)
        rows.append(" ".join(f"{value:.9f}" for value in row))
    lines += ["MOTION", f"Frames: {len(rows)}", "Frame Time: 0.0333333", *rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def bones_along_x(who: Person) -> dict[str, Matrix]:
    """Axes with x along each bone, as LAFAN1's and Rokoko's; twisted about it, which no position shows."""
    axes, twists = {}, np.random.default_rng(1)
    for name in who.offsets:
        children = who.children(name)
        bone = np.array(who.offsets[children[0]][1] if children else who.offsets[name][1])
        x = bone / np.linalg.norm(bone) if np.linalg.norm(bone) else np.array([0.0, 1.0, 0.0])
        z = np.cross(x, [0.3, 0.5, 0.8])
        z /= np.linalg.norm(z)
        axes[name] = np.stack([x, np.cross(z, x), z], axis=1) @ turn("x", float(twists.uniform(-180, 180)))
    return axes


def hanging_arms(who: Person) -> dict[str, Matrix]:
    """A rest pose with hanging arms: the axes of arms are the file's there, and so turned up in the T pose."""
    up = {"left": turn("z", 90), "right": turn("z", -90)}
    arms = ("arm", "forearm", "hand")
    return {
        name: up[name.split("_")[0]] if name.split("_")[-1] in arms and "_" in name else np.eye(3)
        for name in who.offsets
    }


def t_pose(who: Person) -> dict[str, Matrix]:
    return {name: np.eye(3) for name in who.offsets}


def expected(who: Person) -> list[dict[str, Any]]:
    """Directions of limbs in the character's axes (x ahead, y left, z up), by forward kinematics of the poses."""
    limbs = {f"{s}_{b}": f"{s}_{j}" for s in ("left", "right") for b, j in (
        ("upper_arm", "arm"), ("lower_arm", "forearm"), ("thigh", "leg"), ("shin", "shin"))}  # fmt: skip
    directions = []
    for pose in poses():
        turns: dict[str, Matrix] = {}
        for name, (parent, _) in who.offsets.items():
            own = pose.get(name, np.eye(3))
            turns[name] = turns[parent] @ own if parent else own
        frame = {}
        for body, joint in limbs.items():
            (child,) = who.children(joint)
            bone = turns[joint] @ np.array(who.offsets[child][1])
            frame[body] = (bone / np.linalg.norm(bone))[[2, 0, 1]]
        directions.append(frame)
    return directions


def read(path: Path, mapping: str | None = None) -> SourceClip:
    (clip,) = bvh_clips(load_bvh(path), path, ReadOptions(SKELETON, mapping=mapping)).values()
    return clip


def limb_errors(clip: SourceClip, who: Person) -> dict[str, float]:
    """Greatest angle between each limb of the clip and of the person, degrees."""
    pose = clip.root_pos.float(), clip.root_rot.float(), clip.joint_rot.float()
    places = SKELETON.forward_kinematics(*pose)[0].double().numpy()
    ends = {"upper_arm": "lower_arm", "lower_arm": "hand", "thigh": "shin", "shin": "foot"}
    errors: dict[str, float] = {}
    for frame, directions in enumerate(expected(who)):
        for body, direction in directions.items():
            side, _, part = body.partition("_")
            bone = places[frame, BODIES.index(f"{side}_{ends[part]}")] - places[frame, BODIES.index(body)]
            cosine = float(bone @ direction / np.linalg.norm(bone))
            errors[body] = max(errors.get(body, 0.0), math.degrees(math.acos(min(1.0, cosine))))
    return errors


RESTS = {"t pose": t_pose, "hanging arms": hanging_arms, "bones along x": bones_along_x}


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("who", [LAFAN1, XSENS, MIXAMO], ids=["lafan1", "xsens", "mixamo"])
@pytest.mark.parametrize("up", ["y", "z"])
def test_limbs_point_where_the_persons_do(tmp_path: Path, who: Person, rest: str, up: str) -> None:
    """Elbows and knees are hinges, so that their limbs show whether bodies are turned rightly about their bones."""
    world = np.eye(3) if up == "y" else turn("x", 90)
    axes = {name: own if rest == "bones along x" else world.T @ own for name, own in RESTS[rest](who).items()}
    clip = read(write(tmp_path / "step.bvh", who, axes, world))
    errors = limb_errors(clip, who)
    assert max(errors[body] for body in errors if "arm" not in body) < 6.0, errors
    assert max(errors.values()) < 12.0, errors
    np.testing.assert_allclose(clip.root_pos[:, 0] - clip.root_pos[0, 0], 0.1 * np.arange(3) * 0.99, atol=0.02)
    doubtful = any("no standing pose" in note for note in clip.notes)
    assert doubtful == (rest == "bones along x")


def test_arms_that_hang_in_the_rest_pose_are_named(tmp_path: Path) -> None:
    clip = read(write(tmp_path / "step.bvh", LAFAN1, hanging_arms(LAFAN1), np.eye(3)))
    (note,) = [note for note in clip.notes if "degrees" in note]
    assert "right_upper_arm (90), left_upper_arm (90)" in note and "thigh" not in note


def test_the_unit_is_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "step.bvh", LAFAN1, t_pose(LAFAN1), np.eye(3))
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("bodies: {pelvis: Hips, right_thigh: RightUpLeg, right_shin: RightLeg, right_foot: RightFoot}\n")
    (note,) = read(path, str(mapping)).notes
    assert "with scale 1 its limbs are 1e+02 times the character's; scale 0.01 fits" in note
    mapping.write_text(f"scale: 0.01\n{mapping.read_text()}")
    assert read(path, str(mapping)).notes == ()


def test_an_unknown_ready_mapping_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "step.bvh", LAFAN1, t_pose(LAFAN1), np.eye(3))
    with pytest.raises(InputError, match=r"--mapping lafan2: is neither a YAML file nor one of lafan1, mixamo, rokoko"):
        read(path, "lafan2")
    with pytest.raises(InputError, match=r"--mapping xsens: key 'bodies.torso': .* has no joint 'Chest4'"):
        read(path, "xsens")


def test_our_own_files_need_no_mapping(tmp_path: Path) -> None:
    motion = generate_motion(MotionSpec("turn", 3, 2.0), SKELETON, "turn")
    text = HUMANOID.read_text()
    path = tmp_path / "turn.bvh"
    path.write_bytes(FORMATS["bvh"].content(Recording(motion, SKELETON, (), text, str(HUMANOID))))
    clip = read(path)
    np.testing.assert_allclose(clip.root_pos, motion.root_pos, atol=1e-5)
    for own, other in ((clip.root_rot, motion.root_rot), (clip.joint_rot, motion.joint_rot)):
        assert np.abs((own.numpy() * other).sum(-1)).min() > 1 - 1e-6
    assert clip.notes == ()
