"""Euler angles against MuJoCo's."""

from __future__ import annotations

from itertools import permutations

import mujoco
import numpy as np
import pytest

from parc_ray.character.euler import euler_angles

ORDERS = ["".join(order) for order in permutations("XYZ")]


def quaternions(angles, order):
    """xyzw of angles [n, 3], by MuJoCo."""
    result = np.empty((len(angles), 4))
    for angle, quat in zip(angles, result):
        mujoco.mju_euler2Quat(quat, angle, order.lower())
    return result[:, [1, 2, 3, 0]]


@pytest.mark.parametrize("order", ORDERS)
def test_they_are_the_same_rotation(order):
    """Also where the middle angle is a quarter turn, exactly or nearly."""
    random = np.random.default_rng(0)
    angles = random.uniform(-3, 3, size=(60, 3))
    angles[20:40, 1] = random.choice([-1, 1], 20) * np.pi / 2
    angles[40:, 1] = np.pi / 2 + random.choice([-1, 1], 20) * 10 ** random.uniform(-9, -3, 20)
    expected = quaternions(angles, order)
    found = quaternions(euler_angles(expected, order), order)
    assert np.abs((found * expected).sum(axis=1)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_they_are_continuous(order):
    time = np.linspace(0, 6, 400)
    angles = np.stack([3 * time, 2.5 * np.sin(time), -2 * time], axis=1)  # the middle one passes quarter turns
    found = euler_angles(quaternions(angles, order)[:, None], order)[:, 0]
    np.testing.assert_allclose(found - found[0], angles - angles[0], atol=1e-9)
