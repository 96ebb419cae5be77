"""MimickitTermination: the early termination of MimicKit's DeepMimic environment (compute_done)."""

from __future__ import annotations

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.trackers.mimickit.config import MimickitEnvironmentConfig
from parc_ray.trackers.termination import (
    BODY_POSITION,
    FALL,
    ROOT_POSITION,
    TerminationResult,
    forbidden_bodies,
    touching_bodies,
)


class MimickitTermination:
    """MimicKit's failure test for one character and one environment configuration.

    No body may be farther than pose_termination_dist from its reference. Positions are in the world if the root is
    tracked, else relative to the root, in world axes with global_obs and root axes without. A body that may not touch
    the ground must have no contact force while it is low; on level ground, the ground causes that force.
    """

    def __init__(
        self,
        config: MimickitEnvironmentConfig,
        ground_contact_height: float,
        skeleton: Skeleton,
        device: torch.device,
    ):
        """ground_contact_height: maximum height above ground of a body that touches it, m. Raises InputError if a body
        that may touch the ground is unknown."""
        self.config, self.ground_contact_height = config, ground_contact_height
        self.needs_ground = bool(config.contact_bodies)
        self._forbidden = forbidden_bodies(skeleton, config.contact_bodies, "contact_bodies", device)

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
        body = torch.zeros_like(reason)
        if not config.enable_early_termination:
            return TerminationResult(reason, body)
        if ground is not None:
            fallen, body = self._find_falls(pose.body_pos, state.contact_force, ground)
            reason = torch.where(fallen, FALL, reason)
        if config.pose_termination:
            offset = self._positions(pose) - self._positions(reference)
            farthest, worst = rotations.dot(offset, offset).max(dim=-1)
            strayed = farthest > config.pose_termination_dist**2
            reason = torch.where(strayed, torch.where(worst == 0, ROOT_POSITION, BODY_POSITION), reason)
            body = torch.where(strayed, worst, body)
        return TerminationResult(torch.where(time > 0.0, reason, 0), body)

    def _positions(self, pose: Pose) -> Tensor:
        """Return body positions [N, B, 3] m in the frame of comparison."""
        if self.config.track_root:
            return pose.body_pos
        relative = pose.body_pos - pose.body_pos[:, :1]
        if self.config.global_obs:
            return relative
        return rotations.quat_rotate(rotations.quat_conjugate(pose.body_rot[:, :1]), relative)

    def _find_falls(self, body_pos: Tensor, contact_force: Tensor, ground: Tensor) -> tuple[Tensor, Tensor]:
        low = body_pos[..., 2] - ground <= self.ground_contact_height
        touched = touching_bodies(contact_force) & low & self._forbidden
        return touched.any(dim=-1), touched.to(torch.int64).argmax(dim=-1)
