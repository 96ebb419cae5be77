"""MetricMeter: measures the metrics of finished attempts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.pose import Pose
from parc_ray.character.surface import SurfacePoints
from parc_ray.motions.terrain_stack import TerrainStack
from parc_ray.tensors.arrays import FloatArray
from parc_ray.tensors.rows import reverse_dims
from parc_ray.tracking.metrics import METRICS, Quality
from parc_ray.tracking.sliding import mean_speed

MEANS = tuple(metric.name for metric in METRICS if metric.over == "mean")
LARGEST = tuple(metric.name for metric in METRICS if metric.over == "largest")
MEASURED = (*MEANS, *LARGEST, "contacts_agreed", "contacts_either")
"""Quantities measured for every frame."""
SHALLOW = 0.01
"""Depth in m up to which it is measured vertically: soft contacts are that deep all the time."""


class MetricMeter:
    """Compares frames of a character with their reference."""

    def __init__(self, surface: SurfacePoints, terrains: TerrainStack):
        """surface: of the character; terrains: of the motions."""
        self.surface, self.terrains = surface, terrains

    def measure(
        self,
        motions: Tensor,
        pose: Pose,
        reference: Pose,
        contacts: Tensor,
        reference_contacts: Tensor,
        points: Tensor | None = None,
    ) -> Tensor:
        """Return numbers [n, MEASURED] of n frames of motions [n] from poses and contacts or their labels [n, B].

        points: surface points of the poses, if already computed.

        No row depends on another, not even in its last bit, provided that n is in whole batches.
        """
        offset = pose.body_pos - reference.body_pos
        root = rotations.norm(offset[:, 0])
        labels, made = reverse_dims(reference_contacts) > 0.5, reverse_dims(contacts) > 0.5
        numbers = {
            "root_error": root,
            "root_angle_error": rotations.quat_diff_angle(pose.body_rot[:, 0], reference.body_rot[:, 0]),
            "body_error": _mean(rotations.norm(offset[:, 1:] - offset[:, :1])),
            "mpjpe": _mean(rotations.norm(offset)),
            "joint_angle_error": _mean(rotations.quat_diff_angle(pose.joint_rot, reference.joint_rot)),
            "max_root_error": root,
            "max_penetration": self._deepest(motions, self.points(pose) if points is None else points),
            "contacts_agreed": (labels & made).sum(0).float(),
            "contacts_either": (labels | made).sum(0).float(),
        }
        return torch.stack([numbers[name] for name in MEASURED], dim=1)

    def points(self, pose: Pose) -> Tensor:
        """Return the surface points [n, P, 3] m of n poses."""
        return self.surface.positions(pose.body_pos, pose.body_rot)

    def _deepest(self, motions: Tensor, points: Tensor) -> Tensor:
        """Return the depth of each character's deepest surface point [n, P, 3] in the terrain, [n] m."""
        depth = (self.terrains.height_at(motions, points[..., :2]) - points[..., 2]).clamp(min=0)
        # Few points are far below the ground, and only there a wall may be nearer than the surface.
        row, point = (depth > SHALLOW).nonzero(as_tuple=True)
        if len(row):
            deep = self.terrains.penetration_depth(motions[row], points[row, point].unsqueeze(1))
            depth[row, point] = deep.squeeze(1)
        return depth.amax(dim=1)


def aggregate(measured: FloatArray, slid: FloatArray | None = None) -> Quality:
    """Return the metrics of an attempt from the numbers [n, MEASURED] and `slides` [n, 2] of its frames.

    Without any contact, contacts agree.
    """
    numbers = measured.astype(np.float64)
    mean, largest, total = (
        dict(zip(MEASURED, part(axis=0).tolist())) for part in (numbers.mean, numbers.max, numbers.sum)
    )
    agreed, either = total["contacts_agreed"], total["contacts_either"]
    values = {**{name: mean[name] for name in MEANS}, **{name: largest[name] for name in LARGEST}}
    values["contact_agreement"] = agreed / either if either else 1.0
    if slid is not None:
        values["foot_skate"] = mean_speed(slid)
    return {metric.name: values[metric.name] for metric in METRICS if metric.name in values}


def _mean(values: Tensor) -> Tensor:
    """Return the mean over the last dimension, [n, k] -> [n]."""
    return reverse_dims(values).mean(0)
