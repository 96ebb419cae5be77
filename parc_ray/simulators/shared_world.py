"""Many tiles in one world, for engines that simulate all envs in one scene.

The tiles of a shard lie side by side around the origin, at places known only to this layout. Characters are passed
and returned in their motion's own frame; `offsets` convert to the world frame and back. Idle characters wait at
`parking`, high above all ground and far apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from parc_ray.errors import TooLargeError
from parc_ray.motions.ground_mesh import ground_mesh
from parc_ray.motions.height_field import HeightField
from parc_ray.tensors.arrays import DoubleArray, FloatArray, Mesh

BORDER = 3.0
"""Width of the ground beyond each map, at the height of its border cells, m."""
MAX_REACH = 512.0
"""Maximum distance of ground from the origin along x or y, m; coordinates there are exact to 0.03 mm."""
PARKING_HEIGHT = 10.0
"""Height of parked characters above the highest ground, m."""
PARKING_SPACE = 4.0
"""Distance between parked characters, m."""


@dataclass(frozen=True, eq=False)
class SharedWorld:
    """Positions in one world of several tiles (m)."""

    offsets: FloatArray
    """Offset from each tile's own frame to the world, [T, 3]."""
    mesh: Mesh
    """The ground of all tiles, in the world."""
    parking: FloatArray
    """Root position of each env's character while it is idle, [E, 3]."""

    @property
    def reach(self) -> float:
        """Largest distance of any ground from the origin along x or y."""
        return float(np.abs(self.mesh[0][:, :2]).max())


def share_world(tiles: Sequence[HeightField], num_envs: int) -> SharedWorld:
    """Lay out tiles in roughly a square around the origin, each extended by BORDER at its edge heights.

    Raises TooLargeError if ground would lie beyond MAX_REACH.
    """
    grounds = [ground_mesh(tile, BORDER) for tile in tiles]
    low = np.array([vertices[:, :2].min(axis=0) for vertices, _ in grounds], dtype=np.float64)
    high = np.array([vertices[:, :2].max(axis=0) for vertices, _ in grounds], dtype=np.float64)
    corners, extent = _shelves(high - low)
    if extent.max() / 2 > MAX_REACH:
        raise TooLargeError(
            f"the ground of {len(tiles)} motions in one world is {extent.max():.0f} m wide, more than "
            f"{2 * MAX_REACH:.0f} m; raise ray.num_shards"
        )
    offsets = np.zeros((len(tiles), 3), dtype=np.float32)
    offsets[:, :2] = corners - extent / 2 - low
    first = np.cumsum([0, *(len(vertices) for vertices, _ in grounds)])
    vertices = np.concatenate([vertices + offset for (vertices, _), offset in zip(grounds, offsets)])
    triangles = np.concatenate([triangles + start for (_, triangles), start in zip(grounds, first)])
    return SharedWorld(
        offsets,
        (vertices.astype(np.float32), triangles.astype(np.uint32)),
        _parking_places(num_envs, float(vertices[:, 2].max()) + PARKING_HEIGHT),
    )


def _shelves(sizes: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Return lower corners [T, 2] of rectangles [T, 2] on shelves along y, widest (in x) first, and the extent [2]."""
    length = max(math.sqrt(float(sizes.prod(axis=1).sum())), float(sizes[:, 1].max()))
    corners = np.zeros_like(sizes)
    shelf = place = depth = 0.0
    for index in np.argsort(-sizes[:, 0], kind="stable"):
        if place and place + sizes[index, 1] > length:
            shelf, place, depth = shelf + depth, 0.0, 0.0
        corners[index] = shelf, place
        place += sizes[index, 1]
        depth = max(depth, sizes[index, 0])
    return corners, (corners + sizes).max(axis=0)


def _parking_places(num_envs: int, height: float) -> FloatArray:
    """Return places [E, 3] on a square grid above the origin."""
    side = math.ceil(math.sqrt(num_envs))
    cell = np.stack(np.divmod(np.arange(num_envs), side), axis=1) - (side - 1) / 2
    return np.column_stack((cell * PARKING_SPACE, np.full(num_envs, height))).astype(np.float32)
