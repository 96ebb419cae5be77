"""The tracker in training: its configuration files, reward, network, and the recorder that evaluates it."""

from __future__ import annotations

import argparse
import io
import math
import time
from pathlib import Path
from typing import Any, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import Literal

from parc_ray.character.character import read_character
from parc_ray.character.rotations import dot, norm, quat_diff_angle
from parc_ray.character.skeleton import Skeleton
from parc_ray.config.base import Parc
from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError
from parc_ray.motions.library import ReferenceFrames
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.build import build_recorder
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.recorder import ShardRecorder
from parc_ray.recording.run_files import RunFiles
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.trackers.family import TrackerFiles
from parc_ray.trackers.network import HIDDEN
from parc_ray.trackers.parc.config import AgentConfig, ModelConfig, ParcEnvironmentConfig, ParcEnvironmentFile
from parc_ray.trackers.tracker import Observer
from parc_ray.tracking.environment import Step

CONFIG_FILES = ("agent_config.yaml", "dm_env.yaml")
SMALLEST_STD = 0.01
"""Minimum deviation: nearly constant observations are not scaled up, since they may vary more on other motions"""


# --- Training settings in the configuration files ------------------------------------------------------------


class TrainingModel(ModelConfig):
    """Section model of agent_config.yaml."""

    critic_net: str
    actor_init_output_scale: float
    actor_std_type: Literal["FIXED"]
    action_std: float = Field(gt=0)


class TrainingOptimizer(Parc):
    """Section optimizer of agent_config.yaml."""

    type: Literal["Adam"]
    learning_rate: float = Field(gt=0)


class TrainingAgent(AgentConfig):
    """agent_config.yaml, with PARC's names."""

    model: TrainingModel
    optimizer: TrainingOptimizer
    normalizer_samples: int
    """here also the number of samples of the supervised start"""
    steps_per_iter: int = Field(gt=0)
    discount: float
    td_lambda: float
    norm_adv_clip: float
    update_epochs: int
    batch_size: int = Field(gt=0)
    """of a minibatch, times num_envs"""
    ppo_clip_ratio: float
    critic_loss_weight: float
    action_bound_weight: float
    max_grad_norm: float


class RewardedEnvironment(ParcEnvironmentConfig):
    """Section env of dm_env.yaml, with the weights of the reward."""

    track_root: Literal[True]
    track_root_h: Literal[True]
    use_contact_info: Literal[True]
    pose_w: float
    vel_w: float
    root_pos_w: float
    root_vel_w: float
    key_pos_w: float
    joint_err_w: list[float]
    contact_weights: list[float]


class TrainingEnvironmentFile(ParcEnvironmentFile):
    """dm_env.yaml."""

    env: RewardedEnvironment


def read_configs(folder: Path) -> tuple[TrainingAgent, TrainingEnvironmentFile]:
    """Return agent_config.yaml and dm_env.yaml of a folder. Raises InputError if this script does not support them."""
    agent, environment = (folder / name for name in CONFIG_FILES)
    return load_config(agent, TrainingAgent, None), load_config(environment, TrainingEnvironmentFile, None)


# --- Reward --------------------------------------------------------------------------------------------------


class Reward:
    """PARC's tracking reward (compute_deepmimic_reward and compute_contact_reward, with track_root)."""

    def __init__(self, config: RewardedEnvironment, skeleton: Skeleton, device: torch.device):
        """Raise InputError if the configuration does not have a weight for every joint and body."""
        joints, bodies = len(config.joint_err_w), len(config.contact_weights)
        if (joints + 1, bodies) != (skeleton.num_bodies, skeleton.num_bodies):
            raise InputError(
                f"dm_env.yaml: joint_err_w has {joints} weights and contact_weights {bodies}, but the character has "
                f"{skeleton.num_bodies - 1} joints and {skeleton.num_bodies} bodies"
            )
        weights = (config.pose_w, config.vel_w, config.root_pos_w, config.root_vel_w, config.key_pos_w)
        self.weights = torch.tensor(weights, device=device) / sum(weights)
        self.joints = torch.tensor(config.joint_err_w, device=device)
        joint_of_dof = [joint for joint, body in enumerate(skeleton.joints[1:]) for _ in range(body.dof_count)]
        self.dofs = self.joints[joint_of_dof]
        self.contacts = torch.tensor(config.contact_weights, device=device)
        self.key_bodies = skeleton.body_indices(config.key_bodies, "env.key_bodies")

    def __call__(self, step: Step, reference: ReferenceFrames) -> Tensor:
        """Return the reward [N]: at most 1 for the pose, plus weighted contacts; reference: at the time of the step."""
        parts = self.parts(step, reference)
        return parts[:, :5] @ self.weights + parts[:, 5]

    def parts(self, step: Step, reference: ReferenceFrames) -> Tensor:
        """Return pose, joint velocities, root pose, root velocities and key bodies in [0, 1], and contacts, [N, 6]."""
        state = step.state
        angle = quat_diff_angle(step.pose.joint_rot, reference.joint_rot)
        pose = (self.joints * angle * angle).sum(-1)
        velocity = (self.dofs * (reference.dof_vel - state.dof_vel).square()).sum(-1)
        root_angle = quat_diff_angle(state.root_rot, reference.root_rot)
        root = squared_norm(reference.root_pos - state.root_pos) + 0.1 * root_angle * root_angle
        spin = squared_norm(reference.root_ang_vel - state.root_ang_vel)
        root_velocity = squared_norm(reference.root_vel - state.root_vel) + 0.1 * spin
        offset = step.pose.body_pos[:, self.key_bodies] - state.root_pos.unsqueeze(1)
        wanted = step.reference.body_pos[:, self.key_bodies] - reference.root_pos.unsqueeze(1)
        keys = squared_norm(wanted - offset).sum(-1)
        errors = torch.stack((0.25 * pose, 0.01 * velocity, 5.0 * root, root_velocity, 10.0 * keys), dim=-1)
        touch = norm(state.contact_force).clamp(max=1.0)
        contacts = (self.contacts * (2.0 * reference.contacts - 1.0) * touch).mean(-1, keepdim=True)
        return torch.cat((torch.exp(-errors), contacts), dim=-1)


def squared_norm(v: Tensor) -> Tensor:
    """Return the squared lengths of vectors."""
    return dot(v, v)


# --- Network and its checkpoint ------------------------------------------------------------------------------


class ActionDistribution(nn.Module):
    """A Gaussian of fixed width: action_std of agent_config.yaml."""

    def __init__(self, size: int, action_size: int, config: TrainingModel):
        super().__init__()
        self._mean_net = nn.Linear(size, action_size)
        nn.init.uniform_(self._mean_net.weight, -config.actor_init_output_scale, config.actor_init_output_scale)
        nn.init.zeros_(self._mean_net.bias)
        self._logstd_net = nn.Parameter(torch.full((action_size,), math.log(config.action_std)), requires_grad=False)


class Network(nn.Module):
    """PARC's actor and critic; parameter names are those of its checkpoints, after "_model."."""

    def __init__(self, observation_size: int, action_size: int, config: TrainingModel):
        super().__init__()
        actor, critic = HIDDEN[config.actor_net], HIDDEN[config.critic_net]
        self._actor_layers = fully_connected(observation_size, actor)
        self._action_dist = ActionDistribution(actor[-1], action_size, config)
        self._critic_layers = fully_connected(observation_size, critic)
        self._critic_out = nn.Linear(critic[-1], 1)
        self.in_bfloat16 = False
        """True if hidden layers are computed in bfloat16"""

    def act(self, observations: Tensor) -> Tensor:
        """Return mean normalised actions [N, D] for normalised observations [N, size].

        Only the hidden layers have half precision: rounding actions to it would add a fifth of the exploration noise.
        """
        with torch.autocast(observations.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            hidden = self._actor_layers(observations)
        mean: Tensor = self._action_dist._mean_net(hidden.float())
        return mean

    def value(self, observations: Tensor) -> Tensor:
        """Return the expected returns [N]."""
        with torch.autocast(observations.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            hidden = self._critic_layers(observations)
        value: Tensor = self._critic_out(hidden.float()).squeeze(-1)
        return value


def half_is_faster(network: Network, rows: int, size: int, device: torch.device) -> bool:
    """Return True if a forward and backward pass of `rows` observations is faster in bfloat16 on this device.

    Without native support, CPUs are ten times slower in bfloat16.
    """
    seconds = {}
    observations = torch.zeros(rows, size, device=device)
    for network.in_bfloat16 in (False, True, False, True):  # the first round is a warm-up
        began = time.perf_counter()
        (network.act(observations).sum() + network.value(observations).sum()).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds[network.in_bfloat16] = time.perf_counter() - began
    network.in_bfloat16 = False
    network.zero_grad()
    return seconds[True] < seconds[False]


def fully_connected(size: int, widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width_in, width_out in zip((size, *widths), widths):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers)


class ObservationNormalizer:
    """Mean and deviation of the observations so far; contacts and heights are not normalised, as in PARC."""

    def __init__(self, observer: Observer, clip: float, device: torch.device):
        self.clip = clip
        kept = [torch.full(shape, name not in observer.normalized) for name, shape in observer.layout.shapes.items()]
        self.kept = torch.cat([part.flatten() for part in kept]).to(device)
        self.totals = torch.zeros(2, observer.layout.size, dtype=torch.float64, device=device)
        """sums of observations and of their squares"""
        self.count = 0
        self.refresh()

    def add(self, observations: Tensor) -> None:
        """Add observations [N, size] to the statistics; they take effect at the next refresh."""
        exact = observations.double()
        self.totals += torch.stack((exact.sum(0), exact.square().sum(0)))
        self.count += len(observations)

    def refresh(self) -> None:
        """Compute mean and deviation from the statistics."""
        mean, square = self.totals / max(self.count, 1)
        std = (square - mean.square()).clamp(min=0.0).sqrt().clamp(min=SMALLEST_STD)
        plain = self.kept if self.count else torch.ones_like(self.kept)
        self.mean = mean.masked_fill(plain, 0.0).float()
        self.std = std.masked_fill(plain, 1.0).float()

    def __call__(self, observations: Tensor) -> Tensor:
        normalized: Tensor = ((observations - self.mean) / self.std).clamp_(-self.clip, self.clip)
        return normalized


def checkpoint(network: Network, normalizer: ObservationNormalizer, centre: Tensor, reach: Tensor) -> bytes:
    """Return PARC's state dict, serialised. Weights have half precision to keep the file small; statistics do not.

    centre, reach: of the action bounds [D], rad.
    """
    state = {
        "_obs_norm._count": torch.tensor([normalizer.count]),
        "_obs_norm._mean": normalizer.mean,
        "_obs_norm._std": normalizer.std,
        "_a_norm._count": torch.tensor([normalizer.count]),
        "_a_norm._mean": centre,
        "_a_norm._std": reach,
    }
    state.update({f"_model.{name}": value.half() for name, value in network.state_dict().items()})
    return serialize({name: value.cpu() for name, value in state.items()})


def serialize(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


# --- The recorder, for training and evaluation ---------------------------------------------------------------


def build(
    motions: Sequence[Motion], content: bytes, options: argparse.Namespace, folder: Path, **settings: Any
) -> ShardRecorder:
    """Return a recorder of motions with a checkpoint and a folder's configuration files; settings: of RecordConfig.

    A recorder has no more envs than motions, so motions repeat if num_envs is larger.
    """
    agent, environment = read_configs(folder)
    config = RecordConfig(
        output_dir=folder, device=options.device, model_file=folder / "model.pt", env_file=folder / CONFIG_FILES[1],
        agent_file=folder / CONFIG_FILES[0], dataset_file=folder, **settings,
    )  # fmt: skip
    run = RunFiles(
        config=config,
        simulator=options.simulator,
        tracker=TrackerFiles(environment, {}, agent, content),
        character=read_character(options.character).text,
        character_source=str(options.character),
    )
    files = [motion_file_bytes(motion) for motion in motions]
    shard = [
        ShardMotion(f"{motions[index % len(motions)].name}", "", files[index % len(motions)], first_attempt=0)
        for index in range(max(len(motions), config.num_envs or 0))
    ]
    return build_recorder(run, Shard(0, tuple(shard)), options.threads, options.device)


def evaluate(recorder: ShardRecorder) -> list[AttemptResult]:
    """Return the final attempt at every motion of a recorder, in the order of the motions."""
    last: dict[str, AttemptResult] = {}
    while not recorder.done:
        for result in recorder.advance():
            last[result.attempt.motion] = result
    recorder.environment.simulator.close()
    return [last[motion.name] for motion in recorder.motions]


def is_recorded_whole(result: AttemptResult) -> bool:
    """Return True if a motion was recorded from start to end."""
    return result.attempt.outcome == Outcome.RECORDED and not result.attempt.number


def count_recorded_whole(results: Sequence[AttemptResult]) -> int:
    """Return the number of motions recorded from start to end."""
    return sum(is_recorded_whole(result) for result in results)
