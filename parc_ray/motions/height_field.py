"""Terrain: height fields made of square columns.

A height field is a grid of flat-topped square cells. `hf[i, j]` is the height of the cell whose *centre* is
`min_point + (i * dx, j * dx)`; the first index runs along x. A point reads the cell whose centre is nearest
(ties to the even index); a point off the map reads the border cell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parc_ray.errors import InputError
from parc_ray.tensors.arrays import FloatArray, IndexArray

FLATNESS = 1e-5
MAX_SLICE_CELLS = 10**7


@dataclass(frozen=True, eq=False)
class HeightField:
    """The terrain of one motion, in the motion's own frame (metres, z up). Raises InputError if malformed."""

    hf: FloatArray
    """Height of every cell [X, Y]."""
    hf_maxmin: FloatArray
    """Upper and lower bound of every cell for terrain augmentation [X, Y, 2]; kept but never used."""
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
        size: tuple[int, int] = (3, 3),
        dx: float = 0.4,
        min_point: tuple[float, float] = (0.0, 0.0),
        height: float = 0.0,
    ) -> HeightField:
        """Return level ground of `size` cells."""
        hf = np.full(size, height, dtype=np.float32)
        return HeightField(hf, np.stack([hf, hf], axis=-1), np.asarray(min_point, dtype=np.float32), dx)

    @staticmethod
    def level(path: npt.NDArray[Any], border: float, dx: float = 0.4) -> HeightField:
        """Return level ground of height 0 under a path [n, 2] and `border` (m) around it.

        Raises InputError for a path that spans more than MAX_SLICE_CELLS.
        """
        low = np.floor((path.min(axis=0) - border) / dx) * dx
        extent = np.ceil((path.max(axis=0) + border - low) / dx) + 1
        if not extent.prod() <= MAX_SLICE_CELLS:
            raise InputError(f"the path spans {extent[0]:g} x {extent[1]:g} cells of ground")
        return HeightField.flat((int(extent[0]), int(extent[1])), dx, (float(low[0]), float(low[1])))

    @property
    def is_flat(self) -> bool:
        """True if all cells have the same height."""
        return bool(self.hf.max() - self.hf.min() < FLATNESS)

    def grid_index(self, points: npt.NDArray[Any]) -> IndexArray:
        """Return the cell that each point [..., 2] (m) reads, int64 [..., 2], clamped to the map; NaN reads cell 0."""
        cell = np.rint((np.asarray(points, dtype=np.float32) - self.min_point) / np.float32(self.dx))
        last = np.array(self.hf.shape, dtype=np.float32) - 1
        index: IndexArray = np.clip(np.nan_to_num(cell), 0, last).astype(np.int64)
        return index

    def height_at(self, points: npt.NDArray[Any]) -> FloatArray:
        """Return the ground height (m) under each point [..., 2], float32 [...]."""
        index = self.grid_index(points)
        return np.asarray(self.hf[index[..., 0], index[..., 1]], dtype=np.float32)

    def pad(self, cells: int, height: float) -> HeightField:
        """Return the terrain in a frame `cells` wide of the given height (m).

        The frame's augmentation bounds are the widest of the map, as in PARC.
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


def extend(terrain: HeightField, min_xy: npt.NDArray[Any], max_xy: npt.NDArray[Any]) -> HeightField:
    """Return the terrain with its border repeated until it covers the rectangle from `min_xy` [2] to `max_xy` [2] (m).

    Raises InputError if this needs more than MAX_SLICE_CELLS.
    """
    last = terrain.min_point + (np.array(terrain.hf.shape) - 1) * terrain.dx
    before = np.ceil(np.maximum(0.0, terrain.min_point - min_xy) / terrain.dx - FLATNESS).astype(np.int64)
    after = np.ceil(np.maximum(0.0, max_xy - last) / terrain.dx - FLATNESS).astype(np.int64)
    if not np.prod(np.array(terrain.hf.shape, dtype=np.float64) + before + after) <= MAX_SLICE_CELLS:
        raise InputError(f"terrain: it would have to be extended to more than {MAX_SLICE_CELLS} cells")
    sides = [(int(low), int(high)) for low, high in zip(before, after)]
    return HeightField(
        hf=np.pad(terrain.hf, sides, mode="edge"),
        hf_maxmin=np.pad(terrain.hf_maxmin, [*sides, (0, 0)], mode="edge"),
        min_point=terrain.min_point - before.astype(np.float32) * np.float32(terrain.dx),
        dx=terrain.dx,
    )


def crop(terrain: HeightField, min_xy: npt.NDArray[Any], max_xy: npt.NDArray[Any]) -> HeightField:
    """Return the cells that the rectangle from `min_xy` [2] to `max_xy` [2] (m) touches, clamped to the map."""
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
) -> tuple[HeightField, FloatArray]:
    """Return the terrain around a motion and its root positions [n, 3], both moved to start at xy = 0 and ground 0.

    `motion_root_pos` [n, 3] is in the terrain's frame; `padding` (m) is kept beyond the path on each side (PARC's
    recorder: `round(1.0 // dx) * dx`). Cells off the map repeat the border. `hf_maxmin` keeps its heights, as in PARC.
    Raises InputError for a path that spans more than MAX_SLICE_CELLS.
    """
    root_pos = np.asarray(motion_root_pos, dtype=np.float32)
    dx = np.float32(terrain.dx)

    def to_grid(point: FloatArray) -> FloatArray:
        rounded: FloatArray = np.rint((point - terrain.min_point) / dx) * dx + terrain.min_point
        return rounded

    first = to_grid(root_pos[:, :2].min(axis=0) - np.float32(padding))
    # Rounding this exclusive end adds a row or column on two axes in five, as in PARC's recordings.
    end = to_grid(root_pos[:, :2].max(axis=0) + np.float32(padding)) + dx
    extent = np.ceil((end.astype(np.float64) - first) / np.float64(dx))
    if not extent.prod() <= MAX_SLICE_CELLS:
        raise InputError(f"terrain: the path spans {extent[0]:g} x {extent[1]:g} cells, more than {MAX_SLICE_CELLS}")
    counts = extent.astype(np.int64)
    steps = np.arange(counts.max(), dtype=np.float32)[:, None]
    index = terrain.grid_index(first + steps * dx)
    cells = np.ix_(index[: counts[0], 0], index[: counts[1], 1])

    start_xy = root_pos[0, :2]
    placed = HeightField(terrain.hf[cells], terrain.hf_maxmin[cells], first - start_xy, terrain.dx)
    ground = placed.height_at(np.zeros(2))
    local = HeightField(placed.hf - ground, placed.hf_maxmin, placed.min_point, placed.dx)
    return local, root_pos - np.append(start_xy, ground)
