from __future__ import annotations

import dataclasses
import math
from typing import List

import mujoco
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.character.rotations import quat_rotate
from parc_ray.character.skeleton import load_skeleton, parse_skeleton
from parc_ray.errors import InputError
from parc_ray.motions.motion_file import Motion
from parc_ray.motions.synthetic import (
    BODY_MASSES,
    FEASIBLE_KINDS,
    IMPOSSIBLE_KINDS,
    MotionSpec,
    demo_motions,
    generate_motion,
    generate_motions,
)
from tests.reference import HUMANOID

SKELETON = load_skeleton(HUMANOID)
MODEL = mujoco.MjModel.from_xml_path(str(HUMANOID))
FEET = [SKELETON.body_index("right_foot"), SKELETON.body_index("left_foot")]
FRACTIONS = (0.0, 0.25, 0.5, 0.75)

feasible_specs = st.builds(
    MotionSpec,
    kind=st.sampled_from(FEASIBLE_KINDS),
    seed=st.integers(0, 2**31),
    seconds=st.floats(1.0, 10.0),
    on_blocks=st.booleans(),
)


def bodies(motion: Motion):
    pose = (torch.from_numpy(part) for part in (motion.root_pos, motion.root_rot, motion.joint_rot))
    return SKELETON.forward_kinematics(*pose)


def sole_corners(motion: Motion) -> np.ndarray:
    """[n, 2 feet, 4 corners, 3], from the box that the character file gives a foot."""
    body_pos, body_rot = bodies(motion)
    foot = MODEL.geom("right_foot")
    corners = [foot.pos + foot.size * (x, y, -1) for x in (-1, 1) for y in (-1, 1)]
    corners = torch.tensor(np.array(corners), dtype=torch.float32).expand(motion.num_frames, 2, 4, 3)
    turned = quat_rotate(body_rot[:, FEET, None].expand(-1, -1, 4, 4), corners)
    return (body_pos[:, FEET, None] + turned).numpy()


def sole_gaps(motion: Motion) -> np.ndarray:
    """Height of every sole corner above the ground [n, 2, 4]."""
    corners = sole_corners(motion)
    return corners[..., 2] - motion.terrain.height_at(corners[..., :2])


def centre_of_mass(motion: Motion) -> np.ndarray:
    """[n, 3], with the masses that MuJoCo computes."""
    body_pos, body_rot = bodies(motion)
    local = torch.tensor(MODEL.body_ipos[1:], dtype=torch.float32).expand_as(body_pos)
    points = (body_pos + quat_rotate(body_rot, local)).numpy()
    return np.average(points, axis=1, weights=MODEL.body_mass[1:])


def speeds(points: np.ndarray) -> np.ndarray:
    """m/s between frames, [n - 1]."""
    return 30.0 * np.linalg.norm(np.diff(points, axis=0), axis=-1)


def parts(motion: Motion) -> List[bytes]:
    terrain = motion.terrain
    arrays = (motion.root_pos, motion.root_rot, motion.joint_rot, motion.contacts)
    return [array.tobytes() for array in (*arrays, terrain.hf, terrain.hf_maxmin, terrain.min_point)]


def test_character_has_the_published_masses():
    expected = {"pelvis": 9.996, "torso": 12.012, "head": 3.882, "right_thigh": 4.744, "left_foot": 1.0}
    assert MODEL.body_mass.sum() == pytest.approx(50.048, abs=5e-4)
    for name, mass in expected.items():
        assert MODEL.body(name).mass[0] == pytest.approx(mass, abs=6e-4)
    assert MODEL.body("pelvis").ipos == pytest.approx([0.0, 0.0, 0.11319], abs=1e-5)


def test_generator_balances_the_masses_of_the_character():
    for name, (mass, centre) in BODY_MASSES.items():
        assert MODEL.body(name).mass[0] == pytest.approx(mass, abs=1e-3)
        assert MODEL.body(name).ipos == pytest.approx(centre, abs=1e-4)


@settings(deadline=None, max_examples=40)
@given(feasible_specs)
def test_feasible_motion_could_be_done_by_a_body(spec: MotionSpec):
    motion = generate_motion(spec, SKELETON, "m")
    corners, gaps = sole_corners(motion), sole_gaps(motion)

    assert motion.num_frames == round(spec.seconds * 30) + 1
    assert (motion.fps, motion.loop_mode) == (30, "CLAMP")
    assert gaps.min() > 0.0 and gaps.max() < 0.005
    assert np.abs(corners - corners[0]).max() < 0.001
    assert (motion.contacts[:, FEET] == 1).all()
    assert motion.contacts.sum() == 2 * motion.num_frames

    dof = SKELETON.rot_to_dof(torch.from_numpy(motion.joint_rot)).numpy()
    lower = np.array([limit for joint in SKELETON.joints for limit in joint.lower])
    upper = np.array([limit for joint in SKELETON.joints for limit in joint.upper])
    assert (dof > lower).all() and (dof < upper).all()

    velocity = 30.0 * np.diff(dof, axis=0)
    assert np.abs(velocity).max() < 6.0
    assert np.abs(velocity[[0, -1]]).max() < 0.5
    assert np.abs(np.diff(velocity, axis=0)).max() < 1.2
    assert speeds(motion.root_pos).max() < 0.8


@settings(deadline=None, max_examples=20)
@given(feasible_specs)
def test_feasible_motion_keeps_its_balance(spec: MotionSpec):
    motion = generate_motion(spec, SKELETON, "m")
    body_pos, body_rot = bodies(motion)
    feet = body_rot[:, FEET].numpy()
    heading = np.unwrap(2.0 * np.arctan2(feet[..., 2], feet[..., 3]), axis=1).mean(axis=1)
    offset = centre_of_mass(motion)[:, :2] - body_pos[:, FEET, :2].numpy().mean(axis=1)
    ahead = np.cos(heading) * offset[:, 0] + np.sin(heading) * offset[:, 1]
    aside = np.cos(heading) * offset[:, 1] - np.sin(heading) * offset[:, 0]
    # The soles reach from 0.0435 m behind the ankles to 0.1335 m ahead, the feet 0.16 m to both sides.
    assert ahead.min() > 0.0 and ahead.max() < 0.09
    assert np.abs(aside).max() < 0.08


def test_blocks_are_blocky_and_feet_may_stand_on_different_heights():
    motions = [generate_motion(MotionSpec("stand", seed, 1.0, True), SKELETON, "m") for seed in range(20)]
    steps = set()
    for motion in motions:
        ground = motion.terrain.height_at(sole_corners(motion)[0, :, :, :2])
        assert (ground == ground[:, :1]).all()
        assert ground.min() >= 0.05 and ground.max() <= 0.25 + 1e-6
        steps.add(round(float(abs(ground[0, 0] - ground[1, 0])), 2))
        assert motion.terrain.dx == 0.4
        assert len(np.unique(motion.terrain.hf)) > 3
        assert motion.terrain.hf.min() >= 0.0 and motion.terrain.hf.max() <= 0.25 + 1e-6
    assert steps == {0.0, 0.05, 0.1}
    assert generate_motion(MotionSpec("stand", 0), SKELETON, "m").terrain.is_flat


def test_terrain_reaches_beyond_every_motion():
    for motion in demo_motions(SKELETON):
        edges = (
            motion.terrain.min_point - 0.2,
            motion.terrain.min_point + 0.4 * np.array(motion.terrain.hf.shape),
        )
        assert (motion.root_pos[:, :2] - edges[0] > 1.2).all()
        assert (edges[1] - motion.root_pos[:, :2] > 1.2).all()


@pytest.mark.parametrize("on_blocks", [False, True])
@pytest.mark.parametrize("seconds", [2.0, 3.0, 7.3])
@pytest.mark.parametrize("kind", IMPOSSIBLE_KINDS)
def test_impossible_motion_is_impossible_from_every_start(kind: str, seconds: float, on_blocks: bool):
    motion = generate_motion(MotionSpec(kind, 3, seconds, on_blocks), SKELETON, "m")
    up = quat_rotate(torch.from_numpy(motion.root_rot), torch.tensor([0.0, 0.0, 1.0])).numpy()
    starts = [math.floor(fraction * (motion.num_frames - 1)) for fraction in FRACTIONS]
    for start in (start for start in starts if start < motion.num_frames - 20):
        root, feet = motion.root_pos[start:], motion.contacts[start:, FEET]
        if kind == "fly":
            # In half a second without support a body drops by 1.2 m.
            assert (feet[-15:] == 0).all() and np.ptp(root[-15:, 2]) < 0.05
        elif kind == "hover":
            assert (feet == 0).all() and sole_gaps(motion)[start:].min() > 0.15
        elif kind == "leap":
            assert np.linalg.norm(root[14:] - root[:-14], axis=-1).max() > 3.0
        else:
            rises = root[5:, 2] - root[:-5, 2]
            assert rises.max() > 0.5 or rises.min() < -0.5
            assert (up[start:] @ up[start:].T).min() < 0.01


@pytest.mark.parametrize("feasible_from", [0.25, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_late_motion_is_impossible_only_before_its_feasible_part(feasible_from: float, seed: int):
    for kind in FEASIBLE_KINDS:
        spec = MotionSpec(kind, seed, 4.0, on_blocks=seed % 2 == 1, feasible_from=feasible_from)
        motion = generate_motion(spec, SKELETON, "m")
        start = round(feasible_from * (motion.num_frames - 1))
        assert speeds(motion.root_pos[: start + 1]).max() > 7.0
        assert np.linalg.norm(motion.root_pos[start] - motion.root_pos[0]) > 1.5
        assert speeds(motion.root_pos[start:]).max() < 0.8
        assert (motion.contacts[start:, FEET] == 1).all()
        if feasible_from == 0.5:
            assert speeds(motion.root_pos[motion.num_frames // 4 :]).max() > 7.0


def test_labels_agree_with_the_feet():
    for motion in demo_motions(SKELETON):
        corners, gaps, planted = sole_corners(motion), sole_gaps(motion), motion.contacts[:, FEET] == 1
        if planted.any():
            assert gaps[planted].min() > 0.0 and gaps[planted].max() < 0.005
        steps = np.linalg.norm(np.diff(corners, axis=0), axis=-1).max(axis=-1)
        both = planted[1:] & planted[:-1]
        assert not both.any() or steps[both].max() < 1e-4
        # Without a label a foot moves, or is off the ground.
        moving = np.maximum(np.pad(steps, ((1, 0), (0, 0))), np.pad(steps, ((0, 1), (0, 0)))) > 5e-6
        assert (moving | (gaps.max(axis=-1) > 0.005))[~planted].all()
        others = [body for body in range(SKELETON.num_bodies) if body not in FEET]
        assert (motion.contacts[:, others] == 0).all()


def test_motion_follows_from_its_spec_alone():
    spec = MotionSpec("reach", 11, 2.5, on_blocks=True)
    first = parts(generate_motion(spec, SKELETON, "a"))
    assert first == parts(generate_motion(spec, SKELETON, "b"))
    assert first[0] != parts(generate_motion(dataclasses.replace(spec, seed=12), SKELETON, "a"))[0]
    np.random.seed(1)
    torch.manual_seed(1)
    assert first == parts(generate_motion(spec, SKELETON, "a"))


def test_demo_holds_all_three_sorts():
    motions = demo_motions(SKELETON)
    names = [motion.name for motion in motions]
    impossible = [name for name in names if name.split("_")[1] in IMPOSSIBLE_KINDS]
    late = [motion for motion in motions if motion.name.startswith("demo_late_")]
    feasible = [motion for motion in motions if motion not in late and motion.name not in impossible]
    assert (len(feasible), len(impossible), len(late)) == (15, 4, 7)
    assert len(set(names)) == 26 and "demo_stand_flat_000" in names
    assert sum("_blocks_" in motion.name for motion in feasible) == 7
    assert {motion.name.split("_")[1] for motion in feasible} == set(FEASIBLE_KINDS)
    assert {name.split("_")[1] for name in impossible} == set(IMPOSSIBLE_KINDS)
    assert all(2.0 <= motion.length <= 4.0 for motion in feasible)
    fractions = set()
    for motion in late:
        calm = [f for f in FRACTIONS if speeds(motion.root_pos[math.floor(f * motion.num_frames) :]).max() < 1.0]
        fraction = min(calm)
        fractions.add(fraction)
        assert 2.0 <= (1.0 - fraction) * motion.length <= 3.0
    assert fractions == {0.25, 0.5, 0.75}
    again = demo_motions(SKELETON)
    assert [parts(motion) for motion in motions] == [parts(motion) for motion in again]
    other = demo_motions(SKELETON, seed=1)
    assert all(parts(a)[0] != parts(b)[0] for a, b in zip(motions, other))


def test_generated_motions_for_benchmarks():
    motions = list(generate_motions(30, 7, SKELETON, seconds=(2.0, 4.0), impossible_start_share=1 / 3))
    assert len({motion.name for motion in motions}) == 30
    assert all(1.98 <= motion.length <= 4.02 for motion in motions)
    late = [motion for motion in motions if "_late_" in motion.name]
    assert len(late) == 10
    assert all(speeds(motion.root_pos).max() > 7.0 for motion in late)
    assert all(speeds(motion.root_pos).max() < 0.8 for motion in motions if motion not in late)
    prefix = generate_motions(3, 7, SKELETON, seconds=(2.0, 4.0), impossible_start_share=1 / 3)
    assert [parts(motion) for motion in prefix] == [parts(motion) for motion in motions[:3]]


def test_motions_lie_anywhere_in_their_frame():
    starts = np.array([motion.root_pos[0, :2] for motion in generate_motions(20, 0, SKELETON, (1.0, 1.0))])
    assert (starts.std(axis=0) > 0.5).all()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (MotionSpec("moonwalk", 0), "moonwalk"),
        (MotionSpec("stand", 0, seconds=0.5), "at least 1 second"),
        (MotionSpec("stand", 0, seconds=math.nan), "at least 1 second"),
        (MotionSpec("stand", 0, feasible_from=1.0), "feasible_from"),
    ],
)
def test_bad_spec_is_refused(spec: MotionSpec, message: str):
    with pytest.raises(InputError, match=message):
        generate_motion(spec, SKELETON, "m")


def test_other_characters_are_refused():
    text = (
        '<mujoco><worldbody><body name="a"><freejoint/><body name="b">'
        '<joint name="j" range="-1 1"/></body></body></worldbody></mujoco>'
    )
    with pytest.raises(InputError, match="a, b"):
        generate_motion(MotionSpec("stand", 0), parse_skeleton(text, "inline"), "m")
