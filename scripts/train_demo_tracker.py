"""Train the demo's tracker and write its checkpoint in PARC's format: python scripts/train_demo_tracker.py

Supervised (DAgger, Ross et al. 2011): a teacher that sees the whole state says which PD targets keep the character
on its reference, and the network learns to say the same from what a tracker observes. It meets the states that it
brings about itself, because it drives most of the characters whose states it learns from.

Environment, observations, termination and acceptance are the recorder's own. The motions are generated, and neither
they nor the held-out ones are the demo's. The same arguments give the same checkpoint on the same machine.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs in a clone that is not installed

import numpy as np
import torch
from torch import Tensor, nn

from parc_ray.character import rotations
from parc_ray.character.skeleton import load_skeleton
from parc_ray.config import AgentConfig, RecordConfig, RetryConfig, TrackerEnvironmentFile, load_config
from parc_ray.motions.motion_file import Motion, motion_file_bytes, write_file_atomic
from parc_ray.motions.synthetic import centre_of_mass, generate_motions
from parc_ray.recording.recorder import ShardRecorder
from parc_ray.recording.shard import RunFiles, Shard, ShardMotion, build_recorder
from parc_ray.tracking.environment import TrackingEnvironment
from parc_ray.tracking.observations import Observer
from parc_ray.tracking.tracker import NETWORKS, Tracker, action_bounds

DEMO = Path(__file__).resolve().parents[1] / "configs" / "demo"
CPU = torch.device("cpu")
TRAINING_SEED, HELD_OUT_SEED = 10_000, 20_000
LEAD_STEPS = 3
"""Control steps by which PD targets lead the reference: drives lag by damping over stiffness, 0.1 s"""
LOST = 0.2
"""With its centre of mass so far (m) from the reference no ankle brings a body back: nothing to learn there"""
LEGS_REACH = 0.05
"""Errors of height (m) beyond this are beyond the legs: under a reference that hovers a body should stand, not jump"""
SMALLEST_STD = 0.01
"""Observations that hardly vary are not blown up to unit variance: on other motions they would vary more"""
BATCH = 512


class Teacher:
    """Reference pose plus linear feedback of the centre of mass on ankles and leg lengths: a standing balance."""

    def __init__(self, environment: TrackingEnvironment):
        self.environment = environment
        self.skeleton = environment.skeleton
        self.start_times = torch.zeros(environment.num_envs)
        self.columns = {joint.name: joint.dof_index for joint in self.skeleton.joints}
        self.low, self.high = action_bounds(self.skeleton)

    def act(self, envs: List[int]) -> Tuple[Tensor, Tensor]:
        """PD targets [n, D], rad, and how far each centre of mass is from the reference, horizontally [n], m."""
        joint_rot, error, velocity_error = self._errors(envs)
        x, y, z = error.unbind(-1)
        z = z.clamp(-LEGS_REACH, LEGS_REACH)
        velocity_x, velocity_y, _ = velocity_error.unbind(-1)
        action = self.skeleton.rot_to_dof(joint_rot)
        for side, sign in (("right", -1.0), ("left", 1.0)):
            hip, knee, ankle = (self.columns[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
            # Too far forward: press the toes down. Too far left: press the feet's left edges down.
            action[:, ankle + 1] += 1.5 * x + 0.4 * velocity_x
            action[:, ankle] -= 1.0 * y + 0.3 * velocity_y
            # Too low, or too far to this leg's side: stretch this leg.
            bend = 1.0 * z - sign * (1.0 * y + 0.3 * velocity_y)
            action[:, hip + 1] -= bend
            action[:, knee] += 2.0 * bend
            action[:, ankle + 1] -= bend
        return torch.minimum(torch.maximum(action, self.low), self.high), (x * x + y * y).sqrt()

    def _errors(self, envs: List[int]) -> Tuple[Tensor, Tensor, Tensor]:
        """Joint rotations to aim at, and the centre of mass's errors (m, m/s) in the heading frame.

        Of the reference, only the frames one and LEAD_STEPS steps ahead are used: those that the network sees.
        """
        environment, step = self.environment, float(self.environment.timestep)
        state, pose, _ = environment.first_frame(envs)
        motion, now = environment.motion[envs], environment.steps_done[envs] * step + self.start_times[envs]
        near = environment.library.sample(motion, now + step)
        far = environment.library.sample(motion, now + LEAD_STEPS * step)
        near_centre = centre_of_mass(self.skeleton, near.root_pos, near.root_rot, near.joint_rot)
        far_centre = centre_of_mass(self.skeleton, far.root_pos, far.root_rot, far.joint_rot)
        reference_velocity = (far_centre - near_centre) / ((LEAD_STEPS - 1) * step)
        reference = near_centre - reference_velocity * step
        centre = centre_of_mass(self.skeleton, state.root_pos, state.root_rot, pose.joint_rot)
        soon = 0.01  # s
        centre_soon = centre_of_mass(
            self.skeleton,
            state.root_pos + soon * state.root_vel,
            rotations.quat_mul(rotations.exp_map_to_quat(soon * state.root_ang_vel), state.root_rot),
            rotations.quat_mul(pose.joint_rot, self.skeleton.dof_to_rot(soon * state.dof_vel)),
        )
        velocity = (centre_soon - centre) / soon
        to_heading = rotations.quat_conjugate(rotations.heading_to_quat(rotations.calc_heading(state.root_rot)))
        error = rotations.quat_rotate(to_heading, centre - reference)
        return far.joint_rot, error, rotations.quat_rotate(to_heading, velocity - reference_velocity)


class ActionDistribution(nn.Module):
    """A Gaussian of fixed width: action_std of agent_config.yaml."""

    def __init__(self, size: int, action_size: int):
        super().__init__()
        self._mean_net = nn.Linear(size, action_size)
        self._logstd_net = nn.Parameter(torch.full((action_size,), math.log(0.05)), requires_grad=False)


class Network(nn.Module):
    """PARC's actor and critic; parameter names are those of its checkpoints, after "_model."."""

    def __init__(self, observation_size: int, widths: Tuple[int, ...], action_size: int):
        super().__init__()
        self._actor_layers = fully_connected(observation_size, widths)
        self._action_dist = ActionDistribution(widths[-1], action_size)
        # The critic stays as initialised: there are no values to learn here. A later training by PPO starts from it.
        self._critic_layers = fully_connected(observation_size, widths)
        self._critic_out = nn.Linear(widths[-1], 1)

    def forward(self, observations: Tensor) -> Tensor:
        """Normalised actions for normalised observations."""
        actions: Tensor = self._action_dist._mean_net(self._actor_layers(observations))
        return actions


def fully_connected(size: int, widths: Tuple[int, ...]) -> nn.Sequential:
    layers: List[nn.Module] = []
    for width_in, width_out in zip((size, *widths), widths):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers)


def lifted(motion: Motion, height: float) -> Motion:
    """A motion that hovers, as generated motions at times do: nobody follows it, but nobody need fall under it."""
    raised = motion.root_pos + np.array([0.0, 0.0, height], dtype=np.float32)
    return replace(motion, root_pos=raised, contacts=np.zeros_like(motion.contacts))


def run_files(content: bytes, num_envs: int | None) -> RunFiles:
    """A recording of the demo with a checkpoint, without retries."""
    config = RecordConfig(
        output_dir=DEMO, device="cpu", model_file=DEMO / "model.pt", env_file=DEMO / "dm_env.yaml",
        agent_file=DEMO / "agent_config.yaml", dataset_file=DEMO, num_envs=num_envs, retry=RetryConfig(max_retries=0),
    )  # fmt: skip
    character = DEMO / "humanoid.xml"
    return RunFiles(
        config=config,
        simulator="mujoco",
        environment=load_config(config.env_file, TrackerEnvironmentFile, None),
        agent=load_config(config.agent_file, AgentConfig, None),
        agent_source=str(config.agent_file),
        character=character.read_text(),
        character_source=str(character),
        checkpoint=content,
        checkpoint_source="the checkpoint",
    )


def build(motions: Sequence[Motion], content: bytes, threads: int, num_envs: int | None = None) -> ShardRecorder:
    """The recorder of these motions with a checkpoint; num_envs as in RecordConfig."""
    shard = [ShardMotion(m.name, m.name, motion_file_bytes(m, None), first_attempt=0) for m in motions]
    return build_recorder(run_files(content, num_envs), Shard(0, tuple(shard)), threads, "cpu")


def collect(
    environment: TrackingEnvironment, teacher: Teacher, tracker: Tracker | None, steps: int, random: torch.Generator
) -> Tuple[Tensor, Tensor]:
    """Observations and the teacher's actions, over some steps from random times in random motions.

    The tracker drives three quarters of the characters (none without a tracker), the teacher the others; two
    thirds are disturbed by smooth noise on their PD targets.
    """
    envs = list(range(environment.num_envs))
    by_teacher = torch.tensor([tracker is None or env % 4 == 0 for env in envs])
    strength = torch.tensor([0.0, 0.02, 0.05])[torch.tensor(envs) % 3].unsqueeze(-1)
    noise = torch.zeros(len(envs), environment.skeleton.dof_count)
    fresh, observations, labels = envs, [], []
    for _ in range(steps):
        if fresh:
            motions = torch.randint(len(environment.library.names), (len(fresh),), generator=random).tolist()
            fractions = (0.8 * torch.rand(len(fresh), generator=random)).tolist()
            environment.start(fresh, motions, fractions)
            for env, motion, fraction in zip(fresh, motions, fractions):
                teacher.start_times[env] = environment.start_time(motion, fraction)
        observed = environment.observe(envs)
        label, distance = teacher.act(envs)
        noise = 0.8 * noise + 0.6 * torch.randn(noise.shape, generator=random)
        action = label if tracker is None else torch.where(by_teacher.unsqueeze(-1), label, tracker.act(observed))
        result = environment.step(envs, action + strength * noise)
        observations.append(observed[distance < LOST])
        labels.append(label[distance < LOST])
        over = (result.cause > 0) | result.ended | (distance >= LOST)
        fresh = over.nonzero().flatten().tolist()
    return torch.cat(observations), torch.cat(labels)


def make_normalizers(observer: Observer, observations: Tensor) -> Dict[str, Tensor]:
    """Of observations [N, size] (contacts and heights stay as they are, as in PARC) and of actions (their bounds)."""
    mean, std = observations.mean(0), observations.std(0).clamp(min=SMALLEST_STD)
    start = 0
    for name, shape in observer.layout.items():
        stop = start + math.prod(shape)
        if name not in ("char_obs", "tar_obs"):
            mean[start:stop], std[start:stop] = 0.0, 1.0
        start = stop
    low, high = action_bounds(observer.skeleton)
    return {
        "_obs_norm._mean": mean,
        "_obs_norm._std": std,
        "_a_norm._mean": 0.5 * (high + low),
        "_a_norm._std": 0.5 * (high - low),
    }


def checkpoint(network: Network, normalizers: Dict[str, Tensor], count: int) -> bytes:
    """PARC's state dict, saved. Weights have half precision, which keeps the file small; the statistics do not."""
    state = {f"{name}._count": torch.tensor([count]) for name in ("_obs_norm", "_a_norm")}
    state.update(normalizers)
    state.update({f"_model.{name}": value.half() for name, value in network.state_dict().items()})
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def share_recorded(recorder: ShardRecorder) -> float:
    """Share of a recorder's motions that are recorded from their start to their end."""
    recorded = 0
    while not recorder.done:
        recorded += sum(result.outcome == "recorded" for result in recorder.advance())
    return recorded / len(recorder.motions)


def main() -> None:
    """Collect, learn and evaluate in turn; save the checkpoint after every round."""
    parser = argparse.ArgumentParser(description="Train the demo's tracker.")
    parser.add_argument("--output", type=Path, default=DEMO / "model.pt", help="the checkpoint")
    parser.add_argument("--iterations", type=int, default=8, help="rounds of collecting and learning")
    parser.add_argument("--learn-steps", type=int, default=400, help="minibatches per round")
    parser.add_argument("--num-envs", type=int, default=64, help="characters at a time")
    parser.add_argument("--env-steps", type=int, default=150, help="control steps per round")
    parser.add_argument("--motions", type=int, default=240, help="generated motions to train on")
    parser.add_argument("--held-out", type=int, default=40, help="generated motions to evaluate on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    began = time.monotonic()
    skeleton = load_skeleton(DEMO / "humanoid.xml")
    training = list(generate_motions(options.motions, TRAINING_SEED + options.seed, skeleton))
    training[::6] = [lifted(motion, 0.05 + 0.3 * k / len(training[::6])) for k, motion in enumerate(training[::6])]
    held_out = list(generate_motions(options.held_out, HELD_OUT_SEED + options.seed, skeleton))
    files = run_files(b"", None)
    observer = Observer(files.environment.env, skeleton, CPU)
    torch.manual_seed(options.seed)
    random = torch.Generator().manual_seed(options.seed)  # a recorder seeds the global one
    network = Network(observer.size, NETWORKS[files.agent.model.actor_net], skeleton.dof_count)
    normalizers = make_normalizers(observer, torch.zeros(2, observer.size))
    environment = build(training, checkpoint(network, normalizers, 0), options.threads, options.num_envs).environment
    teacher, tracker = Teacher(environment), None
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.iterations * options.learn_steps)
    observations, actions = torch.empty(0, observer.size), torch.empty(0, skeleton.dof_count)
    print(f"{len(training)} motions, {observer.size} observations, ready after {time.monotonic() - began:.0f} s")
    for iteration in range(options.iterations):
        found = collect(environment, teacher, tracker, options.env_steps, random)
        observations, actions = torch.cat((observations, found[0])), torch.cat((actions, found[1]))
        if iteration == 0:
            normalizers = make_normalizers(observer, observations)
        obs_mean, obs_std, action_mean, action_std = normalizers.values()
        clip = files.agent.norm_obs_clip
        inputs = ((observations - obs_mean) / obs_std).clamp(-clip, clip)
        labels, total = (actions - action_mean) / action_std, 0.0
        for _ in range(options.learn_steps):
            rows = torch.randint(len(inputs), (BATCH,), generator=random)
            loss = ((network(inputs[rows]) - labels[rows]) * action_std).square().mean()  # rad2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        error = math.sqrt(total / options.learn_steps)
        content = checkpoint(network, normalizers, len(observations))
        evaluation = build(held_out, content, options.threads)
        tracker = evaluation.tracker
        write_file_atomic(options.output, content)
        print(
            f"round {iteration + 1}/{options.iterations}: {len(observations)} samples, error {error:.4f} rad, "
            f"held-out motions recorded whole {100 * share_recorded(evaluation):.0f} %, "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )
    print(f"{options.output}: {len(content) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
