"""Camera: chooses the view of a motion with the least occlusion by terrain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from parc_ray.motions.height_field import HeightField
from parc_ray.tensors.arrays import DoubleArray
from parc_ray.viewing.render.landscape import FIELD_OF_VIEW

SMOOTHING = 0.5
"""s, time scale below which the camera ignores movements."""
TURNS = (115.0, -115.0, 90.0, -90.0, 65.0, -65.0, 145.0, -145.0)
"""degrees, from the path's direction to the camera's, best first: across the picture, towards the viewer."""
TILTS = (-18.0, -26.0, -36.0, -48.0, -62.0)
"""degrees, elevation of the camera, best first."""
HIDING = 15.0
"""Cost of a view in which the character is always hidden; each further turn costs 0.1, each further tilt 0.4."""
LINE_OF_SIGHT = np.linspace(0.03, 1.0, 60)[:, None]


@dataclass(frozen=True)
class View:
    """Position and direction of MuJoCo's free camera."""

    target: tuple[float, float, float]
    """m, centre of the picture."""
    distance: float
    """m, from the target."""
    azimuth: float
    """degrees, of the view direction, from x to y."""
    elevation: float
    """degrees, of the view direction, negative downwards."""


def direction_of(azimuth: float, elevation: float) -> DoubleArray:
    """Return the unit vector [3] of a view direction (degrees)."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])


def smooth_path(path: DoubleArray, times: DoubleArray) -> DoubleArray:
    """Return a path [n, 3] at evenly spaced times [n] (s) without quick movements; its ends stay in place."""
    step = (times[-1] - times[0]) / max(len(times) - 1, 1)
    reach = min(len(times) - 1, math.ceil(2 * SMOOTHING / step)) if step > 0 else 0
    if reach < 1:
        return path
    weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / SMOOTHING) ** 2)
    # Reflecting the path through both ends keeps them in place.
    padded = np.concatenate([2 * path[0] - path[reach:0:-1], path, 2 * path[-1] - path[-2 : -reach - 2 : -1]])
    return np.stack([np.convolve(column, weight / weight.sum(), "valid") for column in padded.T], axis=1)


def best_direction(
    path: DoubleArray, facing: float, height: float, reach: float, terrain: HeightField
) -> tuple[float, float]:
    """Return azimuth and elevation (degrees) of the best view of a path [n, 3] m; height: the character's, m.

    `facing` (degrees) is used if the path has no direction; `reach` (m) is the camera's distance.
    """
    travel = path[-1, :2] - path[0, :2]
    heading = facing
    if np.hypot(*travel) > height / 2:
        heading = math.degrees(math.atan2(travel[1], travel[0]))
    some = path[np.unique(np.linspace(0, len(path) - 1, 40).astype(int))]
    body = np.concatenate([some + (0, 0, lift * height) for lift in (-0.5, -0.25, 0.0, 0.3)])
    # Keep crouching or lying characters above the ground.
    body[:, 2] = np.maximum(body[:, 2], terrain.height_at(body[:, :2]) + 0.05 * height)
    costs = {
        (heading + turn, tilt): HIDING * _hidden(body, -reach * direction_of(heading + turn, tilt), terrain)
        + 0.1 * i
        + 0.4 * j
        for i, turn in enumerate(TURNS)
        for j, tilt in enumerate(TILTS)
    }
    return min(costs, key=lambda choice: costs[choice])


def _hidden(points: DoubleArray, to_camera: DoubleArray, terrain: HeightField) -> float:
    """Return the share of points [n, 3] that terrain hides from a camera offset by `to_camera` [3] m from each."""
    rays = points[:, None] + LINE_OF_SIGHT * to_camera
    cells = np.rint((rays[..., :2] - terrain.min_point) / terrain.dx)
    inside = ((cells >= 0) & (cells < terrain.hf.shape)).all(axis=-1)
    blocked = inside & (terrain.height_at(rays[..., :2]) > rays[..., 2])
    return float(blocked.any(axis=1).mean())


def fitting_view(points: DoubleArray, azimuth: float, elevation: float, aspect: float, margin: float) -> View:
    """Return the closest view that shows all points [n, 3] and `margin` (m) around them; aspect: width over height."""
    forward = direction_of(azimuth, elevation)
    right = np.array([math.sin(math.radians(azimuth)), -math.cos(math.radians(azimuth)), 0.0])
    axes = np.stack([right, np.cross(right, forward), forward])
    x, y, depth = axes @ points.T
    slope = math.tan(math.radians(FIELD_OF_VIEW) / 2)
    place, back = [], []
    for seen, limit in ((x, slope * aspect), (y, slope)):
        # Each point limits the eye to a half-space whose boundary is tilted like an edge of the picture.
        one, other = (seen + margin - limit * depth).max(), (margin - seen - limit * depth).max()
        place.append((one - other) / 2)
        back.append((one + other) / 2 / limit)
    eye = np.array([*place, -max(back)])
    distance = float(depth.mean() - eye[2])
    to_x, to_y, to_z = (float(value) for value in eye @ axes + distance * forward)
    return View((to_x, to_y, to_z), distance, azimuth, elevation)
