"""TerrainStack: height lookups for many motions at once."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import torch
from torch import Tensor

from parc_ray.motions.height_field import HeightField


class TerrainStack:
    """The terrains of many motions: row n of a query reads terrain `ids[n]`.

    Operations are elementwise and exact, so a row's result does not depend on other rows. Immutable; stores one number
    per cell.

        stack = TerrainStack([motion.terrain for motion in motions], "cpu")
        ground = stack.height_at(motion_ids, body_pos[..., :2])
    """

    def __init__(self, terrains: Sequence[HeightField], device: torch.device | str) -> None:
        sizes = np.array([t.hf.size for t in terrains])
        self._heights = torch.from_numpy(np.concatenate([t.hf.ravel() for t in terrains])).to(device)
        last = np.array([t.hf.shape for t in terrains]) - 1
        grids = [(*t.min_point, t.dx, *end) for t, end in zip(terrains, last)]
        self._grids = torch.tensor(np.array(grids, dtype=np.float32).T, device=device).contiguous()
        """[5, M]: min_point, dx and last cell of each terrain."""
        self._places = torch.from_numpy(np.stack([np.cumsum(sizes) - sizes, last[:, 1] + 1])).to(device)
        """[2, M]: index of each terrain's first height, and the length of its rows."""
        self._zero = torch.zeros((), device=device)
        steps = torch.arange(-1, 2, device=device)
        self._directions = torch.cartesian_prod(steps, steps)

    def height_at(self, ids: Tensor, points: Tensor) -> Tensor:
        """Return ground heights (m) [N, P] under points [N, P, 2] in the frames of terrains `ids` int64 [N].

        Equal to `HeightField.height_at`.
        """
        cells, _, _ = self._cells(ids, points)
        return self._read(ids, cells)

    def penetration_depth(self, ids: Tensor, points: Tensor) -> Tensor:
        """Return the depth (m) [N, P] of points [N, P, 3] inside the ground of terrains `ids` [N]; 0 above it.

        The distance to the nearest free space above the point's own cell and its eight neighbours,
        `min over cells of sqrt(gap_x^2 + gap_y^2 + max(0, top - z)^2)` with the horizontal gaps from the
        point to the cell, so that a point just inside a wall is not as deep as the wall's height. Results up to dx are
        exact Euclidean distances; a larger one means at least dx. NaN gives NaN.
        """
        cells, dx, last = self._cells(ids, points[..., :2])
        min_point = self._grids[:2].index_select(1, ids).t().unsqueeze(1)
        offset = points[..., :2] - (min_point + cells * dx)
        around = torch.minimum((cells[:, :, None] + self._directions).clamp(min=0), last[:, None])
        top = self._read(ids, around)
        gap = (dx[..., None] / 2 - self._directions * offset[:, :, None]).clamp(min=0)
        gap_x, gap_y = (gap * self._directions.abs()).unbind(dim=-1)
        rise = (top - points[..., 2:]).clamp(min=0)
        return torch.sqrt(gap_x * gap_x + gap_y * gap_y + rise * rise).amin(dim=-1)

    def _cells(self, ids: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the cell (whole numbers) [N, P, 2] of each point [N, P, 2], and dx and last cell of its grid."""
        min_point, dx, last = self._grids.index_select(1, ids).t().unsqueeze(1).split([2, 1, 2], dim=-1)
        cell = torch.round((points - min_point) / dx)
        # NaN from a diverged simulation reads cell 0; an index out of range would kill the process.
        return torch.minimum(torch.fmax(cell, self._zero), last), dx, last

    def _read(self, ids: Tensor, cells: Tensor) -> Tensor:
        """Return the heights [N, ...] of cells [N, ..., 2] inside the grid."""
        first, columns = self._places.index_select(1, ids).view(2, len(ids), *[1] * (cells.dim() - 2)).unbind(0)
        x, y = cells.long().unbind(dim=-1)
        return self._heights[first + x * columns + y]
