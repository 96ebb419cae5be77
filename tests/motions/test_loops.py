"""Motions that loop, tracked for several passes: how many, how long, and where they go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from parc_ray.character.skeleton import load_skeleton
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.errors import InputError
from parc_ray.motions.height_field import HeightField, extend
from parc_ray.motions.library import MotionLibrary
from tests.reference import HUMANOID

SKELETON = load_skeleton(HUMANOID)
CPU = torch.device("cpu")


@pytest.mark.parametrize(("minimum", "passes"), [(0.0, 1), (2.0, 1), (2.1, 2), (4.0, 2), (7.0, 4)])
def test_a_motion_that_loops_takes_whole_passes(minimum: float, passes: int) -> None:
    walk = generate_motion(MotionSpec("walk", 1, 2.0), SKELETON, "walk")
    assert walk.length == pytest.approx(2.0)
    loop = replace(walk, loop_mode="WRAP")
    assert (loop.passes(minimum), walk.passes(minimum)) == (passes, 1)
    assert loop.tracked_seconds(minimum) == pytest.approx(2.0 * passes)
    library = MotionLibrary([loop, walk], SKELETON, CPU, minimum)
    np.testing.assert_allclose(library.seconds, [2.0 * passes, 2.0], rtol=1e-6)
    np.testing.assert_allclose(library.lengths, [2.0, 2.0], rtol=1e-6)


def test_passes_go_on_from_where_the_last_one_has_ended() -> None:
    """Each is displaced by the travel of those before it, not vertically, and has the same phase."""
    walk = replace(generate_motion(MotionSpec("walk", 1, 2.0), SKELETON, "walk"), loop_mode="WRAP")
    library = MotionLibrary([walk], SKELETON, CPU, 6.0)
    travel = walk.root_pos[-1] - walk.root_pos[0]
    travel[2] = 0.0
    for cycle in range(3):
        frames = library.sample(torch.zeros(2, dtype=torch.int64), torch.tensor([2.0 * cycle + 0.5, 2.0 * cycle + 1.5]))
        np.testing.assert_allclose(frames.root_pos, walk.root_pos[[15, 45]] + cycle * travel, atol=1e-4)
        np.testing.assert_allclose(frames.phase, [0.25, 0.75], atol=1e-5)


def test_terrain_is_extended_by_its_border() -> None:
    hf = np.arange(6, dtype=np.float32).reshape(2, 3)
    terrain = HeightField(hf, np.stack([hf + 1, hf - 1], axis=-1), np.array([-0.4, 0.0], dtype=np.float32), 0.4)
    wide = extend(terrain, np.array([-1.3, 0.0]), np.array([0.5, 1.6]))
    assert wide.hf.shape == (7, 5) and wide.min_point == pytest.approx([-1.6, 0.0])
    points = np.random.default_rng(0).uniform(-3.0, 3.0, size=(200, 2))
    np.testing.assert_array_equal(wide.height_at(points), terrain.height_at(points))
    same = extend(terrain, np.array([-0.4, 0.0]), np.array([0.0, 0.8]))
    assert same.hf.shape == terrain.hf.shape
    with pytest.raises(InputError, match="extended to more than"):
        extend(terrain, np.array([-1e5, 0.0]), np.array([0.0, 1e5]))
