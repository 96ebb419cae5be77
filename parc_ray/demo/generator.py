"""Generated motions for demo, training, tests and benchmarks: a humanoid that walks over blocky ground.

A motion is determined by its MotionSpec. Without a flaw it is physically feasible; the flaws are those of motion
generators: the body floats, flies off or tumbles. Lengths are in metres, angles in radians, quaternions xyzw, z is up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Iterator

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.rotations import axis_angle_to_quat, quat_mul, quat_rotate
from parc_ray.character.skeleton import Skeleton
from parc_ray.demo.footsteps import MOTION_KINDS, SIDES, NoFoothold, Planner, strides
from parc_ray.demo.gait import PELVIS_HEIGHT, Body, smooth_step, walk
from parc_ray.demo.ground import blocky_ground
from parc_ray.demo.legs import BODY_MASSES
from parc_ray.errors import InputError
from parc_ray.motions.height_field import crop
from parc_ray.motions.motion import Motion

Array = npt.NDArray[Any]

FPS = 30
FASTEST = 1.4
"""m/s, maximum speed for which the ground is large enough."""
BORDER = 2.0
"""m, margin of ground around a motion."""
AFTERWARDS = 1.5
"""s, walk planned beyond the motion's end, because the body leans into its next steps."""
TRIES = 50
LONGEST = 60.0
"""s, maximum length; memory for ground and pendulum grows with its square."""

FLAWS = ("none", "late", "fly", "tumble", "hover")


@dataclass(frozen=True)
class MotionSpec:
    """Everything that determines a generated motion."""

    kind: str
    """idle, walk, fast_walk, turn, or tour (a mix of all)."""
    seed: int
    seconds: float = 4.0
    difficulty: float = 0.5
    """0 to 1, scales the height of blocks, speed and turning."""
    flaw: str = "none"
    """late: floats 2 m above the ground until `feasible_from`; fly: rises and stays up; tumble: tips over and back;
    hover: stays 0.2 m above the ground."""
    feasible_from: float = 0.0
    """Start fraction from which a late motion can be tracked."""

    @property
    def num_frames(self) -> int:
        """Number of frames at 30 fps, including the first and the last."""
        return round(self.seconds * FPS) + 1

    @property
    def label(self) -> str:
        """Label for the motion's name, such as "walk_d35" or "late_turn_d70"."""
        flaw = "" if self.flaw == "none" else f"{self.flaw}_"
        return f"{flaw}{self.kind}_d{round(100 * self.difficulty):02d}"


def generate_motion(spec: MotionSpec, skeleton: Skeleton, name: str) -> Motion:
    """Return the motion of a spec: 30 fps, CLAMP, foot contacts labelled, somewhere on its own terrain.

    Raises InputError for an unknown kind or flaw, a length below one second, a difficulty out of range or a
    character without PARC's bodies.
    """
    check_spec(spec, skeleton)
    for attempt in range(TRIES):
        try:
            return _try_motion(spec, np.random.default_rng([spec.seed, attempt]), skeleton, name)
        except NoFoothold:
            continue
    raise InputError(f"no way found over the blocks of {spec}: take another seed or a lower difficulty")


def _try_motion(spec: MotionSpec, rng: np.random.Generator, skeleton: Skeleton, name: str) -> Motion:
    ground = blocky_ground(2.0 + BORDER + FASTEST * (spec.seconds + 2.0), spec.difficulty, rng)
    # Some motions begin in mid-stride.
    first = int(rng.integers(30, 60)) if rng.random() < 0.5 else 0
    planned = (first + spec.num_frames) / FPS + AFTERWARDS
    footsteps = Planner(ground, spec.difficulty).plan(strides(spec.kind, spec.difficulty, rng), planned, rng)
    times = np.arange(first + spec.num_frames + round(AFTERWARDS * FPS)) / FPS
    body, feet = walk(skeleton, footsteps, ground, times, slice(first, first + spec.num_frames), rng)
    if not within_limits(skeleton, body):
        raise NoFoothold
    contacts = np.zeros((spec.num_frames, skeleton.num_bodies), dtype=np.float32)
    floating, body = carry_off(spec, body)
    for foot, (side, _) in enumerate(SIDES):
        contacts[:, skeleton.body_index(f"{side}_foot")] = feet.planted[:, foot] & ~floating
    # Motions start anywhere in their frame, so that any mix-up of frames shows.
    place = np.append(np.round(rng.uniform(-3.0, 3.0, size=2), 2), 0.0).astype(np.float32)
    root_pos = body.root_pos.numpy()
    terrain = crop(ground, root_pos[:, :2].min(axis=0) - BORDER, root_pos[:, :2].max(axis=0) + BORDER)
    return Motion(
        name=name,
        root_pos=root_pos + place,
        root_rot=body.root_rot.numpy(),
        joint_rot=body.joint_rot.numpy(),
        contacts=contacts,
        fps=float(FPS),
        loop_mode="CLAMP",
        terrain=replace(terrain, min_point=(terrain.min_point + place[:2]).astype(np.float32)),
    )


def within_limits(skeleton: Skeleton, body: Body) -> bool:
    """Return whether all joints stay within their limits."""
    dofs = skeleton.rot_to_dof(body.joint_rot)
    lower, upper = (
        torch.tensor([limit for joint in skeleton.joints for limit in getattr(joint, end)])
        for end in ("lower", "upper")
    )
    return bool(((dofs > lower) & (dofs < upper)).all())


def carry_off(spec: MotionSpec, body: Body) -> tuple[Array, Body]:
    """Return the frames [n] bool in which the body floats, and the body with the spec's flaw."""
    n = spec.num_frames
    if spec.flaw == "none":
        return np.zeros(n, dtype=bool), body
    phase = np.linspace(0.0, 1.0, n)
    lift, roll = np.zeros(n), np.zeros(n)
    if spec.flaw == "late":
        end = 0.95 * spec.feasible_from
        lift = 2.0 * smooth_step(phase / (0.4 * end)) * smooth_step((end - phase) / (0.15 * end))
    elif spec.flaw == "fly":
        lift = 1.5 * smooth_step((phase - 0.1) / 0.4)
    elif spec.flaw == "hover":
        lift[:] = 0.2
    elif spec.flaw == "tumble":
        # Fall onto the side in 0.15 s and rise again: lying could be tracked, being set upright cannot.
        times = np.arange(max(spec.seconds - 0.6, 0.3 * spec.seconds), 0.25, -0.6)[::-1]
        falls = smooth_step((phase[:, None] * spec.seconds - times) / 0.15)
        tilt = falls @ (-1.0) ** np.arange(falls.shape[1])
        lift, roll = 0.2 * tilt, 0.5 * np.pi * tilt
    axis = quat_rotate(body.root_rot, torch.tensor([1.0, 0.0, 0.0]).expand(n, 3))
    tip = axis_angle_to_quat(axis, torch.as_tensor(roll, dtype=torch.float32))
    pivot = body.root_pos - torch.tensor([0.0, 0.0, PELVIS_HEIGHT])
    up = torch.zeros(n, 3)
    up[:, 2] = torch.as_tensor(lift, dtype=torch.float32)
    carried = pivot + quat_rotate(tip, body.root_pos - pivot) + up
    return (np.abs(lift) > 1e-3) | (np.abs(roll) > 1e-3), Body(carried, quat_mul(tip, body.root_rot), body.joint_rot)


def check_spec(spec: MotionSpec, skeleton: Skeleton) -> None:
    """Raise InputError if a spec or a character does not suit the generator."""
    if spec.kind not in MOTION_KINDS:
        raise InputError(f"unknown kind of motion {spec.kind!r}; known: {', '.join(MOTION_KINDS)}")
    if spec.flaw not in FLAWS:
        raise InputError(f"unknown flaw {spec.flaw!r}; known: {', '.join(FLAWS)}")
    if not 1.0 <= spec.seconds <= LONGEST:
        raise InputError(f"a generated motion lasts 1 to {LONGEST:g} seconds, but {spec.seconds:g} were asked for")
    if not 0.0 <= spec.difficulty <= 1.0:
        raise InputError(f"difficulty must be between 0 and 1, but is {spec.difficulty}")
    if not 0.0 <= spec.feasible_from < 1.0 or (spec.flaw == "late") != (spec.feasible_from > 0.0):
        raise InputError(
            f"feasible_from must be in (0, 1) for a late motion and 0 for others, but is {spec.feasible_from}"
        )
    if set(skeleton.body_names) != set(BODY_MASSES):
        raise InputError(
            "motions are generated for PARC's humanoid only; this character's bodies are "
            + ", ".join(skeleton.body_names)
        )


DEMO_MOTIONS = 48


def demo_motions(skeleton: Skeleton, seed: int = 0) -> Iterator[Motion]:
    """Return the 48 motions of the demo: 40 over the range of difficulty, and 8 with flaws."""
    rng = np.random.default_rng([seed, 48])
    specs = [
        MotionSpec(MOTION_KINDS[index % 5], int(rng.integers(2**31)), round(rng.uniform(3.0, 8.0), 1), index / 39)
        for index in range(40)
    ]
    flaws = [("late", 0.25), ("late", 0.5), ("late", 0.5), ("late", 0.75), *((flaw, 0.0) for flaw in FLAWS[2:])]
    for index, (flaw, feasible_from) in enumerate([*flaws, ("hover", 0.0)]):
        seconds = 8.6 if feasible_from == 0.75 else 5.0
        specs.append(MotionSpec(MOTION_KINDS[index % 5], int(rng.integers(2**31)), seconds, 0.1, flaw, feasible_from))
    return (generate_motion(spec, skeleton, f"demo_{spec.label}_{index:03d}") for index, spec in enumerate(specs))


def generate_motions(
    count: int,
    seed: int,
    skeleton: Skeleton,
    seconds: tuple[float, float] = (2.0, 10.0),
    difficulty: tuple[float, float] = (0.0, 1.0),
    late_share: float = 0.0,
) -> Iterator[Motion]:
    """Yield `count` motions of random kinds, lengths and difficulties; motion k depends only on the seed and k.

    An evenly spread share of them, late_share, is feasible only from 25 % or 50 % on.
    """
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        late = int((index + 1) * late_share) > int(index * late_share)
        spec = MotionSpec(
            kind=str(rng.choice(MOTION_KINDS, p=[0.08, 0.28, 0.22, 0.14, 0.28])),
            seed=int(rng.integers(2**31)),
            seconds=float(rng.uniform(*seconds)),
            difficulty=float(rng.uniform(*difficulty)),
            flaw="late" if late else "none",
            feasible_from=float(rng.choice([0.25, 0.5])) if late else 0.0,
        )
        yield generate_motion(spec, skeleton, f"generated_{spec.label}_{index:05d}")
