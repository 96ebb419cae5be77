"""The ground of MuJoCo's models: a tile as boxes, which can be exchanged for those of another tile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from parc_ray.motions.box_cover import Boxes, box_cover
from parc_ray.motions.height_field import HeightField
from parc_ray.tensors.arrays import DoubleArray

BORDER = 5.0
"""Width of the ground beyond the map, at the height of its border cells, m."""
DEEP, SMALL = -1000.0, 0.1
"""Height and half size of a tile's unused boxes, m."""
LEAST_ROOM = 16
"""Number of boxes of the smallest ground."""
CHECK_STEPS = 200
"""Physics steps in which balls fall onto a ground and roll."""


def ground_boxes(tile: HeightField) -> Boxes:
    """Return the boxes of a tile's ground."""
    return box_cover(tile, border=BORDER)


def ground_geoms(boxes: Boxes) -> str:
    """Return boxes as geoms of MJCF text."""
    geom = '<geom type="box" pos="%r %r %r" size="%r %r %r" contype="1" conaffinity="1"/>'
    return "".join(geom % (*place, *size) for place, size in zip(boxes.centre.tolist(), boxes.half_size.tolist()))


def pad_boxes(boxes: Boxes, room: int) -> Boxes:
    """Return the boxes, padded to `room` with small ones deep below."""
    spare = room - len(boxes.centre)
    centre = np.concatenate((boxes.centre, np.tile((0.0, 0.0, DEEP), (spare, 1))))
    return Boxes(centre, np.concatenate((boxes.half_size, np.full((spare, 3), SMALL))))


@dataclass(frozen=True, eq=False)
class Ground:
    """A tile for a model."""

    key: int
    """Key of the models that can hold it: their number of boxes, a power of two, so that one model serves many tiles.
    If grounds cannot be exchanged, the number of the tile that the model was compiled for."""
    arrays: tuple[npt.NDArray[Any], ...]
    """Contents of the model's arrays_of_ground; empty if they never change."""


def make_ground(boxes: Boxes) -> Ground:
    """Return the ground of boxes, for models with room for the next power of two."""
    room = max(LEAST_ROOM, 1 << (len(boxes.centre) - 1).bit_length())
    boxes = pad_boxes(boxes, room)
    low, high, leaves = _tree(boxes)
    own_boxes = np.concatenate((np.zeros_like(boxes.centre), boxes.half_size), axis=1)
    nodes = np.concatenate(((high + low) / 2, (high - low) / 2), axis=1)
    radius = np.linalg.norm(boxes.half_size, axis=1)
    return Ground(room, (boxes.centre, boxes.half_size, radius, own_boxes, nodes, leaves))


def arrays_of_ground(model: mujoco.MjModel, room: int) -> tuple[npt.NDArray[Any], ...]:
    """Return views of the memory of a model's ground: `room` boxes, its first geoms.

    After a Ground is written there, the model equals the one that MuJoCo would compile, except for the shape of its
    bounding volume hierarchy, which is the same for all grounds.
    """
    first_leaf, nodes = room - 1, 2 * room - 1
    model.bvh_child[:first_leaf], model.bvh_child[first_leaf:nodes] = np.arange(1, nodes).reshape(-1, 2), -1
    model.bvh_nodeid[:first_leaf] = -1
    of_geoms = (model.geom_pos, model.geom_size, model.geom_rbound, model.geom_aabb)
    return (*(array[:room] for array in of_geoms), model.bvh_aabb[:nodes], model.bvh_nodeid[first_leaf:nodes])


@lru_cache(maxsize=None)
def can_exchange_grounds() -> bool:
    """Return whether a model with an exchanged ground moves like one compiled with it.

    arrays_of_ground relies on the order of MuJoCo's bounding volume hierarchy, which its API does not guarantee.
    The check drops a ball onto every step of a staircase.
    """
    number = np.arange(LEAST_ROOM, dtype=np.float64)
    centre = np.stack((number % 4, number // 4, 0.1 * (number % 5)), axis=1)
    boxes = Boxes(centre, np.full((LEAST_ROOM, 3), (0.5, 0.5, 0.3)))
    balls = "".join(
        f'<body pos="{x + 0.3!r} {y!r} {z + 0.6!r}"><freejoint/><geom size="0.1"/></body>'
        for x, y, z in centre.tolist()
    )

    def model_on(ground: Boxes) -> mujoco.MjModel:
        return mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{ground_geoms(ground)}{balls}</worldbody></mujoco>")

    def roll(model: mujoco.MjModel) -> DoubleArray:
        data = mujoco.MjData(model)
        mujoco.mj_step(model, data, CHECK_STEPS)
        return np.array(data.qpos)

    try:
        none = pad_boxes(Boxes(centre[:0], centre[:0]), LEAST_ROOM)
        exchanged, ground = model_on(none), make_ground(boxes)
        for array, own in zip(arrays_of_ground(exchanged, ground.key), ground.arrays):
            array[...] = own
        return bool(np.allclose(roll(exchanged), roll(model_on(boxes)), rtol=0.0, atol=1e-6))
    except (AttributeError, IndexError, ValueError, mujoco.FatalError):
        return False


def _tree(boxes: Boxes) -> tuple[DoubleArray, DoubleArray, npt.NDArray[np.int64]]:
    """Return a balanced tree of boxes: corners of its nodes [2 K - 1, 3], level by level, and the boxes of its leaves.

    Every node splits its boxes at the middle of its longest side.
    """
    centre, low, high = boxes.centre, boxes.centre - boxes.half_size, boxes.centre + boxes.half_size
    order = np.arange(len(centre))[None]
    lows: list[DoubleArray] = []
    highs: list[DoubleArray] = []
    while True:
        lows.append(low[order].min(axis=1))
        highs.append(high[order].max(axis=1))
        nodes, size = order.shape
        if size == 1:
            return np.concatenate(lows), np.concatenate(highs), order[:, 0]
        axis = (highs[-1] - lows[-1]).argmax(axis=1)
        places = centre[order, axis[:, None]].argsort(axis=1)
        order = np.take_along_axis(order, places, axis=1).reshape(2 * nodes, size // 2)
