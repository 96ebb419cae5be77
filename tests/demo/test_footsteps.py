from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from parc_ray.demo.footsteps import (
    MOTION_KINDS,
    Foothold,
    Footsteps,
    NoFoothold,
    Planner,
    Stride,
    rotate_points,
    sole_points,
    strides,
)
from parc_ray.demo.ground import blocky_ground, highest_step
from parc_ray.motions.height_field import HeightField

plans = st.tuples(st.sampled_from(MOTION_KINDS), st.integers(0, 2**32), st.floats(0.0, 1.0))


def planned(kind: str, seed: int, difficulty: float, seconds: float = 5.0) -> tuple[HeightField, Footsteps]:
    """Ground and footsteps. Raises NoFoothold where there is no way."""
    rng = np.random.default_rng(seed)
    ground = blocky_ground(9.0, difficulty, rng)
    return ground, Planner(ground, difficulty).plan(strides(kind, difficulty, rng), seconds, rng)


def pairs(footsteps: Footsteps) -> list[tuple[Foothold, Foothold, Foothold, int]]:
    """Of every step: where the foot came from, where the other stands, where it goes, and which foot it is."""
    holds, result = list(footsteps.start), []
    for step in footsteps.steps:
        result.append((holds[step.foot], holds[1 - step.foot], step.hold, step.foot))
        holds[step.foot] = step.hold
    return result


def sole_grid(hold: Foothold, margin: float) -> np.ndarray:
    """Points at most a centimetre apart on a sole widened by a margin; the foot's box is 0.177 m by 0.09 m."""
    x = np.linspace(0.045 - 0.0885 - margin, 0.045 + 0.0885 + margin, 25)
    y = np.linspace(-0.045 - margin, 0.045 + margin, 17)
    x, y = (part.ravel() for part in np.meshgrid(x, y))
    cosine, sine = np.cos(hold.heading), np.sin(hold.heading)
    return hold.xy + np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)


# ---------------------------------------------------------------------------------------------- footholds


@settings(deadline=None, max_examples=25)
@given(plans)
def test_soles_stand_on_level_ground_with_a_margin(plan):
    try:
        ground, footsteps = planned(*plan)
    except NoFoothold:
        assume(False)
    for hold in [*footsteps.start, *(step.hold for step in footsteps.steps)]:
        heights = ground.height_at(sole_grid(hold, margin=0.01))
        assert np.ptp(heights) < 1e-4
        assert abs(heights[0] - hold.height) < 1e-4


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(plans)
def test_steps_are_within_a_humans_reach(plan):
    difficulty = plan[2]
    try:
        _, footsteps = planned(*plan)
    except NoFoothold:
        assume(False)
    for _, stand, hold, foot in pairs(footsteps):
        assert abs(hold.height - stand.height) <= highest_step(difficulty) + 2e-4
        assert abs(hold.heading - stand.heading) < 0.75 + 1e-9
        assert np.linalg.norm(hold.xy - stand.xy) < 0.72
        # Legs do not cross: each foot is on its own side of the other, seen from either.
        side = 1.0 if foot == 1 else -1.0
        for origin, target, sign in ((stand, hold, side), (hold, stand, -side)):
            across = np.array([-np.sin(origin.heading), np.cos(origin.heading)])
            assert sign * across @ (target.xy - origin.xy) > 0.13


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(plans)
def test_one_foot_always_stands(plan):
    try:
        _, footsteps = planned(*plan)
    except NoFoothold:
        assume(False)
    steps = footsteps.steps
    assert steps[-1].land >= 5.0 and steps[0].lift >= 0.3 - 1e-9
    for before, after in zip(steps, steps[1:]):
        assert after.foot == 1 - before.foot
        assert after.lift > before.land + 0.05
    assert all(0.2 < step.land - step.lift < 1.0 for step in steps)


@pytest.mark.parametrize("difficulty", [0.3, 1.0])
def test_walks_climb_and_descend(difficulty: float):
    rises = []
    for seed in range(12):
        try:
            _, footsteps = planned("walk", seed, difficulty)
        except NoFoothold:
            continue
        rises += [hold.height - stand.height for _, stand, hold, _ in pairs(footsteps)]
    assert max(rises) > 0.5 * highest_step(difficulty) and min(rises) < -0.5 * highest_step(difficulty)
    assert 0.02 < np.mean(np.abs(rises) > 0.04) < 0.9


def test_ground_without_room_for_a_foot_is_refused():
    hf = np.arange(400, dtype=np.float32).reshape(20, 20)
    needles = HeightField(hf, np.stack([hf, hf], axis=-1), np.array([-1.0, -1.0]), 0.1)
    with pytest.raises(NoFoothold):
        Planner(needles, 1.0).plan(strides("walk", 1.0, np.random.default_rng(0)), 3.0, np.random.default_rng(0))


def test_on_level_ground_the_pace_is_kept():
    """Where every foothold fits, ten equal strides add up to their length and to their turn."""
    flat = HeightField.flat((60, 60), min_point=(-12.0, -12.0))
    for length, turn in ((0.3, 0.0), (0.45, 0.0), (0.2, 0.1), (0.0, 0.3)):
        rng = np.random.default_rng(0)
        steps = Planner(flat, 0.5).plan(itertools.repeat(Stride(0.0, length, 0.5, turn)), 5.6, rng).steps
        first, last = steps[0].hold, steps[10].hold
        assert last.heading - first.heading == pytest.approx(10 * turn, abs=0.25)
        if turn == 0.0:
            assert np.linalg.norm(last.xy - first.xy) == pytest.approx(10 * length, rel=0.1)


# -------------------------------------------------------------------------------------------------- strides


def sampled(kind: str, difficulty: float) -> list[Stride]:
    """Paces of forty motions."""
    motions = (strides(kind, difficulty, np.random.default_rng(seed)) for seed in range(40))
    return [stride for motion in motions for stride in itertools.islice(motion, 25)]


@pytest.mark.parametrize(
    ("kind", "slow", "fast"), [("walk", (0.3, 0.6), (0.5, 0.85)), ("fast_walk", (0.65, 0.95), (1.05, 1.45))]
)
def test_walks_are_faster_where_they_are_difficult(kind: str, slow, fast):
    for difficulty, (low, high) in ((0.0, slow), (1.0, fast)):
        speeds = [stride.length / stride.seconds for stride in sampled(kind, difficulty)]
        assert low < min(speeds) and max(speeds) < high
    means = [np.mean([p.length / p.seconds for p in sampled(kind, d)]) for d in (0.0, 0.5, 1.0)]
    assert (np.diff(means) > 0.08).all()


def test_turning_grows_with_difficulty():
    for kind in ("walk", "fast_walk", "turn"):
        sizes = [np.mean([abs(stride.turn) for stride in sampled(kind, d)]) for d in (0.0, 0.5, 1.0)]
        assert (np.diff(sizes) > 0.02).all()
    turns = [stride.turn for stride in sampled("turn", 0.0)]
    assert min(turns) < -0.15 and max(turns) > 0.15, "to both sides"
    assert min(np.abs(turns)) >= 0.15


def test_idlers_wait_and_do_not_travel():
    idle = sampled("idle", 1.0)
    assert all(stride.length == 0.0 and stride.rest >= 0.8 and abs(stride.turn) <= 0.2 for stride in idle)


def test_a_tour_has_some_of_all():
    tour = sampled("tour", 0.5)
    shares = [
        np.mean([stride.rest > 0.8 for stride in tour]),
        np.mean([abs(stride.turn) > 0.15 and stride.length < 0.1 for stride in tour]),
        np.mean([stride.length / stride.seconds > 0.8 for stride in tour]),
        np.mean([0.35 < stride.length / stride.seconds < 0.75 for stride in tour]),
    ]
    assert min(shares) > 0.03


# --------------------------------------------------------------------------------------------------- soles


@settings(deadline=None)
@given(st.floats(-3.0, 3.0), st.floats(-10.0, 10.0), st.floats(0.0, 0.2))
def test_sole_points_span_the_sole(heading: float, x: float, margin: float):
    points = sole_points(np.array([x, 1.0]), np.array(heading), margin, margin + 0.01)
    ahead = (points - [x, 1.0]) @ [np.cos(heading), np.sin(heading)]
    aside = (points - [x, 1.0]) @ [-np.sin(heading), np.cos(heading)]
    assert ahead.min() == pytest.approx(0.045 - 0.0885 - margin) and ahead.max() == pytest.approx(0.1435 + margin)
    assert -aside.min() == pytest.approx(0.045 + margin) and aside.max() == pytest.approx(0.045 + margin)
    assert ahead[0] == pytest.approx(0.045) and aside[0] == pytest.approx(0.0, abs=1e-9)


@settings(deadline=None)
@given(st.floats(-3.0, 3.0), st.floats(-7.0, 7.0))
def test_turning_is_multiplication_with_a_complex_number(x: float, angle: float):
    expected = complex(x, 1.0) * np.exp(1j * angle)
    assert rotate_points(np.array([x, 1.0]), angle) == pytest.approx([expected.real, expected.imag])
