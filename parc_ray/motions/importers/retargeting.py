"""Applies world rotations of some bodies to a character."""

from __future__ import annotations

from typing import Mapping

import torch
from torch import Tensor

from parc_ray.character.rotations import quat_conjugate, quat_mul, quat_normalize
from parc_ray.character.skeleton import Skeleton


def retarget(world: Mapping[str, Tensor], skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """Return the root's rotation [n, 4] and joint rotations [n, B - 1, 4] from bodies' world rotations [n, 4], float64.

    `world` must contain the root. A body without a rotation stays fixed to its parent. A hinge turns only about its
    axis; its children take up the rest.
    """
    bodies: list[Tensor] = []
    local: list[Tensor] = []
    for index, body in enumerate(skeleton.body_names):
        parent = skeleton.parent_indices[index]
        if parent < 0:
            bodies.append(quat_normalize(world[body]))
            continue
        frame = quat_mul(bodies[parent], skeleton.local_rotation[index].double().expand_as(bodies[parent]))
        pose = world.get(body, frame)
        turn = quat_normalize(quat_mul(quat_conjugate(frame), quat_normalize(pose)))
        local.append(_within_joint(turn, skeleton, index))
        bodies.append(quat_mul(frame, local[-1]))
    return bodies[0], torch.stack(local, dim=1)


def _within_joint(rotation: Tensor, skeleton: Skeleton, body: int) -> Tensor:
    """Return the part of rotations [n, 4] that a body's joint can perform."""
    joint = skeleton.joints[body]
    if joint.kind == "fixed":
        return torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64).expand_as(rotation)
    if joint.kind != "hinge":
        return rotation
    axis = torch.tensor(joint.axis, dtype=torch.float64)
    along = (rotation[:, :3] * axis).sum(-1, keepdim=True) * axis
    return quat_normalize(torch.cat((along, rotation[:, 3:]), dim=-1))
