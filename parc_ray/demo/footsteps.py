"""Footsteps over blocky ground: footholds, and the times of lifting and landing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Iterator

import numpy as np
import numpy.typing as npt

from parc_ray.demo.ground import highest_step
from parc_ray.motions.height_field import HeightField

Array = npt.NDArray[Any]

MOTION_KINDS = ("idle", "walk", "fast_walk", "turn", "tour")

SIDES = (("right", -1.0), ("left", 1.0))
"""Names of feet 0 and 1, and their side of the body along y."""
FOOT_CENTRE = 0.045
"""m, from the ankle ahead to the middle of the sole."""
FOOT_HALF_LENGTH = 0.0885
FOOT_HALF_WIDTH = 0.045
HALF_STANCE = 0.09
"""m, sideways distance of an ankle from the body's midline."""

MARGIN = 0.03
"""m, level ground around a sole; with less, a shin leaning forward would cut into the next block."""
TOE_MARGIN = 0.06
NARROWEST, WIDEST, LONGEST = 0.14, 0.36, 0.72
"""m, bounds of a step: sideways distance of the ankles in the standing foot's frame, and total distance."""
FARTHEST_TURN = 0.75
"""Largest angle between the feet, rad."""
HIGHEST_OBSTACLE = 0.3
"""m, maximum height that a swinging foot clears above its lower end point."""
CAUTION = 2.5
"""Relative increase of a step's duration per metre of climb or descent."""
SUPPORT_SHARE = 0.28
"""Share of a step during which both feet stand."""


@dataclass(frozen=True)
class Foothold:
    """The place and heading of a standing foot."""

    xy: Array
    """Ankle position [2], m."""
    heading: float
    height: float
    """Ground height, m."""


@dataclass(frozen=True)
class Footstep:
    """The movement of one foot to its next foothold."""

    foot: int
    """0: right; 1: left."""
    lift: float
    """Time of leaving the ground, s."""
    land: float
    hold: Foothold


@dataclass(frozen=True)
class Stride:
    """The desired next step."""

    rest: float
    """s, standing before the step."""
    length: float
    """Forward movement of the body per step, m."""
    seconds: float
    turn: float
    """Change of the body's heading per step, rad."""


@dataclass(frozen=True)
class Footsteps:
    """A walk: the first footholds of both feet, and the steps in temporal order."""

    start: tuple[Foothold, Foothold]
    steps: tuple[Footstep, ...]


class NoFoothold(Exception):
    """Raised if the ground leaves no room for the next step."""


def rotate_points(points: Array, angle: float | Array) -> Array:
    """Return points [..., 2] rotated counter-clockwise by angles [...]."""
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = points[..., 0], points[..., 1]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)


def sole_points(xy: Array, heading: Array, margin: float = 0.0, toe_margin: float = 0.0) -> Array:
    """Return centre and rim points [..., P, 2] of soles, widened by margins, with ankles at xy [..., 2].

    Rim points are close enough that a block's corner between two of them intrudes by less than 15 mm.
    """
    back, front = FOOT_CENTRE - FOOT_HALF_LENGTH - margin, FOOT_CENTRE + FOOT_HALF_LENGTH + toe_margin
    aside = FOOT_HALF_WIDTH + margin
    along, across = np.linspace(back, front, 8)[:, None], np.linspace(-aside, aside, 5)[:, None]
    rim = [np.concatenate([along, 0.0 * along + side], axis=1) for side in (-aside, aside)]
    rim += [np.concatenate([0.0 * across + end, across], axis=1) for end in (back, front)]
    local = np.concatenate([[(FOOT_CENTRE, 0.0)], *rim])
    points: Array = xy[..., None, :] + rotate_points(local, heading[..., None])
    return points


def strides(kind: str, difficulty: float, rng: np.random.Generator) -> Iterator[Stride]:
    """Yield endless strides for a kind of motion; difficulty scales speed and turning."""
    pause = rng.uniform(0.3, 0.8)
    drift = 0.0
    while True:
        activity = kind if kind != "tour" else str(rng.choice(["walk", "walk", "fast_walk", "turn", "idle"]))
        count = 1 if activity == "idle" else int(rng.integers(3, 8))
        length, seconds = _speed(activity, difficulty, rng)
        spin = rng.choice([-1.0, 1.0]) * rng.uniform(0.15, 0.25 + 0.25 * difficulty)
        for _ in range(count):
            drift = 0.7 * drift + rng.normal(0.0, 0.02 + 0.06 * difficulty)
            if activity == "turn":
                yield Stride(pause, length, seconds, spin)
            elif activity == "idle":
                yield Stride(pause + rng.uniform(0.8, 2.5), 0.0, seconds, rng.uniform(-0.2, 0.2))
            else:
                yield Stride(pause, length, seconds, drift)
            pause = 0.0
        if kind == "tour" and rng.random() < 0.3:
            pause = rng.uniform(0.2, 0.8)


def _speed(activity: str, difficulty: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return length (m) and duration (s) of a step."""
    if activity == "fast_walk":
        return rng.uniform(0.34, 0.42) + 0.14 * difficulty, rng.uniform(0.46, 0.5) - 0.06 * difficulty
    if activity == "walk":
        return rng.uniform(0.22, 0.32) + 0.08 * difficulty, rng.uniform(0.54, 0.66) - 0.06 * difficulty
    return rng.uniform(0.0, 0.08), rng.uniform(0.5, 0.6)


def _options(*spans: tuple[float, float, int]) -> Array:
    """Return all combinations [n, 3] of deviations ahead, aside (m) and in heading (rad); spans: first, last, count."""
    grid = np.meshgrid(*(np.linspace(*span) for span in spans), indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, 3)


class Planner:
    """Chooses footholds step by step."""

    def __init__(self, ground: HeightField, difficulty: float):
        self.ground = ground
        self.highest = highest_step(difficulty) + 1e-4
        self.near = _options((-0.18, 0.18, 10), (-0.03, 0.12, 6), (-0.4, 0.4, 5))
        self.far = _options((-0.5, 0.3, 9), (-0.03, 0.15, 7), (-0.7, 0.7, 7))

    def plan(self, wishes: Iterator[Stride], seconds: float, rng: np.random.Generator) -> Footsteps:
        """Return footsteps that last for `seconds` and start near the origin. Raises NoFoothold."""
        holds = self._stand(rng)
        start = (holds[0], holds[1])
        steps: list[Footstep] = []
        foot, time = int(rng.integers(2)), 0.0
        heading = 0.5 * (holds[0].heading + holds[1].heading)
        while time < seconds:
            wish = next(wishes)
            hold, heading = self._next(holds, foot, heading, wish)
            duration = wish.seconds * (1.0 + CAUTION * abs(hold.height - holds[foot].height))
            lift = time + wish.rest + (SUPPORT_SHARE * duration if steps or wish.rest else 0.3)
            time = lift + (1.0 - SUPPORT_SHARE) * duration
            steps.append(Footstep(foot, lift, time, hold))
            holds[foot] = hold
            foot = 1 - foot
        return Footsteps(start, tuple(steps))

    def _stand(self, rng: np.random.Generator) -> list[Foothold]:
        for _ in range(50):
            xy, heading = rng.uniform(-1.0, 1.0, size=2), rng.uniform(-math.pi, math.pi)
            level, height = self._level(xy[None], np.array([heading]))
            if level[0]:
                right = Foothold(xy, heading, float(height[0]))
                try:
                    left, _ = self._next([right, right], 1, heading, Stride(0.0, 0.0, 1.0, 0.0))
                except NoFoothold:
                    continue
                return [right, left]
        raise NoFoothold

    def _next(self, holds: list[Foothold], foot: int, heading: float, stride: Stride) -> tuple[Foothold, float]:
        """Return the foothold nearest to the desired one, and the body's heading there."""
        stand, side = holds[1 - foot], SIDES[foot][1]
        middle = stand.xy + rotate_points(np.array([0.0, side * HALF_STANCE]), heading)
        for options in (self.near, self.far):
            headings = heading + stride.turn + options[:, 2]
            # The midpoint between the feet advances by the stride's length.
            local = np.stack([stride.length + options[:, 0], side * (HALF_STANCE + options[:, 1])], axis=-1)
            xy = middle + rotate_points(local, headings)
            level, height = self._level(xy, headings)
            fits = self._reachable(holds, foot, xy, headings, height, level)
            if fits.any():
                cost = (options[:, 0] / 0.1) ** 2 + (options[:, 1] / 0.06) ** 2 + (options[:, 2] / 0.3) ** 2
                best = int(np.argmin(np.where(fits, cost, np.inf)))
                return Foothold(xy[best], float(headings[best]), float(height[best])), float(headings[best])
        raise NoFoothold

    def _level(self, xy: Array, headings: Array) -> tuple[Array, Array]:
        """Return whether the ground under and around soles is level, and its height, both [n]."""
        heights = self.ground.height_at(sole_points(xy, headings, MARGIN, TOE_MARGIN))
        return np.ptp(heights, axis=-1) < 1e-4, heights[:, 0]

    def _reachable(
        self, holds: list[Foothold], foot: int, xy: Array, headings: Array, height: Array, level: Array
    ) -> Array:
        """Return [n] bool: the place is level, and the step is not too long or high nor crosses the other leg."""
        stand, origin = holds[1 - foot], holds[foot]
        apart = rotate_points(xy - stand.xy, np.full(len(xy), -stand.heading))
        aside = SIDES[foot][1] * apart[:, 1]
        back = rotate_points(stand.xy - xy, -headings)
        fits = level & (aside > NARROWEST) & (aside < WIDEST) & (-SIDES[foot][1] * back[:, 1] > NARROWEST)
        fits &= np.linalg.norm(apart, axis=-1) + np.abs(height - stand.height) < LONGEST
        fits &= np.abs(headings - stand.heading) < FARTHEST_TURN
        fits &= np.abs(height - stand.height) < self.highest
        possible = np.flatnonzero(fits)
        way = origin.xy + np.linspace(0.0, 1.0, 9)[:, None, None] * (xy[possible] - origin.xy)
        soles = sole_points(way, np.broadcast_to(headings[possible], way.shape[:-1]))
        obstacle = self.ground.height_at(soles).max(axis=(0, 2))
        fits[possible] = obstacle - np.minimum(height[possible], origin.height) < HIGHEST_OBSTACLE
        result: Array = fits
        return result
