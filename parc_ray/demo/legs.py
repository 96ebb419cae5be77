"""The legs of PARC's humanoid: inverse kinematics, and the body's centre of mass."""

from __future__ import annotations

import torch
from torch import Tensor

from parc_ray.character.rotations import norm, quat_conjugate, quat_mul, quat_rotate
from parc_ray.character.skeleton import Skeleton
from parc_ray.demo.footsteps import SIDES

# Mass (kg) and centre of mass (body frame, m) of each body of PARC's humanoid, from its geoms' volumes and densities.
BODY_MASSES: dict[str, tuple[float, tuple[float, float, float]]] = {
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
HIP_ASIDE = 0.084887
LEG = 0.421546 + 0.40987
"""m, from hip to ankle of a stretched leg."""


class Legs:
    """Analytic inverse kinematics of both legs at once, batched over frames."""

    def __init__(self, skeleton: Skeleton):
        self.thighs, self.shins, self.feet = (
            [skeleton.body_index(f"{side}_{part}") for side, _ in SIDES] for part in ("thigh", "shin", "foot")
        )
        self.hips = skeleton.local_translation[self.thighs]
        self.upper = -float(skeleton.local_translation[self.shins[0], 2])
        self.lower = -float(skeleton.local_translation[self.feet[0], 2])

    def place(self, root_pos: Tensor, root_rot: Tensor, joint_rot: Tensor, ankles: Tensor, foot_rot: Tensor) -> Tensor:
        """Return joint rotations [n, B - 1, 4] with hips, knees and ankles set to put the feet in place.

        root_pos [n, 3], root_rot [n, 4], joint_rot [n, B - 1, 4]; ankles [n, 2, 3] and foot_rot [n, 2, 4] in world
        axes, the right foot first. A leg that is too short points at its ankle, almost stretched.
        """
        root_rot = root_rot[:, None].expand_as(foot_rot)
        hips = root_pos[:, None] + quat_rotate(root_rot, self.hips.expand_as(ankles))
        thigh_rot, knee_rot = self._bend(quat_rotate(quat_conjugate(foot_rot), ankles - hips))
        thigh_rot = quat_mul(foot_rot, thigh_rot)
        shin_rot = quat_mul(thigh_rot, knee_rot)
        placed = joint_rot.clone()
        placed[:, [body - 1 for body in self.thighs]] = quat_mul(quat_conjugate(root_rot), thigh_rot)
        placed[:, [body - 1 for body in self.shins]] = knee_rot
        placed[:, [body - 1 for body in self.feet]] = quat_mul(quat_conjugate(shin_rot), foot_rot)
        return placed

    def _bend(self, to_ankle: Tensor) -> tuple[Tensor, Tensor]:
        """Return thigh rotation in the foot's frame and knee rotation, [..., 4], for hip-to-ankle vectors [..., 3].

        The law of cosines gives the knee. The thigh swings so that the leg points at the ankle, minus the
        knee's share of the bend. The knee's axis stays perpendicular to the foot's heading.
        """
        # Never fully stretched, where the knee angle's derivative is infinite.
        distance = norm(to_ankle).clamp(max=0.999 * (self.upper + self.lower))
        cosine = (distance**2 - self.upper**2 - self.lower**2) / (2.0 * self.upper * self.lower)
        knee = torch.acos(cosine.clamp(-1.0, 1.0))
        share = torch.atan2(self.lower * torch.sin(knee), self.upper + self.lower * torch.cos(knee))
        x, y, z = (to_ankle / norm(to_ankle)[..., None]).unbind(-1)
        roll = rotation_about(0, torch.atan2(y, -z))
        return quat_mul(roll, rotation_about(1, torch.asin(-x) - share)), rotation_about(1, knee)


def rotation_about(axis: int, angle: Tensor) -> Tensor:
    """Return rotations [..., 4] by angles [...] about a coordinate axis."""
    parts = [torch.zeros_like(angle)] * 3 + [torch.cos(0.5 * angle)]
    parts[axis] = torch.sin(0.5 * angle)
    return torch.stack(parts, dim=-1)


def centre_of_mass(skeleton: Skeleton, root_pos: Tensor, root_rot: Tensor, joint_rot: Tensor) -> Tensor:
    """Return the whole-body centre of mass [n, 3] of poses [n, 3], [n, 4], [n, B - 1, 4]."""
    masses = torch.tensor([BODY_MASSES[name][0] for name in skeleton.body_names])
    centres = torch.tensor([BODY_MASSES[name][1] for name in skeleton.body_names])
    body_pos, body_rot = skeleton.forward_kinematics(root_pos, root_rot, joint_rot)
    points = body_pos + quat_rotate(body_rot, centres.expand_as(body_pos))
    return (points * masses[:, None]).sum(dim=-2) / masses.sum()
