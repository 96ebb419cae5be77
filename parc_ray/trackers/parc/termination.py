"""ParcTermination: PARC's compute_done, without its time-out and its end-of-motion rule."""

from __future__ import annotations

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.environment import EnvironmentConfig
from parc_ray.errors import InputError
from parc_ray.tensors.rows import reverse_dims
from parc_ray.trackers.termination import (
    BODY_POSITION,
    FALL,
    ROOT_POSITION,
    ROOT_ROTATION,
    TerminationResult,
    forbidden_bodies,
    touching_bodies,
)


class ParcTermination:
    """PARC's failure test for one character and one environment configuration.

    Bodies are compared relative to their root in world axes. Only exceeding a limit is a failure, not reaching it.
    """

    def __init__(self, config: EnvironmentConfig, skeleton: Skeleton, device: torch.device):
        """Raise InputError if the limits do not fit the character's bodies."""
        self.config = config
        self.needs_ground = bool(config.contact_bodies)
        distances = config.pose_termination_dist
        moving = skeleton.num_bodies - 1
        if isinstance(distances, list) and len(distances) != moving:
            raise InputError(
                f"env.pose_termination_dist has {len(distances)} distances, but the character has {moving} "
                "bodies below its root: give one each, or a single number"
            )
        limits = torch.as_tensor(distances, dtype=torch.float32, device=device).expand(moving)
        self._squared_limits = (limits * limits).unsqueeze(1)
        self._forbidden = forbidden_bodies(skeleton, config.contact_bodies, "env.contact_bodies", device)

    def compute(
        self,
        time: Tensor,
        state: CharacterState,
        pose: Pose,
        reference: Pose,
        ground: Tensor | None,
    ) -> TerminationResult:
        """See Termination.compute."""
        config = self.config
        reason = torch.zeros(time.shape, dtype=torch.int64, device=time.device)
        body = reason
        if not config.enable_early_termination:
            return TerminationResult(reason, body)
        if ground is not None and config.contact_bodies:
            fallen, body = self._find_falls(pose.body_pos, state.contact_force, ground)
            reason = reason.masked_fill(fallen, FALL)
        if config.pose_termination:
            if config.track_root:
                angle = rotations.quat_diff_angle(state.root_rot, reference.body_rot[:, 0])
                reason = reason.masked_fill(angle > config.root_rot_termination_angle, ROOT_ROTATION)
                offset = pose.body_pos[:, 0] - reference.body_pos[:, 0]
                too_far = rotations.dot(offset, offset) > config.root_pos_termination_dist**2
                reason = reason.masked_fill(too_far, ROOT_POSITION)
            strayed, worst = self._body_deviation(pose.body_pos, reference.body_pos)
            reason = reason.masked_fill(strayed, BODY_POSITION)
            body = torch.where(strayed, worst, body)
        return TerminationResult(reason.masked_fill(time <= 1e-5, 0), body)

    def _body_deviation(self, body_pos: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Return whether a body is beyond its limit, and the body farthest beyond."""
        offset = (reference[:, 1:] - reference[:, :1]) - (body_pos[:, 1:] - body_pos[:, :1])
        excess = reverse_dims(rotations.dot(offset, offset)) - self._squared_limits
        most, worst = excess.max(dim=0)
        return most > 0, worst + 1

    def _find_falls(self, body_pos: Tensor, contact_force: Tensor, ground: Tensor) -> tuple[Tensor, Tensor]:
        """Return whether a forbidden body touches something and one (any) is near the ground, and the touching body."""
        touched = touching_bodies(contact_force) & self._forbidden
        low = (body_pos[..., 2] < ground + self.config.termination_height) & self._forbidden
        return touched.any(dim=-1) & low.any(dim=-1), touched.to(torch.int64).argmax(dim=-1)
