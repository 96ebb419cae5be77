"""Train the demo's tracker and write its checkpoint in PARC's format: python scripts/train_demo_tracker.py

Supervised (DAgger, Ross et al. 2011): a teacher that sees the whole state says which PD targets keep the character
on its reference, and the network learns to say the same from what a tracker observes. It meets the states that it
brings about itself, because it drives most of the characters whose states it learns from.

Environment, observations, termination and acceptance are the recorder's own. The motions are generated, and neither
they nor the held-out ones are the demo's. The same arguments give the same checkpoint on the same machine.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path
from typing import Dict, List, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a clone that is not installed

from parc_ray.simulators.simulator import SimulatorConfig, create_simulator  # isort: skip  before torch
import torch
from torch import Tensor, nn

from parc_ray.character import rotations
from parc_ray.character.skeleton import Skeleton, parse_skeleton
from parc_ray.config import AgentConfig, RecordConfig, RetryConfig, TrackerEnvironmentFile, load_config
from parc_ray.motions.library import MotionLibrary
from parc_ray.motions.motion_file import Motion
from parc_ray.motions.synthetic import centre_of_mass, generate_motions
from parc_ray.motions.terrain import TerrainStack
from parc_ray.recording.recorder import ShardRecorder
from parc_ray.tracking.environment import TrackingEnvironment
from parc_ray.tracking.quality import QualityMeter, make_probes
from parc_ray.tracking.tracker import NETWORKS, Tracker, action_bounds

DEMO = Path(__file__).resolve().parents[1] / "configs" / "demo"
CPU = torch.device("cpu")
TRAINING_SEED, HELD_OUT_SEED = 10_000, 20_000
LEAD_STEPS = 3
"""Control steps by which PD targets lead the reference: the drives' damping over stiffness is 0.1 s, so they lag that far"""
LOST = 0.2
"""Where the centre of mass is so far (m) from the reference, no ankle brings it back: nothing to learn there"""
SMALLEST_STD = 0.01
"""Observations that hardly vary are not blown up to unit variance"""


class Teacher:
    """Reference pose plus linear feedback of the centre of mass on ankles and leg lengths: a standing balance."""

    def __init__(self, environment: TrackingEnvironment):
        self.environment = environment
        self.skeleton = environment.skeleton
        self.start_times = torch.zeros(environment.num_envs)
        self.columns = {joint.name: joint.dof_index for joint in self.skeleton.joints}
        self.low, self.high = action_bounds(self.skeleton)

    def act(self, envs: List[int]) -> Tuple[Tensor, Tensor]:
        """PD targets [n, D], rad, and how far each centre of mass is from the reference [n], m."""
        joint_rot, error, velocity_error = self._errors(envs)
        x, y, z = error.unbind(-1)
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
        return torch.minimum(torch.maximum(action, self.low), self.high), rotations.norm(error)

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


class Network(nn.Module):
    """PARC's actor and critic; parameter names are those of its checkpoints, after "_model."."""

    def __init__(self, observation_size: int, widths: Tuple[int, ...], action_size: int):
        super().__init__()
        self._actor_layers = fully_connected(observation_size, widths)
        self._action_dist = nn.Module()
        self._action_dist._mean_net = nn.Linear(widths[-1], action_size)
        self._action_dist._logstd_net = nn.Parameter(torch.full((action_size,), math.log(0.05)), requires_grad=False)
        # The critic stays as initialised: there are no values to learn here. A later training by PPO starts from it.
        self._critic_layers = fully_connected(observation_size, widths)
        self._critic_out = nn.Linear(widths[-1], 1)

    def forward(self, observations: Tensor) -> Tensor:
        """Normalised actions for normalised observations."""
        return self._action_dist._mean_net(self._actor_layers(observations))


def fully_connected(size: int, widths: Tuple[int, ...]) -> nn.Sequential:
    layers: List[nn.Module] = []
    for width_in, width_out in zip((size, *widths), widths):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers)


def build(motions: List[Motion], num_envs: int, threads: int) -> Tuple[TrackingEnvironment, QualityMeter]:
    """The recorder's environment on some motions."""
    file = load_config(DEMO / "dm_env.yaml", TrackerEnvironmentFile, None)
    source = DEMO / "humanoid.xml"
    character = source.read_text()
    skeleton = parse_skeleton(character, str(source))
    tiles, friction = [motion.terrain for motion in motions], file.env.plane.static_friction
    simulator = create_simulator(
        "mujoco",
        SimulatorConfig(character, str(source), tiles, num_envs, file.env.control_freq, file.steps_per_control,
                        friction, CPU, threads),
        skeleton,
    )  # fmt: skip
    terrains = TerrainStack(tiles, CPU)
    environment = TrackingEnvironment(simulator, MotionLibrary(motions, skeleton, CPU), terrains, skeleton, file.env)
    return environment, QualityMeter(num_envs, make_probes(character, str(source), skeleton, CPU), terrains, CPU)


def collect(
    environment: TrackingEnvironment, teacher: Teacher, tracker: Tracker | None, steps: int
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
            motions = torch.randint(len(environment.library.names), (len(fresh),)).tolist()
            fractions = (0.8 * torch.rand(len(fresh))).tolist()
            environment.start(fresh, motions, fractions)
            for env, motion, fraction in zip(fresh, motions, fractions):
                teacher.start_times[env] = environment.start_time(motion, fraction)
        observed = environment.observe(envs)
        label, distance = teacher.act(envs)
        noise = 0.8 * noise + 0.6 * torch.randn_like(noise)
        action = label if tracker is None else torch.where(by_teacher.unsqueeze(-1), label, tracker.act(observed))
        result = environment.step(envs, action + strength * noise)
        observations.append(observed[distance < LOST])
        labels.append(label[distance < LOST])
        over = (result.cause > 0) | result.ended | (distance >= LOST)
        fresh = over.nonzero().flatten().tolist()
    return torch.cat(observations), torch.cat(labels)


def observation_normalizer(environment: TrackingEnvironment, observations: Tensor) -> Tuple[Tensor, Tensor]:
    """Mean and standard deviation [size]; contacts and heights are left as they are, as in PARC."""
    mean, std, start = observations.mean(0), observations.std(0).clamp(min=SMALLEST_STD), 0
    for name, shape in environment.observer.layout.items():
        part = slice(start, start := start + math.prod(shape))
        if name not in ("char_obs", "tar_obs"):
            mean[part], std[part] = 0.0, 1.0
    return mean, std


def checkpoint(network: Network, normalizers: Dict[str, Tensor], count: int) -> Dict[str, Tensor]:
    """PARC's state dict. Weights are halved in precision to keep the file small, the statistics are not."""
    counts = {f"{name}._count": torch.tensor([count]) for name in ("_obs_norm", "_a_norm")}
    weights = {f"_model.{name}": value.half().clone() for name, value in network.state_dict().items()}
    return {**counts, **normalizers, **weights}


def tracked_whole(recorder: ShardRecorder) -> float:
    """Share of a recorder's motions that are recorded from the start."""
    recorded = 0
    while not recorder.done:
        recorded += sum(result.outcome == "recorded" for result in recorder.advance())
    return recorded / len(recorder.motions)
