"""Generated motions for demo, tests and benchmarks: a humanoid that stands and moves on blocky ground.

Three sorts, so that a run has something to record, to retry and to reject:

* feasible: both feet stay planted while the body stands, sways, squats, reaches or turns;
* impossible (fly, leap, tumble, hover): no body can follow them, wherever they are started (0.7 s before the end);
* feasible in their later part only (`feasible_from`): first the whole body is snatched sideways by 1.6 m.

A motion follows from its MotionSpec alone. Lengths are metres, angles radians, quaternions xyzw, z is up; the
heading frame looks along x with the left at +y.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parc_ray.character.rotations import (
    axis_angle_to_quat,
    exp_map_to_quat,
    heading_to_quat,
    norm,
    quat_conjugate,
    quat_mul,
    quat_rotate,
)
from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError
from parc_ray.motions.motion_file import Motion
from parc_ray.motions.terrain import HeightField

Array = npt.NDArray[Any]

FPS = 30
CELL = 0.4
SIDES = (("right", -1.0), ("left", 1.0))

FEASIBLE_KINDS = ("stand", "sway", "squat", "reach", "turn")
IMPOSSIBLE_KINDS = ("fly", "leap", "tumble", "hover")

# Mass (kg) and centre of mass (body frame, m) in PARC's humanoid, from its geoms' volumes and densities.
BODY_MASSES: Dict[str, Tuple[float, Tuple[float, float, float]]] = {
    "pelvis": (9.996, (0.0, 0.0, 0.1132)),
    "torso": (12.012, (-0.0019, 0.0, 0.1389)),
    "head": (3.882, (0.0, 0.0, 0.175)),
    "right_upper_arm": (1.624, (0.0, -0.13, 0.0)),
    "right_lower_arm": (1.093, (0.0, -0.1113, 0.0)),
    "right_hand": (0.5, (0.0, 0.0, 0.0)),
    "left_upper_arm": (1.624, (0.0, 0.13, 0.0)),
    "left_lower_arm": (1.093, (0.0, 0.1113, 0.0)),
    "left_hand": (0.5, (0.0, 0.0, 0.0)),
    "right_thigh": (4.744, (0.0, 0.0, -0.2)),
    "right_shin": (3.119, (0.0, 0.0, -0.1925)),
    "right_foot": (1.0, (0.045, 0.0, -0.0225)),
    "left_thigh": (4.744, (0.0, 0.0, -0.2)),
    "left_shin": (3.119, (0.0, 0.0, -0.1925)),
    "left_foot": (1.0, (0.045, 0.0, -0.0225)),
}
FOOT_CENTRE = 0.045
FOOT_HALF_LENGTH = 0.0885
FOOT_HALF_WIDTH = 0.045
SOLE = 0.05
"""Depth of the sole below the ankle."""
CLEARANCE = 0.001
"""Gap between a planted sole and the ground: rounding would turn mere touch into penetration."""

PELVIS_HEIGHT = 0.865
"""Above the lower sole: the knees slightly bent (stretched legs give 0.881)."""
HALF_STANCE = 0.115
"""Sideways distance of an ankle from the middle."""
BALANCE_POINT = 0.026
"""Where the centre of mass is kept, ahead of the ankles: well inside the soles."""
BEND_AHEAD, BEND_ASIDE = 0.2, 0.3
"""How far it moves per metre of bend, forward and away from the more bent leg: drives are springs, bent legs
give way under the weight, and the body would topple backwards and to that side. Found by simulation."""

SLIDE_LENGTH = 4 * CELL
SLIDE_SECONDS = 0.2
LEAP_LENGTH = 8 * CELL
MARGIN_CELLS = 5
BLOCK_HEIGHTS = (0.05, 0.1, 0.15, 0.2, 0.25)


@dataclass(frozen=True)
class MotionSpec:
    """Everything that determines a generated motion."""

    kind: str
    """One of FEASIBLE_KINDS or IMPOSSIBLE_KINDS."""
    seed: int
    seconds: float = 3.0
    on_blocks: bool = False
    """Stand on blocks of 0.05-0.25 m, possibly each foot on its own height, instead of flat ground."""
    feasible_from: float = 0.0
    """Fraction of the motion from which it can be tracked: before, at 0.6 of it, the body is snatched sideways."""

    @property
    def num_frames(self) -> int:
        """Frames at 30 fps, the first and the last included."""
        return round(self.seconds * FPS) + 1

    @property
    def label(self) -> str:
        """What a motion's name says about it, such as "late_squat_blocks"."""
        late = "late_" if self.feasible_from > 0 else ""
        return f"{late}{self.kind}_{'blocks' if self.on_blocks else 'flat'}"


@dataclass(frozen=True)
class Clock:
    """The frames' times, and signals over them that start and end at rest."""

    seconds: float
    phase: Array
    """[n], from 0 at the first frame to 1 at the last."""

    @property
    def time(self) -> Array:
        """[n] seconds."""
        return self.phase * self.seconds

    def pulses(self, period: float) -> Array:
        """[n], between 0 and 1: a whole number of rises and falls of about `period` seconds each."""
        count, size = self._fit(period)
        return size * np.sin(np.pi * count * self.phase) ** 2

    def wave(self, period: float) -> Array:
        """[n], between -1 and 1: whole sine waves of about `period` seconds, fading in and out."""
        count, size = self._fit(period)
        edge = np.minimum(self.phase, 1.0 - self.phase) * self.seconds
        return size * np.sin(2.0 * np.pi * count * self.phase) * smooth_step(edge / 0.5)

    def _fit(self, period: float) -> Tuple[int, float]:
        """How many periods a motion holds, and how large: one cut short is no faster, but smaller."""
        count = max(1, round(self.seconds / period))
        return count, min(1.0, self.seconds / (count * period))


@dataclass
class Choreography:
    """What the upper body and the pelvis do; the legs follow from it. Arrays have one row per frame."""

    joints: Dict[str, Array]
    """Rotation vectors [n, 3] of the joints above the pelvis; a hinge's angle [n, 1]."""
    sink: Array
    """How far the pelvis is below its standing height [n]."""
    lean: Array
    """Rotation vector of the pelvis in the heading frame [n, 3]."""
    shift: Array
    """Displacement of the centre of mass over the feet, heading frame [n, 2]."""


@dataclass(frozen=True)
class Trajectory:
    """How the whole posed body is carried through space, which is what makes a motion impossible."""

    offset: Array
    """World displacement [n, 3]."""
    roll: Array
    """Rotation about the heading axis through the ground between the feet [n]."""
    planted: Array
    """Whether the feet stand on the ground [n]."""


@dataclass(frozen=True)
class Stance:
    """Where the feet stand before anything carries the body away. Row 0 is the right foot."""

    heading: float
    foot_heading: Array
    """[2]"""
    ankles: Array
    """[2, 3]"""
    ground: Array
    """Ground height under each foot [2]."""

    def sole_corners(self) -> Array:
        """xy of the four corners of each sole, [2, 4, 2]."""
        corners = [(x, y) for x in (-1, 1) for y in (-1, 1)]
        local = np.array(corners) * (FOOT_HALF_LENGTH, FOOT_HALF_WIDTH) + (FOOT_CENTRE, 0.0)
        return np.stack([turn(local, angle) for angle in self.foot_heading]) + self.ankles[:, None, :2]


def smooth_step(x: Array) -> Array:
    """0 below 0, 1 above 1, in between the quintic with zero velocity and acceleration at both ends."""
    x = np.clip(x, 0.0, 1.0)
    step: Array = x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    return step


def turn(points: Array, angle: float) -> Array:
    """Points [..., 2] rotated counter-clockwise by one angle."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turned: Array = points @ np.array([[cosine, sine], [-sine, cosine]])
    return turned


# --- What the body does ------------------------------------------------------------------------------------


def mirrored(right: Array, side: float) -> Array:
    """Rotation vectors [..., 3] of a right joint, as they are (side -1) or for the left one (side 1)."""
    vectors: Array = right * np.array([-side, 1.0, -side])
    return vectors


def idle(clock: Clock, rng: np.random.Generator) -> Choreography:
    """Standing with hanging arms and breathing: what every kind starts from."""
    n = len(clock.phase)
    breath = clock.pulses(rng.uniform(1.5, 2.5))
    joints = {"abdomen": np.zeros((n, 3)), "neck": np.zeros((n, 3))}
    joints["abdomen"][:, 1] = 0.02 * breath
    joints["neck"][:, 1] = -0.03 * breath
    hang, bend = rng.uniform(1.15, 1.35), rng.uniform(0.15, 0.4)
    for name, side in SIDES:
        shoulder = np.zeros((n, 3))
        shoulder[:, 0] = hang - 0.04 * breath
        joints[f"{name}_shoulder"] = mirrored(shoulder, side)
        joints[f"{name}_elbow"] = np.full((n, 1), -side * bend)
    shift = 0.004 * np.stack([clock.wave(3.1), clock.wave(2.3)], axis=-1)
    return Choreography(joints, sink=0.005 * breath, lean=np.zeros((n, 3)), shift=shift)


def sway(clock: Clock, rng: np.random.Generator) -> Choreography:
    """The weight goes from foot to foot and back."""
    body = idle(clock, rng)
    wave = clock.wave(rng.uniform(1.8, 2.8)) * rng.choice([-1.0, 1.0])
    body.shift += wave[:, None] * (rng.uniform(-0.01, 0.01), rng.uniform(0.02, 0.035))
    body.joints["abdomen"][:, 0] += 0.06 * wave
    return body


def squat(clock: Clock, rng: np.random.Generator) -> Choreography:
    """Down and up again, the arms going forward as the trunk leans."""
    body = idle(clock, rng)
    depth = rng.uniform(0.06, 0.15)
    bow = clock.pulses(rng.uniform(2.0, 3.0))
    body.sink += depth * bow
    body.lean[:, 1] += 1.2 * depth * bow
    body.joints["abdomen"][:, 1] += 0.8 * depth * bow
    for name, side in SIDES:
        raise_arms(body, name, side, bow, np.array([0.3, 0.0, rng.uniform(0.7, 1.1)]))
    return body


def reach(clock: Clock, rng: np.random.Generator) -> Choreography:
    """One arm or both go forward, sideways or up."""
    body = idle(clock, rng)
    targets = np.array([[0.0, 0.0, 1.3], [0.0, 0.0, 0.0], [-0.7, 0.0, 0.7], [-0.9, 0.0, 0.0]])
    amount = clock.pulses(rng.uniform(1.8, 3.0))
    arms = [SIDES[:1], SIDES[1:], SIDES][rng.integers(3)]
    target = targets[rng.integers(len(targets))] + rng.uniform(-0.15, 0.15, size=3)
    for name, side in arms:
        raise_arms(body, name, side, amount, target)
    return body


def twist(clock: Clock, rng: np.random.Generator) -> Choreography:
    """The trunk turns to both sides, the head leading and the pelvis following a little."""
    body = idle(clock, rng)
    wave = clock.wave(rng.uniform(2.0, 3.0)) * rng.choice([-1.0, 1.0])
    body.joints["abdomen"][:, 2] += rng.uniform(0.25, 0.5) * wave
    body.joints["neck"][:, 2] += 0.3 * wave
    body.lean[:, 2] += 0.12 * wave
    return body


def raise_arms(body: Choreography, name: str, side: float, amount: Array, target: Array) -> None:
    """Blend one arm's shoulder towards a right shoulder's rotation vector, and stretch the elbow."""
    shoulder, elbow = body.joints[f"{name}_shoulder"], body.joints[f"{name}_elbow"]
    shoulder += amount[:, None] * (mirrored(target, side) - shoulder)
    elbow *= 1.0 - 0.5 * amount[:, None]


CHOREOGRAPHIES: Dict[str, Callable[[Clock, np.random.Generator], Choreography]] = {
    "stand": idle,
    "sway": sway,
    "squat": squat,
    "reach": reach,
    "turn": twist,
    "fly": sway,
    "leap": squat,
    "tumble": idle,
    "hover": idle,
}


# --- How it is carried away --------------------------------------------------------------------------------


def plan_trajectory(spec: MotionSpec, clock: Clock, sideways: Array, forward: Array) -> Trajectory:
    """The carrying that belongs to a spec; `sideways` and `forward` are world directions [2]."""
    offset, roll = np.zeros((spec.num_frames, 3)), np.zeros(spec.num_frames)
    if spec.kind == "fly":
        # Up over the first half and hovering to the end: whoever starts in the air falls at once.
        rise = smooth_step((clock.phase - 0.1) / 0.4)
        offset[:, 2] = 1.5 * rise
        offset[:, :2] = 0.8 * rise[:, None] * forward
    elif spec.kind == "leap":
        # One leap every 0.9 s, the last one just before the end: every start fraction meets one.
        leaps = smooth_step((clock.time[:, None] - event_times(clock.seconds, 0.9)) / 0.45)
        signs = (-1.0) ** np.arange(leaps.shape[1])
        offset[:, :2] = LEAP_LENGTH * (leaps @ signs)[:, None] * sideways
    elif spec.kind == "tumble":
        # Down on the side in 0.15 s and up again: lying alone could be tracked, being set upright cannot.
        falls = smooth_step((clock.time[:, None] - event_times(clock.seconds, 0.6)) / 0.15)
        tilt = falls @ (-1.0) ** np.arange(falls.shape[1])
        roll = 0.5 * np.pi * tilt
        offset[:, 2] = 0.2 * tilt
    elif spec.kind == "hover":
        # A hand's breadth above the ground: nobody need fall under it, but the contacts cannot agree.
        offset[:, 2] = 0.2
    if spec.feasible_from > 0:
        start = 0.6 * spec.feasible_from * clock.seconds
        duration = min(SLIDE_SECONDS, 0.4 * spec.feasible_from * clock.seconds)
        missing = 1.0 - smooth_step((clock.time - start) / duration)
        offset[:, :2] -= SLIDE_LENGTH * missing[:, None] * sideways
    moved = np.abs(np.diff(offset, axis=0, prepend=offset[:1])).max(axis=-1)
    moved = np.maximum(moved, np.append(moved[1:], 0.0))
    planted = (moved < 1e-5) & (np.abs(offset[:, 2]) < 1e-5) & (np.abs(roll) < 1e-5)
    return Trajectory(offset, roll, planted)


def event_times(seconds: float, interval: float) -> Array:
    """Times every `interval` seconds, counted back from 0.6 s before the end; at least one."""
    last = max(seconds - 0.6, 0.3 * seconds)
    return np.arange(last, 0.25, -interval)[::-1]


# --- What it stands on -------------------------------------------------------------------------------------


def place_feet(spec: MotionSpec, rng: np.random.Generator) -> Tuple[Stance, int]:
    """A stance on the grid of cells whose centres are the multiples of 0.4 m, and its quarter turns.

    The soles lie in the middle of their cells along the heading, on either side of a cell border, so that
    each foot has a cell, and a height, of its own.
    """
    quarter = int(rng.integers(4))
    heading = 0.5 * np.pi * quarter + rng.uniform(-0.12, 0.12)
    toe_out = rng.uniform(0.03, 0.1)
    ground = np.zeros(2)
    if spec.on_blocks:
        first = int(rng.integers(len(BLOCK_HEIGHTS)))
        step = int(rng.choice([0, 0, 1, 1, 2])) * (1 if first < 2 else -1)
        ground = np.array([BLOCK_HEIGHTS[first], BLOCK_HEIGHTS[first + step]])
        ground = ground[rng.permutation(2)]
    middle = turn(np.array([0.0, 0.5 * CELL]), 0.5 * np.pi * quarter)
    local = np.array([[-FOOT_CENTRE, side * HALF_STANCE] for _, side in SIDES])
    ankles = np.column_stack([middle + turn(local, heading), ground + SOLE + CLEARANCE])
    foot_heading = np.array([heading + side * toe_out for _, side in SIDES])
    return Stance(heading, foot_heading, ankles, ground), quarter


def build_terrain(spec: MotionSpec, stance: Stance, trajectory: Trajectory, rng: np.random.Generator) -> HeightField:
    """Ground with a margin of 2 m around the motion, level under the soles wherever they are planted."""
    shifts = trajectory.offset[:, None, None, None, :2]
    cells = np.rint((stance.sole_corners() + shifts[:, 0]) / CELL).astype(int)
    low = cells.min(axis=(0, 1, 2)) - MARGIN_CELLS
    shape = cells.max(axis=(0, 1, 2)) + MARGIN_CELLS + 1 - low
    hf = np.zeros(shape, dtype=np.float32)
    if spec.on_blocks:
        hf = (rng.choice(BLOCK_HEIGHTS, size=shape) * (rng.random(shape) < 0.4)).astype(np.float32)
        planted = cells[trajectory.planted] - low
        for x, y in np.unique(planted.reshape(-1, 2), axis=0):
            # A higher block right beside a foot would cut into the shin of a squatting body.
            around = hf[x - 1 : x + 2, y - 1 : y + 2]
            np.minimum(around, stance.ground.min() + 0.1, out=around)
        for foot, height in enumerate(stance.ground):
            hf[planted[:, foot, :, 0], planted[:, foot, :, 1]] = height
    bounds = np.stack([np.ones_like(hf), -np.ones_like(hf)], axis=-1)
    return HeightField(hf, bounds, (low * CELL).astype(np.float32), CELL)


# --- Kinematics --------------------------------------------------------------------------------------------


class Legs:
    """Analytic inverse kinematics of a PARC humanoid's legs, both at once and batched over frames."""

    def __init__(self, skeleton: Skeleton, stance: Stance):
        def bodies(part: str) -> List[int]:
            return [skeleton.body_index(f"{side}_{part}") for side, _ in SIDES]

        self.thighs, self.shins, self.feet = bodies("thigh"), bodies("shin"), bodies("foot")
        self.hips = skeleton.local_translation[self.thighs]
        self.upper = -float(skeleton.local_translation[self.shins[0], 2])
        self.lower = -float(skeleton.local_translation[self.feet[0], 2])
        self.ankles = torch.as_tensor(stance.ankles, dtype=torch.float32)
        self.foot_rot = heading_to_quat(torch.as_tensor(stance.foot_heading, dtype=torch.float32))

    def place(self, root_pos: Tensor, root_rot: Tensor, joint_rot: Tensor) -> Tensor:
        """Joint rotations [n, B - 1, 4] with hips, knees and ankles set so that the feet stay in place."""
        n = len(root_pos)
        foot_rot, root_rot = self.foot_rot.expand(n, 2, 4), root_rot[:, None].expand(n, 2, 4)
        hips = root_pos[:, None] + quat_rotate(root_rot, self.hips.expand(n, 2, 3))
        thigh_rot, knee_rot = self._bend(quat_rotate(quat_conjugate(foot_rot), self.ankles - hips))
        thigh_rot = quat_mul(foot_rot, thigh_rot)
        shin_rot = quat_mul(thigh_rot, knee_rot)
        placed = joint_rot.clone()
        placed[:, [body - 1 for body in self.thighs]] = quat_mul(quat_conjugate(root_rot), thigh_rot)
        placed[:, [body - 1 for body in self.shins]] = knee_rot
        placed[:, [body - 1 for body in self.feet]] = quat_mul(quat_conjugate(shin_rot), foot_rot)
        return placed

    def _bend(self, to_ankle: Tensor) -> Tuple[Tensor, Tensor]:
        """Thigh rotation in the foot's frame and knee rotation, [..., 4], for hip-to-ankle vectors [..., 3].

        The law of cosines gives the knee. The thigh swings so that the leg points at the ankle, less the
        share of the bend that the knee contributes; the knee's axis stays square to the foot's heading.
        """
        # Not quite stretched: the knee angle's derivative is infinite there.
        distance = norm(to_ankle).clamp(max=0.999 * (self.upper + self.lower))
        cosine = (distance**2 - self.upper**2 - self.lower**2) / (2.0 * self.upper * self.lower)
        knee = torch.acos(cosine.clamp(-1.0, 1.0))
        share = torch.atan2(self.lower * torch.sin(knee), self.upper + self.lower * torch.cos(knee))
        x, y, z = (to_ankle / norm(to_ankle)[..., None]).unbind(-1)
        roll = about(0, torch.atan2(y, -z))
        return quat_mul(roll, about(1, torch.asin(-x) - share)), about(1, knee)


def about(axis: int, angle: Tensor) -> Tensor:
    """Rotations [..., 4] by angles [...] about a coordinate axis."""
    parts = [torch.zeros_like(angle)] * 3 + [torch.cos(0.5 * angle)]
    parts[axis] = torch.sin(0.5 * angle)
    return torch.stack(parts, dim=-1)


def centre_of_mass(skeleton: Skeleton, root_pos: Tensor, root_rot: Tensor, joint_rot: Tensor) -> Tensor:
    """Whole-body centre of mass [n, 3] of poses [n, 3], [n, 4], [n, B - 1, 4]."""
    masses = torch.tensor([BODY_MASSES[name][0] for name in skeleton.body_names])
    centres = torch.tensor([BODY_MASSES[name][1] for name in skeleton.body_names])
    body_pos, body_rot = skeleton.forward_kinematics(root_pos, root_rot, joint_rot)
    points = body_pos + quat_rotate(body_rot, centres.expand_as(body_pos))
    return (points * masses[:, None]).sum(dim=-2) / masses.sum()


def balance_goal(stance: Stance, body: Choreography, height: Array) -> Array:
    """Where the centre of mass belongs, xy [n, 2], for pelvis heights [n]."""
    bend = PELVIS_HEIGHT - (height[:, None] - stance.ground)
    ahead = BALANCE_POINT + BEND_AHEAD * bend.mean(axis=1)
    aside = BEND_ASIDE * (bend[:, 0] - bend[:, 1])
    local = body.shift + np.stack([ahead, aside], axis=-1)
    goal: Array = stance.ankles[:, :2].mean(axis=0) + turn(local, stance.heading)
    return goal


def pose_body(skeleton: Skeleton, stance: Stance, body: Choreography) -> Tuple[Tensor, Tensor, Tensor]:
    """Root position [n, 3], root rotation [n, 4] and joint rotations [n, B - 1, 4] of a balanced body.

    The pelvis is moved until the centre of mass is where it belongs; moving it moves nine tenths of the mass,
    so each round leaves a tenth of the error.
    """
    n = len(body.sink)
    dof = torch.zeros(n, skeleton.dof_count)
    for joint in skeleton.joints:
        if joint.name in body.joints:
            columns = slice(joint.dof_index, joint.dof_index + joint.dof_count)
            dof[:, columns] = torch.as_tensor(body.joints[joint.name], dtype=torch.float32)
    upper = skeleton.dof_to_rot(dof)
    facing = heading_to_quat(torch.full((n,), stance.heading))
    root_rot = quat_mul(facing, exp_map_to_quat(torch.as_tensor(body.lean, dtype=torch.float32)))
    height = stance.ground.min() + CLEARANCE + PELVIS_HEIGHT - body.sink
    goal = torch.as_tensor(balance_goal(stance, body, height), dtype=torch.float32)
    root_pos = torch.cat((goal, torch.as_tensor(height, dtype=torch.float32)[:, None]), dim=-1)
    legs = Legs(skeleton, stance)
    joint_rot = legs.place(root_pos, root_rot, upper)
    for _ in range(3):
        missing = goal - centre_of_mass(skeleton, root_pos, root_rot, joint_rot)[:, :2]
        root_pos = torch.cat((root_pos[:, :2] + missing, root_pos[:, 2:]), dim=-1)
        joint_rot = legs.place(root_pos, root_rot, upper)
    return root_pos, root_rot, joint_rot


# --- Motions -----------------------------------------------------------------------------------------------


def generate_motion(spec: MotionSpec, skeleton: Skeleton, name: str) -> Motion:
    """The motion that a spec describes: 30 fps, CLAMP, foot contacts labelled, somewhere on its own terrain.

    Raises InputError for an unknown kind, a length below one second or a character without PARC's bodies.
    """
    check_spec(spec, skeleton)
    rng = np.random.default_rng(spec.seed)
    clock = Clock((spec.num_frames - 1) / FPS, np.linspace(0.0, 1.0, spec.num_frames))
    stance, quarter = place_feet(spec, rng)
    forward = np.rint(turn(np.array([1.0, 0.0]), 0.5 * np.pi * quarter))
    sideways = np.rint(turn(np.array([0.0, 1.0]), 0.5 * np.pi * quarter)) * rng.choice([-1.0, 1.0])
    trajectory = plan_trajectory(spec, clock, sideways, forward)
    terrain = build_terrain(spec, stance, trajectory, rng)
    body = CHOREOGRAPHIES[spec.kind](clock, rng)
    root_pos, root_rot, joint_rot = pose_body(skeleton, stance, body)

    tilt_axis = torch.tensor([*forward, 0.0], dtype=torch.float32).expand_as(root_pos)
    tilt = axis_angle_to_quat(tilt_axis, torch.as_tensor(trajectory.roll, dtype=torch.float32))
    pivot = torch.as_tensor([*stance.ankles[:, :2].mean(axis=0), stance.ground.min()], dtype=torch.float32)
    # Motions lie anywhere in their frame, so that a mix-up of frames shows in every use of them.
    place = np.append(np.round(rng.uniform(-3.0, 3.0, size=2), 2), 0.0)
    carried = pivot + quat_rotate(tilt, root_pos - pivot)
    contacts = np.zeros((spec.num_frames, skeleton.num_bodies), dtype=np.float32)
    for side, _ in SIDES:
        contacts[:, skeleton.body_index(f"{side}_foot")] = trajectory.planted
    return Motion(
        name=name,
        root_pos=(carried.numpy() + trajectory.offset + place).astype(np.float32),
        root_rot=quat_mul(tilt, root_rot).numpy(),
        joint_rot=joint_rot.numpy(),
        contacts=contacts,
        fps=float(FPS),
        loop_mode="CLAMP",
        terrain=replace(terrain, min_point=(terrain.min_point + place[:2]).astype(np.float32)),
    )


def check_spec(spec: MotionSpec, skeleton: Skeleton) -> None:
    """Raises InputError where a spec or a character does not suit the generator."""
    if spec.kind not in CHOREOGRAPHIES:
        raise InputError(f"unknown kind of motion {spec.kind!r}; known: {', '.join(CHOREOGRAPHIES)}")
    if not spec.seconds >= 1.0:
        raise InputError(f"a generated motion needs at least 1 second, but {spec.seconds} were asked for")
    if not 0.0 <= spec.feasible_from < 1.0:
        raise InputError(f"feasible_from must be in [0, 1), but is {spec.feasible_from}")
    if set(skeleton.body_names) != set(BODY_MASSES):
        raise InputError(
            "motions are generated for PARC's humanoid only; this character's bodies are "
            + ", ".join(skeleton.body_names)
        )


def demo_motions(skeleton: Skeleton, seed: int = 0) -> List[Motion]:
    """The 26 motions of the demo: 15 feasible, half of them on blocks, 4 impossible, 7 feasible later on."""
    rng = np.random.default_rng(seed)
    specs: List[MotionSpec] = []

    def add(kind: str, seconds: float, on_blocks: bool, feasible_from: float = 0.0) -> None:
        specs.append(MotionSpec(kind, int(rng.integers(2**31)), seconds, on_blocks, feasible_from))

    for index in range(15):
        add(FEASIBLE_KINDS[index % 5], round(rng.uniform(2.4, 4.0), 1), on_blocks=index % 2 == 1)
    for index, kind in enumerate(("fly", "leap", "hover", "tumble")):
        add(kind, 3.0, on_blocks=index % 2 == 1)
    # Long enough for a second try of at least 2 s, short enough to be held to the end.
    for index, kind in enumerate(("stand", "sway", "turn", "reach", "turn", "stand")):
        feasible_from, seconds = ((0.25, 3.4), (0.5, 5.0))[index % 2]
        add(kind, seconds, on_blocks=index % 3 == 2, feasible_from=feasible_from)
    add("sway", 8.6, on_blocks=False, feasible_from=0.9)
    return [generate_motion(spec, skeleton, f"demo_{spec.label}_{index:03d}") for index, spec in enumerate(specs)]


def generate_motions(
    count: int,
    seed: int,
    skeleton: Skeleton,
    seconds: Tuple[float, float] = (2.0, 10.0),
    impossible_start_share: float = 0.0,
) -> Iterator[Motion]:
    """`count` motions of random feasible kinds and lengths; motion k depends on the seed and k only.

    A share of them, spread evenly, is feasible only from 25 % or 50 % on.
    """
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        late = int((index + 1) * impossible_start_share) > int(index * impossible_start_share)
        spec = MotionSpec(
            kind=str(rng.choice(FEASIBLE_KINDS)),
            seed=int(rng.integers(2**31)),
            seconds=float(rng.uniform(*seconds)),
            on_blocks=bool(rng.integers(2)),
            feasible_from=float(rng.choice([0.25, 0.5])) if late else 0.0,
        )
        yield generate_motion(spec, skeleton, f"generated_{spec.label}_{index:05d}")
