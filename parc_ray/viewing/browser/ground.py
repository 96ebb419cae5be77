"""Ground: the cells of a terrain as columns, coloured by their height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from parc_ray.motions.height_field import HeightField
from parc_ray.tensors.arrays import BoolArray, FloatArray
from parc_ray.viewing.scenes.scene import MARGIN, Scene

MAX_CELLS = 60_000
"""Maximum number of cells sent to a browser; larger terrains are cut to the cells near the paths."""
DEPTH = 0.25
"""m, thickness of the lowest cell."""
SHADES = (0.62, 1.0)
"""Brightness of the lowest and the highest cell."""
RELIEF = 0.6
"""m, minimum height difference that spans all shades."""
CHECKED = 0.06
"""Darkening of every other cell."""


@dataclass(frozen=True, eq=False)
class Columns:
    """N columns with a common base."""

    middle: FloatArray
    """[N, 3] m."""
    half: FloatArray
    """Half extents [N, 3] m."""
    shade: FloatArray
    """Brightness [N], 0 to 1."""


def columns(scene: Scene) -> Columns:
    """Return the cells around the paths of a scene's clips."""
    terrain = scene.terrain
    cells = np.argwhere(_near(scene))
    tops = terrain.hf[cells[:, 0], cells[:, 1]]
    bottom = float(tops.min()) - DEPTH
    half = np.empty((len(cells), 3), dtype=np.float32)
    half[:, :2] = terrain.dx / 2
    half[:, 2] = (tops - bottom) / 2
    middle = np.concatenate(
        [terrain.min_point + cells * np.float32(terrain.dx), (bottom + half[:, 2])[:, None]], axis=-1
    )
    return Columns(middle.astype(np.float32), half, _shade(tops, cells.sum(axis=1) % 2))


def _shade(tops: FloatArray, odd: npt.NDArray[np.int64]) -> FloatArray:
    """Return brightness by height, with a faint checker pattern that shows distances."""
    low, high = float(tops.min()), float(tops.max())
    share = 1.0 - (high - tops) / max(high - low, RELIEF)
    shade: FloatArray = ((SHADES[0] + (SHADES[1] - SHADES[0]) * share) * (1.0 - CHECKED * odd)).astype(np.float32)
    return shade


def _near(scene: Scene) -> BoolArray:
    """Return a mask [X, Y] of the cells to show: all, or up to MAX_CELLS around the paths."""
    terrain = scene.terrain
    if terrain.hf.size <= MAX_CELLS:
        return np.ones(terrain.hf.shape, dtype=np.bool_)
    path = np.concatenate([clip.path()[:, :2] for clip in scene.clips])
    below = np.unique(terrain.grid_index(path), axis=0)
    for margin in (MARGIN, MARGIN / 2, MARGIN / 4):
        near = _spread(below, terrain, margin)
        if near.sum() <= MAX_CELLS:
            return near
    return _spread(below[:MAX_CELLS], terrain, 0.0)


def _spread(cells: npt.NDArray[np.int64], terrain: HeightField, margin: float) -> BoolArray:
    """Return a mask [X, Y] of the given cells and those within a square margin (m) around them."""
    reach = round(margin / terrain.dx)
    size_x, size_y = terrain.hf.shape
    edges: list[npt.NDArray[np.int64]] = [
        np.clip(cells - reach, 0, (size_x - 1, size_y - 1)),
        np.clip(cells + reach, 0, (size_x - 1, size_y - 1)) + 1,
    ]
    (x0, y0), (x1, y1) = edges[0].T, edges[1].T
    count = np.zeros((size_x + 1, size_y + 1), dtype=np.int64)
    for x, y, sign in ((x0, y0, 1), (x1, y1, 1), (x0, y1, -1), (x1, y0, -1)):
        np.add.at(count, (x, y), sign)
    near: BoolArray = count.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
    return near
