"""MimickitObserver: the observations of MimicKit's trackers.

Order and frames are those of MimicKit's DeepMimic environment (compute_deepmimic_obs): the character, the phase of the
motion, target frames. With global_obs, targets are relative to the character; without, to the first target and its
heading, which hides their distance from the character.
"""

from __future__ import annotations

import math
from typing import Collection

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.motions.library import ReferenceFrames
from parc_ray.tensors.layout import Layout, Shape
from parc_ray.tensors.rows import gather
from parc_ray.trackers.character_observation import (
    CharacterObservation,
    axes_of,
    heading_of,
    rotate_vectors,
    side_by_side,
)
from parc_ray.trackers.mimickit.config import MimickitEnvironmentConfig
from parc_ray.trackers.tracker import ObservationInputs


class MimickitObserver:
    """Computes observations of one character for one environment configuration."""

    def __init__(self, config: MimickitEnvironmentConfig, skeleton: Skeleton, device: torch.device):
        """Raise InputError if a key body is unknown."""
        self.config = config
        self.key_bodies = torch.tensor(
            skeleton.body_indices(config.key_bodies, "key_bodies"), dtype=torch.int64, device=device
        )
        steps = config.tar_obs_steps if config.enable_tar_obs else []
        self.target_steps = torch.tensor([0, *steps], dtype=torch.int64, device=device)
        joints, keys = (skeleton.num_bodies - 1, 6), (len(config.key_bodies), 3)
        position = 3 if config.root_height_obs else 2
        self._char = CharacterObservation(skeleton, self.key_bodies, config.root_height_obs)
        self._target = Layout({"position": (position,), "rotation": (2, 3), "joints": joints, "keys": keys})
        self.features = Layout({"phase": (1,), "heading": (2,), "root": (3, 3), "joints": joints, "keys": keys})
        self._scales = 2.0 * math.pi * 2.0 ** torch.arange(config.num_phase_encoding, device=device)
        parts: dict[str, Shape] = {"char_obs": (self._char.layout.size,)}
        if config.enable_phase_obs:
            parts["phase_obs"] = (1 + 2 * config.num_phase_encoding,)
        if config.enable_tar_obs:
            parts["tar_obs"] = (len(steps), self._target.size)
        self.layout = Layout(parts)
        self.normalized: Collection[str] = tuple(parts)

    def reference_features(self, frames: ReferenceFrames, pose: Pose) -> Tensor:
        """Return phase, heading, root position and rotation, joint rotations, key bodies from the root, [..., F]."""
        heading = rotations.heading_direction(frames.root_rot)
        root_rot = rotations.quat_to_tan_norm(frames.root_rot).unflatten(-1, (2, 3))
        root = torch.cat((frames.root_pos.unsqueeze(-2), root_rot), dim=-2)
        keys = gather(pose.body_pos, self.key_bodies, -2) - frames.root_pos.unsqueeze(-2)
        joints = rotations.quat_to_tan_norm(frames.joint_rot)
        return self.features.join((frames.phase.unsqueeze(-1), heading, root, joints, keys))

    def observe(self, inputs: ObservationInputs) -> Tensor:
        """See Observer.observe."""
        config, state, pose = self.config, inputs.state, inputs.pose
        axes = axes_of(state, pose)
        turn = None if config.global_obs else rotations.heading_matrix(heading_of(axes))
        parts = [self._char.observe(state, pose, axes, turn)]
        if config.enable_phase_obs:
            phase = self.features.split(inputs.targets[:, 0])["phase"]
            parts.append(torch.cat((phase, torch.sin(phase * self._scales), torch.cos(phase * self._scales)), dim=-1))
        if config.enable_tar_obs:
            parts.append(self._targets(state, self.features.split(inputs.targets[:, 1:])))
        return self.layout.join(parts)

    def _targets(self, state: CharacterState, targets: dict[str, Tensor]) -> Tensor:
        root = targets["root"]
        origin = state.root_pos[:, None, None] if self.config.global_obs else root[:, :1, :1]
        turn = None if self.config.global_obs else rotations.heading_matrix(targets["heading"][:, 0])
        vectors = rotate_vectors(turn, side_by_side(root[..., :1, :] - origin, root[..., 1:, :], targets["keys"]))
        height = root[..., 0, 2:] if self.config.root_height_obs else root[..., 0, :0]
        position = torch.cat((vectors[..., 0, :2], height), dim=-1)
        return self._target.join((position, vectors[..., 1:3, :], targets["joints"], vectors[..., 3:, :]))
