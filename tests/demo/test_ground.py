from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.demo.ground import blocky_ground, highest_step

seeds = st.integers(0, 2**32)


@settings(deadline=None, max_examples=50)
@given(seeds, st.floats(1.0, 20.0), st.floats(0.0, 1.0))
def test_ground_is_made_of_platforms_on_cells_of_parc(seed: int, reach: float, difficulty: float):
    ground = blocky_ground(reach, difficulty, np.random.default_rng(seed))
    assert ground.dx == 0.4
    # Cell centres are multiples of the cell, and the outermost cells are at least as far away as was asked for.
    assert np.abs(ground.min_point / 0.4 - np.rint(ground.min_point / 0.4)).max() < 1e-4
    assert (ground.min_point <= -reach + 1e-4).all()
    assert (ground.min_point + 0.4 * (np.array(ground.hf.shape) - 1) >= reach - 1e-4).all()
    assert np.isfinite(ground.hf_maxmin).all()
    blocks = ground.hf[ground.hf > 0]
    assert ground.hf.min() >= 0
    if blocks.size:
        assert blocks.min() >= 0.05 - 1e-6
        assert blocks.max() <= 3 * highest_step(difficulty) + 1e-6


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_much_of_the_ground_is_covered_and_much_is_not(difficulty: float):
    grounds = [blocky_ground(8.0, difficulty, np.random.default_rng(seed)).hf for seed in range(10)]
    assert all(0.15 < (ground > 0).mean() < 0.6 for ground in grounds)
    # Platforms stand on others, so that one climbs more than one step.
    assert all(ground.max() > 1.5 * ground[ground > 0].min() for ground in grounds)


def test_blocks_grow_with_difficulty():
    assert highest_step(0.0) == pytest.approx(0.05)
    assert highest_step(1.0) == pytest.approx(0.25)
    means = [
        np.mean([blocky_ground(8.0, difficulty, np.random.default_rng(seed)).hf.max() for seed in range(20)])
        for difficulty in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert (np.diff(means) > 0.05).all()


def test_ground_follows_from_the_generator_alone():
    grounds = [blocky_ground(6.0, 0.5, np.random.default_rng(seed)).hf for seed in (1, 1, 2)]
    assert (grounds[0] == grounds[1]).all()
    assert (grounds[0] != grounds[2]).any()
