"""Helpers for tests of pictures: a motion to draw, a working OpenGL backend, and an independent pinhole camera."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from parc_ray.character.geoms import Geom, read_geoms
from parc_ray.character.skeleton import Skeleton, load_skeleton
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.errors import InputError
from parc_ray.motions.motion import Motion
from parc_ray.viewing.render.camera import View
from parc_ray.viewing.render.graphics import Search
from parc_ray.viewing.render.landscape import FIELD_OF_VIEW
from tests.reference import HUMANOID


def backend() -> str:
    """Return a working OpenGL backend. Skips the test without one."""
    pytest.importorskip("av", reason="the extra `render` is not installed")
    name, problem = _found()
    return name or pytest.skip(problem)


@lru_cache(maxsize=None)
def _found() -> tuple[str, str]:
    try:
        return Search().result(), ""
    except InputError as error:
        return "", str(error)


@lru_cache(maxsize=None)
def humanoid() -> tuple[Skeleton, tuple[Geom, ...]]:
    return load_skeleton(HUMANOID), read_geoms(HUMANOID.read_text(), "humanoid")


@lru_cache(maxsize=None)
def walk() -> Motion:
    return generate_motion(MotionSpec("walk", 2, 3.0, difficulty=0.5), humanoid()[0], "walk")


def pixel_of(view: View, point: Any, width: int, height: int) -> tuple[int, int]:
    """Return column and row of a point in a pinhole camera with upright z axis; rows count from the top."""
    azimuth, elevation = math.radians(view.azimuth), math.radians(view.elevation)
    forward = np.array(
        [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
    )
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    offset = np.asarray(point, dtype=np.float64) - (np.array(view.target) - view.distance * forward)
    depth = offset @ forward
    assert depth > 0, "behind the camera"
    scale = height / 2 / math.tan(math.radians(FIELD_OF_VIEW) / 2)
    return round(width / 2 + scale * (offset @ right) / depth), round(height / 2 - scale * (offset @ up) / depth)


def blue(picture: np.ndarray) -> np.ndarray:
    """Return the pixels that show a body without contact."""
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    return blue > red + 50


def orange(picture: np.ndarray) -> np.ndarray:
    """Return the pixels that show a body in contact."""
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    return red > blue + 80
