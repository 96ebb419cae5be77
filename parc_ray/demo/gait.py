"""Turns footsteps into a walking body.

Feet swing over obstacles between their footholds. The weight shifts from foot to foot, and the centre of mass moves
over it as a linear inverted pendulum (Kajita et al. 2003, "Biped walking pattern generation by using preview control
of zero-moment point"), so the motion is physically feasible. The pelvis is as high as the legs allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parc_ray.character.rotations import heading_to_quat, quat_mul
from parc_ray.character.skeleton import Skeleton
from parc_ray.demo.footsteps import (
    FOOT_CENTRE,
    FOOT_HALF_LENGTH,
    SIDES,
    Foothold,
    Footsteps,
    NoFoothold,
    rotate_points,
    sole_points,
)
from parc_ray.demo.legs import HIP_ASIDE, LEG, Legs, centre_of_mass, rotation_about
from parc_ray.motions.height_field import HeightField

Array = npt.NDArray[Any]

GRAVITY = 9.81
SOLE = 0.05
"""m, from the ankle down to the sole."""
CLEARANCE = 0.001
"""m, between a planted sole and the ground; without it, rounding would cause penetration."""
SWING_MARGIN = 0.015
"""m, clearance margin around a swinging sole."""
SWINGS = ((0.0, 0.05), (0.0, 0.1), (0.1, 0.06), (0.1, 0.12), (0.2, 0.1), (0.2, 0.2))
"""Foot swings to try until one clears the ground: share of the time at either end with vertical movement only;
height above the highest obstacle, m."""

HEEL_OFF = 0.2
"""s, from lifting the heel to lifting the foot."""
HIGHEST_HEEL = 0.7

PELVIS_HEIGHT = 0.86
"""m, above the soles while standing with slightly bent knees (stretched legs give 0.881)."""
REACH = 0.97 * LEG
ROUNDS = 3
COM_ABOVE_PELVIS = 0.06
PRESSURE_AHEAD = 0.03
"""m, from the ankle forward to a sole's centre of pressure."""
SETTLE = 0.35
"""s, half the minimum duration of a rest with the weight on both feet."""


@dataclass(frozen=True)
class Feet:
    """Movement of the feet in n frames, right foot first."""

    ankles: Array
    """[n, 2, 3] m."""
    headings: Array
    """[n, 2] rad."""
    pitch: Array
    """[n, 2] rad, rotation about the toe's edge that lifts the heel."""
    planted: Array
    """[n, 2] bool."""
    weight: Array
    """Each foot's share of the body's weight [n, 2]."""

    @property
    def ground(self) -> Array:
        """Height [n] of the soles that carry the weight, m."""
        height: Array = (self.weight * self.ankles[..., 2]).sum(axis=-1) - SOLE
        return height


def smooth_step(x: Array) -> Array:
    """Return 0 below 0, 1 above 1, and between them the quintic with zero velocity and acceleration at both ends."""
    x = np.clip(x, 0.0, 1.0)
    step: Array = x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    return step


def smooth_signal(signal: Array, width: float) -> Array:
    """Return signals [n, ...] smoothed by a Gaussian of `width` frames, truncated at two standard deviations."""
    radius = max(1, round(2.0 * width))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / width) ** 2)
    padded = np.pad(signal, [(radius, radius)] + [(0, 0)] * (signal.ndim - 1), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=0)
    result: Array = windows @ (kernel / kernel.sum())
    return result


def lowest_around(signal: Array, radius: int) -> Array:
    """Return the minimum [n] within `radius` frames."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(signal, radius, mode="edge"), 2 * radius + 1)
    result: Array = windows.min(axis=-1)
    return result


def move_feet(footsteps: Footsteps, ground: HeightField, times: Array) -> Feet:
    """Return the feet at times [n], s. Raises NoFoothold if a foot cannot clear the ground between two footholds."""
    n = len(times)
    ankles, headings, pitch = np.zeros((n, 2, 3)), np.zeros((n, 2)), np.zeros((n, 2))
    planted = np.ones((n, 2), dtype=bool)
    holds = list(footsteps.start)
    for foot, hold in enumerate(holds):
        ankles[:, foot], headings[:, foot] = ankle_at(hold), hold.heading
    for step in footsteps.steps:
        foot, before, hold = step.foot, holds[step.foot], step.hold
        landed, swinging = times >= step.land, (times > step.lift) & (times < step.land)
        ankles[landed, foot], headings[landed, foot] = ankle_at(hold), hold.heading
        share = (times[swinging] - step.lift) / (step.land - step.lift)
        ankles[swinging, foot], headings[swinging, foot] = swing(before, hold, ground, share)
        planted[swinging, foot] = False
        rise = smooth_step((times - step.lift) / HEEL_OFF + 1.0)
        fall = smooth_step(1.0 - (times - step.lift) / (0.75 * (step.land - step.lift)))
        pitch[:, foot] += push_off(before, hold) * np.where(times < step.lift, rise, fall)
        holds[foot] = hold
    ankles = roll_over_toes(ankles, headings, pitch)
    right = np.interp(times, *_weight_shifts(footsteps))
    weight = smooth_signal(np.stack([right, 1.0 - right], axis=-1), 1.5)
    return Feet(ankles, headings, pitch, planted, weight)


def push_off(start: Foothold, end: Foothold) -> float:
    """Return the heel's pitch (rad) before the foot leaves: larger for long steps and height changes."""
    ahead = float(rotate_points(end.xy - start.xy, -start.heading)[0])
    return float(np.clip(0.6 * (ahead - 0.3) + 1.5 * abs(end.height - start.height), 0.0, HIGHEST_HEEL))


def roll_over_toes(ankles: Array, headings: Array, pitch: Array) -> Array:
    """Return ankles [n, 2, 3] of feet rotated by their pitch [n, 2] about the front edge of the sole."""
    ahead, up = FOOT_CENTRE + FOOT_HALF_LENGTH, SOLE
    # The ankle lies `ahead` behind and `up` above the toe's edge; pitching rotates that offset forward and down.
    forward = ahead - ahead * np.cos(pitch) + up * np.sin(pitch)
    higher = ahead * np.sin(pitch) + up * np.cos(pitch) - up
    moved = np.stack([forward * np.cos(headings), forward * np.sin(headings), higher], axis=-1)
    rolled: Array = ankles + moved
    return rolled


def ankle_at(hold: Foothold) -> Array:
    """Return the ankle position [3] of a foot at a foothold."""
    return np.array([*hold.xy, hold.height + SOLE + CLEARANCE])


def swing(start: Foothold, end: Foothold, ground: HeightField, share: Array) -> tuple[Array, Array]:
    """Return ankle [n, 3] and heading [n] of a swinging foot at shares [n] of its path. Raises NoFoothold."""
    for wait, height in SWINGS:
        moved = smooth_step((share - wait) / (1.0 - 2.0 * wait))
        xy = start.xy + moved[:, None] * (end.xy - start.xy)
        heading = start.heading + moved * (end.heading - start.heading)
        floor = ground.height_at(sole_points(xy, heading, SWING_MARGIN, SWING_MARGIN)).max(axis=-1)
        apex = max(floor.max(initial=start.height), end.height) + height
        rise = start.height + (apex - start.height) * smooth_step(share / 0.5)
        fall = end.height + (apex - end.height) * smooth_step((1.0 - share) / 0.5)
        sole = np.where(share < 0.5, rise, fall)
        if (sole > floor - 1e-6).all():
            return np.column_stack([xy, sole + SOLE + CLEARANCE]), heading
    raise NoFoothold


def _weight_shifts(footsteps: Footsteps) -> tuple[list[float], list[float]]:
    """Return times, and the right foot's share of the weight at each."""
    times, shares, free = [0.0], [0.5], 0.0
    for step in footsteps.steps:
        if step.lift - free > 2.0 * SETTLE or free == 0.0:
            times += [free + SETTLE] * (free > 0.0) + [max(step.lift - SETTLE, 0.0)]
            shares += [0.5] * (free > 0.0) + [0.5]
        times += [step.lift, step.land]
        shares += [float(step.foot)] * 2
        free = step.land
    return times + [free + SETTLE], shares + [0.5]


def pendulum(pressure: Array, height: Array, interval: float) -> Array:
    """Return the centre of mass xy [n, 2] over the centre of pressure [n, 2], at heights [n] above it.

    com - height / (g + height'') * com'' = pressure, with zero velocity at both ends.
    """
    n = len(pressure)
    lift = np.gradient(np.gradient(height, interval), interval)
    factor = height / (GRAVITY + lift) / interval**2
    factor[[0, -1]] = 1e6
    system = np.diag(1.0 + 2.0 * factor)
    system[np.arange(1, n), np.arange(n - 1)] = -factor[1:]
    system[np.arange(n - 1), np.arange(1, n)] = -factor[:-1]
    system[0, 0] -= factor[0]
    system[-1, -1] -= factor[-1]
    return np.linalg.solve(system, pressure)


def pelvis_height(feet: Feet, root_xy: Array, heading: Array) -> Array:
    """Return the smooth height of the root [n]: standing height over the weight, limited by the reach of both legs."""
    aside = np.array([side * HIP_ASIDE for _, side in SIDES])
    hips = root_xy[:, None] + rotate_points(np.stack([np.zeros(2), aside], axis=-1)[None], heading[:, None])
    away = np.linalg.norm(feet.ankles[..., :2] - hips, axis=-1)
    reach = feet.ankles[..., 2] + np.sqrt(np.maximum(REACH**2 - away**2, 0.3**2))
    wanted = np.minimum(smooth_signal(feet.ground, 4.0) + PELVIS_HEIGHT, reach.min(axis=-1))
    return smooth_signal(lowest_around(wanted, 6), 3.0)


@dataclass(frozen=True)
class Body:
    """Poses of the whole body in n frames, as tensors."""

    root_pos: Tensor
    root_rot: Tensor
    joint_rot: Tensor


def upper_body(skeleton: Skeleton, feet: Feet, root_xy: Array, heading: Array, rng: np.random.Generator) -> Tensor:
    """Return joint rotations [n, B - 1, 4] of trunk and arms: arms swing with the opposite leg, the head is steady."""
    n = len(root_xy)
    ahead = rotate_points(feet.ankles[..., :2] - root_xy[:, None], -heading[:, None])[..., 0]
    twist = 0.35 * (ahead[:, 1] - ahead[:, 0])
    rotations = torch.zeros(n, skeleton.num_bodies - 1, 4)
    rotations[..., 3] = 1.0

    def pose(name: str, rotation: Tensor) -> None:
        rotations[:, skeleton.body_index(name) - 1] = rotation

    def tensor(values: Array) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32)

    breath = 0.02 * np.sin(2.0 * np.pi * np.arange(n) / 30.0 / rng.uniform(2.5, 4.0))
    pose("torso", quat_mul(rotation_about(2, tensor(twist)), rotation_about(1, tensor(breath))))
    pose("head", quat_mul(rotation_about(2, tensor(-twist)), rotation_about(1, tensor(-breath))))
    hang, bend, amount = rng.uniform(1.2, 1.35), rng.uniform(0.15, 0.5), rng.uniform(0.6, 1.1)
    for foot, (name, side) in enumerate(SIDES):
        arm = np.clip(amount * ahead[:, 1 - foot], -0.5, 0.6)
        pose(
            f"{name}_upper_arm",
            quat_mul(rotation_about(1, tensor(-arm)), rotation_about(0, tensor(np.full(n, -side * hang)))),
        )
        pose(f"{name}_lower_arm", rotation_about(2, tensor(-side * (bend + 0.5 * np.maximum(arm, 0.0)))))
    return rotations


def walk(
    skeleton: Skeleton, footsteps: Footsteps, ground: HeightField, times: Array, kept: slice, rng: np.random.Generator
) -> tuple[Body, Feet]:
    """Return the body that takes these steps, at the kept part of evenly spaced times [n]. Raises NoFoothold.

    The times span from rest to rest, because the pendulum depends on later steps.
    """
    feet = move_feet(footsteps, ground, times)
    heading = smooth_signal(feet.headings.mean(axis=1), 3.0)
    forward = np.stack([np.cos(feet.headings), np.sin(feet.headings)], axis=-1)
    pressure = (feet.weight[..., None] * (feet.ankles[..., :2] + PRESSURE_AHEAD * forward)).sum(axis=1)
    ground_height = feet.ground
    upper = upper_body(skeleton, feet, pressure, heading, rng)
    root_xy, height = pressure, ground_height + PELVIS_HEIGHT
    for _ in range(ROUNDS):
        centre = pendulum(pressure, smooth_signal(height - ground_height, 2.0) + COM_ABOVE_PELVIS, times[1] - times[0])
        height = pelvis_height(feet, root_xy, heading)
        body = pose_body(skeleton, feet, upper, centre, height, heading)
        root_xy = body.root_pos[:, :2].numpy()
    return Body(*(part[kept] for part in vars(body).values())), Feet(*(part[kept] for part in vars(feet).values()))


def pose_body(skeleton: Skeleton, feet: Feet, upper: Tensor, centre: Array, height: Array, heading: Array) -> Body:
    """Return the body whose centre of mass is above `centre` [n, 2].

    The pelvis is moved iteratively. It moves nine tenths of the mass, so each round leaves a tenth of the error.
    """
    goal = torch.as_tensor(centre, dtype=torch.float32)
    root_rot = heading_to_quat(torch.as_tensor(heading, dtype=torch.float32))
    pitch = rotation_about(1, torch.as_tensor(feet.pitch, dtype=torch.float32))
    foot_rot = quat_mul(heading_to_quat(torch.as_tensor(feet.headings, dtype=torch.float32)), pitch)
    ankles = torch.as_tensor(feet.ankles, dtype=torch.float32)
    root_pos = torch.cat((goal, torch.as_tensor(height, dtype=torch.float32)[:, None]), dim=-1)
    legs = Legs(skeleton)
    joint_rot = legs.place(root_pos, root_rot, upper, ankles, foot_rot)
    for _ in range(3):
        missing = goal - centre_of_mass(skeleton, root_pos, root_rot, joint_rot)[:, :2]
        root_pos = torch.cat((root_pos[:, :2] + missing, root_pos[:, 2:]), dim=-1)
        joint_rot = legs.place(root_pos, root_rot, upper, ankles, foot_rot)
    return Body(root_pos, root_rot, joint_rot)
