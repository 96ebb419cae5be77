"""Triangle meshes of voxel terrain -> boxes for MuJoCo, in the neighbourhood of a character."""

from __future__ import annotations

from typing import Tuple

import numpy as np

from isaacgym._double.contract import not_modelled

REACH = 6.0
"""Half the edge (m) of the square of terrain that a character is given"""
ROAM = 2.0
"""Edge (m) of the squares whose nearest one is a character's"""
SAME = 1e-3
"""Coordinates closer than this (m) are one"""
LEVEL_GAP = 1e-4

Boxes = Tuple[np.ndarray, np.ndarray]
"""Centres and half sizes (m) [K, 3]"""


class Ground:
    """All static geometry of a simulation: solid below the upward faces of its meshes."""

    def __init__(self) -> None:
        self._rectangles = np.zeros((0, 5))
        """low x, low y, high x, high y and height of level rectangles (two triangles each)"""
        self._triangles = np.zeros((0, 3, 3))
        """level triangles that are not half of a rectangle"""
        self._plane = False
        self._known: dict[tuple[int, int], Boxes] = {}

    def add_plane(self) -> None:
        """The plane z = 0."""
        self._plane = True

    def add(self, vertices: np.ndarray, triangles: np.ndarray) -> None:
        """A mesh: vertices [V, 3] (m, world), triangles [T, 3]. Faces are level or upright, level ones face up."""
        corners = vertices[triangles].astype(np.float64)
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        size = np.linalg.norm(normal, axis=1)
        normal = normal[size > 0] / size[size > 0, None]
        rise = normal[:, 2]
        if np.any((np.abs(rise) > 1e-3) & (np.abs(rise) < 0.999)):
            not_modelled("a triangle mesh with slopes")
        if np.any(rise < -0.999):
            not_modelled("a level face that looks down (PhysX collides with the front of a triangle only)")
        rectangles, triangles = _pair(corners[size > 0][rise > 0.999])
        self._rectangles = np.concatenate([self._rectangles, rectangles])
        self._triangles = np.concatenate([self._triangles, triangles])
        self._known.clear()

    def square(self, position: np.ndarray) -> tuple[int, int]:
        """The square that a character at `position` [3] belongs to."""
        return round(float(position[0]) / ROAM), round(float(position[1]) / ROAM)

    def boxes(self, square: tuple[int, int]) -> Boxes:
        """Boxes whose union is the ground in a square."""
        if square not in self._known:
            self._known[square] = self._cover(np.array(square) * ROAM)
        return self._known[square]

    def _cover(self, centre: np.ndarray) -> Boxes:
        low, high = centre - REACH, centre + REACH
        near = self._rectangles
        near = near[(near[:, 2:4] > low).all(axis=1) & (near[:, :2] < high).all(axis=1)]
        rest = self._triangles
        rest = rest[(rest[:, :, :2].max(axis=1) > low).all(axis=1) & (rest[:, :, :2].min(axis=1) < high).all(axis=1)]
        corners = np.concatenate([near[:, :2], near[:, 2:4], rest[:, :, :2].reshape(-1, 2)])
        x, y = (_lines(corners[:, axis], low[axis], high[axis]) for axis in (0, 1))
        height = np.fmax(_rectangle_heights(near, x, y), _triangle_heights(rest, x, y))
        if self._plane:
            height = np.fmax(height, 0.0)
        return _cover_with_boxes(height, x, y)


def _pair(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Level triangles [T, 3, 3] as rectangles [R, 5], and those that are not half of one."""
    if not len(corners):
        return np.zeros((0, 5)), corners
    frames = np.concatenate([corners.min(axis=1)[:, :2], corners.max(axis=1)], axis=1)
    order = np.lexsort(frames.T)
    frames, corners = frames[order], corners[order]
    edges = corners[:, 1:, :2] - corners[:, :1, :2]
    area = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
    half = np.isclose(area, np.prod(frames[:, 2:4] - frames[:, :2], axis=1), rtol=1e-4)
    first = np.append((frames[1:] == frames[:-1]).all(axis=1) & half[1:] & half[:-1], False)
    # Of three and more in a row, the first two are a pair.
    for index in np.flatnonzero(first):
        if index and first[index - 1]:
            first[index] = False
    paired = first | np.append(False, first[:-1])[: len(first)]
    return frames[first], corners[~paired]


def _lines(coordinates: np.ndarray, low: float, high: float) -> np.ndarray:
    """Grid lines along one axis: the coordinates of all corners inside the window, and its ends."""
    inside = np.unique(np.clip(coordinates, low, high))
    inside = np.unique(np.concatenate([inside, [low, high]]))
    return inside[np.concatenate([[True], np.diff(inside) > SAME])]


def _rectangle_heights(rectangles: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the highest rectangle in each cell of the grid with lines x [X + 1] and y [Y + 1]; NaN: none."""
    height = np.full((len(x) - 1, len(y) - 1), np.nan)
    middle_x, middle_y = (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2
    rectangles = rectangles[np.argsort(rectangles[:, 4])]
    x0, x1 = (np.searchsorted(middle_x, rectangles[:, column]) for column in (0, 2))
    y0, y1 = (np.searchsorted(middle_y, rectangles[:, column]) for column in (1, 3))
    for a, b, c, d, z in zip(x0.tolist(), x1.tolist(), y0.tolist(), y1.tolist(), rectangles[:, 4].tolist()):
        height[a:b, c:d] = z
    return height


def _triangle_heights(triangles: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the highest triangle at the middle of each cell; NaN: none."""
    height = np.full((len(x) - 1, len(y) - 1), np.nan)
    px, py = (x[1:, None] + x[:-1, None]) / 2, (y[None, 1:] + y[None, :-1]) / 2
    for a, b, c in triangles:
        edges = [(q[0] - p[0]) * (py - p[1]) - (q[1] - p[1]) * (px - p[0]) for p, q in ((a, b), (b, c), (c, a))]
        inside = np.minimum(np.minimum(edges[0], edges[1]), edges[2]) >= -1e-9
        height = np.where(inside, np.fmax(height, a[2]), height)
    return height


def _cover_with_boxes(height: np.ndarray, x: np.ndarray, y: np.ndarray) -> Boxes:
    """Few overlapping boxes: for each level, rectangles inside {height >= level}, from below all ground."""
    found: list[tuple[int, int, int, int, float]] = []
    filled = np.nan_to_num(height, nan=-np.inf)
    levels = np.unique(height[~np.isnan(height)])
    for level in levels[np.concatenate([[True], np.diff(levels) > LEVEL_GAP])] if len(levels) else []:
        allowed = filled >= level
        wanted = allowed & (filled <= level + LEVEL_GAP)
        while wanted.any():
            cell = np.unravel_index(wanted.argmax(), wanted.shape)
            rectangles = [_grow(allowed, cell, order) for order in ((0, 1), (1, 0))]
            x0, x1, y0, y1 = max(rectangles, key=lambda r: wanted[r[0] : r[1], r[2] : r[3]].sum())
            wanted[x0:x1, y0:y1] = False
            found.append((x0, x1, y0, y1, level))
    if not found:
        return np.zeros((0, 3)), np.zeros((0, 3))
    x0, x1, y0, y1, level = (np.array(column) for column in zip(*found))
    bottom = np.full(len(found), levels[0] - 1.0)
    low = np.stack([x[x0], y[y0], bottom], axis=1)
    high = np.stack([x[x1], y[y1], level], axis=1)
    return (low + high) / 2, (high - low) / 2


def _grow(allowed: np.ndarray, cell: tuple[int, ...], order: tuple[int, int]) -> tuple[int, int, int, int]:
    """A rectangle around `cell` that cannot be extended, grown along one axis first."""
    low, high = [int(cell[0]), int(cell[1])], [int(cell[0]) + 1, int(cell[1]) + 1]

    def free(first: list[int], end: list[int]) -> bool:
        return bool(allowed[first[0] : end[0], first[1] : end[1]].all())

    for axis in order:
        while low[axis] > 0:
            step = list(low)
            step[axis] -= 1
            edge = list(high)
            edge[axis] = step[axis] + 1
            if not free(step, edge):
                break
            low = step
        while high[axis] < allowed.shape[axis]:
            edge = list(high)
            edge[axis] += 1
            step = list(low)
            step[axis] = high[axis]
            if not free(step, edge):
                break
            high = edge
    return low[0], high[0], low[1], high[1]
