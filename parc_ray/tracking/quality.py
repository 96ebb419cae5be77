"""QualityMeter: measures the figures of attempts while they run."""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.pose import Pose
from parc_ray.character.surface import SurfacePoints
from parc_ray.motions.terrain_stack import TerrainStack
from parc_ray.tracking.environment import Step
from parc_ray.tracking.figures import FIGURES, Quality

MEANS = tuple(figure.name for figure in FIGURES if figure.over == "mean")
SUMS = (*MEANS, "frames", "contacts_agreed", "contacts_either")
LARGEST = tuple(figure.name for figure in FIGURES if figure.over == "largest")
SHALLOW = 0.01
"""Depth in m up to which it is measured straight up: soft contacts are as deep all the time."""


class QualityMeter:
    """Running sums for every env; nothing is kept per frame."""

    def __init__(self, num_envs: int, surface: SurfacePoints, terrains: TerrainStack, device: torch.device):
        """surface: of the character; terrains: of the motions."""
        self.surface, self.terrains = surface, terrains
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
        """How deep the deepest surface point of each character is in the terrain, [N] m."""
        points = self.surface.positions(pose.body_pos, pose.body_rot)
        depth = (self.terrains.height_at(motions, points[..., :2]) - points[..., 2]).clamp(min=0)
        # Few points are far below the ground, and only there a wall may be nearer than the surface.
        row, point = (depth > SHALLOW).nonzero(as_tuple=True)
        if len(row):
            deep = self.terrains.penetration_depth(motions[row], points[row, point].unsqueeze(1))
            depth[row, point] = deep.squeeze(1)
        return depth.amax(dim=1)

    def figures(self, env: int) -> Quality:
        """Figures of an env since its start. Without any contact, contacts agree."""
        sums = dict(zip(SUMS, self._sums[env].tolist()))
        frames, either = max(1.0, sums["frames"]), sums["contacts_either"]
        values = {name: sums[name] / frames for name in MEANS}
        values.update(zip(LARGEST, self._largest[env].tolist()))
        values["contact_agreement"] = sums["contacts_agreed"] / either if either else 1.0
        return {figure.name: values[figure.name] for figure in FIGURES}


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return rotations.norm(a - b)
