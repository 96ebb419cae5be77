"""Motions of the humanoid measured by MuJoCo: positions, masses and contacts of its bodies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import mujoco
import numpy as np
import torch

from parc_ray.character.rotations import quat_to_matrix
from parc_ray.character.skeleton import load_skeleton
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.motions.box_cover import box_cover
from parc_ray.motions.motion import Motion
from tests.reference import HUMANOID

SKELETON = load_skeleton(HUMANOID)
MODEL = mujoco.MjModel.from_xml_path(str(HUMANOID))
FEET = [SKELETON.body_index("right_foot"), SKELETON.body_index("left_foot")]
FPS = 30
GRAVITY = 9.81
TOES = [2, 3]
"""The front corners of a sole"""


@dataclass(frozen=True)
class Measured:
    """A motion's bodies, soles and mass; n frames, right foot first."""

    motion: Motion
    positions: np.ndarray
    """[n, 15, 3] of the bodies"""
    axes: np.ndarray
    """[n, 15, 3, 3]"""
    corners: np.ndarray
    """[n, 2, 4, 3] of the soles, the heel's first"""
    gaps: np.ndarray
    """[n, 2, 4] height of the soles' corners above the ground"""
    planted: np.ndarray
    """[n, 2] bool, the contact labels of the feet"""
    centre: np.ndarray
    """[n, 3] centre of mass"""

    def lift_off(self, seconds: float) -> np.ndarray:
        """Return whether a foot leaves the ground, or the motion ends, within `seconds`, [n, 2]."""
        ahead = round(seconds * FPS)
        windows = np.concatenate([self.planted, np.zeros((ahead, 2), dtype=bool)])
        return np.stack([~windows[k : k + len(self.planted)] for k in range(ahead + 1)]).any(axis=0)


def measure(motion: Motion) -> Measured:
    """Return MuJoCo's measurements of the poses of a motion."""
    data = mujoco.MjData(MODEL)
    frames = []
    for qpos in joint_angles(motion):
        data.qpos[:] = qpos
        mujoco.mj_kinematics(MODEL, data)
        frames.append((data.xpos[1:].copy(), data.xmat[1:].reshape(-1, 3, 3).copy(), data.xipos[1:].copy()))
    positions, axes, centres = (np.stack(part) for part in zip(*frames))
    foot = MODEL.geom("right_foot")
    local = np.array([foot.pos + foot.size * (x, y, -1) for x in (-1, 1) for y in (-1, 1)])
    corners = positions[:, FEET, None] + np.einsum("nfij,cj->nfci", axes[:, FEET], local)
    gaps = corners[..., 2] - motion.terrain.height_at(corners[..., :2])
    planted = motion.contacts[:, FEET] > 0.5
    centre = np.average(centres, axis=1, weights=MODEL.body_mass[1:])
    return Measured(motion, positions, axes, corners, gaps, planted, centre)


@lru_cache(maxsize=None)
def measured(spec: MotionSpec) -> Measured:
    """Return the motion of a spec, measured once for all tests."""
    return measure(generate_motion(spec, SKELETON, "m"))


def joint_angles(motion: Motion) -> np.ndarray:
    """Return MuJoCo's coordinates [n, 35]: the three hinges of a ball joint turn about x, then y, then z."""
    root_rot = motion.root_rot[:, [3, 0, 1, 2]]
    turn = quat_to_matrix(torch.from_numpy(motion.joint_rot).double()).numpy()
    angles = []
    for body, joint in enumerate(SKELETON.joints[1:]):
        m = turn[:, body]
        if joint.kind == "spherical":
            angles += [
                np.arctan2(-m[:, 1, 2], m[:, 2, 2]),
                np.arcsin(np.clip(m[:, 0, 2], -1.0, 1.0)),
                np.arctan2(-m[:, 0, 1], m[:, 0, 0]),
            ]
        elif joint.kind == "hinge":
            across, along = {(0.0, 1.0, 0.0): (m[:, 0, 2], m[:, 0, 0]), (0.0, 0.0, 1.0): (m[:, 1, 0], m[:, 0, 0])}[
                joint.axis
            ]
            angles.append(np.arctan2(across, along))
    return np.column_stack([motion.root_pos, root_rot, *angles])


def joint_limits() -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper bounds of the degrees of freedom [28], rad."""
    ends = ([limit for joint in SKELETON.joints for limit in getattr(joint, end)] for end in ("lower", "upper"))
    lower, upper = (np.array(end) for end in ends)
    return lower, upper


def collisions(motion: Motion, every: int = 1) -> dict[tuple[str, str], float]:
    """Return the least distance (m) of each pair of touching bodies, in every `every`-th frame; "world" is terrain."""
    boxes = box_cover(motion.terrain, border=2.0)
    geoms = "".join(
        '<geom type="box" pos="{} {} {}" size="{} {} {}"/>'.format(*centre, *half_size)
        for centre, half_size in zip(boxes.centre, boxes.half_size)
    )
    text = HUMANOID.read_text().replace("</worldbody>", geoms + "</worldbody>")
    model = mujoco.MjModel.from_xml_string(text)
    data = mujoco.MjData(model)
    touching: dict[tuple[str, str], float] = {}
    for qpos in joint_angles(motion)[::every]:
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        for contact in data.contact[: data.ncon]:
            first, second = (model.body(model.geom_bodyid[geom]).name for geom in (contact.geom1, contact.geom2))
            touching[first, second] = min(contact.dist, touching.get((first, second), 0.0))
    return touching


def speeds(points: np.ndarray) -> np.ndarray:
    """Return speeds [n - 1, ...] m/s of points [n, ..., 3] between frames."""
    return FPS * np.linalg.norm(np.diff(points, axis=0), axis=-1)
