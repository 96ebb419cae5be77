"""Sliding of bodies in contact over the ground, known as foot skate.

If a body is in contact in two successive frames, it slides at the horizontal speed, between them, of its surface point
that is lowest in the later frame. A foot that rolls over its heel or toe thus does not slide, though its ankle moves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from parc_ray.tensors.arrays import FloatArray


def slides(points: Tensor, owners: Tensor, contacts: Tensor, first: Tensor, fps: float) -> Tensor:
    """Return the sum of speeds (m/s) of the sliding bodies of each frame, and their number [n, 2].

    points: [n, P, 3] m surface points of successive frames; owners: [P] body of each; contacts: [n, B] flags; first:
    [n] True for the first frame of an attempt, whose bodies do not slide. A row depends only on the previous one.
    """
    moved = points[..., :2] - torch.cat((points[:1], points[:-1]))[..., :2]
    speeds = torch.sqrt(moved[..., 0] * moved[..., 0] + moved[..., 1] * moved[..., 1]) * fps
    made = contacts > 0.5
    still = made & torch.cat((made[:1], made[:-1])) & ~first.unsqueeze(1)
    lowest = points.new_full(contacts.shape, torch.inf)
    lowest = lowest.scatter_reduce(1, owners.expand(len(points), -1), points[..., 2], "amin")
    own = points[..., 2] <= lowest[:, owners]
    slowest = points.new_full(contacts.shape, torch.inf)
    # Corners of a flat sole may be equally low: the slowest is the one it turns about.
    masked = torch.where(own, speeds, torch.full_like(speeds, torch.inf))
    slowest = slowest.scatter_reduce(1, owners.expand(len(points), -1), masked, "amin")
    still = still & torch.isfinite(lowest)
    total = torch.where(still, slowest, torch.zeros_like(slowest))
    return torch.stack((_sum(total), still.sum(dim=1).to(points.dtype)), dim=1)


def mean_speed(sums: FloatArray) -> float:
    """Return the mean speed (m/s) of the rows [n, 2] of `slides`; 0 if no body is in contact."""
    total, count = sums.astype(np.float64).sum(axis=0)
    return float(total / count) if count else 0.0


def _sum(values: Tensor) -> Tensor:
    """Return the sum over bodies, [n, B] -> [n], each row in the same order regardless of other rows."""
    total = values[:, 0].clone()
    for body in range(1, values.shape[1]):
        total += values[:, body]
    return total
