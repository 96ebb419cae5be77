"""Conversion of a clip to a motion: placed on terrain, feet on the ground, contacts labelled."""

from __future__ import annotations

import torch
from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.character.surface import SurfacePoints
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.importers.clip import FPS, SourceClip
from parc_ray.motions.motion import Motion

BORDER = 2.0
"""Level ground around a clip's path, m"""
CONTACT_DISTANCE = 0.02
"""Maximum height of a body's lowest surface point for ground contact, m."""
STANDING_DISTANCE, STANDING_SPEED = 0.06, 0.5
"""Maximum height (m) and speed (m/s) of a limb's end that stands on the ground; captured feet and hands do not land
exactly."""
SAME_JOINT = 0.05
"""Maximum distance between bodies whose hinges form one joint, m."""
LOWEST_SHARE = 0.05
"""Share of frames that reach the ground after the whole clip is lowered."""
FLIGHT = 0.15
"""Minimum time off the ground before and after a frame for the body to count as airborne, s."""
DRIFT = 0.06
"""Maximum remaining height above the ground attributed to capture errors, not flight, m."""
SMOOTHING = 2.0
"""Standard deviation of the kernel that smooths this error, frames."""


def to_motion(
    clip: SourceClip, name: str, skeleton: Skeleton, surface: SurfacePoints, terrain: HeightField | None
) -> Motion:
    """Return the motion of a clip with FPS frames per second on a terrain (None: level ground)."""
    root_pos, root_rot, joint_rot = clip.root_pos.float(), clip.root_rot.float(), clip.joint_rot.float()
    ground = terrain or HeightField.level(root_pos[:, :2].numpy(), BORDER)

    def points() -> Tensor:
        return surface.positions(*skeleton.forward_kinematics(root_pos, root_rot, joint_rot))

    root_pos[:, 2] -= torch.quantile(heights_above(ground, points()).amin(dim=1), LOWEST_SHARE)
    root_pos[:, 2] -= drift(heights_above(ground, points()).amin(dim=1))
    return Motion(
        name=name,
        root_pos=root_pos.numpy(),
        root_rot=root_rot.numpy(),
        joint_rot=joint_rot.numpy(),
        contacts=contact_labels(ground, points(), surface.bodies, skeleton).numpy(),
        fps=float(FPS),
        loop_mode="CLAMP",
        terrain=ground,
        notes=clip.notes,
    )


def drift(gaps: Tensor) -> Tensor:
    """Return the smooth correction [n] (m) that brings a lowest point at heights [n] (m) down to the ground."""
    radius = round(FLIGHT * FPS)
    lowest = -torch.nn.functional.max_pool1d(-gaps[None], 2 * radius + 1, stride=1, padding=radius)[0]
    reach = 2 * round(2.0 * SMOOTHING) + 1
    kernel = torch.exp(-0.5 * (torch.arange(reach) - reach // 2).square() / SMOOTHING**2)
    edged = torch.nn.functional.pad(lowest.clamp(-DRIFT, DRIFT)[None], (reach // 2, reach // 2), mode="replicate")
    return torch.nn.functional.conv1d(edged[None], (kernel / kernel.sum())[None, None])[0, 0]


def heights_above(ground: HeightField, points: Tensor) -> Tensor:
    """Return heights [n, P] (m) of points [n, P, 3] above the ground below them."""
    return points[..., 2] - torch.from_numpy(ground.height_at(points[..., :2].numpy()))


def contact_labels(ground: HeightField, points: Tensor, bodies: Tensor, skeleton: Skeleton) -> Tensor:
    """Return contact labels [n, B] (0 or 1) from surface points [n, P, 3] and the body of each [P]."""
    heights = heights_above(ground, points)
    speeds = (points[1:] - points[:-1]).norm(dim=-1) * FPS
    speeds = torch.cat((speeds, speeds[-1:]))
    # A shin does not stand if its foot does: no neighbouring body may be lower.
    lowest = heights < lowest_around(heights, bodies, skeleton)[:, bodies] + CONTACT_DISTANCE
    stands = (heights < STANDING_DISTANCE) & lowest & (speeds < STANDING_SPEED)
    touches = ((heights < CONTACT_DISTANCE) | stands).float()
    return torch.zeros(len(points), skeleton.num_bodies).index_add(1, bodies, touches).clamp(max=1.0)


def lowest_around(heights: Tensor, bodies: Tensor, skeleton: Skeleton) -> Tensor:
    """Return the lowest height [n, B] of each body, its parent and its children, from heights of points [n, P].

    Bodies closer than SAME_JOINT to their parent count as one with it: robots have one hinge per body.
    """
    joints = list(range(skeleton.num_bodies))
    for body, parent in enumerate(skeleton.parent_indices):
        if parent > 0 and float(skeleton.local_translation[body].norm()) < SAME_JOINT:
            joints[body] = joints[parent]
    own = torch.full((len(heights), skeleton.num_bodies), float("inf"))
    own = own.scatter_reduce(1, torch.tensor(joints)[bodies].expand_as(heights), heights, "amin")
    around = own.clone()
    for body, parent in enumerate(skeleton.parent_indices):
        if parent >= 0 and joints[body] == body:
            around[:, body] = torch.minimum(around[:, body], own[:, joints[parent]])
            around[:, joints[parent]] = torch.minimum(around[:, joints[parent]], own[:, body])
    return around[:, joints]
