"""Train a tracker on the motions of a dataset and write it in PARC's format: python scripts/train_tracker.py --help

One file in the style of CleanRL, for a few dozen motions or a few hundred easy ones. PARC's stage 3 is the real
trainer; this script made the bundled trackers. Environment, observations, termination, simulator and acceptance are the
recorder's own. The reward is PARC's, and so are the names and meanings of the hyperparameters in agent_config.yaml.

1. With --search, sampling finds controls for each motion (Liu et al. 2010, "Sampling-based contact-rich motion
   control"), and a linear-quadratic regulator about them gives feedback gains. Together they are a motion's lesson.
2. PARC's action is a PD target. The actor is first trained, supervised, on states that it visits itself, to imitate the
   lesson; without a lesson, to predict the reference at the drives' lag. The critic learns the value.
   A training that starts from another one's tracker (--start-from) does this only with --search.
3. PPO starts from both, if samples are left for it.

The same arguments give the same checkpoint on the same machine, even if the training was interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs in a clone that is not installed
# Threads that spin while waiting would take the cores of the simulation threads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import Literal

from parc_ray.character.rotations import (
    dot,
    exp_map_to_quat,
    norm,
    quat_diff,
    quat_diff_angle,
    quat_mul,
    quat_normalize,
    quat_to_exp_map,
)
from parc_ray.character.skeleton import Skeleton, load_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.base import Parc
from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig, RetryConfig
from parc_ray.errors import InputError, ParcRayError
from parc_ray.files.bundled import DEMO, HUMANOID
from parc_ray.files.reading import read_bytes
from parc_ray.files.writing import write_file_atomic
from parc_ray.motions.library import ReferenceFrames
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes, read_motion
from parc_ray.motions.scanning import load_dataset
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.build import build_recorder
from parc_ray.recording.recorder import ShardRecorder
from parc_ray.recording.run_files import RunFiles
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.trackers.action_bounds import action_bounds
from parc_ray.trackers.family import TrackerFiles
from parc_ray.trackers.network import HIDDEN
from parc_ray.trackers.parc.config import AgentConfig, ModelConfig, ParcEnvironmentConfig, ParcEnvironmentFile
from parc_ray.trackers.parc.observer import ParcObserver
from parc_ray.trackers.tracker import Observer
from parc_ray.tracking.environment import Step, TrackingEnvironment

CONFIG_FILES = ("agent_config.yaml", "dm_env.yaml")
LEAD_STEPS = 3
"""Control steps by which PD targets lead the reference: drives lag by damping over stiffness, 0.1 s"""
SHORTEST = 1.0
"""Minimum length of an attempt, s"""
PHASES = 8
"""Parts of a motion with separate failure rates"""
FAILURE_MEMORY = 0.1
"""Weight of the latest attempt in the failure rate of a motion and phase"""
EASY_SHARE = 0.25
"""Sampling weight of a motion that never fails; the failure rate is added to it"""
STAY = 0.75
"""Probability that the next attempt is at the same motion, reusing its model and terrain"""
WANTED_KL = 0.03
"""Target divergence of the actor between collection and a minibatch, nats; sets its learning rate. A third of this
learned much more slowly
"""
FIRST_ACTOR_RATE = 0.03
"""The actor's initial learning rate for PPO, as a share of the one in agent_config.yaml: about where it settles"""
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
    return saved({name: value.cpu() for name, value in state.items()})


def saved(state: dict[str, Any]) -> bytes:
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
        character=options.character.read_text(),
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


def whole(result: AttemptResult) -> bool:
    """Return True if a motion was recorded from start to end."""
    return result.attempt.outcome == "recorded" and not result.attempt.number


def recorded_whole(results: Sequence[AttemptResult]) -> int:
    """Return the number of motions recorded from start to end."""
    return sum(whole(result) for result in results)


# --- Lessons: controls found by sampling, with feedback gains ------------------------------------------------

WINDOW = 3
"""Control steps per decision of the search; the offset of the PD targets from the reference is constant within one"""
SPREADS = (0.13, 0.08, 0.05, 0.08)
"""Standard deviation of the samples around the best so far, in each round of the search, rad"""
SURVIVORS = 0.1
"""Share of the samples that survives a window"""
CONTACT_PRICES = (0.3, 0.1, 0.02)
"""Price of each contact that differs from the reference, in the order tried. Recordings are accepted only if contacts
agree, so a high price comes first; if it finds no lesson, a lower one follows
"""
CANDIDATES = 16
"""Sequences of controls replayed from start to end after a round"""
CAUTION = 10.0
"""Price of a PD target's correction (1 / rad^2); prices of deviations are in Search._with_gains"""
FITTED = 1024
"""Random deviations from which the regulator estimates their effects, at each step"""
LARGEST_CORRECTION = 0.5
"""Maximum correction of a PD target, rad: gains are valid only near the path"""
LESSON_NOISE = 0.4
"""Maximum noise in supervised training, as a share of the exploration noise"""


@dataclass(frozen=True)
class Lesson:
    """Controls for a motion: PD targets, the resulting states, and feedback gains."""

    states: CharacterState
    """[T + 1, ...]"""
    targets: Tensor
    """[T, D] rad"""
    gains: Tensor
    """[T, D, X] corrections of the targets per deviation from the states"""
    roots: Tensor
    """[T, D, D] lower triangles: the squared length of error @ root is the later cost of an error [D] of the targets,
    in units of the mean dof's
    """

    def targets_at(self, steps: Tensor, state: CharacterState, skeleton: Skeleton) -> Tensor:
        """Return the PD targets [N, D] for states [N, ...] after `steps` [N] steps."""
        steps = steps.clamp(max=len(self.targets) - 1)
        deviation = difference(skeleton, state, self.states.rows(steps))
        correction = (self.gains[steps] @ deviation.unsqueeze(-1)).squeeze(-1)
        return self.targets[steps] - correction.clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION)


def difference(skeleton: Skeleton, state: CharacterState, other: CharacterState) -> Tensor:
    """Return the difference `state` - `other`, [N, X]: positions, then velocities; rotations as vectors."""
    turn = quat_to_exp_map(quat_normalize(quat_diff(other.root_rot, state.root_rot)))
    joints = skeleton.dof_velocity(skeleton.dof_to_rot(other.dof_pos), skeleton.dof_to_rot(state.dof_pos), 1.0)
    moved, turned = state.root_vel - other.root_vel, state.root_ang_vel - other.root_ang_vel
    return torch.cat(
        (state.root_pos - other.root_pos, turn, joints, moved, turned, state.dof_vel - other.dof_vel), dim=-1
    )


def displaced(skeleton: Skeleton, state: CharacterState, deviation: Tensor) -> CharacterState:
    """Return the states whose `difference` from the given ones is `deviation` [N, X]."""
    dofs = skeleton.dof_count
    moved, turn, joints, faster, spin, rates = deviation.split([3, 3, dofs, 3, 3, dofs], dim=-1)
    bent = quat_mul(skeleton.dof_to_rot(state.dof_pos), skeleton.dof_to_rot(joints))
    return CharacterState(
        root_pos=state.root_pos + moved,
        root_rot=quat_normalize(quat_mul(exp_map_to_quat(turn), state.root_rot)),
        root_vel=state.root_vel + faster,
        root_ang_vel=state.root_ang_vel + spin,
        dof_pos=skeleton.rot_to_dof(quat_normalize(bent)),
        dof_vel=state.dof_vel + rates,
        contact_force=state.contact_force,
    )


class Search:
    """Searches for controls that track motions, with all envs of an environment."""

    def __init__(self, environment: TrackingEnvironment, seed: int):
        self.environment, self.skeleton, self.device = environment, environment.skeleton, environment.device
        self.envs = list(range(environment.num_envs))
        self.random = torch.Generator().manual_seed(seed)
        self.low, self.high = (bound.to(self.device) for bound in action_bounds(self.skeleton))

    @torch.inference_mode()
    def lesson(self, motion: int) -> tuple[Lesson | None, float]:
        """Return the lesson of a motion, or None if the search did not reach its end; and the share that it reached."""
        self.steps = self.environment.steps_of(motion, 0.0)
        ahead = torch.arange(self.steps + 1 + LEAD_STEPS, device=self.device) * self.environment.timestep
        frames = self.environment.library.sample(torch.full((len(ahead),), motion, device=self.device), ahead)
        self.frames = frames
        self.bodies = self.skeleton.forward_kinematics(frames.root_pos, frames.root_rot, frames.joint_rot)[0]
        self.aims = self.skeleton.rot_to_dof(frames.joint_rot)[LEAD_STEPS:]
        self.motion, farthest = motion, 0
        for self.contact_price in CONTACT_PRICES:
            lesson, survived = self._searched()
            farthest = max(farthest, survived)
            if lesson is not None:
                break
        return lesson, farthest / self.steps

    def _searched(self) -> tuple[Lesson | None, int]:
        """Return the lesson at this price of contacts, if found, and the steps that the best sequence survived."""
        offsets = torch.zeros(-(-self.steps // WINDOW), self.skeleton.dof_count, device=self.device)
        survived, cost, states = 0, math.inf, None
        for number, spread in enumerate(SPREADS):
            tried = self._sampled(offsets, spread)
            ages, costs, paths = self._replayed(tried)
            best = min(range(len(tried)), key=lambda index: (-int(ages[index]), float(costs[index])))
            if (-int(ages[best]), float(costs[best])) < (-survived, cost):
                survived, cost, offsets = int(ages[best]), float(costs[best]), tried[best]
                states = [state.rows(torch.tensor([best])) for state in paths]
            if survived == self.steps and number >= 2:
                break
        if states is None or survived < self.steps:
            return None, survived
        return self._with_gains(states, self._targets(offsets)), survived

    def _targets(self, offsets: Tensor) -> Tensor:
        """Return PD targets [..., T, D] from offsets [..., K, D] to the reference ahead."""
        targets = self.aims[: self.steps] + offsets.repeat_interleave(WINDOW, dim=-2)[..., : self.steps, :]
        return torch.maximum(torch.minimum(targets, self.high), self.low)

    def _sampled(self, mean: Tensor, spread: float) -> Tensor:
        """Return the best CANDIDATES sequences of offsets [C, K, D] around a mean [K, D], sampled window by window."""
        count, simulator = len(self.envs), self.environment.simulator
        self.environment.start(self.envs, [self.motion] * count, [0.0] * count)
        offsets = mean.expand(count, *mean.shape).clone()
        total = torch.zeros(count, device=self.device)
        for window, start in enumerate(range(0, self.steps, WINDOW)):
            noise = spread * torch.randn(count, mean.shape[1], generator=self.random).to(self.device)
            noise[: count // 16] = 0.0
            if window:
                noise += 0.5 * (offsets[:, window - 1] - mean[window - 1])
            offsets[:, window] += noise
            targets = self._targets(offsets)
            for step in range(start, min(start + WINDOW, self.steps)):
                state = simulator.step(self.envs, targets[:, step])
                costs = self._costs(state, step + 1)
                total += costs
            # The end of a window counts twice: the next window starts there.
            order = (total + 0.5 * WINDOW * costs).argsort()
            if start + WINDOW < self.steps:
                kept = order[: max(1, int(SURVIVORS * count))]
                chosen = kept[torch.arange(count, device=self.device) % len(kept)]
                simulator.reset(self.envs, [self.motion] * count, state.rows(chosen))
                offsets, total = offsets[chosen].clone(), total[chosen].clone()
        return offsets[total.argsort()[:CANDIDATES]]

    def _replayed(self, offsets: Tensor) -> tuple[Tensor, Tensor, list[CharacterState]]:
        """Return the steps that sequences of offsets [C, K, D] survive, their costs [C], and the states on the way."""
        envs, environment = self.envs[: len(offsets)], self.environment
        environment.start(envs, [self.motion] * len(envs), [0.0] * len(envs))
        targets, states = self._targets(offsets), [environment.first_frame(envs)[0]]
        ages = torch.full((len(envs),), self.steps)
        total = torch.zeros(len(envs), device=self.device)
        for index in range(self.steps):
            step = environment.step(envs, targets[:, index])
            states.append(step.state)
            total += self._costs(step.state, index + 1)
            ages = torch.where((step.reason.cpu() > 0) & (ages == self.steps), torch.tensor(index), ages)
        return ages, total, states

    def _costs(self, state: CharacterState, step: int) -> Tensor:
        """Return the costs [N] of states [N, ...], from their distance to the reference after `step` steps."""
        frames, skeleton = self.frames, self.skeleton
        joint_rot = skeleton.dof_to_rot(state.dof_pos)
        bodies = skeleton.forward_kinematics(state.root_pos, state.root_rot, joint_rot)[0]
        root = squared(state.root_pos - frames.root_pos[step])
        angle = quat_diff_angle(state.root_rot, frames.root_rot[step].expand_as(state.root_rot)).square()
        joints = quat_diff_angle(joint_rot, frames.joint_rot[step].expand_as(joint_rot)).square().sum(-1)
        offsets = bodies - state.root_pos.unsqueeze(1) - (self.bodies[step] - frames.root_pos[step])
        faster = squared(state.root_vel - frames.root_vel[step])
        spin = squared(state.root_ang_vel - frames.root_ang_vel[step])
        touches = norm(state.contact_force) > self.environment.config.contact_detection_eps
        contacts = (touches != (frames.contacts[step] > 0.5)).sum(-1)
        costs = 8.0 * root + 2.0 * angle + 0.15 * joints + squared(offsets).sum(-1) + 0.05 * faster + 0.01 * spin
        costs = costs + self.contact_price * contacts
        return torch.nan_to_num(costs, nan=1e6)

    def _with_gains(self, path: Sequence[CharacterState], targets: Tensor) -> Lesson:
        """Return the lesson of a path, with the gains of the linear-quadratic regulator about it."""
        dofs = targets.shape[1]
        sizes = torch.tensor([3, 3, dofs, 3, 3, dofs])
        nudge = torch.tensor([0.01, 0.02, 0.03, 0.1, 0.2, 0.4]).repeat_interleave(sizes).to(self.device)
        prices = torch.tensor([20.0, 10.0, 1.0, 1.0, 0.5, 0.01]).repeat_interleave(sizes).double()
        price, gains, roots = torch.diag(prices), [], []
        for step in reversed(range(self.steps)):
            a, b = (part.double().cpu() for part in self._linearized(path[step], path[step + 1], targets[step], nudge))
            curvature = CAUTION * torch.eye(dofs).double() + b.T @ price @ b
            gain = torch.linalg.solve(curvature, b.T @ price @ a)
            price = torch.diag(prices) + a.T @ price @ (a - b @ gain)
            price = 0.5 * (price + price.T)
            gains.append(gain.float().to(self.device))
            roots.append(torch.linalg.cholesky(curvature / curvature.diagonal().mean()).float().to(self.device))
        states = {name: torch.cat([getattr(state, name) for state in path]) for name in vars(path[0])}
        return Lesson(CharacterState(**states), targets, torch.stack(gains[::-1]), torch.stack(roots[::-1]))

    def _linearized(
        self, state: CharacterState, following: CharacterState, target: Tensor, nudge: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the effect on the next state of deviations [X] from a state, and [D] of PD targets: [X, X] and [X, D].

        Fitted to random deviations, not differentiated: a foot's contact is discontinuous; its mean effect matters.
        """
        sizes = torch.cat((nudge, torch.full_like(target, 0.03)))
        half = torch.randn(FITTED // 2, len(sizes), generator=self.random).to(self.device)
        drawn, results = torch.cat((half, -half)), []
        for part in (drawn * sizes).split(len(self.envs)):
            envs, first = self.envs[: len(part)], torch.zeros(len(part), dtype=torch.int64, device=self.device)
            begun = displaced(self.skeleton, state.rows(first), part[:, : len(nudge)])
            self.environment.simulator.reset(envs, [self.motion] * len(envs), begun)
            ended = self.environment.simulator.step(envs, target + part[:, len(nudge) :])
            results.append(difference(self.skeleton, ended, following.rows(first)))
        known = torch.cat((drawn, torch.ones_like(drawn[:, :1])), dim=1).double()
        slopes = torch.linalg.lstsq(known, torch.cat(results).double()).solution[:-1].T / sizes
        return slopes[:, : len(nudge)], slopes[:, len(nudge) :]


def lessons(options: argparse.Namespace, motions: Sequence[Motion], content: bytes) -> list[Lesson | None]:
    """Return the lessons of motions; those found earlier come from lessons.pt in the output folder.

    Missing ones are searched again once there are more samples.
    """
    file = options.output / "lessons.pt"
    known: dict[str, Any] = torch.load(io.BytesIO(read_bytes(file)), weights_only=True) if file.exists() else {}
    found: list[Lesson | None] = []
    for motion in motions:
        key = f"{hashlib.sha256(motion_file_bytes(motion)).hexdigest()} {options.simulator}"
        kept = known.get(key, 0)  # an int: number of samples that found no lesson
        if isinstance(kept, int) and kept < options.search:
            began = time.monotonic()
            recorder = build([motion], content, options, options.config, num_envs=options.search,
                             max_envs_per_actor=options.search)  # fmt: skip
            lesson, share = Search(recorder.environment, options.seed).lesson(0)
            recorder.environment.simulator.close()
            how = "found" if lesson else f"not found: the best come to {share * motion.length:.1f} s"
            print(f"lesson of {motion.name}: {how}, {time.monotonic() - began:.0f} s", flush=True)
            kept = options.search
            if lesson is not None:
                kept = (vars(lesson.states), lesson.targets, lesson.gains, lesson.roots)
            known[key] = kept
            options.output.mkdir(parents=True, exist_ok=True)
            write_file_atomic(file, saved(known))
        found.append(None if isinstance(kept, int) else Lesson(CharacterState(**kept[0]), *kept[1:]))
    return found


# --- PPO -----------------------------------------------------------------------------------------------------


@dataclass
class Experience:
    """Data of one iteration, [T, N, ...]."""

    observations: Tensor
    """normalised"""
    actions: Tensor
    """normalised"""
    means: Tensor
    """of the actions' distribution"""
    taught: Tensor
    """normalised actions of the lessons; only while training is supervised"""
    values: Tensor
    rewards: Tensor
    moments: Tensor
    """int64: rows of Training.roots, the costs of errors in the taught actions; only while training is supervised"""
    over: Tensor
    """bool: last step of an attempt"""

    def minibatch(self, rows: Tensor) -> Experience:
        """Return the samples of rows, [n, ...]."""
        return Experience(**{name: value.flatten(0, 1)[rows] for name, value in vars(self).items()})


def generalized_advantages(
    rewards: Tensor, values: Tensor, over: Tensor, last_values: Tensor, discount: float, td_lambda: float
) -> Tensor:
    """Return generalized advantage estimates [T, N] (Schulman et al. 2016) from rewards, values and ends, all [T, N].

    last_values [N]: of the states after the last step. The end of an attempt has no value: any value beyond the end of
    a motion must be part of its last reward.
    """
    advantages = torch.zeros_like(rewards)
    following, next_values = torch.zeros_like(last_values), last_values
    for t in reversed(range(len(rewards))):
        # Not a product with 0: the value of a state lost by the simulator is NaN.
        following = following.masked_fill(over[t], 0.0)
        next_values = next_values.masked_fill(over[t], 0.0)
        following = rewards[t] + discount * next_values - values[t] + discount * td_lambda * following
        advantages[t], next_values = following, values[t]
    return advantages


@dataclass
class Progress:
    """Sums over the iterations since the last progress line."""

    attempts: int = 0
    judged: int = 0
    """attempts by the actor alone"""
    failures: int = 0
    """failures among these"""
    samples: int = 0
    reward: float = 0.0
    kl: float = 0.0
    value_error: float = 0.0
    imitation_error: float = 0.0
    iterations: int = 0


class Training:
    """The training state, and one iteration of training."""

    def __init__(self, options: argparse.Namespace, motions: Sequence[Motion]):
        self.options = options
        self.agent, environment_file = read_configs(options.config)
        skeleton = load_skeleton(options.character)
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
        self.names = [motion.name for motion in motions]
        self.environment: TrackingEnvironment = build(
            motions, self.checkpoint(), options, options.config,
            num_envs=options.num_envs, max_envs_per_actor=options.num_envs,
        ).environment  # fmt: skip
        self.reward = Reward(environment_file.env, self.environment.skeleton, self.device)
        self.envs = list(range(self.environment.num_envs))
        self.batch = self.agent.steps_per_iter * len(self.envs)
        self.minibatch = min(self.batch, self.agent.batch_size * len(self.envs))
        self.iterations = -(-options.samples // self.batch)
        # Without lessons, supervision would make a trained tracker unlearn the results of PPO.
        self.supervised_samples = 0 if options.start_from and not options.search else self.agent.normalizer_samples
        # Random numbers come from a separate generator: a recorder seeds the global one.
        self.random = torch.Generator().manual_seed(options.seed)
        self.iteration = 0
        self.most_recorded = 0
        """largest number of motions recorded whole at a save, that of best.pt"""
        self.failure_rates = torch.ones(len(motions), PHASES)
        """failure rate of attempts at each motion from each phase"""
        self.phases = torch.zeros(len(self.envs), dtype=torch.int64)
        self.learn_lessons([None] * len(motions))
        self.takeovers = torch.zeros(len(self.envs), dtype=torch.int64, device=self.device)
        """step of every attempt at which the actor takes over, while training is supervised"""
        self.start_times = torch.zeros(len(self.envs), device=self.device)
        self.motions = torch.full((len(self.envs),), -1)
        self.actor_rate = FIRST_ACTOR_RATE * self.agent.optimizer.learning_rate
        self.to_start = self.envs
        self.progress = Progress()
        torch.set_num_threads(options.threads)
        self.network.in_bfloat16 = half_is_faster(self.network, self.minibatch, observer.layout.size, self.device)

    def learn_lessons(self, lessons: Sequence[Lesson | None]) -> None:
        """Set the lessons to teach, one for each motion."""
        self.lessons, dofs = list(lessons), len(self.centre)
        plain = torch.eye(dofs, device=self.device).unsqueeze(0)
        roots = [plain if lesson is None else lesson.roots for lesson in lessons]
        self.roots = torch.cat(roots)
        lengths = torch.tensor([len(part) for part in roots], device=self.device)
        self.last_moments = lengths.cumsum(0) - 1
        self.first_moments = self.last_moments + 1 - lengths

    @property
    def settings(self) -> dict[str, Any]:
        """Options that a checkpoint depends on."""
        options = self.options
        shown = {name: getattr(options, name) for name in ("samples", "num_envs", "save_every", "seed", "simulator")}
        return {**shown, "motions": self.names, "search": options.search or 0}

    @property
    def samples(self) -> int:
        """Control steps so far."""
        return self.iteration * self.batch

    @property
    def supervised(self) -> bool:
        """True while the actor is trained on taught actions."""
        return self.samples < self.supervised_samples

    @property
    def criticized(self) -> bool:
        """True if PPO follows; only PPO needs a critic."""
        return bool(self.options.samples > self.supervised_samples)

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
    def _collect(self) -> tuple[Experience, Tensor]:
        """Step all envs; return the experience and the values of the final states."""
        environment, network = self.environment, self.network
        experience = self._empty_experience()
        for t in range(self.agent.steps_per_iter):
            self._start_attempts()
            raw = environment.observe(self.envs)
            if self.supervised:
                self.normalizer.add(raw)
                experience.taught[t], experience.moments[t] = self._taught_actions(), self._moments()
            observations = self.normalizer(raw)
            mean = network.act(observations)
            noise = torch.randn(mean.shape, generator=self.random).to(self.device)
            actions = mean + self.agent.model.action_std * noise
            if self.supervised:
                actions = self._shown_actions(mean, experience.taught[t], noise)
            step = environment.step(self.envs, actions.clamp(-1.0, 1.0) * self.reach + self.centre)
            rewards = torch.nan_to_num(self.reward(step, environment.library.sample(environment.motion, self._now())))
            failed = step.reason > 0
            out_of_time = (step.ended & ~failed).nonzero().flatten()
            if len(out_of_time) and self.criticized:
                # Time outs have a value beyond the motion's end; only failures have none.
                ahead = network.value(self.normalizer(environment.observe(out_of_time.tolist())))
                rewards[out_of_time] += self.agent.discount * ahead
            experience.observations[t], experience.actions[t], experience.means[t] = observations, actions, mean
            experience.rewards[t] = rewards
            if self.criticized:
                experience.values[t] = network.value(observations)
            experience.over[t] = failed | step.ended
            self._end_attempts(failed, experience.over[t])
            self.progress.reward += float(rewards.mean()) / self.agent.steps_per_iter
        if not self.criticized:
            return experience, torch.zeros(len(self.envs), device=self.device)
        return experience, network.value(self.normalizer(environment.observe(self.envs)))

    def _empty_experience(self) -> Experience:
        shape = (self.agent.steps_per_iter, len(self.envs))
        actions = (*shape, len(self.centre))
        # Not in inference mode, or the network could not learn from it.
        with torch.inference_mode(False):
            sizes = [(*shape, len(self.normalizer.mean)), actions, actions, actions, shape, shape]
            parts = [torch.zeros(size, device=self.device) for size in sizes]
            parts.append(torch.zeros(shape, dtype=torch.int64, device=self.device))
            parts.append(torch.zeros(shape, dtype=torch.bool, device=self.device))
            return Experience(*parts)

    def _now(self, steps_ahead: int = 0) -> Tensor:
        """Return the time of every env in its motion [N], s."""
        environment = self.environment
        return (environment.steps_done + steps_ahead) * environment.timestep + self.start_times

    def _taught_actions(self) -> Tensor:
        """Return the normalised actions [N, D] of the lessons; without a lesson, they aim at the reference ahead."""
        environment = self.environment
        ahead = environment.library.sample(environment.motion, self._now(LEAD_STEPS))
        targets = environment.skeleton.rot_to_dof(ahead.joint_rot)
        state = environment.first_frame(self.envs)[0]
        for motion, lesson in enumerate(self.lessons):
            rows = (environment.motion == motion).nonzero().flatten()
            if lesson is not None and len(rows):
                targets[rows] = lesson.targets_at(environment.steps_done[rows], state.rows(rows), environment.skeleton)
        return ((targets - self.centre) / self.reach).clamp(-1.0, 1.0)

    def _moments(self) -> Tensor:
        """Return the rows of the roots for the attempts' current steps, [N]."""
        motion = self.environment.motion
        moments = self.first_moments[motion] + self.environment.steps_done
        return torch.minimum(moments, self.last_moments[motion])

    def _shown_actions(self, mean: Tensor, taught: Tensor, noise: Tensor) -> Tensor:
        """Return the actions of supervised training: taught ones at first, the actor's after the takeover.

        The whole first iteration uses taught actions: before it, the scales of observations are unknown. Noise,
        different in each env, makes characters deviate, so that the actor sees recoveries.
        """
        teaching = self.environment.steps_done < self.takeovers
        shown = torch.where(teaching.unsqueeze(1) | (self.iteration == 0), taught, mean)
        loudness = LESSON_NOISE * (torch.arange(len(mean), device=self.device) % 4).unsqueeze(1) / 3.0
        return shown + self.agent.model.action_std * loudness * noise

    def _start_attempts(self) -> None:
        """Start new attempts in envs whose attempts are over, more often at motions and phases that fail more often."""
        envs, environment = self.to_start, self.environment
        if not envs:
            return
        rates = EASY_SHARE + self.failure_rates
        drawn = torch.multinomial(rates.mean(dim=1), len(envs), replacement=True, generator=self.random)
        stay = (self.motions[envs] >= 0) & (torch.rand(len(envs), generator=self.random) < STAY)
        self.motions[envs] = motions = torch.where(stay, self.motions[envs], drawn)
        self.phases[envs] = torch.multinomial(rates[motions], 1, generator=self.random).squeeze(1)
        latest = (1.0 - SHORTEST / environment.library.lengths.cpu()[motions]).clamp(min=0.0)
        fractions = latest * (self.phases[envs] + torch.rand(len(envs), generator=self.random)) / PHASES
        if self.supervised:
            # A lesson starts at its beginning: its later states differ slightly from the reference.
            taught = torch.tensor([self.lessons[motion] is not None for motion in motions.tolist()])
            self.phases[torch.tensor(envs)[taught]] = 0
            fractions[taught] = 0.0
        environment.start(envs, motions.tolist(), fractions.tolist())
        # Half of the attempts are the actor's alone; in the others it also sees states beyond its failures.
        shares = (2.0 * torch.rand(len(envs), generator=self.random) - 1.0).clamp(min=0.0).to(self.device)
        self.takeovers[envs] = (shares * environment.steps_total[envs]).long() if self.supervised else 0
        for env, motion, fraction in zip(envs, motions.tolist(), fractions.tolist()):
            self.start_times[env] = environment.start_time(motion, fraction)
        self.to_start = []

    def _end_attempts(self, failed: Tensor, over: Tensor) -> None:
        """Record failed attempts, and the envs for new ones."""
        self.to_start = over.nonzero().flatten().tolist()
        self.progress.attempts += len(self.to_start)
        for env, failure in zip(self.to_start, failed[over].tolist()):
            if int(self.takeovers[env]) == 0:
                motion, phase = int(self.motions[env]), int(self.phases[env])
                phases = slice(phase, phase + 1) if self.lessons[motion] is None else slice(None)
                rates = self.failure_rates[motion, phases]
                rates += FAILURE_MEMORY * (float(failure) - rates)
                self.progress.failures += failure
                self.progress.judged += 1

    def _learn(self, experience: Experience, advantages: Tensor) -> None:
        """Train for some epochs of minibatches."""
        agent, supervised = self.agent, self.supervised
        if supervised:
            self.normalizer.refresh()
        returns = (advantages + experience.values).flatten()
        advantages = ((advantages - advantages.mean()) / advantages.std().clamp(min=1e-5)).flatten()
        advantages = advantages.clamp(-agent.norm_adv_clip, agent.norm_adv_clip)
        rate = agent.optimizer.learning_rate * max(0.0, 1.0 - self.iteration / self.iterations)
        actor, critic = self.optimizer.param_groups
        measured: list[Tensor] = []
        for _ in range(agent.update_epochs):
            order = torch.randperm(self.batch, generator=self.random).to(self.device)
            for rows in order.split(self.minibatch):
                part = experience.minibatch(rows)
                mean = self.network.act(part.observations)
                values = self.network.value(part.observations) if self.criticized else returns[rows]
                if supervised:
                    actor_loss = self._imitation_loss(mean, part)
                else:
                    actor_loss = self._ppo_loss(mean, part, advantages[rows])
                outside = (mean.abs() - 1.0).clamp(min=0.0).square().sum(-1).mean()
                value_error = (values - returns[rows]).square().mean()
                kl = self._divergence(mean.detach(), part.means)
                if not supervised and measured:  # the first minibatch is always at zero divergence
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
        """Return the mean Kullback-Leibler divergence of the action distributions with these means [N, D]."""
        return 0.5 * ((means - others) / self.agent.model.action_std).square().sum(-1).mean()

    def _adapt_actor_rate(self, kl: float) -> None:
        """Keep the divergence near WANTED_KL (as rsl_rl does): with narrow noise, a fixed rate is soon too high."""
        if kl > 2.0 * WANTED_KL:
            self.actor_rate /= 1.2
        elif kl < 0.5 * WANTED_KL:
            self.actor_rate = min(1.2 * self.actor_rate, self.agent.optimizer.learning_rate)

    def _imitation_loss(self, mean: Tensor, part: Experience) -> Tensor:
        """Return the mean cost of action errors, by the regulator; without a lesson, their size."""
        errors = (mean - part.taught) * self.reach / (self.agent.model.action_std * self.reach.mean())
        return 0.5 * squared((errors.unsqueeze(1) @ self.roots[part.moments]).squeeze(1)).mean()

    def _ppo_loss(self, mean: Tensor, part: Experience, advantages: Tensor) -> Tensor:
        """Return the clipped surrogate loss (Schulman et al. 2017)."""
        std = self.agent.model.action_std
        now, then = (((part.actions - centre) / std).square().sum(-1) for centre in (mean, part.means))
        ratio = torch.exp(0.5 * (then - now))
        clipped = ratio.clamp(1.0 - self.agent.ppo_clip_ratio, 1.0 + self.agent.ppo_clip_ratio)
        return -torch.minimum(ratio * advantages, clipped * advantages).mean()

    def start_from(self, content: bytes) -> None:
        """Load networks and normaliser from a checkpoint. Raises InputError if they do not match."""
        state = torch.load(io.BytesIO(content), map_location=self.device, weights_only=True)
        own = self.network.state_dict()
        try:
            self.network.load_state_dict({name: state[f"_model.{name}"].to(own[name].dtype) for name in own})
        except (KeyError, RuntimeError) as error:
            raise InputError(f"{self.options.start_from}: does not fit agent_config.yaml: {error}") from None
        mean, std, count = (state[f"_obs_norm._{name}"].double() for name in ("mean", "std", "count"))
        self.normalizer.totals = count * torch.stack((mean, std.square() + mean.square()))
        self.normalizer.count = int(count)
        self.normalizer.refresh()

    def checkpoint(self) -> bytes:
        """Return the current tracker in PARC's format."""
        return checkpoint(self.network, self.normalizer, self.centre, self.reach)

    def state(self) -> bytes:
        """Return the state for resuming. All attempts start anew, in this training as well."""
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
                "most_recorded": self.most_recorded,
                "settings": self.settings,
            }
        )

    def restore(self, content: bytes) -> None:
        """Resume from a state(). Prints a warning if the settings differ."""
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
        self.iteration, self.most_recorded = state["iteration"], state["most_recorded"]


# --- The command ---------------------------------------------------------------------------------------------


def read_dataset(path: Path, character: Path) -> list[Motion]:
    """Return all motions of a dataset file or folder. Raises InputError if there are none, or one is unusable."""
    skeleton = load_skeleton(character)
    if path.is_dir():
        files = sorted(path.glob("*.pkl"))
        if not files:
            raise InputError(f"{path}: has no motion files (.pkl)")
        return [read_motion(file, skeleton) for file in files]
    dataset = load_dataset(path, skeleton)
    for motion in dataset.invalid:
        raise InputError(f"{path}: {motion.path}: {motion.reason}")
    return [read_motion(Path(entry.path), skeleton) for entry in dataset.entries]


def save(training: Training, content: bytes, options: argparse.Namespace, best: bool) -> None:
    """Write the tracker (content), its configuration files and the state for resuming; best: also write best.pt."""
    options.output.mkdir(parents=True, exist_ok=True)
    for name in CONFIG_FILES:
        if not (options.output / name).exists() or not (options.output / name).samefile(options.config / name):
            write_file_atomic(options.output / name, read_bytes(options.config / name))
    write_file_atomic(options.output / "model.pt", content)
    if best:
        write_file_atomic(options.output / "best.pt", content)
    write_file_atomic(options.output / "training.pt", training.state())


def train(options: argparse.Namespace) -> None:
    """Train until the samples or the minutes are used up."""
    began = last = time.monotonic()
    motions = read_dataset(options.dataset, options.character)
    held_out = read_dataset(options.held_out, options.character) if options.held_out else motions
    training = Training(options, motions)
    if options.search:
        training.learn_lessons(lessons(options, motions, training.checkpoint()))
    if options.start_from:
        training.start_from(read_bytes(options.start_from))
    if options.resume:
        training.restore(read_bytes(options.output / "training.pt"))
    print(
        f"{len(motions)} motions, {len(training.envs)} characters, hidden layers in "
        f"{'bfloat16' if training.network.in_bfloat16 else 'float32'}, ready after {time.monotonic() - began:.0f} s",
        flush=True,
    )
    while training.iteration < training.iterations:
        training.iterate()
        done = training.iteration == training.iterations
        if training.iteration % options.print_every == 0 or done:
            now = time.monotonic()
            print(progress_line(training, now - last, now - began), flush=True)
            training.progress, last = Progress(), now
        if training.iteration % options.save_every == 0 or done:
            content = training.checkpoint()
            recorder = build(held_out, content, options, options.config, retry=RetryConfig(max_retries=0))
            results = evaluate(recorder)
            recorded = recorded_whole(results)
            best = recorded >= training.most_recorded
            training.most_recorded = max(training.most_recorded, recorded)
            save(training, content, options, best)
            missed = [
                f"{result.attempt.motion} {result.attempt.seconds:.1f} s" for result in results if not whole(result)
            ]
            few = f", not {', '.join(missed)}" if 0 < len(missed) <= 20 else ""
            print(f"  {recorded} of {len(held_out)} motions recorded whole{few}", flush=True)
            if options.minutes and last - began > 60 * options.minutes:
                break


def progress_line(training: Training, seconds: float, elapsed: float) -> str:
    """Return the line for the iterations since the last one."""
    progress = training.progress
    count, attempts, judged = progress.iterations, max(progress.attempts, 1), max(progress.judged, 1)
    aim = f"aim off by {progress.imitation_error / count:.3f} rad, " if progress.imitation_error else ""
    return (
        f"{training.samples / 1e6:.2f} M samples, {progress.samples / seconds:.0f}/s: {aim}"
        f"reward {progress.reward / count:.3f}, success {100 * (1 - progress.failures / judged):.0f} %, "
        f"attempt {progress.samples / attempts * float(training.environment.timestep):.2f} s, "
        f"KL {progress.kl / count:.3f} at rate {training.actor_rate:.1e}, "
        f"value error {progress.value_error / count:.2f}, {elapsed / 60:.1f} min"
    )


def report(options: argparse.Namespace) -> None:
    """Print the result of every motion of the dataset, with the tracker in the output folder and retries."""
    motions = read_dataset(options.dataset, options.character)
    results = evaluate(build(motions, read_bytes(options.output / "model.pt"), options, options.output))
    width = max(len(motion.name) for motion in motions)
    for motion, result in zip(motions, results):
        print(
            f"{motion.name:{width}}  {result.attempt.outcome:8}  from {result.attempt.start_fraction:4.2f}  "
            f"{result.attempt.seconds:5.2f} of {motion.length - result.attempt.start_time:5.2f} s  "
            f"root error {result.attempt.quality['root_error']:.3f} m  {result.attempt.reason}",
            flush=True,
        )
    print(f"{recorded_whole(results)} of {len(motions)} motions recorded whole")


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description="Train a tracker on the motions of a dataset.")
    parser.add_argument("--dataset", type=Path, required=True, help="motions.yaml, or a folder of motions, to train on")
    parser.add_argument("--output", type=Path, required=True, help="folder of model.pt and its configuration files")
    parser.add_argument("--config", type=Path, default=DEMO, help="folder of agent_config.yaml and dm_env.yaml")
    parser.add_argument("--character", type=Path, default=HUMANOID, help="MJCF")
    parser.add_argument("--simulator", default="mujoco", help="the engine, as in phys_record.yaml")
    parser.add_argument("--samples", type=int, default=13_500_000, help="control steps to learn from")
    parser.add_argument("--minutes", type=float, help="stop at the first save after this time")
    parser.add_argument(
        "--search", type=int, metavar="N", help="find controls for every motion first, N samples a time"
    )
    parser.add_argument("--start-from", type=Path, metavar="MODEL", help="begin with the networks of a model.pt")
    parser.add_argument("--resume", action="store_true", help="go on from training.pt in the output folder")
    parser.add_argument("--evaluate", action="store_true", help="only evaluate the tracker in the output folder")
    parser.add_argument("--held-out", type=Path, help="motions to evaluate on while training; default: --dataset")
    parser.add_argument("--num-envs", type=int, default=512, help="characters at a time")
    parser.add_argument("--print-every", type=int, default=10, help="iterations")
    parser.add_argument("--save-every", type=int, default=50, help="iterations")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    """Train or evaluate."""
    options = parse_options(sys.argv[1:])
    try:
        if options.evaluate:
            report(options)
        else:
            train(options)
    except ParcRayError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
