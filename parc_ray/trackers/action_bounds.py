"""Action bounds: the range of PD targets of a policy."""

from __future__ import annotations

import torch
from torch import Tensor

from parc_ray.character.skeleton import Skeleton


def action_bounds(skeleton: Skeleton, zero_centred: bool = False) -> tuple[Tensor, Tensor]:
    """Return lowest and highest PD target [D], rad (PARC's control mode pd, MimicKit's pos).

    Spherical joints: +-1.2 times the largest limit of the three axes. Hinges: the centre +-0.7 times the range;
    zero_centred: +-1.4 times the larger limit (MimicKit's zero_center_action).
    """
    low: list[float] = []
    high: list[float] = []
    for joint in skeleton.joints:
        if joint.kind == "spherical":
            reach = 1.2 * max(abs(limit) for limit in joint.lower + joint.upper)
            low += [-reach] * 3
            high += [reach] * 3
        elif joint.kind == "hinge":
            lower, upper = joint.lower[0], joint.upper[0]
            centre = 0.0 if zero_centred else 0.5 * (upper + lower)
            reach = 1.4 * max(abs(upper - centre), abs(lower - centre))
            low.append(centre - reach)
            high.append(centre + reach)
    return torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)
