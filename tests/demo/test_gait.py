from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from parc_ray.demo.footsteps import MARGIN, Foothold, Footstep, Footsteps, NoFoothold, sole_points
from parc_ray.demo.gait import (
    CLEARANCE,
    SOLE,
    ankle_at,
    lowest_around,
    move_feet,
    pendulum,
    push_off,
    roll_over_toes,
    smooth_signal,
    smooth_step,
    swing,
)
from parc_ray.motions.height_field import HeightField

GRAVITY = 9.81
FLAT = HeightField.flat((40, 40), min_point=(-8.0, -8.0))
STEP = 1.0 / 30.0

holds = st.builds(
    lambda x, y, heading: Foothold(np.array([x, y]), heading, 0.0),
    st.floats(-0.5, 0.5),
    st.floats(-0.5, 0.5),
    st.floats(-1.0, 1.0),
)


def sole_corners(ankle: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """[n, 4, 2] of flat soles: from 0.0435 m behind the ankle to 0.1335 m ahead, 0.045 m to both sides."""
    local = np.array([complex(x, y) for x in (-0.0435, 0.1335) for y in (-0.045, 0.045)])
    points = (ankle[:, 0] + 1j * ankle[:, 1])[:, None] + local * np.exp(1j * heading)[:, None]
    return np.stack([points.real, points.imag], axis=-1)


# ------------------------------------------------------------------------------------------- smooth signals


def test_a_smooth_step_starts_and_ends_at_rest():
    assert smooth_step(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    x = np.linspace(0.0, 1.0, 1001)
    velocity = np.gradient(smooth_step(x), x)
    assert velocity.min() >= 0.0 and velocity.max() == pytest.approx(15 / 8, abs=1e-3)
    assert np.abs(velocity[[0, -1]]).max() < 1e-4 and np.abs(np.gradient(velocity, x)[[0, -1]]).max() < 0.1


def test_smoothing_keeps_straight_lines_and_the_mean_of_noise():
    line = np.linspace(2.0, 5.0, 60)
    assert smooth_signal(line, 3.0)[6:-6] == pytest.approx(line[6:-6])
    both = smooth_signal(np.stack([line, 0 * line + 7.0], axis=-1), 3.0)
    assert both[:, 0] == pytest.approx(smooth_signal(line, 3.0)) and both[:, 1] == pytest.approx(np.full(60, 7.0))
    noise = np.random.default_rng(0).normal(size=5000)
    # The standard deviation of a Gaussian window's mean.
    assert smooth_signal(noise, 3.0).std() == pytest.approx((2 * np.sqrt(np.pi) * 3.0) ** -0.5, rel=0.1)


def test_lowest_around():
    signal = np.random.default_rng(1).normal(size=50)
    expected = [signal[max(0, k - 4) : k + 5].min() for k in range(50)]
    assert lowest_around(signal, 4).tolist() == expected


# --------------------------------------------------------------------------------------------- the pendulum


def test_pendulum_over_a_resting_weight_rests():
    pressure = np.tile([0.3, -0.2], (90, 1))
    assert pendulum(pressure, np.full(90, 0.9), STEP) == pytest.approx(pressure)


def test_pendulum_leans_into_a_step_before_it_is_taken():
    """Closed form: the weight jumps at t = 0, and com = exp(wt) / 2 before, 1 - exp(-wt) / 2 after, w^2 = g / h."""
    time = (np.arange(180) - 89.5) * STEP
    pressure = np.stack([(time > 0).astype(float), np.zeros(180)], axis=-1)
    rate = np.sqrt(GRAVITY / 0.9)
    expected = np.where(time < 0, 0.5 * np.exp(rate * time), 1.0 - 0.5 * np.exp(-rate * time))
    assert np.abs(pendulum(pressure, np.full(180, 0.9), STEP)[:, 0] - expected).max() < 0.005


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0])
def test_pendulum_swings_less_than_the_weight(seconds: float):
    """Closed form: a wave of the weight moves the mass by its amplitude over 1 + h w^2 / g."""
    time = np.arange(240) * STEP
    wave = np.sin(2 * np.pi * time / seconds)
    com = pendulum(np.stack([wave, -wave], axis=-1), np.full(240, 0.9), STEP)[80:160]
    expected = wave[80:160] / (1.0 + 0.9 * (2 * np.pi / seconds) ** 2 / GRAVITY)
    assert np.abs(com - np.stack([expected, -expected], axis=-1)).max() < 0.01


def test_pendulum_of_changing_height_obeys_newton():
    """The force along the line from the point of attack to the mass: com'' / (com - pressure) = (g + h'') / h."""
    time = np.arange(150) * STEP
    height = 0.9 + 0.05 * np.sin(3.0 * time)
    pressure = smooth_signal(np.random.default_rng(2).normal(size=(150, 2)), 6.0)
    com = pendulum(pressure, height, STEP)
    acceleration = np.diff(com, n=2, axis=0) / STEP**2
    lift = -0.05 * 9.0 * np.sin(3.0 * time)
    wanted = (com - pressure) * ((GRAVITY + lift) / height)[:, None]
    assert np.abs(acceleration - wanted[1:-1])[2:-2].max() < 0.02
    assert np.abs(np.diff(com, axis=0)[[0, -1]]).max() < 1e-4, "no velocity at both ends"


# ------------------------------------------------------------------------------------------------- the feet


@settings(deadline=None, max_examples=100)
@given(holds, holds, st.floats(0.0, 0.25))
def test_a_swinging_foot_goes_from_rest_to_rest_over_what_is_in_its_way(start: Foothold, end: Foothold, height: float):
    hf = np.zeros((40, 40), dtype=np.float32)
    hf[20:22, 18:23] = height
    ground = HeightField(hf, np.stack([hf, hf], axis=-1), np.array([-8.0, -8.0]), 0.4)
    # As footholds are chosen: with level ground around them.
    ends = sole_points(np.stack([start.xy, end.xy]), np.array([start.heading, end.heading]), MARGIN, MARGIN)
    assume(not ground.height_at(ends).any())
    share = np.linspace(0.0, 1.0, 301)
    ankle, heading = swing(start, end, ground, share)
    assert ankle[0] == pytest.approx(ankle_at(start)) and ankle[-1] == pytest.approx(ankle_at(end))
    assert heading[[0, -1]] == pytest.approx([start.heading, end.heading])
    assert np.abs(np.diff(ankle, axis=0)[[0, -1]]).max() < 1e-5
    floor = ground.height_at(sole_corners(ankle, heading)).max(axis=-1)
    assert (ankle[:, 2] - 0.05 > floor).all()
    assert ankle[:, 2].max() < 0.05 + 0.001 + height + 0.2 + 1e-6


def test_a_tower_in_the_way_is_refused():
    hf = np.zeros((40, 40), dtype=np.float32)
    hf[20, 20] = 2.0
    ground = HeightField(hf, np.stack([hf, hf], axis=-1), np.array([-8.0, -8.0]), 0.4)
    holds = [Foothold(np.array([x, 0.0]), 0.0, 0.0) for x in (-0.38, 0.3)]
    with pytest.raises(NoFoothold):
        swing(*holds, ground, np.linspace(0.0, 1.0, 30))


@settings(deadline=None)
@given(holds, st.floats(0.0, 0.7))
def test_a_foot_rolls_over_its_toes(hold: Foothold, pitch: float):
    """Front edge of the sole, 0.1335 m ahead of the ankle and 0.05 m below: it stays where it is."""
    flat = ankle_at(hold)
    rolled = roll_over_toes(flat[None], np.array([hold.heading]), np.array([pitch]))[0]
    ahead = 0.1335 * np.cos(pitch) - 0.05 * np.sin(pitch)
    down = 0.1335 * np.sin(pitch) + 0.05 * np.cos(pitch)
    facing = np.array([np.cos(hold.heading), np.sin(hold.heading)])
    assert rolled[:2] + ahead * facing == pytest.approx(flat[:2] + 0.1335 * facing)
    assert rolled[2] - down == pytest.approx(flat[2] - 0.05)


def test_long_and_high_steps_push_off_more():
    def raised(ahead: float, height: float) -> float:
        start = Foothold(np.array([1.0, 2.0]), 0.5, 0.0)
        facing = np.array([np.cos(0.5), np.sin(0.5)])
        return push_off(start, Foothold(start.xy + ahead * facing, 0.5, height))

    assert raised(0.0, 0.0) == raised(-0.3, 0.0) == 0.0
    assert 0.0 < raised(0.6, 0.0) < raised(0.6, 0.2) <= 0.7
    assert raised(3.0, 0.2) == 0.7


def test_feet_stand_swing_and_carry_the_weight_in_turn():
    right, left = (Foothold(np.array([0.0, side * 0.09]), 0.0, 0.0) for side in (-1, 1))
    ahead = Foothold(np.array([0.4, 0.09]), 0.0, 0.0)
    times = np.arange(90) * STEP
    feet = move_feet(Footsteps((right, left), (Footstep(1, 1.0, 1.4, ahead),)), FLAT, times)
    swinging = (times > 1.0 + 1e-9) & (times < 1.4 - 1e-9)
    assert (feet.planted[:, 1] == ~swinging).all() and feet.planted[:, 0].all()
    assert np.abs(feet.ankles[:, 0] - [0.0, -0.09, SOLE + CLEARANCE]).max() < 1e-9
    assert feet.ankles[times < 0.8][:, 1] == pytest.approx(np.tile(ankle_at(left), (24, 1)))
    assert feet.ankles[times > 1.41][:, 1] == pytest.approx(np.tile(ankle_at(ahead), (47, 1)))
    assert feet.weight.sum(axis=1) == pytest.approx(np.ones(90))
    assert feet.weight[[0, -1]] == pytest.approx(np.full((2, 2), 0.5))
    middle = (times > 1.1) & (times < 1.3)
    assert feet.weight[middle, 1].max() < 0.02
    assert (feet.pitch[~((times > 0.79) & (times < 1.4))] == 0.0).all() and feet.pitch[:, 1].max() > 0.05
