"""Terrain against PARC's own output, against the definition of a height field, and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parc_ray.errors import InputError
from parc_ray.motions.box_cover import box_cover, too_rough_for_boxes
from parc_ray.motions.ground_mesh import voxel_mesh
from parc_ray.motions.height_field import HeightField, crop, slice_around
from parc_ray.motions.terrain_layout import square_layout
from parc_ray.motions.terrain_stack import TerrainStack
from tests.reference import vectors

REFERENCE = vectors("terrain")
MOTIONS = vectors("motions")
RECORDER = vectors("recorder")
TOLERANCE = 1e-5


def reference_terrain(prefix, dx=None, data=REFERENCE):
    hf = data[prefix + "hf"]
    maxmin = data[prefix + "hf_maxmin"] if prefix + "hf_maxmin" in data else np.stack([hf, hf], axis=-1)
    return HeightField(hf, maxmin, data[prefix + "min_point"], data[prefix + "dxdy"][0] if dx is None else dx)


def sample_terrain(index):
    return reference_terrain(f"terrain{index}_", MOTIONS[f"terrain{index}_dx"], MOTIONS)


def make_terrain(hf, min_point=(0.0, 0.0), dx=0.4):
    hf = np.asarray(hf, dtype=np.float32)
    return HeightField(hf, np.stack([hf, hf], axis=-1), np.array(min_point, dtype=np.float32), dx)


def coordinate(limit):
    return st.floats(-limit, limit, width=32)


def terrains(max_side=7):
    heights = hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=max_side),
        elements=st.sampled_from([-2.0, -0.3, 0.0, 0.25, 0.3, 1.0]),
    )
    return st.builds(make_terrain, heights, st.tuples(coordinate(5), coordinate(5)), st.sampled_from([0.1, 0.4, 1.0]))


def points_around(terrain, count, seed, beyond=1.0):
    """Points on the map and up to `beyond` metres off it, none within a hundredth of a cell of a border."""
    rng = np.random.default_rng(seed)
    low = terrain.min_point - terrain.dx / 2 - beyond
    high = terrain.min_point + terrain.dx * (np.array(terrain.hf.shape) - 0.5) + beyond
    points = rng.uniform(low, high, size=(count, 2))
    distance_to_border = np.abs((points - terrain.min_point) / terrain.dx % 1 - 0.5)
    return points[(distance_to_border > 0.01).all(axis=1)].astype(np.float32)


def assert_same_terrain(actual, expected):
    assert actual.hf.shape == expected.hf.shape
    np.testing.assert_allclose(actual.hf, expected.hf, atol=TOLERANCE)
    np.testing.assert_allclose(actual.hf_maxmin, expected.hf_maxmin, atol=TOLERANCE)
    np.testing.assert_allclose(actual.min_point, expected.min_point, atol=TOLERANCE)


# ------------------------------------------------------------------------------------------- height field


@pytest.mark.parametrize("case", ["grid_", "half_"])
def test_lookup_matches_parc(case):
    terrain = reference_terrain(case)
    np.testing.assert_array_equal(terrain.grid_index(REFERENCE[case + "points"]), REFERENCE[case + "index"])
    np.testing.assert_array_equal(terrain.height_at(REFERENCE[case + "points"]), REFERENCE[case + "heights"])


@pytest.mark.parametrize("case", [0, 1])
def test_padding_matches_parc(case):
    prefix = f"pad{case}_"
    cells, height = int(REFERENCE[prefix + "cells"]), float(REFERENCE[prefix + "height"])
    padded = reference_terrain(prefix, 0.4).pad(cells, height)
    assert_same_terrain(padded, reference_terrain(prefix + "out_", 0.4))


def test_lookup_survives_a_simulation_that_blew_up():
    terrain = make_terrain([[1.0, 2.0], [3.0, 4.0]])
    heights = terrain.height_at(np.array([[np.nan, np.inf], [-np.inf, 0.0], [np.inf, np.nan]]))
    np.testing.assert_array_equal(heights, [2.0, 1.0, 3.0])


def test_is_flat():
    assert HeightField.flat((4, 2), height=3.0).is_flat
    assert not make_terrain([[0.0, 0.0], [0.0, 0.01]]).is_flat


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hf": np.zeros(4)}, "hf must be"),
        ({"hf": np.zeros((0, 3)), "hf_maxmin": np.zeros((0, 3, 2))}, "hf must be"),
        ({"hf": np.full((2, 3), np.nan)}, "finite"),
        ({"hf_maxmin": np.zeros((2, 3))}, "hf_maxmin"),
        ({"min_point": np.zeros(3)}, "min_point"),
        ({"dx": 0.0}, "dx"),
        ({"dx": np.nan}, "dx"),
    ],
)
def test_malformed_terrain_is_an_input_error(changed, message):
    fields = {"hf": np.zeros((2, 3)), "hf_maxmin": np.zeros((2, 3, 2)), "min_point": np.zeros(2), "dx": 0.4}
    with pytest.raises(InputError, match=message):
        HeightField(**{**fields, **changed})


@settings(deadline=None, max_examples=50)
@given(terrains(), st.integers(0, 2**32 - 1))
def test_crop_reads_the_same_inside_the_range(terrain, seed):
    inside = points_around(terrain, 200, seed)
    cropped = crop(terrain, inside.min(axis=0), inside.max(axis=0))
    np.testing.assert_array_equal(cropped.height_at(inside), terrain.height_at(inside))


def test_crop_keeps_only_the_cells_in_the_range():
    terrain = make_terrain(np.arange(20.0).reshape(4, 5), min_point=(1.0, -1.0), dx=0.5)
    cropped = crop(terrain, np.array([1.4, -9.0]), np.array([2.1, -0.4]))
    np.testing.assert_array_equal(cropped.hf, [[5.0, 6.0], [10.0, 11.0]])
    np.testing.assert_array_equal(cropped.min_point, [1.5, -1.0])


# -------------------------------------------------------------------------------------------------- slice


@pytest.mark.parametrize("case", range(6))
def test_slice_matches_parc(case):
    prefix = f"slice{case}_"
    local, root_pos = slice_around(
        REFERENCE[prefix + "motion"], reference_terrain("slice_"), float(REFERENCE[prefix + "padding"])
    )
    assert_same_terrain(local, reference_terrain(prefix + "out_", 0.4))
    np.testing.assert_allclose(root_pos, REFERENCE[prefix + "out_motion"], atol=TOLERANCE)


@pytest.mark.parametrize("env", range(3))
def test_slice_matches_files_of_parcs_recorder(env):
    terrain = reference_terrain("terrain_", data=RECORDER)
    frames = RECORDER[f"file{env}_frames"]
    path = RECORDER["traj_root_pos"][: len(frames), env] + RECORDER["env_offsets"][env]
    local, root_pos = slice_around(path, terrain, round(1.0 // terrain.dx) * terrain.dx)
    assert_same_terrain(local, reference_terrain(f"file{env}_terrain_", terrain.dx, RECORDER))
    np.testing.assert_allclose(root_pos, frames[:, :3], atol=TOLERANCE)


@settings(deadline=None, max_examples=50)
@given(terrains(), st.integers(0, 2**32 - 1))
def test_slice_keeps_the_height_of_the_root_above_ground(terrain, seed):
    rng = np.random.default_rng(seed)
    xy = points_around(terrain, 30, seed)
    path = np.concatenate([xy, rng.uniform(-1, 3, size=(len(xy), 1))], axis=1).astype(np.float32)
    local, root_pos = slice_around(path, terrain, 2 * terrain.dx)
    np.testing.assert_array_equal(root_pos[0, :2], 0.0)
    assert local.height_at(np.zeros(2)) == 0.0
    above, local_above = path[:, 2] - terrain.height_at(xy), root_pos[:, 2] - local.height_at(root_pos[:, :2])
    np.testing.assert_allclose(local_above, above, atol=TOLERANCE)


# ------------------------------------------------------------------------------------- meshes and layout


@pytest.mark.parametrize("case", range(5))
def test_mesh_matches_parc(case):
    prefix = f"mesh{case}_"
    padding = float(REFERENCE[prefix + "padding"])
    vertices, triangles = voxel_mesh(
        reference_terrain(prefix, REFERENCE[prefix + "dx"]), None if padding < 0 else padding
    )
    assert (vertices.dtype, triangles.dtype) == (np.float32, np.uint32)
    np.testing.assert_allclose(vertices, REFERENCE[prefix + "vertices"], atol=TOLERANCE)
    np.testing.assert_array_equal(triangles, REFERENCE[prefix + "triangles"])


def reference_layout_terrains(count):
    return [reference_terrain(f"layout_terrain{k}_", 0.4) for k in range(count)]


@pytest.mark.parametrize(("case", "count"), [("n1", 1), ("n2", 2), ("n5", 5), ("n7", 7), ("n5_pad080", 5)])
def test_layout_matches_parc(case, count):
    prefix = f"layout_{case}_"
    layout = square_layout(reference_layout_terrains(count), float(REFERENCE[prefix + "padding"]), 0.4)
    np.testing.assert_allclose(layout.motion_offsets, REFERENCE[prefix + "motion_offsets"], atol=TOLERANCE)
    assert_same_terrain(layout.terrain, reference_terrain(prefix))
    first = np.cumsum([0] + [len(vertices) for vertices, _ in layout.meshes])
    vertices = np.concatenate([vertices for vertices, _ in layout.meshes])
    triangles = np.concatenate([tris.astype(np.int64) + k for (_, tris), k in zip(layout.meshes, first)])
    np.testing.assert_allclose(vertices, REFERENCE[prefix + "vertices"], atol=TOLERANCE)
    np.testing.assert_array_equal(triangles, REFERENCE[prefix + "triangles"])


@pytest.mark.parametrize("padding", [0.0, 0.4, 1.2])
def test_layout_moves_every_motion_onto_its_own_ground(padding):
    parts = reference_layout_terrains(7)
    layout = square_layout(parts, padding, 0.4)
    for terrain, offset in zip(parts, layout.motion_offsets[:, 0]):
        points = points_around(terrain, 300, seed=1, beyond=0.0)
        np.testing.assert_allclose(layout.terrain.height_at(points + offset), terrain.height_at(points))


def test_layout_rounds_the_padding_down_as_parc_does():
    layout = square_layout([HeightField.flat((3, 5))], 1.2, 0.4)  # 1.2 / 0.4 < 3
    assert layout.terrain.hf.shape == (3 + 2 * 2, 5 + 2 * 2)


def test_layout_of_another_cell_size_is_an_input_error():
    with pytest.raises(InputError, match=r"motion 1 has cells of 0.5 m.*horizontal_scale"):
        square_layout([HeightField.flat(), HeightField.flat(dx=0.5)], 0.4, 0.4)


# ---------------------------------------------------------------------------------------------- box cover


@settings(deadline=None, max_examples=150)
@given(terrains(), st.sampled_from([0.0, 0.7]), st.integers(0, 2**32 - 1))
def test_boxes_fill_the_ground_exactly(terrain, border, seed):
    boxes = box_cover(terrain, border)
    points = points_around(terrain, 300, seed, beyond=max(border - 1e-3, 0.0))
    inside = (np.abs(points[:, None] - boxes.centre[:, :2]) < boxes.half_size[:, :2]).all(axis=-1)
    top = boxes.centre[:, 2] + boxes.half_size[:, 2]
    ground = np.where(inside, top, -np.inf).max(axis=1)
    np.testing.assert_allclose(ground, terrain.height_at(points), atol=1e-6)
    np.testing.assert_allclose(boxes.centre[:, 2] - boxes.half_size[:, 2], terrain.hf.min() - 1.0, atol=1e-6)


@settings(deadline=None, max_examples=100)
@given(terrains())
def test_boxes_cannot_be_extended(terrain):
    boxes = box_cover(terrain)
    low, high = (
        np.rint((boxes.centre + sign * boxes.half_size)[:, :2] / terrain.dx - terrain.min_point / terrain.dx + 0.5)
        for sign in (-1, 1)
    )
    walled = np.pad(terrain.hf, 1, constant_values=-np.inf)
    for (x0, y0), (x1, y1), top in zip(
        low.astype(int) + 1, high.astype(int) + 1, (boxes.centre + boxes.half_size)[:, 2]
    ):
        assert (walled[x0:x1, y0:y1] > top - 1e-6).all()
        for side in (walled[x0 - 1, y0:y1], walled[x1, y0:y1], walled[x0:x1, y0 - 1], walled[x0:x1, y1]):
            assert side.min() < top - 1e-6


@pytest.mark.parametrize(
    ("index", "fewest"), [(0, 830), (1, 50), (2, 24), (3, 26), (4, 14)]
)  # the minimum, from an exact set-cover solver
def test_few_boxes_are_enough_for_real_terrains(index, fewest):
    assert fewest <= len(box_cover(sample_terrain(index)).centre) <= 1.02 * fewest + 1


def test_heights_that_differ_by_noise_share_a_box():
    hf = np.full((5, 5), 0.3, dtype=np.float32)
    hf += np.random.default_rng(0).uniform(0, 5e-5, size=hf.shape)
    boxes = box_cover(make_terrain(hf))
    assert len(boxes.centre) == 1
    assert boxes.centre[0, 2] + boxes.half_size[0, 2] == pytest.approx(hf.min(), abs=1e-6)


# ------------------------------------------------------------------------------------------ terrain stack


@settings(deadline=None, max_examples=50)
@given(st.lists(terrains(), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_stack_reads_what_each_height_field_reads(parts, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(len(parts), size=9)
    points = rng.uniform(-8, 12, size=(9, 20, 2)).astype(np.float32)
    half_cells = [parts[k].min_point + np.float32(parts[k].dx / 2) * rng.integers(-3, 12, (3, 2)) for k in ids]
    points[:, :3] = np.stack(half_cells)
    points[0, 3] = np.nan, np.inf
    heights = TerrainStack(parts, "cpu").height_at(torch.from_numpy(ids), torch.from_numpy(points))
    expected = np.stack([parts[k].height_at(p) for k, p in zip(ids, points)])
    assert heights.dtype == torch.float32
    np.testing.assert_array_equal(heights.numpy(), expected)


def test_a_row_does_not_depend_on_its_company():
    parts = [sample_terrain(k) for k in range(5)]
    stack = TerrainStack(parts, "cpu")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, (33,), generator=generator)
    points = torch.rand((33, 17, 3), generator=generator) * 12 - 4
    together = stack.penetration_depth(ids, points)
    assert (together > 0).any()
    alone = torch.cat([stack.penetration_depth(ids[n : n + 1], points[n : n + 1]) for n in range(33)])
    own = [TerrainStack([parts[k]], "cpu").penetration_depth(torch.tensor([0]), p[None]) for k, p in zip(ids, points)]
    assert torch.equal(together, alone)
    assert torch.equal(together, torch.cat(own))


def depth(terrain, points):
    points = torch.as_tensor(np.asarray(points, dtype=np.float32))
    return TerrainStack([terrain], "cpu").penetration_depth(torch.tensor([0]), points[None])[0].numpy()


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((1.0, 1.0, 5.1), 0.0),  # above the block
        ((1.0, 1.0, 4.9), 0.1),  # below its top
        ((0.55, 1.0, 2.0), 0.05),  # just inside its wall
        ((0.7, 1.3, 2.0), 0.2),  # deeper, near a corner
        ((1.0, 1.0, -0.1), (0.5**2 + 0.1**2) ** 0.5),  # out through the wall and up
        ((0.0, 0.0, -0.3), 0.3),  # below low ground
        ((-9.0, 1.0, -0.3), 0.3),  # off the map
        ((0.4, 1.0, -0.3), 0.3),  # low ground beside a block: the block is no way out
    ],
)
def test_depth_of_a_point_in_a_block(point, expected):
    block = make_terrain([[0.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 0.0]], dx=1.0)
    assert depth(block, [point])[0] == pytest.approx(expected, abs=1e-6)


def test_depth_off_the_map_continues_the_border():
    wall = make_terrain([[3.0, 0.0], [0.0, 0.0]], dx=1.0)
    assert depth(wall, [(-7.0, -7.0, 1.0)])[0] == pytest.approx(2.0)
    assert depth(wall, [(-7.0, 0.4, 1.0)])[0] == pytest.approx(0.1, abs=1e-6)


def test_depth_of_a_point_that_is_nowhere():
    assert np.isnan(depth(HeightField.flat(), [(np.nan, 0.0, -1.0)])[0])


@settings(deadline=None, max_examples=25)
@given(terrains(max_side=5), st.integers(0, 2**32 - 1))
def test_depth_is_the_distance_to_free_space(terrain, seed):
    spacing = terrain.dx / 20
    axis = np.arange(-21, 22) * spacing
    ball = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(ball, axis=1)
    xy = points_around(terrain, 6, seed)
    below = np.random.default_rng(seed).uniform(-0.5, 1.5, size=(len(xy), 1)) * terrain.dx
    points = np.concatenate([xy, terrain.height_at(xy)[:, None] - below], axis=1).astype(np.float32)
    for point, actual in zip(points, depth(terrain, points)):
        samples = point + ball
        free = terrain.height_at(samples[:, :2]) <= samples[:, 2]
        nearest = distance[free].min() if free.any() else np.inf
        slack = 3**0.5 * spacing
        if nearest <= terrain.dx:
            assert nearest - slack <= actual <= nearest + TOLERANCE
        else:
            assert actual >= terrain.dx - slack


# ------------------------------------------------------------------------------------------- absurd terrain


def field(hf, dx=0.4):
    hf = np.asarray(hf, dtype=np.float32)
    return HeightField(hf, np.stack([hf, hf], axis=-1), np.zeros(2), dx)


def test_what_is_too_rough_for_boxes():
    noise = np.random.default_rng(0).normal(size=(300, 300))
    assert too_rough_for_boxes(field(noise)).endswith("corners on 90000 cells")
    for good in (noise[:80, :80], np.zeros((1001, 1001)), np.add.outer(np.arange(300), np.zeros(300))):
        assert too_rough_for_boxes(field(good)) == ""


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_roughness_bounds_the_number_of_boxes(size_x, size_y, seed, heights):
    hf = np.random.default_rng(seed).integers(0, heights, size=(size_x, size_y)).astype(np.float32)
    corners = np.count_nonzero(np.diff(np.diff(np.pad(hf, 1, constant_values=-1), axis=0), axis=1))
    assert len(box_cover(field(hf)).centre) <= len(np.unique(hf)) + corners


@pytest.mark.parametrize("far", [1e5, 1e9, 1e30, 3e38])
@pytest.mark.parametrize("dx", [1e-3, 0.4])
def test_a_path_that_leaves_the_map_for_good_is_not_cut_out(far, dx):
    path = np.array([[0, 0, 1], [far, -far, 1]], dtype=np.float32)
    with np.errstate(over="ignore"), pytest.raises(InputError, match=r"terrain: the path spans .* cells"):
        slice_around(path, field(np.zeros((3, 3)), dx), 0.8)
