"""The ground of MuJoCo's models: a tile as boxes, in a model that has room for so many and can be moved to another."""

from __future__ import annotations

from typing import List, Tuple

import mujoco
import numpy as np
import numpy.typing as npt

from parc_ray.motions.box_cover import Boxes, box_cover
from parc_ray.motions.height_field import HeightField

BORDER = 5.0
"""How far ground continues beyond the map, at the height of its border cells, m."""
DEEP, SMALL = -1000.0, 0.1
"""Height and half size of boxes that a tile does not need, m."""
LEAST_ROOM = 16
"""Boxes for which there is room at least."""


def ground_boxes(tile: HeightField) -> Boxes:
    """The boxes that are a tile's ground."""
    return box_cover(tile, border=BORDER)


def ground_geoms(boxes: Boxes) -> str:
    """The boxes as geoms of MJCF text."""
    geom = '<geom type="box" pos="%r %r %r" size="%r %r %r" contype="1" conaffinity="1"/>'
    return "".join(geom % (*place, *size) for place, size in zip(boxes.centre.tolist(), boxes.half_size.tolist()))


def filled_up(boxes: Boxes, room: int) -> Boxes:
    """The boxes, and so many small ones deep below that there are `room`."""
    spare = room - len(boxes.centre)
    centre = np.concatenate((boxes.centre, np.tile((0.0, 0.0, DEEP), (spare, 1))))
    return Boxes(centre, np.concatenate((boxes.half_size, np.full((spare, 3), SMALL))))


def room_for(boxes: Boxes) -> int:
    """Room that a model needs for a tile: a power of two, so that one model serves many tiles."""
    return max(LEAST_ROOM, 1 << (len(boxes.centre) - 1).bit_length())


def put_boxes(model: mujoco.MjModel, boxes: Boxes) -> None:
    """Exchange the boxes of a model, which come first in it, for as many others: a power of two.

    The model becomes what MuJoCo would compile, but for the shape of the tree in which it looks for boxes.
    """
    room = len(boxes.centre)
    model.geom_pos[:room], model.geom_size[:room] = boxes.centre, boxes.half_size
    model.geom_rbound[:room] = np.linalg.norm(boxes.half_size, axis=1)
    model.geom_aabb[:room, 3:] = boxes.half_size
    low, high, leaves = _tree(boxes)
    nodes, inner = slice(2 * room - 1), room - 1
    model.bvh_aabb[nodes, :3], model.bvh_aabb[nodes, 3:] = (high + low) / 2, (high - low) / 2
    model.bvh_child[:inner] = np.arange(1, 2 * room - 1).reshape(-1, 2)
    model.bvh_child[inner : 2 * room - 1] = -1
    model.bvh_nodeid[:inner], model.bvh_nodeid[inner : 2 * room - 1] = -1, leaves


def _tree(boxes: Boxes) -> Tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """A balanced tree of boxes: corners of its nodes [2 K - 1, 3], level by level, and the boxes that are its leaves.

    Every node's boxes are parted in the middle of its longest side.
    """
    centre, low, high = boxes.centre, boxes.centre - boxes.half_size, boxes.centre + boxes.half_size
    order = np.arange(len(centre))[None]
    lows: List[npt.NDArray[np.float64]] = []
    highs: List[npt.NDArray[np.float64]] = []
    while True:
        lows.append(low[order].min(axis=1))
        highs.append(high[order].max(axis=1))
        nodes, size = order.shape
        if size == 1:
            return np.concatenate(lows), np.concatenate(highs), order[:, 0]
        axis = (highs[-1] - lows[-1]).argmax(axis=1)
        places = centre[order, axis[:, None]].argsort(axis=1)
        order = np.take_along_axis(order, places, axis=1).reshape(2 * nodes, size // 2)
