"""Random blocky ground: platforms of one to three levels on cells of 0.4 m."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from parc_ray.motions.height_field import HeightField

Array = npt.NDArray[Any]

CELL = 0.4
LOWEST_STEP, HIGHEST_STEP = 0.05, 0.25
COVER = 0.45
"""Area of all platforms, which may overlap, relative to the ground's."""
LEVELS = 3


def highest_step(difficulty: float) -> float:
    """Return the maximum height difference of a step at a difficulty in [0, 1], m."""
    return LOWEST_STEP + (HIGHEST_STEP - LOWEST_STEP) * difficulty


def blocky_ground(reach: float, difficulty: float, rng: np.random.Generator) -> HeightField:
    """Return square ground that extends `reach` (m) from the origin in x and y, cell centres at multiples of CELL.

    A platform is a rectangle of 2-6 cells a side. Smaller ones may stand on it, each a step higher.
    """
    cells = 2 * math.ceil(reach / CELL) + 1
    hf = np.zeros((cells, cells), dtype=np.float32)
    for _ in range(round(COVER * cells**2 / 16)):
        low = rng.integers(-2, cells, size=2)
        high = low + rng.integers(2, 7, size=2)
        step = rng.uniform(LOWEST_STEP, highest_step(difficulty))
        for level in range(1, 1 + int(rng.integers(1, LEVELS + 1))):
            x, y = (slice(max(0, start), max(0, stop)) for start, stop in zip(low, high))
            hf[x, y] = level * step
            low, high = low + rng.integers(0, 3, size=2), high - rng.integers(0, 3, size=2)
            if (high - low < 2).any():
                break
    bounds = np.stack([np.ones_like(hf), -np.ones_like(hf)], axis=-1)
    corner = np.full(2, -CELL * (cells // 2), dtype=np.float32)
    return HeightField(hf, bounds, corner, CELL)
