"""QualityMeter: measures the figures of attempts while they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.mjcf import Mjcf
from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import Skeleton
from parc_ray.motions.terrain_stack import TerrainStack
from parc_ray.tracking.environment import Step
from parc_ray.tracking.figures import FIGURES, Quality

MEANS = tuple(figure.name for figure in FIGURES if figure.over == "mean")
SUMS = (*MEANS, "frames", "contacts_agreed", "contacts_either")
LARGEST = tuple(figure.name for figure in FIGURES if figure.over == "largest")
SHALLOW = 0.01
"""Up to this depth (m), which soft contacts reach all the time, depth is measured straight up"""


class QualityMeter:
    """Running sums of all envs; nothing is kept per frame."""

    def __init__(self, num_envs: int, probes: Probes, terrains: TerrainStack, device: torch.device):
        """probes and terrains measure penetration."""
        self.probes, self.terrains = probes, terrains
        self._sums = torch.zeros(num_envs, len(SUMS), device=device)
        self._largest = torch.zeros(num_envs, len(LARGEST), device=device)

    def start(self, envs: Sequence[int]) -> None:
        """Forget what was measured in these envs."""
        self._sums[list(envs)] = 0.0
        self._largest[list(envs)] = 0.0

    def add(self, envs: Sequence[int], motions: Tensor, step: Step) -> None:
        """Account for one control step of the given envs, which track motions [N]."""
        rows = torch.tensor(list(envs), device=motions.device)
        pose, reference = step.pose, step.reference
        root = _distance(pose.body_pos[:, 0], reference.body_pos[:, 0])
        relative = pose.body_pos[:, 1:] - pose.body_pos[:, :1]
        reference_relative = reference.body_pos[:, 1:] - reference.body_pos[:, :1]
        labels, contacts = step.reference_contacts > 0.5, step.contacts > 0.5
        sums = {
            "root_error": root,
            "root_angle_error": rotations.quat_diff_angle(pose.body_rot[:, 0], reference.body_rot[:, 0]),
            "body_error": _distance(relative, reference_relative).mean(dim=1),
            "joint_angle_error": rotations.quat_diff_angle(pose.joint_rot, reference.joint_rot).mean(dim=1),
            "frames": torch.ones_like(root),
            "contacts_agreed": (labels & contacts).sum(dim=1).float(),
            "contacts_either": (labels | contacts).sum(dim=1).float(),
        }
        largest = {"max_root_error": root, "max_penetration": self._deepest(motions, pose)}
        self._sums[rows] += torch.stack([sums[name] for name in SUMS], dim=1)
        self._largest[rows] = torch.maximum(
            self._largest[rows], torch.stack([largest[name] for name in LARGEST], dim=1)
        )

    def _deepest(self, motions: Tensor, pose: Pose) -> Tensor:
        """How deep the deepest probe of each character is in the terrain, [N] m."""
        points = self.probes.positions(pose.body_pos, pose.body_rot)
        depth = (self.terrains.height_at(motions, points[..., :2]) - points[..., 2]).clamp(min=0)
        # Few probes are far below the ground, and only there a wall may be nearer than the surface.
        row, probe = (depth > SHALLOW).nonzero(as_tuple=True)
        if len(row):
            deep = self.terrains.penetration_depth(motions[row], points[row, probe].unsqueeze(1))
            depth[row, probe] = deep.squeeze(1)
        return depth.amax(dim=1)

    def figures(self, env: int) -> Quality:
        """What was measured in an env since its start. Without any contact, contacts agree."""
        sums = dict(zip(SUMS, self._sums[env].tolist()))
        frames, either = max(1.0, sums["frames"]), sums["contacts_either"]
        values = {name: sums[name] / frames for name in MEANS}
        values.update(zip(LARGEST, self._largest[env].tolist()))
        values["contact_agreement"] = sums["contacts_agreed"] / either if either else 1.0
        return {figure.name: values[figure.name] for figure in FIGURES}


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return rotations.norm(a - b)


@dataclass(frozen=True)
class Probes:
    """Points on a character that must not be inside the terrain: undersides of round geoms, corners of boxes."""

    bodies: Tensor
    """[P] the body of each point"""
    points: Tensor
    """[P, 3] m in the body's frame"""
    drops: Tensor
    """[P, 3] m by which the probed point hangs below `points`, in the world: a radius along z"""

    def positions(self, body_pos: Tensor, body_rot: Tensor) -> Tensor:
        """World positions [N, P, 3] for body poses [N, B, 3] and [N, B, 4]."""
        axes = rotations.quat_to_matrix(body_rot).index_select(1, self.bodies)
        return body_pos.index_select(1, self.bodies) + rotations.matrix_apply(axes, self.points) - self.drops


def make_probes(character: str, source: str, skeleton: Skeleton, device: torch.device) -> Probes:
    """Probes of a character from the text of its MJCF."""
    document = Mjcf(character, source)
    bodies: List[int] = []
    points: List[Tuple[float, float, float]] = []
    drops: List[float] = []
    for index, (_, body) in enumerate(document.bodies()):
        for geom in body.findall("geom"):
            shape = document.attribute(geom, "type") or "sphere"
            size = document.numbers(geom, "size", "0")
            w, x, y, z = document.numbers(geom, "quat", "1 0 0 0", 4)
            place = (torch.tensor(document.numbers(geom, "pos", "0 0 0", 3)), torch.tensor([x, y, z, w]))
            ends, drop = _surface(shape, size, document.numbers(geom, "fromto", ""), place)
            bodies += [index] * len(ends)
            points += ends
            drops += [drop] * len(ends)
    return Probes(
        torch.tensor(bodies, device=device),
        torch.tensor(points, dtype=torch.float32, device=device).reshape(-1, 3),
        torch.tensor([[0.0, 0.0, drop] for drop in drops], dtype=torch.float32, device=device).reshape(-1, 3),
    )


def _surface(
    shape: str, size: List[float], fromto: List[float], place: Tuple[Tensor, Tensor]
) -> Tuple[List[Tuple[float, float, float]], float]:
    """Points that span a geom, in its body's frame, and the radius around them."""
    if len(fromto) == 6:
        return [tuple(fromto[:3]), tuple(fromto[3:])], size[0] if shape == "capsule" else 0.0  # type: ignore[list-item]
    position, rotation = place
    if shape == "box":
        corners = torch.cartesian_prod(*(torch.tensor([-half, half]) for half in size[:3]))
        drop = 0.0
    elif shape in ("capsule", "cylinder"):
        corners = torch.tensor([[0.0, 0.0, -size[1]], [0.0, 0.0, size[1]]])
        drop = size[0] if shape == "capsule" else 0.0
    else:
        corners, drop = torch.zeros(1, 3), min(size)
    world = position + rotations.quat_rotate(rotation.expand(len(corners), 4), corners)
    return [tuple(point) for point in world.tolist()], drop
