"""Triangle meshes of a height field."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from parc_ray.motions.height_field import HeightField
from parc_ray.tensors.arrays import DoubleArray, IndexArray, Mesh

"""Vertices [V, 3] (m) and triangles [T, 3]."""


def voxel_mesh(terrain: HeightField, padding: float | None) -> Mesh:
    """Return the triangle mesh of the cell tops and of the walls between neighbours, in PARC's order.

    Four vertices per cell, two triangles per top and per wall (including walls without height). A positive
    `padding` (m) adds a skirt of that width around the map at the lowest height.
    """
    size_x, size_y = terrain.hf.shape
    cell = np.arange(size_x * size_y).reshape(size_x, size_y)
    top = _triangles(cell[..., None] * 4 + np.arange(4), ((0, 2, 1), (0, 3, 2)))
    wall_x = _triangles(_wall(cell[:-1], (3, 2), cell[1:], (1, 0)), ((0, 2, 1), (0, 3, 2)))
    wall_y = _triangles(_wall(cell[:, :-1], (1, 2), cell[:, 1:], (3, 0)), ((0, 1, 2), (0, 2, 3)))
    vertices, triangles = _top_vertices(terrain), np.concatenate([top, wall_x, wall_y])
    if padding is not None and padding > 0:
        skirt_vertices, skirt_triangles = _skirt(terrain, padding)
        triangles = np.concatenate([triangles, skirt_triangles + len(vertices)])
        vertices = np.concatenate([vertices, skirt_vertices])
    return vertices.astype(np.float32), triangles.astype(np.uint32)


def ground_mesh(terrain: HeightField, border: float) -> Mesh:
    """Return the triangle mesh of a terrain whose outermost cells reach `border` (m) beyond the map.

    It matches the height lookup on and off the map. A flat terrain is two triangles.
    """
    if terrain.is_flat:
        return quad_mesh(terrain, border)
    vertices, triangles = voxel_mesh(terrain, None)
    # Rounding turns walls without height into slivers, which may face down.
    tops, height = 2 * terrain.hf.size, np.ptp(vertices[triangles, 2], axis=1)
    triangles = triangles[(np.arange(len(triangles)) < tops) | (height > 0)]
    (low, high), close = _rectangle(terrain, 0.0, 0.0)[[0, 3], :2], terrain.dx / 4
    xy = vertices[:, :2]
    xy += np.float32(border) * ((xy > high - close).astype(np.float32) - (xy < low + close))
    return vertices, triangles


def _top_vertices(terrain: HeightField) -> DoubleArray:
    """Return the corners (-x-y, -x+y, +x+y, +x-y) of every cell top [X * Y * 4, 3]."""
    centre = np.stack(np.meshgrid(*_centres(terrain), indexing="ij"), axis=-1)
    corner = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * (terrain.dx / 2)
    xy = centre[:, :, None, :] + corner
    z = np.broadcast_to(terrain.hf[:, :, None, None], (*terrain.hf.shape, 4, 1))
    return np.concatenate([xy, z], axis=-1).reshape(-1, 3)


def _centres(terrain: HeightField) -> list[DoubleArray]:
    """Return x of every row and y of every column of cells (m)."""
    return [np.arange(n) * terrain.dx + float(p) for n, p in zip(terrain.hf.shape, terrain.min_point)]


def _wall(cell: IndexArray, corners: tuple[int, int], other: IndexArray, facing: tuple[int, int]) -> IndexArray:
    """Return vertex numbers [..., 4] of the walls between neighbouring cells."""
    return np.concatenate([cell[..., None] * 4 + np.array(corners), other[..., None] * 4 + np.array(facing)], axis=-1)


def _triangles(quads: IndexArray, split: Sequence[tuple[int, int, int]]) -> IndexArray:
    """Return two triangles [2 * Q, 3] per quad [..., 4], with corners in the order of `split`."""
    return quads.reshape(-1, 4)[:, np.array(split)].reshape(-1, 3)


def _rectangle(terrain: HeightField, margin: float, height: float) -> DoubleArray:
    """Return the corners (-x-y, +x-y, -x+y, +x+y) of the map widened by `margin` (m) at one height [4, 3]."""
    (x0, x1), (y0, y1) = ((c[0] - terrain.dx / 2 - margin, c[-1] + terrain.dx / 2 + margin) for c in _centres(terrain))
    return np.array([(x0, y0, height), (x1, y0, height), (x0, y1, height), (x1, y1, height)])


def _skirt(terrain: HeightField, padding: float) -> tuple[DoubleArray, IndexArray]:
    """Return a level ring around the map: inner corners 0 to 3, outer corners 4 to 7."""
    lowest = float(terrain.hf.min())
    vertices = np.concatenate([_rectangle(terrain, 0.0, lowest), _rectangle(terrain, padding, lowest)])
    sides = np.array([(0, 4, 5, 1), (1, 5, 7, 3), (3, 7, 6, 2), (2, 6, 4, 0)])
    return vertices, _triangles(sides, ((0, 1, 2), (0, 2, 3)))


def quad_mesh(terrain: HeightField, margin: float = 0.0) -> Mesh:
    """Return a flat map, widened by `margin` (m), as two triangles."""
    corners = _rectangle(terrain, margin, float(terrain.hf[0, 0]))
    return corners.astype(np.float32), np.array([(0, 1, 2), (1, 3, 2)], dtype=np.uint32)
