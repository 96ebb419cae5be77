"""Landscape: a MuJoCo model of a terrain that shows its cells and heights."""

from __future__ import annotations

import io
import math
from typing import Any, Sequence, Tuple

import numpy as np
import numpy.typing as npt

from parc_ray.errors import InputError, one_line
from parc_ray.motions.height_field import HeightField
from parc_ray.tensors.arrays import DoubleArray, FloatArray, Mesh

Colour = Tuple[float, float, float]

MAX_CELLS = 250_000
DEPTH = 0.25
"""m, of the block below its lowest cell."""
LEVELS, TILE = 32, 64
"""Number of shades of height, and width of a cell's texture, pixels."""
GROUND, LINE, WALL = (206, 213, 221), 0.82, (176, 184, 194)
LOWEST = 0.66
"""Brightness of the lowest cell, relative to the highest."""
SKY, HORIZON, FLOOR = (0.62, 0.72, 0.83), (0.91, 0.933, 0.957), (0.80, 0.83, 0.865)
SUN = np.array([0.45, -0.35, 0.85]) / np.linalg.norm([0.45, -0.35, 0.85])
FIRST_HULL = 1
"""Index of the first hull among the model's meshes."""
HIDDEN_GROUP = 5
"""Group of geoms that MuJoCo does not draw."""
FIELD_OF_VIEW = 40.0
"""degrees, vertical."""


def landscape_model(
    terrain: HeightField, width: int, height: int, shadow_radius: float, far: float, hulls: Sequence[Mesh] = ()
) -> Any:
    """Return a MuJoCo model of a terrain, with floor, sun and sky.

    The sun (light 0) casts shadows within shadow_radius (m) of its target. Pictures have width x height pixels and
    a view distance of `far` (m). hulls: Meshes to draw, numbered from FIRST_HULL. Raises InputError for more than
    MAX_CELLS.
    """
    import mujoco

    if terrain.hf.size > MAX_CELLS:
        raise InputError(
            f"the terrain around the motion has {terrain.hf.size} cells, and at most {MAX_CELLS} can be drawn: "
            "choose a part of the motion with --from and --to"
        )
    bottom = float(terrain.hf.min()) - DEPTH

    # A slightly transparent floor receives no shadows; OpenGL on CPUs draws speckles outside the shadow map.
    def text(values: Any) -> str:
        return " ".join(f"{value:.6g}" for value in values)

    # Old versions of MuJoCo store how they moved a mesh only if a geom uses it.
    names = [f"hull_{number}" for number in range(len(hulls))]
    document = f"""<mujoco>
  <statistic extent="1" center="0 0 0"/>
  <visual>
    <global offwidth="{width}" offheight="{height}" fovy="{FIELD_OF_VIEW}"/>
    <quality shadowsize="{min(4096, 2 ** math.ceil(math.log2(4 * height)))}" offsamples="4"/>
    <headlight ambient=".56 .56 .56" diffuse=".12 .12 .12" specular="0 0 0"/>
    <map znear="0.05" zfar="{far:.6g}" shadowclip="{shadow_radius:.6g}" haze="0.35"/>
    <rgba haze="{text(HORIZON)} 1"/>
  </visual>
  <asset>
    <texture type="skybox" builtin="gradient" rgb1="{text(HORIZON)}" rgb2="{text(SKY)}" width="256" height="1536"/>
    <texture name="cells" type="2d" file="cells.png"/>
    <material name="cells" texture="cells" specular="0.05" shininess="0.1"/>
    <material name="floor" rgba="{text(FLOOR)} 0.99" specular="0" reflectance="0"/>
    <mesh name="terrain" file="terrain.msh"/>
    {"".join(f'<mesh name="{name}" file="{name}.msh"/>' for name in names)}
  </asset>
  <worldbody>
    <light directional="true" pos="0 0 10" dir="{text(-SUN)}" diffuse=".48 .48 .48" specular=".2 .2 .2"/>
    <geom type="plane" size="0 0 1" pos="0 0 {bottom:.6g}" material="floor" contype="0" conaffinity="0"/>
    <geom type="mesh" mesh="terrain" material="cells" contype="0" conaffinity="0"/>
    {"".join(f'<geom type="mesh" mesh="{name}" group="{HIDDEN_GROUP}" contype="0" conaffinity="0"/>' for name in names)}
  </worldbody>
</mujoco>"""
    files: dict[str, bytes] = {"terrain.msh": _mesh_file(*_block(terrain, bottom)), "cells.png": _cells_picture()}
    files.update((f"{name}.msh", _triangles_file(*hull)) for name, hull in zip(names, hulls))
    try:
        return mujoco.MjModel.from_xml_string(document, files)
    except ValueError as error:
        raise InputError(f"the terrain around the motion cannot be drawn: {one_line(error)}") from None


def _block(terrain: HeightField, bottom: float) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Return the outer faces of the block: corners [Q, 4, 3] m, normals [Q, 3], texture coordinates [Q, 4, 2]."""
    size_x, size_y = terrain.hf.shape
    edge_x, edge_y = (
        np.arange(count + 1) * terrain.dx + float(first) - terrain.dx / 2
        for count, first in zip(terrain.hf.shape, terrain.min_point)
    )
    heights = terrain.hf.astype(np.float64)
    i, j = (index.ravel() for index in np.indices((size_x, size_y)))
    x0, x1, y0, y1, top = edge_x[i], edge_x[i + 1], edge_y[j], edge_y[j + 1], heights.ravel()
    # Emphasize differences near the top, where characters walk; pits may be deep.
    depth = np.sqrt((top.max() - top) / max(float(np.ptp(top)), 1.0))
    level = np.rint((1 - depth) * (LEVELS - 1))
    parts: list[tuple[DoubleArray, DoubleArray, DoubleArray]] = [
        _faces([(x0, y0, top), (x1, y0, top), (x1, y1, top), (x0, y1, top)], (0, 0, 1), level)
    ]
    framed = np.pad(heights, 1, constant_values=bottom)
    for normal in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)):
        low = framed[i + 1 + normal[0], j + 1 + normal[1]]
        # Counter-clockwise, seen from outside.
        ends = {
            (1, 0, 0): ((x1, y0), (x1, y1)), (-1, 0, 0): ((x0, y1), (x0, y0)),
            (0, 1, 0): ((x1, y1), (x0, y1)), (0, -1, 0): ((x0, y0), (x1, y0)),
        }[normal]  # fmt: skip
        (ax, ay), (bx, by) = ends
        corners = [(ax, ay, low), (bx, by, low), (bx, by, top), (ax, ay, top)]
        wall = low < top
        parts.append(
            _faces([tuple(c[wall] for c in corner) for corner in corners], normal, np.full(wall.sum(), LEVELS))
        )
    x0, x1, y0, y1 = (np.array([value]) for value in (edge_x[0], edge_x[-1], edge_y[0], edge_y[-1]))
    low = np.array([bottom])
    base = [(x0, y1, low), (x1, y1, low), (x1, y0, low), (x0, y0, low)]
    parts.append(_faces(base, (0, 0, -1), np.array([float(LEVELS)])))
    return tuple(np.concatenate(column) for column in zip(*parts))  # type: ignore[return-value]


def _faces(corners: Any, normal: tuple[int, int, int], tile: Any) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Return quads from four corners, each (x, y, z) of arrays [Q], with texture tile numbers [Q]."""
    stacked = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    # Half a pixel inside, so that colours do not bleed between tiles.
    inset = 0.5 / TILE
    u = np.array([inset, 1 - inset, 1 - inset, inset])
    v = np.array([inset, inset, 1 - inset, 1 - inset])
    rows = (np.asarray(tile, dtype=np.float64)[:, None] + v) / (LEVELS + 1)
    places = np.stack([np.broadcast_to(u, rows.shape), rows], axis=-1)
    return stacked, np.broadcast_to(np.array(normal, dtype=np.float64), (len(stacked), 3)), places


def _mesh_file(corners: DoubleArray, normals: DoubleArray, places: DoubleArray) -> bytes:
    """Return a mesh in MuJoCo's binary format."""
    quads = len(corners)
    first = np.arange(quads, dtype=np.int32)[:, None] * 4
    triangles = (first[:, None] + np.array([(0, 1, 2), (0, 2, 3)], dtype=np.int32)).reshape(-1, 3)
    counts = np.array([quads * 4, quads * 4, quads * 4, len(triangles)], dtype=np.int32)
    numbers = (corners.reshape(-1, 3), np.repeat(normals, 4, axis=0), places.reshape(-1, 2))
    return b"".join([counts.tobytes(), *(n.astype(np.float32).tobytes() for n in numbers), triangles.tobytes()])


def _triangles_file(vertices: FloatArray, triangles: npt.NDArray[np.uint32]) -> bytes:
    """Return a mesh [V, 3], [T, 3] in MuJoCo's binary format; MuJoCo computes the normals."""
    counts = np.array([len(vertices), 0, 0, len(triangles)], dtype=np.int32)
    return counts.tobytes() + vertices.astype(np.float32).tobytes() + triangles.astype(np.int32).tobytes()


def _cells_picture() -> bytes:
    """Return a PNG texture: from the top, a framed tile per shade of height and a plain one for walls."""
    from PIL import Image

    frame = np.ones((TILE, TILE, 1))
    frame[:1], frame[-1:], frame[:, :1], frame[:, -1:] = LINE, LINE, LINE, LINE
    bright = np.linspace(LOWEST, 1.0, LEVELS)
    tiles = [np.array(GROUND) * value * frame for value in bright]
    tiles.append(np.broadcast_to(np.array(WALL, dtype=np.float64), (TILE, TILE, 3)))
    content = io.BytesIO()
    Image.fromarray(np.concatenate(tiles).astype(np.uint8)).save(content, "PNG")
    return content.getvalue()
