"""TerrainLayout: all terrains of a dataset in one world, and PARC's terrain.pkl."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from parc_ray.errors import InputError
from parc_ray.files import plain_pickle
from parc_ray.motions.ground_mesh import quad_mesh, voxel_mesh
from parc_ray.motions.height_field import HeightField
from parc_ray.tensors.arrays import FloatArray, Mesh


@dataclass(frozen=True, eq=False)
class TerrainLayout:
    """Terrains of many motions side by side in one world, the content of PARC's terrain.pkl."""

    motion_offsets: FloatArray
    """Offset of each motion's tile from its own frame [n, 1, 2] (m)."""
    terrain: HeightField
    """All tiles as one height field."""
    meshes: list[Mesh]
    """The mesh of each motion's terrain, in the world."""


def square_layout(terrains: Sequence[HeightField], padding: float, dx: float) -> TerrainLayout:
    """Lay out terrains on a square of equal tiles, motion k in tile (k // n, k % n), centred on the origin.

    Each terrain gets a frame of `padding` (m, rounded down to whole cells) at its lowest height. The rest of a tile
    has height 0 and no mesh. Raises InputError if a terrain's cell size is not `dx` (m).
    """
    for k, terrain in enumerate(terrains):
        if not math.isclose(terrain.dx, dx, rel_tol=1e-5):
            raise InputError(
                f"terrain layout: motion {k} has cells of {terrain.dx} m, the layout has {dx} m; "
                "set heightmap.horizontal_scale to the cell size of the motions"
            )
    # 1.2 / 0.4 is 2.9999999999999996, hence two cells, as in PARC.
    framed = [t.pad(int(padding / dx), float(t.hf.min())) for t in terrains]
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
        in_world = HeightField(terrain.hf, terrain.hf_maxmin, corner, terrain.dx)
        meshes.append(quad_mesh(in_world) if in_world.is_flat else voxel_mesh(in_world, None))
    bounds = np.broadcast_to(np.array([1.0, -1.0]), (*hf.shape, 2))
    offsets = tile_min - np.stack([t.min_point for t in framed])
    return TerrainLayout(offsets[:, None, :], HeightField(hf, bounds, world_min, dx), meshes)


def terrain_file_bytes(layout: TerrainLayout) -> bytes:
    """Return the content of terrain.pkl."""
    terrain = layout.terrain
    terrain_data = {
        "hf": terrain.hf,
        "hf_maxmin": np.ascontiguousarray(terrain.hf_maxmin),
        "min_point": terrain.min_point,
        "dx": terrain.dx,
    }
    misc_data = {
        "terrains_per_motion": 1,
        "motion_offsets": layout.motion_offsets,
        "all_terrain_verts": [[vertices] for vertices, _ in layout.meshes],
        "all_terrain_tris": [[triangles] for _, triangles in layout.meshes],
    }
    parts = {"terrain_data": plain_pickle.dumps(terrain_data), "misc_data": plain_pickle.dumps(misc_data)}
    return plain_pickle.dumps({"motion_data": None, **parts})
