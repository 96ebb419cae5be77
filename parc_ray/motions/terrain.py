"""Terrain: height fields made of square columns, and what is built from them.

A height field is a grid of flat-topped square cells. `hf[i, j]` is the height of the cell whose *centre* is
`min_point + (i * dx, j * dx)`; the first index runs along x. A point reads the cell whose centre is nearest
(ties to the even index); a point off the map reads the border cell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parc_ray.errors import InputError

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Mesh = Tuple[FloatArray, npt.NDArray[np.uint32]]
"""Vertices [V, 3] (m) and triangles [T, 3]."""

FLATNESS = 1e-5
LEVEL_GAP = 1e-4
MAX_SLICE_CELLS = 10**7
MAX_CORNERS = 50_000
"""Corners and heights of a terrain in boxes: there are half as many boxes, and each takes 600 bytes per env"""
MAX_COVER_WORK = 2 * 10**10
"""Corners and heights times cells: minutes of work"""


@dataclass(frozen=True, eq=False)
class HeightField:
    """The terrain of one motion, in the motion's own frame (metres, z up). Raises InputError if malformed."""

    hf: FloatArray
    """Height of every cell [X, Y]."""
    hf_maxmin: FloatArray
    """Upper and lower bound of every cell for terrain augmentation [X, Y, 2]; carried along, never used."""
    min_point: FloatArray
    """xy of the centre of cell (0, 0) [2]."""
    dx: float
    """Edge length of a cell."""

    def __post_init__(self) -> None:
        for name in ("hf", "hf_maxmin", "min_point"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
        object.__setattr__(self, "dx", float(self.dx))
        if self.hf.ndim != 2 or self.hf.size == 0:
            raise InputError(f"terrain: hf must be a non-empty 2D array, but its shape is {self.hf.shape}")
        if self.hf_maxmin.shape != (*self.hf.shape, 2):
            raise InputError(
                f"terrain: hf_maxmin must have shape {(*self.hf.shape, 2)}, but it is {self.hf_maxmin.shape}"
            )
        if self.min_point.shape != (2,):
            raise InputError(f"terrain: min_point must hold two numbers, but its shape is {self.min_point.shape}")
        if not (np.isfinite(self.hf).all() and np.isfinite(self.min_point).all()):
            raise InputError("terrain: hf and min_point must be finite numbers")
        if not 0 < self.dx < math.inf:
            raise InputError(f"terrain: dx must be positive, but it is {self.dx}")

    @staticmethod
    def flat(
        size: Tuple[int, int] = (3, 3),
        dx: float = 0.4,
        min_point: Tuple[float, float] = (0.0, 0.0),
        height: float = 0.0,
    ) -> HeightField:
        """Level ground of `size` cells."""
        hf = np.full(size, height, dtype=np.float32)
        return HeightField(hf, np.stack([hf, hf], axis=-1), np.asarray(min_point, dtype=np.float32), dx)

    @property
    def is_flat(self) -> bool:
        """Whether all cells have the same height."""
        return bool(self.hf.max() - self.hf.min() < FLATNESS)

    def grid_index(self, points: npt.NDArray[Any]) -> IndexArray:
        """Cell that each point [..., 2] (m) reads: int64 [..., 2], clamped to the map; NaN reads cell 0."""
        cell = np.rint((np.asarray(points, dtype=np.float32) - self.min_point) / np.float32(self.dx))
        last = np.array(self.hf.shape, dtype=np.float32) - 1
        index: IndexArray = np.clip(np.nan_to_num(cell), 0, last).astype(np.int64)
        return index

    def height_at(self, points: npt.NDArray[Any]) -> FloatArray:
        """Ground height (m) under each point [..., 2]: float32 [...]."""
        index = self.grid_index(points)
        return np.asarray(self.hf[index[..., 0], index[..., 1]], dtype=np.float32)

    def padded(self, cells: int, height: float) -> HeightField:
        """The same terrain in a frame `cells` wide of the given height (m).

        The frame's augmentation bounds are the widest of the map, as PARC has them.
        """
        frame = (cells, cells)
        upper = np.pad(self.hf_maxmin[..., 0], frame, constant_values=self.hf_maxmin[..., 0].max())
        lower = np.pad(self.hf_maxmin[..., 1], frame, constant_values=self.hf_maxmin[..., 1].min())
        return HeightField(
            hf=np.pad(self.hf, frame, constant_values=height),
            hf_maxmin=np.stack([upper, lower], axis=-1),
            min_point=self.min_point - np.float32(self.dx) * np.float32(cells),
            dx=self.dx,
        )


def crop(terrain: HeightField, min_xy: npt.NDArray[Any], max_xy: npt.NDArray[Any]) -> HeightField:
    """The cells that the rectangle from `min_xy` [2] to `max_xy` [2] (m) touches, clamped to the map."""
    x0, y0 = terrain.grid_index(min_xy)
    x1, y1 = terrain.grid_index(max_xy) + 1
    first = np.array([x0, y0], dtype=np.float32)
    return HeightField(
        hf=terrain.hf[x0:x1, y0:y1],
        hf_maxmin=terrain.hf_maxmin[x0:x1, y0:y1],
        min_point=terrain.min_point + first * np.float32(terrain.dx),
        dx=terrain.dx,
    )


def slice_around(
    motion_root_pos: npt.NDArray[Any], terrain: HeightField, padding: float
) -> Tuple[HeightField, FloatArray]:
    """The terrain around a motion, both moved so that the motion starts at xy = 0 above ground of height 0.

    `motion_root_pos` [n, 3] is in the terrain's frame; `padding` (m) is what is kept beyond the path on each
    side (PARC's recorder: `round(1.0 // dx) * dx`). Cells off the map repeat the border. Returns the slice
    and the moved positions [n, 3]. `hf_maxmin` keeps its heights, as in PARC. Raises InputError for a path that
    spans more than MAX_SLICE_CELLS.
    """
    root_pos = np.asarray(motion_root_pos, dtype=np.float32)
    dx = np.float32(terrain.dx)

    def to_grid(point: FloatArray) -> FloatArray:
        rounded: FloatArray = np.rint((point - terrain.min_point) / dx) * dx + terrain.min_point
        return rounded

    first = to_grid(root_pos[:, :2].min(axis=0) - np.float32(padding))
    # Rounding of this exclusive end adds a row or column to two axes in five; PARC's recordings have them.
    end = to_grid(root_pos[:, :2].max(axis=0) + np.float32(padding)) + dx
    extent = np.ceil((end.astype(np.float64) - first) / np.float64(dx))
    if not extent.prod() <= MAX_SLICE_CELLS:
        raise InputError(
            f"terrain: the path spans {extent[0]:g} x {extent[1]:g} cells; at most {MAX_SLICE_CELLS} are cut"
        )
    counts = extent.astype(np.int64)
    steps = np.arange(counts.max(), dtype=np.float32)[:, None]
    index = terrain.grid_index(first + steps * dx)
    cells = np.ix_(index[: counts[0], 0], index[: counts[1], 1])

    start_xy = root_pos[0, :2]
    placed = HeightField(terrain.hf[cells], terrain.hf_maxmin[cells], first - start_xy, terrain.dx)
    ground = placed.height_at(np.zeros(2))
    local = HeightField(placed.hf - ground, placed.hf_maxmin, placed.min_point, placed.dx)
    return local, root_pos - np.append(start_xy, ground)


# ---------------------------------------------------------------------------------------------- meshes


def voxel_mesh(terrain: HeightField, padding: Optional[float]) -> Mesh:
    """Triangle mesh of the cell tops and of the walls between neighbours, in PARC's order.

    Four vertices per cell, two triangles per top and per wall (walls of no height included). A positive
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
    """Triangle mesh of a terrain whose outermost cells reach `border` (m) beyond the map.

    That is the ground as the height lookup reads it, on and off the map. A flat terrain is two triangles.
    """
    if terrain.is_flat:
        return _quad(terrain, border)
    vertices, triangles = voxel_mesh(terrain, None)
    # Walls of no height would be slivers, in the rounding of their corners, that may face down.
    tops, height = 2 * terrain.hf.size, np.ptp(vertices[triangles, 2], axis=1)
    triangles = triangles[(np.arange(len(triangles)) < tops) | (height > 0)]
    (low, high), close = _rectangle(terrain, 0.0, 0.0)[[0, 3], :2], terrain.dx / 4
    xy = vertices[:, :2]
    xy += np.float32(border) * ((xy > high - close).astype(np.float32) - (xy < low + close))
    return vertices, triangles


def _top_vertices(terrain: HeightField) -> DoubleArray:
    """The corners (-x-y, -x+y, +x+y, +x-y) of every cell top [X * Y * 4, 3]."""
    centre = np.stack(np.meshgrid(*_centres(terrain), indexing="ij"), axis=-1)
    corner = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * (terrain.dx / 2)
    xy = centre[:, :, None, :] + corner
    z = np.broadcast_to(terrain.hf[:, :, None, None], (*terrain.hf.shape, 4, 1))
    return np.concatenate([xy, z], axis=-1).reshape(-1, 3)


def _centres(terrain: HeightField) -> List[DoubleArray]:
    """x of every row and y of every column of cells (m)."""
    return [np.arange(n) * terrain.dx + float(p) for n, p in zip(terrain.hf.shape, terrain.min_point)]


def _wall(cell: IndexArray, corners: Tuple[int, int], other: IndexArray, facing: Tuple[int, int]) -> IndexArray:
    """Vertex numbers [..., 4] of the walls between neighbouring cells."""
    return np.concatenate([cell[..., None] * 4 + np.array(corners), other[..., None] * 4 + np.array(facing)], axis=-1)


def _triangles(quads: IndexArray, split: Sequence[Tuple[int, int, int]]) -> IndexArray:
    """Two triangles [2 * Q, 3] from each quad [..., 4], its corners taken in the order of `split`."""
    return quads.reshape(-1, 4)[:, np.array(split)].reshape(-1, 3)


def _rectangle(terrain: HeightField, margin: float, height: float) -> DoubleArray:
    """Corners (-x-y, +x-y, -x+y, +x+y) of the map widened by `margin` (m) at one height [4, 3]."""
    (x0, x1), (y0, y1) = ((c[0] - terrain.dx / 2 - margin, c[-1] + terrain.dx / 2 + margin) for c in _centres(terrain))
    return np.array([(x0, y0, height), (x1, y0, height), (x0, y1, height), (x1, y1, height)])


def _skirt(terrain: HeightField, padding: float) -> Tuple[DoubleArray, IndexArray]:
    """A level ring around the map: inner corners 0 to 3, outer corners 4 to 7."""
    lowest = float(terrain.hf.min())
    vertices = np.concatenate([_rectangle(terrain, 0.0, lowest), _rectangle(terrain, padding, lowest)])
    sides = np.array([(0, 4, 5, 1), (1, 5, 7, 3), (3, 7, 6, 2), (2, 6, 4, 0)])
    return vertices, _triangles(sides, ((0, 1, 2), (0, 2, 3)))


@dataclass(frozen=True, eq=False)
class TerrainLayout:
    """The terrains of many motions side by side in one world: what PARC's terrain.pkl holds."""

    motion_offsets: FloatArray
    """What moves each motion from its own frame to its tile [n, 1, 2] (m)."""
    terrain: HeightField
    """All tiles as one height field."""
    meshes: List[Mesh]
    """The mesh of each motion's terrain, in the world."""


def square_layout(terrains: Sequence[HeightField], padding: float, dx: float) -> TerrainLayout:
    """Lay out terrains on a square of equal tiles, motion k in tile (k // n, k % n), centred on the origin.

    Each terrain is framed by `padding` (m, whole cells, rounded down) of its own lowest height. What no
    terrain covers has height 0 and no mesh. Raises InputError when a terrain's cell size is not `dx` (m).
    """
    for k, terrain in enumerate(terrains):
        if not math.isclose(terrain.dx, dx, rel_tol=1e-5):
            raise InputError(
                f"terrain layout: motion {k} has cells of {terrain.dx} m, the layout has {dx} m; "
                "set heightmap.horizontal_scale to the cell size of the motions"
            )
    # 1.2 / 0.4 is 2.9999999999999996, hence two cells, in PARC too.
    framed = [t.padded(int(padding / dx), float(t.hf.min())) for t in terrains]
    tiles = math.ceil(math.sqrt(len(framed)))
    tile_size = np.array([t.hf.shape for t in framed]).max(axis=0)
    tile = np.stack(np.divmod(np.arange(len(framed)), tiles), axis=-1)
    first_cell = tile * tile_size
    world_min = -tile_size * tiles * dx / 2
    tile_min = (world_min + first_cell * dx).astype(np.float32)

    hf = np.zeros(tile_size * tiles, dtype=np.float32)
    meshes = []
    for terrain, (x, y), corner in zip(framed, first_cell, tile_min):
        hf[x : x + terrain.hf.shape[0], y : y + terrain.hf.shape[1]] = terrain.hf
        placed = HeightField(terrain.hf, terrain.hf_maxmin, corner, terrain.dx)
        meshes.append(_quad(placed) if placed.is_flat else voxel_mesh(placed, None))
    bounds = np.broadcast_to(np.array([1.0, -1.0]), (*hf.shape, 2))
    offsets = tile_min - np.stack([t.min_point for t in framed])
    return TerrainLayout(offsets[:, None, :], HeightField(hf, bounds, world_min, dx), meshes)


def _quad(terrain: HeightField, margin: float = 0.0) -> Mesh:
    """A flat map, widened by `margin` (m), as two triangles."""
    corners = _rectangle(terrain, margin, float(terrain.hf[0, 0]))
    return corners.astype(np.float32), np.array([(0, 1, 2), (1, 3, 2)], dtype=np.uint32)


# ------------------------------------------------------------------------------------------- box cover


@dataclass(frozen=True, eq=False)
class Boxes:
    """Axis-aligned boxes."""

    centre: DoubleArray
    """[K, 3] m"""
    half_size: DoubleArray
    """[K, 3] m"""


def box_cover(terrain: HeightField, border: float = 0.0) -> Boxes:
    """Few overlapping boxes whose union is the terrain.

    For each height level, rectangles inside {hf >= level} that cannot be extended in any direction cover the
    cells of that height; each becomes a box from 1 m below the lowest cell up to the level. Because the boxes
    overlap and run on beneath higher ground, there are hardly any inner edges for a foot to catch on. Heights
    less than 0.1 mm apart count as one level, the lowest of them. Boxes that touch the edge of the map reach
    `border` (m) beyond it, which is what the height lookup says there.
    """
    level, heights = _levels(terrain.hf)
    covers = [_rectangle_cover(level == k, level >= k) for k in range(len(heights))]
    low, high = (np.concatenate([c[side] for c in covers]) for side in (0, 1))
    top = np.repeat(heights.astype(np.float64), [len(c[0]) for c in covers])
    origin = terrain.min_point.astype(np.float64) - terrain.dx / 2
    low_xy = origin + low * terrain.dx - border * (low == 0)
    high_xy = origin + high * terrain.dx + border * (high == np.array(terrain.hf.shape))
    bottom = np.full_like(top, heights[0] - 1.0)
    low_corner = np.concatenate([low_xy, bottom[:, None]], axis=1)
    high_corner = np.concatenate([high_xy, top[:, None]], axis=1)
    return Boxes((low_corner + high_corner) / 2, (high_corner - low_corner) / 2)


def too_rough_for_boxes(terrain: HeightField) -> str:
    """Why `box_cover` would not end, or not fit the memory; empty if it can be used."""
    level, heights = _levels(terrain.hf)
    corners = int(np.count_nonzero(np.diff(np.diff(level, axis=0), axis=1))) + len(heights)
    if corners <= MAX_CORNERS and corners * level.size <= MAX_COVER_WORK:
        return ""
    return f"{len(heights)} heights and {corners - len(heights)} corners on {level.size} cells"


def _levels(hf: FloatArray) -> Tuple[IndexArray, FloatArray]:
    """Level number of every cell [X, Y] and the height of every level, ascending."""
    values, value_of_cell = np.unique(hf, return_inverse=True)
    level_of_value = np.zeros(len(values), dtype=np.int64)
    heights = [values[0]]
    for k, value in enumerate(values):
        if value - heights[-1] >= LEVEL_GAP:
            heights.append(value)
        level_of_value[k] = len(heights) - 1
    return level_of_value[value_of_cell].reshape(hf.shape), np.array(heights, dtype=np.float32)


def _rectangle_cover(wanted: BoolArray, allowed: BoolArray) -> Tuple[IndexArray, IndexArray]:
    """Maximal rectangles inside `allowed` [X, Y] that together cover `wanted`: cells low <= c < high [K, 2].

    Greedy: of all rectangles through the first uncovered cell, take the one that covers most of what is still
    uncovered, and among equals the largest (so it is maximal: an extension would be preferred). On PARC's
    maps this needs at most 1.5 % more rectangles than the minimum, except that one needs 15 instead of 14.
    """
    runs_y = _runs(allowed)
    runs_x = tuple(run.T for run in _runs(allowed.T))
    uncovered = wanted.copy()
    chosen = []
    while uncovered.any():
        x, y = np.unravel_index(uncovered.argmax(), uncovered.shape)
        candidates = _rectangles_through(int(x), int(y), runs_x[0], runs_x[1], *runs_y)
        x0, x1, y0, y1 = candidates.T
        count = np.zeros((wanted.shape[0] + 1, wanted.shape[1] + 1), dtype=np.int64)
        count[1:, 1:] = uncovered.cumsum(axis=0).cumsum(axis=1)
        gain = count[x1, y1] - count[x0, y1] - count[x1, y0] + count[x0, y0]
        area = (x1 - x0) * (y1 - y0)
        best = candidates[np.argmax(gain * (wanted.size + 1) + area)]
        uncovered[best[0] : best[1], best[2] : best[3]] = False
        chosen.append(best)
    cover = np.stack(chosen)
    return cover[:, ::2], cover[:, 1::2]


def _rectangles_through(
    x: int, y: int, first_x: IndexArray, end_x: IndexArray, first_y: IndexArray, end_y: IndexArray
) -> IndexArray:
    """For each range of rows around cell (x, y), the widest rectangle through it: x0, x1, y0, y1 [R, 4]."""
    down, up = slice(first_x[x, y], x + 1), slice(x, end_x[x, y])
    x0 = np.arange(x, down.start - 1, -1)[:, None]
    x1 = np.arange(x, up.stop)[None, :] + 1
    y0 = np.maximum.outer(np.maximum.accumulate(first_y[down, y][::-1]), np.maximum.accumulate(first_y[up, y]))
    y1 = np.minimum.outer(np.minimum.accumulate(end_y[down, y][::-1]), np.minimum.accumulate(end_y[up, y]))
    return np.stack(np.broadcast_arrays(x0, x1, y0, y1), axis=-1).reshape(-1, 4)


def _runs(mask: BoolArray) -> Tuple[IndexArray, IndexArray]:
    """Where along axis 1 the run of true cells around each true cell begins and ends (exclusive) [X, Y]."""
    column = np.arange(mask.shape[1])
    first = np.maximum.accumulate(np.where(mask, 0, column + 1), axis=1)
    end = np.minimum.accumulate(np.where(mask, mask.shape[1], column)[:, ::-1], axis=1)[:, ::-1]
    return first, end


# ------------------------------------------------------------------------------------- batched lookup


class TerrainStack:
    """The terrains of many motions in one place: row n of a query reads terrain `ids[n]`.

    Only exact elementwise operations, so a row's result does not depend on its company. Immutable; takes as
    many numbers as the terrains have cells.

        stack = TerrainStack([motion.terrain for motion in motions], "cpu")
        ground = stack.height_at(motion_ids, body_pos[..., :2])
    """

    def __init__(self, terrains: Sequence[HeightField], device: Union[torch.device, str]) -> None:
        sizes = np.array([t.hf.size for t in terrains])
        self._heights = torch.from_numpy(np.concatenate([t.hf.ravel() for t in terrains])).to(device)
        last = np.array([t.hf.shape for t in terrains]) - 1
        grids = [(*t.min_point, t.dx, *end) for t, end in zip(terrains, last)]
        self._grids = torch.tensor(np.array(grids, dtype=np.float32), device=device)
        """min_point, dx and last cell of each terrain [M, 5]"""
        self._places = torch.from_numpy(np.stack([np.cumsum(sizes) - sizes, last[:, 1] + 1], axis=1)).to(device)
        """where each terrain begins among the heights, and the length of its rows [M, 2]"""
        steps = torch.arange(-1, 2, device=device)
        self._directions = torch.cartesian_prod(steps, steps)

    def height_at(self, ids: Tensor, points: Tensor) -> Tensor:
        """Ground height (m) [N, P] under points [N, P, 2] in the frames of terrains `ids` int64 [N].

        The same numbers as `HeightField.height_at`.
        """
        cells, _, _ = self._cells(ids, points)
        return self._read(ids, cells)

    def penetration_depth(self, ids: Tensor, points: Tensor) -> Tensor:
        """How deep (m) [N, P] each point [N, P, 3] lies inside the ground of terrain `ids` [N]; 0 above it.

        The distance to the nearest free space above the point's own cell and its eight neighbours,
        `min over cells of sqrt(gap_x^2 + gap_y^2 + max(0, top - z)^2)` with the horizontal gaps from the
        point to the cell: just inside a wall a point is a little deep, not as deep as the wall is high. A
        result up to dx is the exact Euclidean distance; a larger one means at least dx. NaN gives NaN.
        """
        cells, dx, last = self._cells(ids, points[..., :2])
        offset = points[..., :2] - (self._grids[ids, None, :2] + cells * dx)
        around = torch.minimum((cells[:, :, None] + self._directions).clamp(min=0), last[:, None])
        top = self._read(ids, around)
        gap = (dx[..., None] / 2 - self._directions * offset[:, :, None]).clamp(min=0)
        gap_x, gap_y = (gap * self._directions.abs()).unbind(dim=-1)
        rise = (top - points[..., 2:]).clamp(min=0)
        return torch.sqrt(gap_x * gap_x + gap_y * gap_y + rise * rise).amin(dim=-1)

    def _cells(self, ids: Tensor, points: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """Cell (a whole number) [N, P, 2] that each point [N, P, 2] reads, and of its grid dx and last cell."""
        min_point, dx, last = self._grids.index_select(0, ids).unsqueeze(1).split([2, 1, 2], dim=-1)
        cell = torch.round((points - min_point) / dx)
        # A character whose simulation blew up must not take the process with it: an index out of range does.
        return torch.minimum(torch.nan_to_num(cell).clamp(min=0), last), dx, last

    def _read(self, ids: Tensor, cells: Tensor) -> Tensor:
        """Heights of cells [N, ..., 2] inside the grid: [N, ...]."""
        first, columns = self._places.index_select(0, ids).view(len(ids), *[1] * (cells.dim() - 2), 2).unbind(dim=-1)
        x, y = cells.long().unbind(dim=-1)
        return self._heights[first + x * columns + y]
