"""Generated motions against MuJoCo's geometry and masses, and against what their specs say. Bounds hold at 30 fps."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parc_ray.character.skeleton import parse_skeleton
from parc_ray.demo.footsteps import MOTION_KINDS
from parc_ray.demo.generator import MotionSpec, demo_motions, generate_motion, generate_motions
from parc_ray.errors import InputError
from parc_ray.motions.motion import Motion
from tests.demo.measures import (
    FEET,
    FPS,
    GRAVITY,
    SKELETON,
    TOES,
    Measured,
    collisions,
    joint_limits,
    measure,
    measured,
    speeds,
)

SAMPLE = [
    MotionSpec(kind, seed, 4.0, d) for kind in MOTION_KINDS for d, seed in ((0.0, 1), (0.5, 2), (1.0, 1), (1.0, 2))
]
FRACTIONS = (0.0, 0.25, 0.5, 0.75)
GRAZE = 0.03
"""Bodies other than planted feet pass blocks and each other; they may graze them so deep, m"""

specs = st.builds(
    MotionSpec,
    kind=st.sampled_from(MOTION_KINDS),
    seed=st.integers(0, 2**31),
    seconds=st.floats(1.0, 3.0),
    difficulty=st.floats(0.0, 1.0),
)


def parts(motion: Motion) -> list[bytes]:
    terrain = motion.terrain
    arrays = (motion.root_pos, motion.root_rot, motion.joint_rot, motion.contacts)
    return [array.tobytes() for array in (*arrays, terrain.hf, terrain.hf_maxmin, terrain.min_point)]


def headings(motion: Motion) -> np.ndarray:
    """[n] rad, unwrapped."""
    return np.unwrap(2.0 * np.arctan2(motion.root_rot[:, 2], motion.root_rot[:, 3]))


def travelled(spec: MotionSpec) -> float:
    """Mean speed along the path, m/s."""
    return float(speeds(measured(spec).centre[:, :2]).mean())


# ------------------------------------------------------------------------------------- what a body could do


def assert_feet_do_not_skate(m: Measured) -> None:
    """Toes stay where they are as long as a foot is planted, and heels until 0.2 s before it leaves."""
    assert m.gaps.min() > 0.0005, "a sole is in the ground"
    assert m.gaps[:, :, TOES][m.planted].max() < 0.005
    down = m.planted & ~m.lift_off(0.2)
    assert m.gaps[down].max(initial=0.0) < 0.005
    still = m.planted[1:] & m.planted[:-1], down[1:] & down[:-1]
    moved = np.linalg.norm(np.diff(m.corners, axis=0), axis=-1)
    assert moved[:, :, TOES][still[0]].max(initial=0.0) < 1e-4
    assert moved[still[1]].max(initial=0.0) < 1e-4
    # What is not planted moves: labels are not merely cautious.
    swung = np.linalg.norm(m.corners[2:] - m.corners[:-2], axis=-1).max(axis=-1)
    assert (swung[~m.planted[1:-1]] > 1e-5).all()


def assert_labels_are_the_feets(m: Measured) -> None:
    contacts = m.motion.contacts
    assert set(np.unique(contacts)) <= {0.0, 1.0}
    assert not np.delete(contacts, FEET, axis=1).any()
    assert m.planted.any(axis=1).all(), "one foot always stands"


def assert_nothing_is_inside_anything(m: Measured) -> None:
    touching = collisions(m.motion, every=2)
    assert min(touching.values(), default=0.0) > -GRAZE, touching


def assert_moves_like_a_body(m: Measured, difficulty: float) -> None:
    joint_rot = torch.from_numpy(m.motion.joint_rot)
    dof, (lower, upper) = SKELETON.rot_to_dof(joint_rot).numpy(), joint_limits()
    assert (dof > lower).all() and (dof < upper).all()
    velocity = SKELETON.dof_velocity(joint_rot[:-1], joint_rot[1:], 1.0 / FPS).numpy()
    assert np.abs(velocity).max() < 14.0 + 6.0 * difficulty
    root = FPS**2 * np.linalg.norm(np.diff(m.motion.root_pos, n=2, axis=0), axis=-1)
    assert root.max() < 14.0 + 8.0 * difficulty
    assert speeds(m.motion.root_pos).max() < 2.2
    assert speeds(m.corners).max() < 9.0


def assert_keeps_its_balance(m: Measured) -> None:
    """The ground can only push, along a line within its friction, from inside the soles that stand on it.

    The zero-moment point is where the ground's force attacks a body whose angular momentum does not change.
    """
    acceleration = FPS**2 * np.diff(m.centre, n=2, axis=0)
    push = GRAVITY + acceleration[:, 2]
    assert push.min() > 2.0 and push.max() < 2.0 * GRAVITY
    assert (np.linalg.norm(acceleration[:, :2], axis=1) < 0.5 * push).all()

    angles = np.arange(0.0, 2.0 * np.pi, np.pi / 36)
    directions = np.stack([np.cos(angles), np.sin(angles)])
    outside = []
    for centre, lean, weight, corners, planted in zip(
        m.centre[1:-1], acceleration, push, m.corners[1:-1], m.planted[1:-1]
    ):
        soles = corners[planted].reshape(-1, 3)
        attack = centre[:2] - (centre[2] - soles[:, 2].mean()) / weight * lean[:2]
        outside.append((attack @ directions - (soles[:, :2] @ directions).max(axis=0)).max())
    assert np.mean(np.array(outside) > 0.03) < 0.07
    assert np.max(outside * push / GRAVITY) < 0.08, "so far (m) the whole weight would have to act outside the soles"


def assert_lies_on_its_terrain(m: Measured) -> None:
    terrain = m.motion.terrain
    low = terrain.min_point - 0.2
    high = low + 0.4 * np.array(terrain.hf.shape)
    assert (m.positions[..., :2] - low > 1.2).all() and (high - m.positions[..., :2] > 1.2).all()
    assert terrain.dx == 0.4 and terrain.hf.min() >= 0.0


def assert_is_sound(spec: MotionSpec, m: Measured) -> None:
    assert m.motion.num_frames == round(spec.seconds * FPS) + 1 == spec.num_frames
    assert (m.motion.fps, m.motion.loop_mode) == (30.0, "CLAMP")
    assert_feet_do_not_skate(m)
    assert_labels_are_the_feets(m)
    assert_nothing_is_inside_anything(m)
    assert_moves_like_a_body(m, spec.difficulty)
    assert_keeps_its_balance(m)
    assert_lies_on_its_terrain(m)


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(specs)
@example(MotionSpec("turn", 1759114058, 7.369712731636079, 1.0))  # a block's corner between those of a sole
@example(MotionSpec("idle", 0, 1.0, 0.0))
def test_a_body_could_do_it(spec: MotionSpec):
    assert_is_sound(spec, measure(generate_motion(spec, SKELETON, "m")))


@pytest.mark.parametrize("spec", SAMPLE, ids=lambda spec: f"{spec.label}-{spec.seed}")
def test_a_body_could_do_any_kind_at_any_difficulty(spec: MotionSpec):
    assert_is_sound(spec, measured(spec))


def test_mostly_not_even_grazing():
    grazing = [
        spec for spec in SAMPLE if any(depth < -0.001 for depth in collisions(measured(spec).motion, 2).values())
    ]
    assert len(grazing) <= 3


# ------------------------------------------------------------------------------------ what the kinds promise


def of(kind: str, difficulty: float) -> list[MotionSpec]:
    return [MotionSpec(kind, seed, 4.0, difficulty) for seed in (1, 2, 3)]


def test_idlers_stay():
    for spec in of("idle", 0.5):
        root = measured(spec).motion.root_pos[:, :2]
        assert np.linalg.norm(root - root[0], axis=1).max() < 0.3


@pytest.mark.parametrize(
    ("kind", "slow", "fast"), [("walk", (0.25, 0.6), (0.4, 0.85)), ("fast_walk", (0.5, 0.95), (0.8, 1.4))]
)
def test_walks_travel_and_the_faster_the_more_difficult(kind: str, slow, fast):
    medians = []
    for difficulty, (low, high) in ((0.0, slow), (1.0, fast)):
        medians.append(np.median([travelled(spec) for spec in of(kind, difficulty)]))
        assert low < medians[-1] < high
    assert medians[1] > 1.2 * medians[0]


def test_turners_turn_on_the_spot():
    for spec in of("turn", 0.5):
        root, heading = measured(spec).motion.root_pos[:, :2], headings(measured(spec).motion)
        assert np.linalg.norm(root - root[0], axis=1).max() < 1.0
        assert np.abs(heading - heading[0]).max() > 0.4


def test_walks_do_not_run_straight_on():
    for difficulty, least in ((0.0, 0.02), (1.0, 0.15)):
        turns = [np.ptp(headings(measured(spec).motion)) for spec in of("walk", difficulty)]
        assert np.median(turns) > least


def test_a_tour_does_several_things():
    """In half seconds: it stands, and it walks."""
    paces = []
    for spec in of("tour", 0.5):
        speed = speeds(measured(spec).centre[:, :2])
        paces += [part.mean() for part in np.array_split(speed, 8)]
    assert np.mean(np.array(paces) < 0.15) > 0.1 and np.mean(np.array(paces) > 0.35) > 0.1


def test_feet_go_up_and_down_and_higher_where_it_is_difficult():
    climbs = {}
    for difficulty in (0.0, 1.0):
        heights = []
        for spec in of("walk", difficulty) + of("fast_walk", difficulty):
            m = measured(spec)
            ground = [m.corners[m.planted[:, foot], foot, :, 2].min(axis=1) for foot in (0, 1)]
            heights += [np.diff(height) for height in ground]
        change = np.concatenate(heights)
        assert change.max() > 0.04 and change.min() < -0.04
        climbs[difficulty] = np.abs(change).max()
    assert climbs[0.0] < 0.12 < climbs[1.0] < 0.52


@pytest.mark.slow
def test_arms_swing_against_the_legs():
    """While walking, each hand is ahead when the foot of its side is behind."""
    hands = [SKELETON.body_index("right_hand"), SKELETON.body_index("left_hand")]
    for spec in of("fast_walk", 0.5):
        m = measured(spec)
        forward = m.axes[:, 0, :, 0]
        ahead = np.einsum("nbi,ni->nb", m.positions[:, hands + FEET] - m.positions[:, :1], forward)
        arms, legs = ahead[:, 0] - ahead[:, 1], ahead[:, 2] - ahead[:, 3]
        assert np.ptp(arms) > 0.1
        assert np.corrcoef(arms, legs)[0, 1] < -0.5


# ----------------------------------------------------------------------------------------------------- flaws


def flawed(flaw: str, seconds: float, kind: str = "walk", feasible_from: float = 0.0) -> Measured:
    return measured(MotionSpec(kind, 3, seconds, 0.2, flaw, feasible_from))


def starts_of(m: Measured) -> list[int]:
    """First frames of attempts that last at least 0.7 s."""
    frames = (math.floor(fraction * (m.motion.num_frames - 1)) for fraction in FRACTIONS)
    return [frame for frame in frames if frame < m.motion.num_frames - 21]


@pytest.mark.parametrize("kind", ["idle", "walk"])
@pytest.mark.parametrize("seconds", [2.0, 5.0])
def test_flying_cannot_be_tracked_from_any_start(kind: str, seconds: float):
    """In half a second without support a body drops by 1.2 m."""
    m = flawed("fly", seconds, kind)
    assert starts_of(m)
    assert not m.planted[-15:].any()
    assert m.gaps[-15:].min() > 1.0 and np.ptp(m.centre[-15:, 2]) < 0.5


@pytest.mark.parametrize("kind", ["idle", "walk"])
@pytest.mark.parametrize("seconds", [2.0, 5.0])
def test_tumbling_cannot_be_tracked_from_any_start(kind: str, seconds: float):
    """Who lies on the side is upright 0.15 s later."""
    m = flawed("tumble", seconds, kind)
    up = m.axes[:, 0, 2, 2]
    for start in starts_of(m):
        assert np.abs(up[start + 5 :] - up[start:-5]).max() > 0.9
    assert (up[-8:].min() > 0.95) or (up[-8:].max() < 0.3)


@pytest.mark.parametrize("kind", ["idle", "walk"])
def test_hovering_is_a_motion_whose_feet_never_touch_the_ground(kind: str):
    """A body need not fall under it, but its contacts cannot agree."""
    m = flawed("hover", 3.0, kind)
    ground = measured(MotionSpec(kind, 3, 3.0, 0.2))
    assert not m.motion.contacts.any()
    assert m.gaps.min() > 0.2
    assert np.abs(m.positions - ground.positions - [0.0, 0.0, 0.2]).max() < 1e-4


@pytest.mark.parametrize("feasible_from", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("kind", ["idle", "walk"])
def test_late_motions_float_only_before_their_feasible_part(kind: str, feasible_from: float):
    late = flawed("late", 4.0, kind, feasible_from)
    sound = measured(MotionSpec(kind, 3, 4.0, 0.2))
    start = math.floor(feasible_from * (late.motion.num_frames - 1))
    assert (late.motion.root_pos[start:] == sound.motion.root_pos[start:]).all()
    assert (late.motion.contacts[start:] == sound.motion.contacts[start:]).all()
    # From the ground it rises by itself, and whoever begins later begins in the air.
    assert late.planted[0].any() and not late.planted[3 : start - 5].any()
    for fraction in FRACTIONS:
        if 0.0 < fraction < feasible_from:
            assert late.gaps[math.floor(fraction * (late.motion.num_frames - 1))].min() > 1.0


def test_a_floating_foot_is_labelled_as_one():
    for flaw, feasible_from in (("late", 0.5), ("fly", 0.0), ("tumble", 0.0)):
        m = flawed(flaw, 4.0, "walk", feasible_from)
        assert m.gaps[m.planted].min() > -0.01
        assert m.gaps[:, :, TOES][m.planted].max() < 0.01


# --------------------------------------------------------------------------------------------- sets of motions


def test_motion_follows_from_its_spec_alone():
    spec = MotionSpec("tour", 11, 2.5, 0.8)
    first = parts(generate_motion(spec, SKELETON, "a"))
    for other in (dataclasses.replace(spec, seed=12), dataclasses.replace(spec, kind="walk")):
        assert first[0] != parts(generate_motion(other, SKELETON, "a"))[0]
    np.random.seed(1)
    torch.manual_seed(1)
    assert first == parts(generate_motion(spec, SKELETON, "b"))


@pytest.mark.slow
def test_the_demo_has_all_kinds_all_difficulties_and_all_flaws():
    motions = list(demo_motions(SKELETON))
    names = [motion.name for motion in motions]
    assert len(set(names)) == len(motions) == 48
    words = [name.split("_", 1)[1].rsplit("_", 2) for name in names]
    sound = [(kind, int(level[1:])) for kind, level, _ in words if kind in MOTION_KINDS]
    assert len(sound) == 40
    for kind in MOTION_KINDS:
        levels = [level for other, level in sound if other == kind]
        assert len(levels) == 8 and min(levels) < 12 and max(levels) > 88
    assert {level for _, level in sound} >= {0, 100}
    flaws = [kind.split("_")[0] for kind, _, _ in words if kind not in MOTION_KINDS]
    assert sorted(flaws) == ["fly", "hover", "hover", *["late"] * 4, "tumble"]
    lengths = np.array([motion.length for motion in motions])
    assert (lengths > 2.9).all() and (lengths < 8.7).all()
    for motion in motions[::6]:
        assert measure(motion).gaps.min() > -0.25


@pytest.mark.slow
def test_generated_motions_are_as_asked_for():
    settings = {"seconds": (2.0, 4.0), "difficulty": (0.2, 0.6), "late_share": 1 / 3}
    motions = list(generate_motions(15, 7, SKELETON, **settings))
    assert len({motion.name for motion in motions}) == 15
    assert all(1.98 <= motion.length <= 4.02 for motion in motions)
    levels = [int(motion.name.rsplit("_", 2)[1][1:]) for motion in motions]
    assert 20 <= min(levels) < 32 and 48 < max(levels) <= 60
    assert {kind for kind in MOTION_KINDS for motion in motions if f"_{kind}_" in motion.name} == set(MOTION_KINDS)
    floating = [not motion.contacts[8, FEET].any() for motion in motions]
    assert sum(floating) == sum("_late_" in motion.name for motion in motions) == 5
    assert all(("_late_" in motion.name) == floats for motion, floats in zip(motions, floating))
    prefix = generate_motions(2, 7, SKELETON, **settings)
    assert [parts(motion) for motion in prefix] == [parts(motion) for motion in motions[:2]]
    other = next(generate_motions(1, 8, SKELETON, **settings))
    assert parts(other)[0] != parts(motions[0])[0]


def test_motions_lie_anywhere_in_their_frame():
    """So that a mix-up of frames shows in every use of them."""
    starts = np.array([motion.root_pos[0, :2] for motion in generate_motions(8, 0, SKELETON, (1.0, 1.0), (0.0, 0.2))])
    assert (starts.std(axis=0) > 0.5).all()


# --------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (MotionSpec("moonwalk", 0), "unknown kind of motion 'moonwalk'; known: idle, walk"),
        (MotionSpec("walk", 0, flaw="limp"), "unknown flaw 'limp'; known: none, late"),
        (MotionSpec("walk", 0, seconds=0.5), "1 to 60 seconds, but 0.5"),
        (MotionSpec("walk", 0, seconds=math.nan), "1 to 60 seconds"),
        (MotionSpec("walk", 0, seconds=math.inf), "1 to 60 seconds"),
        (MotionSpec("walk", 0, difficulty=1.1), "difficulty must be between 0 and 1, but is 1.1"),
        (MotionSpec("walk", 0, difficulty=-0.1), "difficulty must be between 0 and 1"),
        (MotionSpec("walk", 0, difficulty=math.nan), "difficulty must be between 0 and 1"),
        (MotionSpec("walk", 0, flaw="late"), "feasible_from must be in"),
        (MotionSpec("walk", 0, flaw="late", feasible_from=1.0), "feasible_from must be in"),
        (MotionSpec("walk", 0, feasible_from=0.5), "feasible_from must be in"),
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
        generate_motion(MotionSpec("walk", 0), parse_skeleton(text, "inline"), "m")
