"""What the tracker sees.

Order and frames are PARC's (compute_deepmimic_obs and IGParkourEnv._compute_obs): char_obs, tar_obs,
tar_contacts, char_contacts, hf, flattened.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Optional, Tuple

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.environment import EnvironmentConfig
from parc_ray.motions.library import ReferenceFrames


def ray_points(config: EnvironmentConfig) -> Tensor:
    """Where heights are observed, [R, 2] m in the heading frame: rays from right to left, each from back to front.

    As in PARC, ray_num_left counts the rays on the right of the character and ray_num_right those on its left.
    """
    along = torch.linspace(
        -config.ray_dx * config.ray_points_behind,
        config.ray_dx * config.ray_points_ahead,
        config.ray_points_behind + config.ray_points_ahead + 1,
    )
    ray = torch.stack((along, torch.zeros_like(along)), dim=-1)
    angles = torch.tensor(
        [config.ray_angle * k for k in range(-config.ray_num_left, config.ray_num_right + 1)],
        dtype=torch.float32,
    )
    return rotations.rotate_2d(ray.unsqueeze(0), angles.unsqueeze(-1)).reshape(-1, 2)


Heading = Tuple[Tensor, Tensor]
"""Cosine and sine of headings, [N] each"""


class Observer:
    """Builds observations of one character and one environment configuration."""

    def __init__(self, config: EnvironmentConfig, skeleton: Skeleton, device: torch.device):
        """Raises InputError if a key body is unknown."""
        self.config = config
        self.skeleton = skeleton
        self.key_bodies = torch.tensor(
            skeleton.body_indices(config.key_bodies, "env.key_bodies"), dtype=torch.int64, device=device
        )
        self.target_steps = torch.tensor(config.tar_obs_steps, dtype=torch.int64, device=device)
        self.ray_points = ray_points(config).to(device)

    @property
    def layout(self) -> OrderedDict[str, Tuple[int, ...]]:
        """Names and shapes of the parts of an observation, in order (PARC's obs_shapes)."""
        config, skeleton = self.config, self.skeleton
        joints, steps = 6 * (skeleton.num_bodies - 1), len(config.tar_obs_steps)
        keys = 3 * len(config.key_bodies)
        char = 12 + joints + skeleton.dof_count + keys + int(config.global_root_height_obs)
        parts: OrderedDict[str, Tuple[int, ...]] = OrderedDict(char_obs=(char,))
        if config.enable_tar_obs:
            parts["tar_obs"] = (steps, 9 + joints + keys)
        if config.use_contact_info:
            if config.enable_tar_obs:
                parts["tar_contacts"] = (steps, skeleton.num_bodies)
            parts["char_contacts"] = (skeleton.num_bodies,)
        parts["hf"] = (len(self.ray_points),)
        return parts

    @property
    def size(self) -> int:
        """Length of an observation."""
        return sum(int(torch.Size(shape).numel()) for shape in self.layout.values())

    def target_features(self, frames: ReferenceFrames, body_pos: Tensor) -> Tensor:
        """What of reference frames [..., *] a later observation needs, independent of the character, [..., F]."""
        offsets = body_pos[..., self.key_bodies, :] - frames.root_pos.unsqueeze(-2)
        joints = rotations.quat_to_tan_norm(frames.joint_rot)
        root = rotations.quat_to_tan_norm(frames.root_rot)
        return torch.cat((frames.root_pos, root, joints.flatten(-2), offsets.flatten(-2), frames.contacts), dim=-1)

    def sample_points(self, state: CharacterState) -> Tensor:
        """Ground points under the rays of each character, [N, R, 2] m in its motion's frame."""
        cosine, sine = (part.unsqueeze(-1) for part in rotations.heading_direction(state.root_rot))
        x, y = self.ray_points.unbind(-1)
        turned = torch.stack((x * cosine - y * sine, x * sine + y * cosine), dim=-1)
        return turned + state.root_pos[:, None, :2]

    def observe(
        self,
        state: CharacterState,
        joint_rot: Tensor,
        body_pos: Tensor,
        contacts: Tensor,
        targets: Tensor,
        heights: Tensor,
    ) -> Tensor:
        """Observations [N, size] of characters.

        joint_rot [N, B - 1, 4] and body_pos [N, B, 3] are the pose of state; contacts [N, B] its own contacts (0/1);
        targets [N, S, F] the target_features at each target step; heights [N, R] m of the sample_points.
        """
        config = self.config
        heading = None if config.global_obs else rotations.heading_direction(state.root_rot)
        parts = [self._character(state, joint_rot, body_pos, heading)]
        if config.enable_tar_obs:
            bodies = self.skeleton.num_bodies
            parts.append(self._targets(state, targets[..., :-bodies], heading).flatten(1))
            if config.use_contact_info:
                parts.append(targets[..., -bodies:].flatten(1))
        if config.use_contact_info:
            parts.append(contacts)
        parts.append((heights - state.root_pos[:, 2:]).clamp(config.min_obs_h, config.max_obs_h))
        return torch.cat(parts, dim=-1)

    def _character(
        self, state: CharacterState, joint_rot: Tensor, body_pos: Tensor, heading: Optional[Heading]
    ) -> Tensor:
        turned = torch.cat(
            (
                rotations.quat_to_tan_norm(state.root_rot).unflatten(-1, (2, 3)),
                state.root_vel.unsqueeze(1),
                state.root_ang_vel.unsqueeze(1),
                body_pos[:, self.key_bodies] - state.root_pos.unsqueeze(1),
            ),
            dim=1,
        )
        if heading is not None:
            turned = _turned(heading, turned)
        joints = rotations.quat_to_tan_norm(joint_rot).flatten(1)
        parts = [turned[:, :4].flatten(1), joints, state.dof_vel, turned[:, 4:].flatten(1)]
        if self.config.global_root_height_obs:
            parts.insert(0, state.root_pos[:, 2:])
        return torch.cat(parts, dim=-1)

    def _targets(self, state: CharacterState, targets: Tensor, heading: Optional[Heading]) -> Tensor:
        """Targets relative to the character; with global_obs, key bodies relative to the target's root, as in PARC."""
        joints = 6 * (self.skeleton.num_bodies - 1)
        root_pos, root_rot, joint_obs, keys = targets.split([3, 6, joints, targets.shape[-1] - 9 - joints], dim=-1)
        offset = root_pos - state.root_pos.unsqueeze(1)
        vectors = torch.cat((offset, root_rot, keys), dim=-1).unflatten(-1, (-1, 3))
        if heading is not None:
            vectors = _turned(heading, vectors)
            vectors[..., 3:, :] += vectors[..., :1, :]
        return torch.cat((vectors[..., :3, :].flatten(-2), joint_obs, vectors[..., 3:, :].flatten(-2)), dim=-1)


def _turned(heading: Heading, vectors: Tensor) -> Tensor:
    """World vectors [N, ..., 3] in the heading frame of their row."""
    shape = (-1,) + (1,) * (vectors.dim() - 2)
    cosine, sine = (part.reshape(shape) for part in heading)
    return rotations.to_heading_frame((cosine, sine), vectors)
