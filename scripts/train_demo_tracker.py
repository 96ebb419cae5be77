"""Train the demo's tracker with PPO and write it in PARC's format: python scripts/train_demo_tracker.py

One file in the manner of CleanRL. Environment, observations, termination, simulator and acceptance are the
recorder's own, the reward is PARC's, and so are the names and meanings of the hyperparameters in agent_config.yaml.

PARC's action is a PD target. So the actor first learns to say where the reference will be when the drives get there
(supervised, on states that it brings about itself), while the critic learns what that is worth; PPO starts from both.

The same arguments give the same checkpoint on the same machine, whether or not the training was interrupted.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs in a clone that is not installed
# Threads that wait for work by spinning would take the cores from those that simulate.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import Literal

from parc_ray.character.rotations import dot, norm, quat_diff_angle
from parc_ray.character.skeleton import Skeleton, load_skeleton
from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig, RetryConfig
from parc_ray.config.sections import Parc
from parc_ray.demo.generator import generate_motions
from parc_ray.errors import InputError, ParcRayError
from parc_ray.files.bundled import DEMO, HUMANOID
from parc_ray.files.reading import read_bytes
from parc_ray.files.writing import write_file_atomic
from parc_ray.motions.library import ReferenceFrames
from parc_ray.motions.motion_file import Motion, motion_file_bytes
from parc_ray.recording.recorder import ShardRecorder
from parc_ray.recording.shard import RunFiles, Shard, ShardMotion, build_recorder
from parc_ray.trackers.action_bounds import action_bounds
from parc_ray.trackers.family import TrackerFiles
from parc_ray.trackers.network import HIDDEN
from parc_ray.trackers.parc.config import AgentConfig, ModelConfig, ParcEnvironmentConfig, ParcEnvironmentFile
from parc_ray.trackers.parc.observer import ParcObserver
from parc_ray.trackers.tracker import Observer
from parc_ray.tracking.environment import Step, TrackingEnvironment

CONFIG_FILES = ("agent_config.yaml", "dm_env.yaml")
TRAINING_SEED, HELD_OUT_SEED = 10_000, 20_000
QUARTILES = ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
"""Of difficulty, in which held-out motions are evaluated"""
LEAD_STEPS = 3
"""Control steps by which PD targets lead the reference: drives lag by damping over stiffness, 0.1 s"""
SHORTEST = 1.0
"""s, minimum length of an attempt."""
FAILURE_MEMORY = 0.1
"""Weight of the latest attempt in a motion's failure rate"""
EASY_SHARE = 0.25
"""A motion that never fails is drawn so often, compared with what one that always fails gets on top of it"""
STAY = 0.75
"""Chance that an attempt is followed by one at the same motion: its model and terrain are still there"""
WANTED_KL = 0.03
"""How far a minibatch should find the actor from where it was when it acted, nats; its learning rate follows. With a
third of this it learned much more slowly"""
FIRST_ACTOR_RATE = 0.03
"""The actor's learning rate when PPO begins, as a share of the one in agent_config.yaml: about where it settles"""
SMALLEST_STD = 0.01
"""Observations that hardly vary are not blown up to unit variance: on other motions they would vary more"""


# --- What the configuration files say about training ---------------------------------------------------------


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
    """here also the samples of the supervised start"""
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
    """Section env of dm_env.yaml, with the reward's weights."""

    track_root: Literal[True]
    track_root_h: Literal[True]
    use_contact_info: Literal[True]
    pose_w: float
    vel_w: float
    root_pos_w: float
    root_vel_w: float
    key_pos_w: float
    joint_err_w: List[float]
    contact_weights: List[float]


class TrainingEnvironmentFile(ParcEnvironmentFile):
    """dm_env.yaml."""

    env: RewardedEnvironment


def read_configs(folder: Path) -> Tuple[TrainingAgent, TrainingEnvironmentFile]:
    """agent_config.yaml and dm_env.yaml of a folder. Raises InputError for what this script cannot train with."""
    agent, environment = (folder / name for name in CONFIG_FILES)
    return load_config(agent, TrainingAgent, None), load_config(environment, TrainingEnvironmentFile, None)


# --- Reward --------------------------------------------------------------------------------------------------


class Reward:
    """PARC's tracking reward (compute_deepmimic_reward and compute_contact_reward, with track_root)."""

    def __init__(self, config: RewardedEnvironment, skeleton: Skeleton, device: torch.device):
        """Raises InputError if the configuration does not have a weight for every joint and body."""
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
        """[N], at most 1 for the pose, and on top of it the contacts, weighted; reference: at the time of the step."""
        parts = self.parts(step, reference)
        return parts[:, :5] @ self.weights + parts[:, 5]

    def parts(self, step: Step, reference: ReferenceFrames) -> Tensor:
        """Pose, joint velocities, root pose, root velocities and key bodies in [0, 1], and contacts, [N, 6]."""
        state = step.state
        angle = quat_diff_angle(step.pose.joint_rot, reference.joint_rot)
        pose = (self.joints * angle * angle).sum(-1)
        velocity = (self.dofs * (reference.dof_vel - state.dof_vel).square()).sum(-1)
        root_angle = quat_diff_angle(state.root_rot, reference.root_rot)
        root = squared(reference.root_pos - state.root_pos) + 0.1 * root_angle * root_angle
        spin = squared(reference.root_ang_vel - state.root_ang_vel)
        root_velocity = squared(reference.root_vel - state.root_vel) + 0.1 * spin
        offset = step.pose.body_pos[:, self.key_bodies] - state.root_pos.unsqueeze(1)
        wanted = step.reference.body_pos[:, self.key_bodies] - reference.root_pos.unsqueeze(1)
        keys = squared(wanted - offset).sum(-1)
        errors = torch.stack((0.25 * pose, 0.01 * velocity, 5.0 * root, root_velocity, 10.0 * keys), dim=-1)
        touch = norm(state.contact_force).clamp(max=1.0)
        contacts = (self.contacts * (2.0 * reference.contacts - 1.0) * touch).mean(-1, keepdim=True)
        return torch.cat((torch.exp(-errors), contacts), dim=-1)


def squared(v: Tensor) -> Tensor:
    """Squared lengths of vectors."""
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

    def act(self, observations: Tensor) -> Tensor:
        """Mean normalised actions [N, D] for normalised observations [N, size].

        Only the hidden layers have half precision: half of an action's would be a fifth of the exploration noise.
        """
        with torch.autocast(observations.device.type, torch.bfloat16):
            hidden = self._actor_layers(observations)
        mean: Tensor = self._action_dist._mean_net(hidden.float())
        return mean

    def value(self, observations: Tensor) -> Tensor:
        """Expected returns [N]."""
        with torch.autocast(observations.device.type, torch.bfloat16):
            hidden = self._critic_layers(observations)
        value: Tensor = self._critic_out(hidden.float()).squeeze(-1)
        return value


def fully_connected(size: int, widths: Tuple[int, ...]) -> nn.Sequential:
    layers: List[nn.Module] = []
    for width_in, width_out in zip((size, *widths), widths):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers)


class ObservationNormalizer:
    """Mean and deviation of the observations so far; contacts and heights stay as they are, as in PARC."""

    def __init__(self, observer: Observer, clip: float, device: torch.device):
        self.clip = clip
        kept = [torch.full(shape, name not in observer.normalized) for name, shape in observer.layout.shapes.items()]
        self.kept = torch.cat([part.flatten() for part in kept]).to(device)
        self.totals = torch.zeros(2, observer.layout.size, dtype=torch.float64, device=device)
        """sums of observations and of their squares"""
        self.count = 0
        self.refresh()

    def add(self, observations: Tensor) -> None:
        """Count observations [N, size]; they take effect with the next refresh."""
        exact = observations.double()
        self.totals += torch.stack((exact.sum(0), exact.square().sum(0)))
        self.count += len(observations)

    def refresh(self) -> None:
        """Compute mean and deviation from what was counted."""
        mean, square = self.totals / max(self.count, 1)
        std = (square - mean.square()).clamp(min=0.0).sqrt().clamp(min=SMALLEST_STD)
        plain = self.kept if self.count else torch.ones_like(self.kept)
        self.mean = mean.masked_fill(plain, 0.0).float()
        self.std = std.masked_fill(plain, 1.0).float()

    def __call__(self, observations: Tensor) -> Tensor:
        normalized: Tensor = ((observations - self.mean) / self.std).clamp_(-self.clip, self.clip)
        return normalized


def checkpoint(network: Network, normalizer: ObservationNormalizer, centre: Tensor, reach: Tensor) -> bytes:
    """PARC's state dict, saved. Weights have half precision, which keeps the file small; the statistics do not.

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
    return saved({name: value.cpu() for name, value in state.items()})


def saved(state: Dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


# --- The recorder, to train in and to evaluate with ----------------------------------------------------------


def build(
    motions: Sequence[Motion], content: bytes, folder: Path, device: str, threads: int, **settings: Any
) -> ShardRecorder:
    """The recorder of motions with a checkpoint and the configuration files of a folder; settings: of RecordConfig."""
    agent, environment = read_configs(folder)
    character = folder / "humanoid.xml" if (folder / "humanoid.xml").exists() else HUMANOID
    config = RecordConfig(
        output_dir=folder, device=device, model_file=folder / "model.pt", env_file=folder / CONFIG_FILES[1],
        agent_file=folder / CONFIG_FILES[0], dataset_file=folder, **settings,
    )  # fmt: skip
    run = RunFiles(
        config=config,
        simulator="mujoco",
        tracker=TrackerFiles(environment, {}, agent, content),
        character=character.read_text(),
        character_source=str(character),
    )
    shard = [ShardMotion(m.name, m.name, motion_file_bytes(m, None), first_attempt=0) for m in motions]
    return build_recorder(run, Shard(0, tuple(shard)), threads, device)


@dataclass(frozen=True)
class Evaluation:
    """What became of the held-out motions of one range of difficulty, shares that add up to 1."""

    whole: float
    """recorded from start to end"""
    part: float
    """recorded from a later start"""
    rejected: float
    """tracked to the end at last, but not acceptable"""
    failed: float


def evaluate(recorder: ShardRecorder) -> Evaluation:
    """Record all motions of a recorder and count what became of them."""
    counts = {"whole": 0, "part": 0, "rejected": 0, "failed": 0}
    while not recorder.done:
        for result in recorder.advance():
            if result.next_fraction is None:
                late = "part" if result.number else "whole"
                counts[late if result.outcome == "recorded" else result.outcome] += 1
    recorder.environment.simulator.close()
    return Evaluation(**{name: count / len(recorder.motions) for name, count in counts.items()})


# --- PPO -----------------------------------------------------------------------------------------------------


@dataclass
class Experience:
    """What one iteration has seen, [T, N, ...]."""

    observations: Tensor
    """normalised"""
    actions: Tensor
    """normalised"""
    means: Tensor
    """of the actions' distribution"""
    taught: Tensor
    """normalised actions that lead the reference; only while training is supervised"""
    values: Tensor
    rewards: Tensor
    over: Tensor
    """bool: this step was the last of an attempt"""

    def minibatch(self, rows: Tensor) -> Experience:
        """Samples, [n, ...]."""
        return Experience(**{name: value.flatten(0, 1)[rows] for name, value in vars(self).items()})


def generalized_advantages(
    rewards: Tensor, values: Tensor, over: Tensor, last_values: Tensor, discount: float, td_lambda: float
) -> Tensor:
    """Generalized advantage estimates [T, N] (Schulman et al. 2016) of rewards, values and ends of attempts [T, N].

    last_values [N]: of the states after the last step. An attempt's end is worth nothing: what lies beyond the end
    of a motion must be part of its last reward.
    """
    advantages = torch.zeros_like(rewards)
    following, next_values = torch.zeros_like(last_values), last_values
    for t in reversed(range(len(rewards))):
        # Not a product with 0: the value of a state that the simulator lost is not a number.
        following = following.masked_fill(over[t], 0.0)
        next_values = next_values.masked_fill(over[t], 0.0)
        following = rewards[t] + discount * next_values - values[t] + discount * td_lambda * following
        advantages[t], next_values = following, values[t]
    return advantages


@dataclass
class Progress:
    """Sums over the iterations since the last progress line."""

    attempts: int = 0
    failures: int = 0
    samples: int = 0
    reward: float = 0.0
    kl: float = 0.0
    value_error: float = 0.0
    imitation_error: float = 0.0
    iterations: int = 0


class Training:
    """Everything that changes while training, and one iteration of it."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.agent, environment_file = read_configs(options.config)
        skeleton = load_skeleton(HUMANOID)
        self.device = torch.device(options.device)
        torch.manual_seed(options.seed)
        observer = ParcObserver(environment_file.env, skeleton, self.device)
        self.network = Network(observer.layout.size, skeleton.dof_count, self.agent.model).to(self.device)
        self.normalizer = ObservationNormalizer(observer, self.agent.norm_obs_clip, self.device)
        low, high = (bound.to(self.device) for bound in action_bounds(skeleton))
        self.centre, self.reach = 0.5 * (high + low), 0.5 * (high - low)
        actor = [*self.network._actor_layers.parameters(), *self.network._action_dist._mean_net.parameters()]
        critic = [*self.network._critic_layers.parameters(), *self.network._critic_out.parameters()]
        self.optimizer = torch.optim.Adam([{"params": actor}, {"params": critic}], eps=1e-5, fused=True)
        motions = list(generate_motions(options.motions, TRAINING_SEED + options.seed, skeleton, options.seconds))
        self.environment: TrackingEnvironment = build(
            motions, self.checkpoint(), options.config, options.device, options.threads,
            num_envs=options.num_envs, max_envs_per_actor=options.num_envs,
        ).environment  # fmt: skip
        self.reward = Reward(environment_file.env, self.environment.skeleton, self.device)
        self.envs = list(range(self.environment.num_envs))
        self.batch = self.agent.steps_per_iter * len(self.envs)
        self.minibatch = min(self.batch, self.agent.batch_size * len(self.envs))
        self.iterations = -(-options.samples // self.batch)
        # Random numbers come from a generator of our own: a recorder seeds the global one.
        self.random = torch.Generator().manual_seed(options.seed)
        self.iteration = 0
        self.failure_rates = torch.ones(len(motions))
        self.start_times = torch.zeros(len(self.envs), device=self.device)
        self.motions = torch.full((len(self.envs),), -1)
        self.actor_rate = FIRST_ACTOR_RATE * self.agent.optimizer.learning_rate
        self.to_start = self.envs
        self.progress = Progress()

    @property
    def settings(self) -> Dict[str, Any]:
        """The options that a checkpoint depends on."""
        options = self.options
        shown = {name: getattr(options, name) for name in ("samples", "motions", "num_envs", "save_every", "seed")}
        return {**shown, "seconds": list(options.seconds)}

    @property
    def samples(self) -> int:
        """Control steps seen so far."""
        return self.iteration * self.batch

    @property
    def supervised(self) -> bool:
        """Whether the actor still learns to lead the reference."""
        return self.samples < self.agent.normalizer_samples

    def iterate(self) -> None:
        """Collect experience and learn from it."""
        torch.set_num_threads(self.options.threads)  # building a recorder sets it to 1
        experience, last_values = self._collect()
        advantages = generalized_advantages(
            experience.rewards, experience.values, experience.over, last_values,
            self.agent.discount, self.agent.td_lambda,
        )  # fmt: skip
        self._learn(experience, advantages)
        self.iteration += 1
        self.progress.iterations += 1
        self.progress.samples += self.batch

    @torch.inference_mode()
    def _collect(self) -> Tuple[Experience, Tensor]:
        """Steps of all envs, and the values of the states that they lead to."""
        environment, network = self.environment, self.network
        experience = self._empty_experience()
        for t in range(self.agent.steps_per_iter):
            self._start_attempts()
            raw = environment.observe(self.envs)
            if self.supervised:
                self.normalizer.add(raw)
                experience.taught[t] = self._leading_actions()
            observations = self.normalizer(raw)
            # The first iteration is the reference's: before it nothing is known of the observations' scales.
            mean = network.act(observations) if self.iteration else experience.taught[t]
            noise = torch.randn(mean.shape, generator=self.random).to(self.device)
            actions = mean + self.agent.model.action_std * noise
            step = environment.step(self.envs, actions.clamp(-1.0, 1.0) * self.reach + self.centre)
            rewards = torch.nan_to_num(self.reward(step, environment.library.sample(environment.motion, self._now())))
            failed = step.cause > 0
            out_of_time = (step.ended & ~failed).nonzero().flatten()
            if len(out_of_time):
                # The motion ends, not what could be had after it: only a failure is worth nothing.
                ahead = network.value(self.normalizer(environment.observe(out_of_time.tolist())))
                rewards[out_of_time] += self.agent.discount * ahead
            experience.observations[t], experience.actions[t], experience.means[t] = observations, actions, mean
            experience.values[t], experience.rewards[t] = network.value(observations), rewards
            experience.over[t] = failed | step.ended
            self._end_attempts(failed, experience.over[t])
            self.progress.reward += float(rewards.mean()) / self.agent.steps_per_iter
        return experience, network.value(self.normalizer(environment.observe(self.envs)))

    def _empty_experience(self) -> Experience:
        shape = (self.agent.steps_per_iter, len(self.envs))
        actions = (*shape, len(self.centre))
        # Not inside inference mode, or the network could not learn from it.
        with torch.inference_mode(False):
            sizes = [(*shape, len(self.normalizer.mean)), actions, actions, actions, shape, shape]
            parts = [torch.zeros(size, device=self.device) for size in sizes]
            parts.append(torch.zeros(shape, dtype=torch.bool, device=self.device))
            return Experience(*parts)

    def _now(self, steps_ahead: int = 0) -> Tensor:
        """Time of every env in its motion [N], s."""
        environment = self.environment
        return (environment.steps_done + steps_ahead) * environment.timestep + self.start_times

    def _leading_actions(self) -> Tensor:
        """Normalised actions that aim where the reference will be when the drives get there [N, D]."""
        ahead = self.environment.library.sample(self.environment.motion, self._now(LEAD_STEPS))
        dofs = self.environment.skeleton.rot_to_dof(ahead.joint_rot)
        return ((dofs - self.centre) / self.reach).clamp(-1.0, 1.0)

    def _start_attempts(self) -> None:
        """Start anew where attempts are over, more often on motions that fail more often."""
        envs, environment = self.to_start, self.environment
        if not envs:
            return
        weights = EASY_SHARE + self.failure_rates
        drawn = torch.multinomial(weights, len(envs), replacement=True, generator=self.random)
        stay = (self.motions[envs] >= 0) & (torch.rand(len(envs), generator=self.random) < STAY)
        self.motions[envs] = motions = torch.where(stay, self.motions[envs], drawn)
        latest = (1.0 - SHORTEST / environment.library.lengths.cpu()[motions]).clamp(min=0.0)
        fractions = (latest * torch.rand(len(envs), generator=self.random)).tolist()
        environment.start(envs, motions.tolist(), fractions)
        for env, motion, fraction in zip(envs, motions.tolist(), fractions):
            self.start_times[env] = environment.start_time(motion, fraction)
        self.to_start = []

    def _end_attempts(self, failed: Tensor, over: Tensor) -> None:
        """Note which attempts have failed, and where new ones can start."""
        self.to_start = over.nonzero().flatten().tolist()
        motions, failures = self.environment.motion[over].tolist(), failed[over].tolist()
        for motion, failure in zip(motions, failures):
            self.failure_rates[motion] += FAILURE_MEMORY * (float(failure) - self.failure_rates[motion])
        self.progress.attempts += len(failures)
        self.progress.failures += sum(failures)

    def _learn(self, experience: Experience, advantages: Tensor) -> None:
        """Some epochs of minibatches."""
        agent, supervised = self.agent, self.supervised
        if supervised:
            self.normalizer.refresh()
        returns = (advantages + experience.values).flatten()
        advantages = ((advantages - advantages.mean()) / advantages.std().clamp(min=1e-5)).flatten()
        advantages = advantages.clamp(-agent.norm_adv_clip, agent.norm_adv_clip)
        rate = agent.optimizer.learning_rate * max(0.0, 1.0 - self.iteration / self.iterations)
        actor, critic = self.optimizer.param_groups
        measured: List[Tensor] = []
        for _ in range(agent.update_epochs):
            order = torch.randperm(self.batch, generator=self.random).to(self.device)
            for rows in order.split(self.minibatch):
                part = experience.minibatch(rows)
                mean, values = self.network.act(part.observations), self.network.value(part.observations)
                if supervised:
                    actor_loss = self._imitation_loss(mean, part)
                else:
                    actor_loss = self._ppo_loss(mean, part, advantages[rows])
                outside = (mean.abs() - 1.0).clamp(min=0.0).square().sum(-1).mean()
                value_error = (values - returns[rows]).square().mean()
                kl = self._divergence(mean.detach(), part.means)
                if not supervised and measured:  # the first minibatch finds the actor where it was
                    self._adapt_actor_rate(float(kl))
                actor["lr"], critic["lr"] = rate if supervised else min(rate, self.actor_rate), rate
                self.optimizer.zero_grad()
                (actor_loss + agent.action_bound_weight * outside + agent.critic_loss_weight * value_error).backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), agent.max_grad_norm)
                self.optimizer.step()
                aim = ((mean.detach() - part.taught) * self.reach).square().mean()
                measured.append(torch.stack((kl, value_error.detach(), aim)))
        kl, value_error, aim = torch.stack(measured[-len(measured) // agent.update_epochs :]).mean(0).tolist()
        self.progress.kl += kl
        self.progress.value_error += math.sqrt(value_error)
        self.progress.imitation_error += math.sqrt(aim) if supervised else 0.0

    def _divergence(self, means: Tensor, others: Tensor) -> Tensor:
        """Mean Kullback-Leibler divergence of the action distributions with these means [N, D]."""
        return 0.5 * ((means - others) / self.agent.model.action_std).square().sum(-1).mean()

    def _adapt_actor_rate(self, kl: float) -> None:
        """Keep the divergence near WANTED_KL (as rsl_rl does): with narrow noise a fixed rate is soon too much."""
        if kl > 2.0 * WANTED_KL:
            self.actor_rate /= 1.2
        elif kl < 0.5 * WANTED_KL:
            self.actor_rate = min(1.2 * self.actor_rate, self.agent.optimizer.learning_rate)

    def _imitation_loss(self, mean: Tensor, part: Experience) -> Tensor:
        """Negative log likelihood of the actions that lead the reference."""
        return self._divergence(mean, part.taught)

    def _ppo_loss(self, mean: Tensor, part: Experience, advantages: Tensor) -> Tensor:
        """The clipped surrogate (Schulman et al. 2017)."""
        std = self.agent.model.action_std
        now, then = (((part.actions - centre) / std).square().sum(-1) for centre in (mean, part.means))
        ratio = torch.exp(0.5 * (then - now))
        clipped = ratio.clamp(1.0 - self.agent.ppo_clip_ratio, 1.0 + self.agent.ppo_clip_ratio)
        return -torch.minimum(ratio * advantages, clipped * advantages).mean()

    def checkpoint(self) -> bytes:
        """The tracker so far, in PARC's format."""
        return checkpoint(self.network, self.normalizer, self.centre, self.reach)

    def state(self) -> bytes:
        """What a training goes on from; every attempt starts anew, in this training as well."""
        self.to_start, self.motions = self.envs, torch.full_like(self.motions, -1)
        return saved(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "observations": {"totals": self.normalizer.totals, "count": self.normalizer.count},
                "random": self.random.get_state(),
                "failure_rates": self.failure_rates,
                "actor_rate": self.actor_rate,
                "iteration": self.iteration,
                "settings": self.settings,
            }
        )

    def restore(self, content: bytes) -> None:
        """Go on from a state(). Says so if it comes from a training with other settings."""
        state = torch.load(io.BytesIO(content), map_location=self.device, weights_only=True)
        for name, value in state.get("settings", {}).items():
            if self.settings[name] != value:
                print(f"warning: the training began with {name} {value}, and goes on with {self.settings[name]}")
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.normalizer.totals, self.normalizer.count = state["observations"]["totals"], state["observations"]["count"]
        self.normalizer.refresh()
        self.random.set_state(state["random"].cpu())
        self.failure_rates, self.actor_rate = state["failure_rates"].cpu(), state["actor_rate"]
        self.iteration = state["iteration"]


# --- The command ---------------------------------------------------------------------------------------------


def held_out(count: int, options: argparse.Namespace) -> List[List[Motion]]:
    """Motions that are not trained on, for every quartile of difficulty."""
    skeleton = load_skeleton(HUMANOID)
    return [
        list(generate_motions(count // len(QUARTILES), HELD_OUT_SEED + index, skeleton, difficulty=quartile))
        for index, quartile in enumerate(QUARTILES)
    ]


def save(training: Training, content: bytes, options: argparse.Namespace) -> None:
    """Write the tracker (content), its configuration files and what resuming needs."""
    options.output.mkdir(parents=True, exist_ok=True)
    for name in CONFIG_FILES:
        if not (options.output / name).exists() or not (options.output / name).samefile(options.config / name):
            write_file_atomic(options.output / name, read_bytes(options.config / name))
    write_file_atomic(options.output / "model.pt", content)
    write_file_atomic(options.output / "training.pt", training.state())


def train(options: argparse.Namespace) -> None:
    """Train until the samples or the minutes are used up."""
    began = last = time.monotonic()
    training = Training(options)
    if options.resume:
        training.restore(read_bytes(options.output / "training.pt"))
    trials = held_out(options.held_out, options)
    print(f"{options.motions} motions, ready after {time.monotonic() - began:.0f} s", flush=True)
    while training.iteration < training.iterations:
        training.iterate()
        done = training.iteration == training.iterations
        if training.iteration % options.print_every == 0 or done:
            now = time.monotonic()
            print(progress_line(training, now - last, now - began), flush=True)
            training.progress, last = Progress(), now
        if training.iteration % options.save_every == 0 or done:
            content = training.checkpoint()
            save(training, content, options)
            whole = [
                evaluate(
                    build(motions, content, options.config, options.device, options.threads,
                          retry=RetryConfig(max_retries=0))
                ).whole
                for motions in trials if motions
            ]  # fmt: skip
            print(f"  held-out motions recorded whole, by difficulty: {percent(whole)}", flush=True)
            last = time.monotonic()
            if options.minutes and last - began > 60 * options.minutes:
                break


def progress_line(training: Training, seconds: float, elapsed: float) -> str:
    """What happened since the last one."""
    progress = training.progress
    count, attempts = progress.iterations, max(progress.attempts, 1)
    aim = f"aim off by {progress.imitation_error / count:.3f} rad, " if progress.imitation_error else ""
    return (
        f"{training.samples / 1e6:.2f} M samples, {progress.samples / seconds:.0f}/s: {aim}"
        f"reward {progress.reward / count:.3f}, success {100 * (1 - progress.failures / attempts):.0f} %, "
        f"attempt {progress.samples / attempts * float(training.environment.timestep):.2f} s, "
        f"KL {progress.kl / count:.3f} at rate {training.actor_rate:.1e}, "
        f"value error {progress.value_error / count:.2f}, {elapsed / 60:.1f} min"
    )


def percent(shares: Sequence[float]) -> str:
    return ", ".join(f"{100 * share:.0f} %" for share in shares)


def report(options: argparse.Namespace) -> None:
    """Print what becomes of held-out motions with the tracker in the output folder, with retries."""
    content = read_bytes(options.output / "model.pt")
    for (low, high), motions in zip(QUARTILES, held_out(options.evaluate, options)):
        shares = evaluate(build(motions, content, options.output, options.device, options.threads))
        told = ", ".join(f"{name} {100 * share:.0f} %" for name, share in vars(shares).items())
        print(f"difficulty {low:.2f} to {high:.2f}: {told}", flush=True)


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the demo's tracker.")
    parser.add_argument("--output", type=Path, default=DEMO, help="folder of model.pt and its configuration files")
    parser.add_argument("--config", type=Path, default=DEMO, help="folder of agent_config.yaml and dm_env.yaml")
    parser.add_argument("--samples", type=int, default=13_500_000, help="control steps to learn from")
    parser.add_argument("--minutes", type=float, help="stop at the first save after this time")
    parser.add_argument("--resume", action="store_true", help="go on from training.pt in the output folder")
    parser.add_argument("--evaluate", type=int, metavar="N", help="only evaluate, on N held-out motions with retries")
    parser.add_argument("--motions", type=int, default=600, help="generated motions to train on")
    parser.add_argument("--seconds", type=float, nargs=2, default=(2.0, 5.0), help="shortest and longest of them")
    parser.add_argument("--num-envs", type=int, default=512, help="characters at a time")
    parser.add_argument("--held-out", type=int, default=48, help="generated motions to evaluate on")
    parser.add_argument("--print-every", type=int, default=10, help="iterations")
    parser.add_argument("--save-every", type=int, default=50, help="iterations")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    """Train or evaluate."""
    options = parse_options(sys.argv[1:])
    torch.set_num_threads(1)  # generating motions is faster so
    try:
        if options.evaluate:
            report(options)
        else:
            train(options)
    except ParcRayError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
