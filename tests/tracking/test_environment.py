"""The tracking environment with a stand-in for the tracker: it aims at the target pose that it observes."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.skeleton import load_skeleton
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.motions.library import MotionLibrary
from parc_ray.motions.motion import Motion
from parc_ray.motions.terrain_stack import TerrainStack
from parc_ray.simulators.engines import engine
from parc_ray.simulators.simulator import SimulatorConfig
from parc_ray.trackers.parc.observer import ParcObserver
from parc_ray.trackers.parc.termination import ParcTermination
from parc_ray.trackers.termination import NOT_FINITE, ROOT_POSITION
from parc_ray.trackers.tracker import ObservationInputs, Observer, Tracker
from parc_ray.tracking.environment import Step, TrackingEnvironment
from tests.reference import HUMANOID, max_error, max_rotation_error
from tests.trackers.parc.test_observer import environment_config, pose_of

CPU = torch.device("cpu")
SKELETON = load_skeleton(HUMANOID)
TEXT = HUMANOID.read_text()


def motion(kind: str = "idle", seconds: float = 1.0, seed: int = 9, difficulty: float = 0.0, **flaw) -> Motion:
    return generate_motion(MotionSpec(kind, seed, seconds, difficulty, **flaw), SKELETON, f"{kind}_{seed}")


def make_environment(
    motions: Sequence[Motion], num_envs: int, threads: int = 1, min_loop_seconds: float = 0.0, **changes
) -> TrackingEnvironment:
    """An environment of the demo's settings on the mujoco simulator."""
    tiles = [m.terrain for m in motions]
    config = SimulatorConfig(TEXT, "humanoid.xml", tiles, num_envs, 30, 4, CPU, threads)
    simulator = engine("mujoco").build(config, SKELETON)
    config = environment_config(**changes)
    library = MotionLibrary(motions, SKELETON, CPU, min_loop_seconds)
    observer = ParcObserver(config, SKELETON, CPU)
    terrains, termination = TerrainStack(tiles, CPU), ParcTermination(config, SKELETON, CPU)
    tracker = Tracker(observer, partial(follow, observer), termination)
    return TrackingEnvironment(simulator, library, terrains, tracker, config)


def observed(environment: TrackingEnvironment, observations: Tensor, name: str) -> Tensor:
    """One part of observations, flattened."""
    return environment.tracker.observer.layout.split(observations)[name].flatten(1)


def follow(observer: Observer, obs: Tensor) -> Tensor:
    """Stands in for a tracker's network: aims at the farthest target pose of its observations."""
    rows = len(obs)
    obs = torch.cat((obs, obs[:1].expand(-rows % 64, -1)))  # no influence of the batch's size, as in a tracker
    targets = observer.layout.split(obs)["tar_obs"]
    x, z = targets[:, -1, 9:93].reshape(-1, 14, 2, 3).unbind(-2)
    y = torch.linalg.cross(z, x)
    w = 0.5 * torch.sqrt((1.0 + x[..., 0] + y[..., 1] + z[..., 2]).clamp(min=1e-3))
    turned = torch.stack((y[..., 2] - z[..., 1], z[..., 0] - x[..., 2], x[..., 1] - y[..., 0], 4 * w * w), dim=-1)
    return SKELETON.rot_to_dof(rotations.quat_normalize(turned / (4 * w).unsqueeze(-1)))[:rows]


MOTIONS = [
    motion("idle", 1.0, seed=9),
    motion("walk", 1.2, seed=1),
    motion("turn", 1.4, seed=4),
    motion("idle", 1.0, seed=7, difficulty=0.5),
    motion("tour", 1.2, seed=10),
]
"""Short enough to be followed by aiming at targets, with blocks and steps"""


class Frame(NamedTuple):
    """What an env observed, and what the step after it brought."""

    observation: Tensor
    step: Step


def rollout(environment: TrackingEnvironment, envs: Sequence[int], steps: int) -> list[Frame]:
    frames = []
    for _ in range(steps):
        observations = environment.observe(envs)
        frames.append(Frame(observations, environment.step(envs, environment.tracker.act(observations))))
    return frames


def row(frame: Frame, place: int) -> dict[str, Tensor]:
    """Every number of one env's frame."""
    step = frame.step
    parts = {"observation": frame.observation, "reason": step.reason, "body": step.body, "ended": step.ended}
    parts.update(contacts=step.contacts, reference_contacts=step.reference_contacts)
    for name in ("state", "pose", "reference"):
        parts.update({f"{name}.{key}": value for key, value in vars(getattr(step, name)).items()})
    return {name: value[place].clone() for name, value in parts.items()}


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


# ---------------------------------------------------------------------------------------- the first frame


def test_an_attempt_starts_in_the_reference_state():
    environment = make_environment(MOTIONS, num_envs=4)
    envs, motions, fractions = [3, 0, 2], [1, 4, 0], [0.0, 0.25, 0.6]
    environment.start(envs, motions, fractions)
    times = environment.library.lengths[motions] * torch.tensor(fractions)
    expected = environment.library.sample(torch.tensor(motions), times)
    state, pose, contacts = environment.first_frame(envs)
    for name in ("root_pos", "root_vel", "root_ang_vel", "dof_vel"):
        assert max_error(getattr(state, name), getattr(expected, name)) <= 1e-6, name
    assert max_rotation_error(state.root_rot, expected.root_rot) <= 1e-6
    assert max_rotation_error(pose.joint_rot, expected.joint_rot) <= 1e-6
    assert max_rotation_error(SKELETON.dof_to_rot(state.dof_pos), expected.joint_rot) <= 5e-5
    body_pos, body_rot = SKELETON.forward_kinematics(expected.root_pos, expected.root_rot, expected.joint_rot)
    assert max_error(pose.body_pos, body_pos) <= 1e-5
    assert max_rotation_error(pose.body_rot, body_rot) <= 1e-5
    assert torch.equal(contacts, (expected.contacts > 0.5).float())
    assert contacts[:, SKELETON.body_index("right_foot")].all()
    assert torch.equal(observed(environment, environment.observe(envs), "char_contacts"), contacts)


def test_what_is_observed_is_the_state_that_a_step_returned():
    """And the targets are the motion's frames at the time of the step, plus the target steps."""
    environment = make_environment(MOTIONS, num_envs=3)
    observer, motions, fractions = environment.tracker.observer, torch.tensor([2, 3, 0]), torch.tensor([0.0, 0.3, 0.0])
    environment.start([0, 1, 2], motions.tolist(), fractions.tolist())
    start = fractions * environment.library.lengths[motions]
    frames = rollout(environment, [0, 1, 2], 8)
    for done, (frame, following) in enumerate(zip(frames, frames[1:]), start=1):
        step = frame.step
        reference = environment.library.sample(motions, start + done / 30)
        assert max_error(step.reference.body_pos[:, 0], reference.root_pos) <= 1e-4
        assert max_error(step.reference_contacts, reference.contacts) <= 1e-3
        assert torch.equal(step.contacts, (step.state.contact_force.norm(dim=-1) > 1e-5).float())
        times = start[:, None] + (done + observer.target_steps) / 30
        targets = environment.library.sample(motions.repeat_interleave(2), times.flatten())
        pose = pose_of(targets.root_pos, targets.root_rot, targets.joint_rot)
        features = observer.reference_features(targets, pose).unflatten(0, (3, 2))
        pose = pose_of(step.state.root_pos, step.state.root_rot, SKELETON.dof_to_rot(step.state.dof_pos))
        heights = partial(environment.terrains.height_at, motions)
        expected = observer.observe(ObservationInputs(step.state, pose, step.contacts, features, heights))
        assert max_error(following.observation, expected) <= 1e-3


# -------------------------------------------------------------------------------------------------- the end


def test_every_motion_of_30_fps_takes_one_step_per_frame():
    environment = make_environment(MOTIONS[:1], num_envs=1)
    counts = range(2, 1001)
    environment.library.seconds = np.array([(count - 1) / 30 for count in counts], dtype=np.float32)
    assert [environment.steps_of(i, 0.0) for i in range(len(counts))] == [count - 1 for count in counts]


@settings(deadline=None, max_examples=200)
@given(seconds=st.floats(0.05, 60.0), fraction=st.floats(0.0, 0.95))
def test_an_attempt_lasts_as_long_as_the_rest_of_its_motion(seconds, fraction):
    environment = ANY_LENGTH
    environment.library.seconds = np.array([seconds], dtype=np.float32)
    steps, rest = environment.steps_of(0, fraction), (1.0 - fraction) * seconds
    assert float(environment.start_time(0, fraction)) == pytest.approx(fraction * seconds, rel=1e-6)
    assert math.ceil(rest * 30 - 1e-3) <= steps <= math.ceil(rest * 30 + 1e-3)


ANY_LENGTH = make_environment(MOTIONS[:1], num_envs=1)


@pytest.mark.parametrize("loop_mode", ["CLAMP", "WRAP"])
def test_the_end_is_flagged_at_the_last_frame(loop_mode):
    motions = [replace(m, loop_mode=loop_mode) for m in MOTIONS]
    environment = make_environment(motions, num_envs=5)
    fractions = [0.0, 0.5, 0.0, 0.1, 0.0]
    environment.start(range(5), range(5), fractions)
    ended = torch.stack([frame.step.ended for frame in rollout(environment, range(5), 42)])
    last = [environment.steps_of(i, fraction) for i, fraction in enumerate(fractions)]
    assert last[0] == motions[0].num_frames - 1 and last[1] == 18
    for env, step in enumerate(last):
        assert ended[:, env].tolist() == [done >= step for done in range(1, 43)]


def test_targets_beyond_the_end():
    """They stand still in a CLAMP motion, and go on in a WRAP motion."""
    moving = motion("turn", seed=1)
    offset = np.linspace([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], moving.num_frames, dtype=np.float32)
    walk = replace(moving, root_pos=moving.root_pos + offset)
    environment = make_environment([walk, replace(walk, loop_mode="WRAP")], 2, enable_early_termination=False)
    environment.start([0, 1], [0, 1], [0.0, 0.0])
    rollout(environment, [0, 1], walk.num_frames - 1)
    state, _, _ = environment.first_frame([0, 1])
    observations = environment.observe([0, 1])
    target = observed(environment, observations, "tar_obs").unflatten(1, (2, 105))[:, -1, :3]
    heading = rotations.calc_heading(state.root_rot)
    world = rotations.rotate_2d(target[:, :2], heading) + state.root_pos[:, :2]
    assert max_error(world[0], walk.root_pos[-1, :2]) <= 1e-3
    assert max_error(world[1], (walk.root_pos[3] + walk.root_pos[-1] - walk.root_pos[0])[:2]) <= 1e-3


# -------------------------------------------------------------------------------------------------- failures


def test_feasible_motions_are_followed_and_impossible_ones_are_not():
    motions = [*MOTIONS, motion("walk", 2.0, flaw="fly")]
    environment = make_environment(motions, num_envs=6)
    environment.start(range(6), range(6), [0.0] * 6)
    reasons = torch.stack([frame.step.reason for frame in rollout(environment, range(6), 60)])
    lasting = [environment.steps_of(i, 0.0) for i in range(5)]
    assert all(not reasons[:last, env].any() for env, last in enumerate(lasting))
    assert ROOT_POSITION in reasons[:, 5]


def test_a_state_that_is_not_finite_fails_and_stays_alone():
    runs = []
    for broken in (False, True):
        environment = make_environment(MOTIONS, num_envs=5)
        environment.start(range(5), range(5), [0.0] * 5)
        frames = rollout(environment, range(5), 3)
        actions = environment.tracker.act(environment.observe(range(5)))
        if broken:
            actions[2, 7] = math.nan
        frames += [Frame(environment.observe(range(5)), environment.step(range(5), actions))]
        frames += rollout(environment, range(5), 3)
        runs.append(frames)
    for healthy, frame in zip(*runs):
        for env in (0, 1, 3, 4):
            assert_same(row(healthy, env), row(frame, env))
            assert frame.step.reason[env] == 0
    assert runs[1][2].step.reason[2] == 0
    assert all(frame.step.reason[2] == NOT_FINITE for frame in runs[1][3:])


def test_nothing_but_a_broken_state_ends_an_attempt_without_early_termination():
    environment = make_environment([motion("walk", 2.0, flaw="fly")], 1, enable_early_termination=False)
    environment.start([0], [0], [0.0])
    assert not any(frame.step.reason.any() for frame in rollout(environment, [0], 60))


# ----------------------------------------------------------------------------------- same bits in any company


@pytest.mark.parametrize(("threads", "crowd"), [(1, 0), (1, 1), (2, 70), (5, 70)])
def test_company_and_order_change_nothing(threads, crowd):
    """One motion alone in one env; then in another slot, among motions that come and go."""
    alone = make_environment(MOTIONS[1:2], num_envs=1)
    alone.start([0], [0], [0.2])
    expected = [row(frame, 0) for frame in rollout(alone, [0], 25)]

    environment = make_environment([*MOTIONS[2:], *MOTIONS[:2]], num_envs=crowd + 1, threads=threads)
    slot = crowd // 2
    others = [env for env in range(crowd + 1) if env != slot]
    if others:
        environment.start(others, [env % 4 for env in others], [0.0] * len(others))
        rollout(environment, others, 3)
    again = others[:3]
    environment.start([slot, *again], [4, 0, 1, 2][: 1 + len(again)], [0.2, 0.1, 0.3, 0.0][: 1 + len(again)])
    order = [*others[::-2], slot, *others[-2::-2]]
    for k, frame in enumerate(rollout(environment, order, 20)):
        assert_same(expected[k], row(frame, order.index(slot)))
    for k, frame in enumerate(rollout(environment, [slot], 5), start=20):
        assert_same(expected[k], row(frame, 0))
