"""SMPL poses on characters, against the definition of SMPL's kinematic tree in its own axes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parc_ray.character.skeleton import load_skeleton, parse_skeleton
from parc_ray.errors import InputError
from parc_ray.motions import importers
from parc_ray.motions.importers.clip import ReadOptions, SourceClip
from tests.reference import HUMANOID

PARENTS = {
    **{"L_Hip": "Pelvis", "L_Knee": "L_Hip", "L_Ankle": "L_Knee", "L_Toe": "L_Ankle", "R_Hip": "Pelvis"},
    **{"R_Knee": "R_Hip", "R_Ankle": "R_Knee", "R_Toe": "R_Ankle", "Torso": "Pelvis", "Spine": "Torso"},
    **{"Chest": "Spine", "Neck": "Chest", "Head": "Neck", "L_Thorax": "Chest", "L_Shoulder": "L_Thorax"},
    **{"L_Elbow": "L_Shoulder", "L_Wrist": "L_Elbow", "L_Hand": "L_Wrist", "R_Thorax": "Chest"},
    **{"R_Shoulder": "R_Thorax", "R_Elbow": "R_Shoulder", "R_Wrist": "R_Elbow", "R_Hand": "R_Wrist"},
}
"""In the order of PHC's MJCF."""
ORDER = "Pelvis L_Hip R_Hip Torso L_Knee R_Knee Spine L_Ankle R_Ankle Chest L_Toe R_Toe Neck L_Thorax R_Thorax Head "
ORDER += "L_Shoulder R_Shoulder L_Elbow R_Elbow L_Wrist R_Wrist L_Hand R_Hand"
"""SMPL's own order."""


def offsets() -> dict[str, Any]:
    """Bones in SMPL's axes (x left, y up, z ahead)."""
    rng = np.random.default_rng(2)
    return {name: rng.normal(scale=0.2, size=3) for name in PARENTS}


def mjcf() -> str:
    """A character with SMPL's bodies, z up, x ahead, as PHC's: x is SMPL's z, y its x, and z its y."""

    def body(name: str) -> str:
        offset = offsets()[name] if name in PARENTS else np.zeros(3)
        place = " ".join(f"{value:.9f}" for value in offset[[2, 0, 1]])
        joint = "<freejoint/>" if name == "Pelvis" else ""
        for axis, text in zip("xyz", ("1 0 0", "0 1 0", "0 0 1")):
            joint += f'<joint name="{name}_{axis}" axis="{text}" range="-180 180"/>' if name != "Pelvis" else ""
        children = "".join(body(child) for child, parent in PARENTS.items() if parent == name)
        return f'<body name="{name}" pos="{place}">{joint}<geom size=".05"/>{children}</body>'

    return f"<mujoco><worldbody>{body('Pelvis')}</worldbody></mujoco>"


def rodrigues(vector: Any) -> Any:
    angle = np.linalg.norm(vector)
    x, y, z = vector / angle
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * skew + (1 - math.cos(angle)) * skew @ skew


def read(path: Path, options: ReadOptions) -> SourceClip:
    form, content = importers.open_clips(path, None)
    (clip,) = form.clips(content, path, options).values()
    return clip


@pytest.mark.parametrize("keys", ["poses", "pose_body"])
def test_bodies_lie_where_smpl_has_its_joints(tmp_path: Path, keys: str) -> None:
    rng = np.random.default_rng(3)
    poses, trans = rng.normal(scale=0.6, size=(4, 156)), rng.normal(size=(4, 3))
    path, rate = tmp_path / "walk.npz", {"mocap_framerate": np.array(120.0), "betas": np.zeros(16)}
    if keys == "poses":
        np.savez(path, poses=poses, trans=trans, gender=np.array("male"), **rate)
    else:
        np.savez(path, root_orient=poses[:, :3], pose_body=poses[:, 3:66], trans=trans, **rate)
    skeleton = parse_skeleton(mjcf(), "smpl.xml")
    clip = read(path, ReadOptions(skeleton))
    np.testing.assert_allclose(clip.times, np.arange(4) / 120.0)
    pose = clip.root_pos.float(), clip.root_rot.float(), clip.joint_rot.float()
    found = skeleton.forward_kinematics(*pose)[0].numpy()
    names = ORDER.split()
    for frame in range(4):
        turns, places = {"Pelvis": rodrigues(poses[frame, :3])}, {"Pelvis": trans[frame]}
        for name, parent in PARENTS.items():
            joint = names.index(name)
            turn = rodrigues(poses[frame, 3 * joint : 3 * joint + 3]) if joint < 22 else np.eye(3)
            turns[name] = turns[parent] @ turn
            places[name] = places[parent] + turns[parent] @ offsets()[name]
        for name, place in places.items():
            np.testing.assert_allclose(found[frame, skeleton.body_index(name)], place, atol=1e-5, err_msg=name)


def test_parcs_humanoid_takes_the_rotations_of_smpls_joints(tmp_path: Path) -> None:
    """A person who looks along y of the world, raises the left arm to the front, and bends the right knee."""
    poses = np.zeros((2, 72))
    poses[:, :3] = math.pi * np.array([0.0, 1.0, 1.0]) / math.sqrt(2.0)  # z ahead becomes y, y up z, and x left -x
    names = ORDER.split()
    poses[:, 3 * names.index("L_Shoulder") + 1] = -math.pi / 2
    poses[:, 3 * names.index("R_Knee")] = 1.0
    np.savez(tmp_path / "arm.npz", poses=poses, trans=np.zeros((2, 3)), mocap_frame_rate=30)
    skeleton = load_skeleton(HUMANOID)
    clip = read(tmp_path / "arm.npz", ReadOptions(skeleton))
    found = skeleton.forward_kinematics(clip.root_pos.float(), clip.root_rot.float(), clip.joint_rot.float())[0][0]
    place = {name: found[index].numpy() for index, name in enumerate(skeleton.body_names)}
    assert place["head"][2] > 0.4
    np.testing.assert_allclose(place["left_thigh"] - place["right_thigh"], [-0.169774, 0, 0], atol=1e-5)
    np.testing.assert_allclose(place["left_hand"] - place["left_upper_arm"], [0, 0.533735, 0], atol=1e-5)
    np.testing.assert_allclose(place["right_hand"] - place["right_upper_arm"], [0.533735, 0, 0], atol=1e-5)
    shin = place["right_foot"] - place["right_shin"]
    np.testing.assert_allclose(shin, [0, -0.40987 * math.sin(1.0), -0.40987 * math.cos(1.0)], atol=1e-5)


def test_a_character_of_another_build_is_refused(tmp_path: Path) -> None:
    text = mjcf().replace("Spine", "Back")
    np.savez(tmp_path / "walk.npz", poses=np.zeros((2, 72)), trans=np.zeros((2, 3)), mocap_framerate=30)
    with pytest.raises(InputError, match=r"has neither SMPL's bodies .* nor PARC's"):
        read(tmp_path / "walk.npz", ReadOptions(parse_skeleton(text, "other.xml")))
    np.savez(tmp_path / "walk.npz", poses=np.zeros((2, 40)), trans=np.zeros((2, 3)), mocap_framerate=30)
    with pytest.raises(InputError, match="its poses have 40 numbers per frame"):
        read(tmp_path / "walk.npz", ReadOptions(parse_skeleton(mjcf(), "smpl.xml")))
