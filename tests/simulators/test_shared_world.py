from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.errors import TooLargeError
from parc_ray.motions.ground_mesh import ground_mesh, voxel_mesh
from parc_ray.motions.height_field import HeightField
from parc_ray.simulators import shared_world
from parc_ray.simulators.shared_world import BORDER, PARKING_HEIGHT, PARKING_SPACE, share_world


def terrain(seed: int, size=(6, 4), dx: float = 0.4, levels: int = 3) -> HeightField:
    random = np.random.default_rng(seed)
    hf = 0.3 * random.integers(0, levels, size).astype(np.float32)
    return HeightField(hf, np.stack([hf, hf], axis=-1), random.uniform(-50, 50, 2), dx)


def height_of_mesh(mesh, xy) -> float:
    """Height of the highest level triangle over a point; NaN where there is none. By the definition of a mesh."""
    corners = mesh[0][mesh[1]].astype(np.float64)
    corners = corners[np.ptp(corners[:, :, 2], axis=1) == 0]
    edges = np.roll(corners, -1, axis=1)[..., :2] - corners[..., :2]
    sides = edges[..., 0] * (xy[1] - corners[..., 1]) - edges[..., 1] * (xy[0] - corners[..., 0])
    over = corners[(sides >= 0).all(axis=1), 0, 2]
    return float(over.max()) if len(over) else float("nan")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.tuples(st.integers(1, 5), st.integers(1, 5)), st.sampled_from([0.1, 0.4, 1.0]))
def test_the_mesh_is_the_ground_that_the_height_lookup_reads(seed, size, dx):
    """On the map and up to the border off it, apart from cell borders."""
    tile = terrain(seed, size, dx, levels=1 + seed % 3)
    mesh = ground_mesh(tile, 2.0)
    cells = np.random.default_rng(seed).uniform(-0.45, 0.45, (40, 2)) + np.random.default_rng(seed + 1).integers(
        -int(1.9 / dx), np.array(size) + int(1.9 / dx), (40, 2)
    )
    points = tile.min_point + cells * dx
    expected = tile.height_at(points)
    assert [height_of_mesh(mesh, point) for point in points] == pytest.approx(expected.tolist())


@pytest.mark.parametrize("seed", range(5))
def test_level_faces_look_up_and_there_are_no_slivers(seed):
    """PhysX collides with the front of a triangle."""
    vertices, triangles = ground_mesh(terrain(seed, (9, 7)), 3.0)
    corners = vertices[triangles].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.linalg.norm(normal, axis=1) > 1e-3).all()
    assert (normal[:, 2] > -1e-6).all()
    assert len(triangles) < len(voxel_mesh(terrain(seed, (9, 7)), None)[1])


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_every_tile_has_its_own_ground(count):
    """Moved by its offset, a tile finds in the world what it is, and its border; no two overlap."""
    random = np.random.default_rng(count)
    tiles = [terrain(i, tuple(random.integers(1, 30, 2)), dx=float(random.choice([0.2, 0.4]))) for i in range(count)]
    world = share_world(tiles, 3)
    frames = []
    for tile, offset in zip(tiles, world.offsets):
        assert offset[2] == 0
        low = tile.min_point - tile.dx / 2 - BORDER + offset[:2]
        frames.append(np.concatenate([low, low + 2 * BORDER + np.array(tile.hf.shape) * tile.dx]))
        for cell in random.integers(0, tile.hf.shape, (3, 2)):
            point = tile.min_point + cell * tile.dx
            assert height_of_mesh(world.mesh, point + offset[:2]) == pytest.approx(
                float(tile.hf[tuple(cell)]), abs=1e-6
            )
    for a, first in enumerate(frames):
        for second in frames[a + 1 :]:
            apart = (first[2:] <= second[:2] + 1e-3) | (second[2:] <= first[:2] + 1e-3)
            assert apart.any()
    corners = np.array(frames)
    middle = (corners.min(axis=0)[:2] + corners.max(axis=0)[2:]) / 2
    assert np.abs(middle).max() < 1e-3, "the world is around the origin"
    assert world.reach == pytest.approx(np.abs(corners).max(), abs=1e-3)
    area = float(np.prod(corners[:, 2:] - corners[:, :2], axis=1).sum())
    if count == 40:
        assert world.reach < 0.75 * np.sqrt(area), "about a square"


def test_parked_characters_touch_nothing():
    tiles = [terrain(0, levels=9), HeightField.flat(height=7.0)]
    places = share_world(tiles, 11).parking
    assert places.shape == (11, 3) and places.dtype == np.float32
    assert (places[:, 2] >= max(tile.hf.max() for tile in tiles) + PARKING_HEIGHT - 1e-4).all()
    distance = np.linalg.norm(places[:, None] - places, axis=-1) + np.eye(11) * 1e9
    assert distance.min() >= PARKING_SPACE
    assert np.abs(places[:, :2]).max() <= 4 * PARKING_SPACE


def test_a_world_that_is_too_wide_is_refused(monkeypatch):
    monkeypatch.setattr(shared_world, "MAX_REACH", 20.0)
    share_world([terrain(i) for i in range(9)], 1)
    with pytest.raises(TooLargeError, match=r"36 motions in one world is \d+ m wide.*ray\.num_shards"):
        share_world([terrain(i) for i in range(36)], 1)
