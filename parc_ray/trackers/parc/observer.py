"""ParcObserver: the observations of PARC's trackers.

Order and frames are PARC's (compute_deepmimic_obs and IGParkourEnv._compute_obs): char_obs, tar_obs,
tar_contacts, char_contacts, hf, flattened.
"""

from __future__ import annotations

from typing import Collection

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.motions.library import ReferenceFrames
from parc_ray.tensors.layout import Layout, Shape
from parc_ray.tensors.rows import gather, reverse_dims
from parc_ray.trackers.character_observation import (
    CharacterObservation,
    axes_of,
    heading_of,
    rotate_vectors,
    side_by_side,
)
from parc_ray.trackers.parc.config import ParcEnvironmentConfig
from parc_ray.trackers.tracker import ObservationInputs


def ray_points(config: ParcEnvironmentConfig) -> Tensor:
    """Return the points of height observations [R, 2] m, heading frame: rays right to left, each back to front.

    As in PARC, ray_num_left is the number of rays on the character's right and ray_num_right of those on its left.
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


class ParcObserver:
    """Computes observations of one character for one environment configuration."""

    normalized: Collection[str] = ("char_obs", "tar_obs")

    def __init__(self, config: ParcEnvironmentConfig, skeleton: Skeleton, device: torch.device):
        """Raise InputError if a key body is unknown."""
        self.config = config
        self.key_bodies = torch.tensor(
            skeleton.body_indices(config.key_bodies, "env.key_bodies"), dtype=torch.int64, device=device
        )
        self.target_steps = torch.tensor(config.tar_obs_steps, dtype=torch.int64, device=device)
        self.ray_points = ray_points(config).to(device)
        self._ray_points_left = torch.stack((-self.ray_points[:, 1], self.ray_points[:, 0]), dim=-1)
        """The same points, rotated by a quarter turn."""
        bodies = skeleton.num_bodies
        joints, keys = (bodies - 1, 6), (len(config.key_bodies), 3)
        contacts = {"contacts": (bodies,)} if config.use_contact_info else {}
        self._char = CharacterObservation(skeleton, self.key_bodies, config.global_root_height_obs)
        self._target = Layout({"root": (3, 3), "joints": joints, "keys": keys})
        self.features = Layout({"root": (3, 3), "joints": joints, "keys": keys, **contacts})
        self.layout = self._layout(bodies)

    def _layout(self, bodies: int) -> Layout:
        """Return names and shapes of PARC's obs_shapes."""
        config, steps = self.config, len(self.config.tar_obs_steps)
        parts: dict[str, Shape] = {"char_obs": (self._char.layout.size,)}
        if config.enable_tar_obs:
            parts["tar_obs"] = (steps, self._target.size)
        if config.use_contact_info:
            if config.enable_tar_obs:
                parts["tar_contacts"] = (steps, bodies)
            parts["char_contacts"] = (bodies,)
        parts["hf"] = (len(self.ray_points),)
        return Layout(parts)

    def reference_features(self, frames: ReferenceFrames, pose: Pose) -> Tensor:
        """Return root position and rotation, joint rotations, key bodies from the root, contacts if used, [..., F]."""
        root_rot = rotations.quat_to_tan_norm(frames.root_rot).unflatten(-1, (2, 3))
        root = torch.cat((frames.root_pos.unsqueeze(-2), root_rot), dim=-2)
        keys = gather(pose.body_pos, self.key_bodies, -2) - frames.root_pos.unsqueeze(-2)
        contacts = [frames.contacts] if self.config.use_contact_info else []
        return self.features.join((root, rotations.quat_to_tan_norm(frames.joint_rot), keys, *contacts))

    def sample_points(self, root_pos: Tensor, heading: Tensor) -> Tensor:
        """Return ground points [N, R, 2] m under the rays of characters at [N, 3] m with headings [N, 2]."""
        cosine, sine = reverse_dims(heading)
        along, left = (reverse_dims(points).unsqueeze(-1) for points in (self.ray_points, self._ray_points_left))
        return reverse_dims(along * cosine + left * sine + reverse_dims(root_pos)[:2].unsqueeze(1))

    def observe(self, inputs: ObservationInputs) -> Tensor:
        """See Observer.observe."""
        config, state, pose = self.config, inputs.state, inputs.pose
        axes = axes_of(state, pose)
        heading = heading_of(axes)
        turn = None if config.global_obs else rotations.heading_matrix(heading)
        targets = self.features.split(inputs.targets)
        parts = [self._char.observe(state, pose, axes, turn)]
        if config.enable_tar_obs:
            parts.append(self._targets(state, targets, turn))
            if config.use_contact_info:
                parts.append(targets["contacts"])
        if config.use_contact_info:
            parts.append(inputs.contacts)
        heights = inputs.heights(self.sample_points(state.root_pos, heading))
        parts.append((heights - state.root_pos[:, 2:]).clamp(config.min_obs_h, config.max_obs_h))
        return self.layout.join(parts)

    def _targets(self, state: CharacterState, targets: dict[str, Tensor], turn: Tensor | None) -> Tensor:
        """Return targets relative to the character; with global_obs, key bodies to the target's root, as in PARC."""
        offset = targets["root"][..., :1, :] - state.root_pos[:, None, None]
        vectors = rotate_vectors(turn, side_by_side(offset, targets["root"][..., 1:, :], targets["keys"]))
        if turn is not None:
            vectors[..., 3:, :] += vectors[..., :1, :]
        return self._target.join((vectors[..., :3, :], targets["joints"], vectors[..., 3:, :]))
