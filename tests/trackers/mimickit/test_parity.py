"""What MimicKit's own code has computed, for each block of a tracker: see data/mimickit/README.md."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import Skeleton, load_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.record import RecordConfig
from parc_ray.files import plain_pickle
from parc_ray.motions.library import MotionLibrary, ReferenceFrames
from parc_ray.motions.motion_file import parse_motion
from parc_ray.trackers.action_bounds import action_bounds
from parc_ray.trackers.mimickit.config import MimickitEnvironmentConfig
from parc_ray.trackers.mimickit.observer import MimickitObserver
from parc_ray.trackers.mimickit.termination import MimickitTermination
from parc_ray.trackers.policy import Policy, load_checkpoint
from parc_ray.trackers.tracker import ObservationInputs
from tests.reference import DATA, HUMANOID, max_error, max_rotation_error, tensor, vectors

CPU = torch.device("cpu")
FOLDER = DATA / "mimickit"
SKELETON, ROBOT = load_skeleton(HUMANOID), load_skeleton(FOLDER / "robot.xml")
VARIANTS = sorted(path.stem for path in FOLDER.glob("observations_*.npz"))
NETWORK = "fc_2layers_128units"


def library_of(v, skeleton: Skeleton) -> MotionLibrary:
    """The motions of a file of vectors, by the way of MimicKit's motion files."""
    motions = []
    for number in range(sum(name.startswith("frames") for name in v)):
        clip = {
            "frames": v[f"frames{number}"].tolist(),
            "fps": int(v[f"fps{number}"]),
            "loop_mode": int(v[f"loop_mode{number}"]),
        }
        motions.append(parse_motion(plain_pickle.dumps(clip), str(number), skeleton, "clip.pkl"))
    return MotionLibrary(motions, skeleton, CPU)


@pytest.mark.parametrize(("name", "skeleton"), [("motions", SKELETON), ("robot", ROBOT)])
class TestMotions:
    def test_sampling(self, name, skeleton):
        v = vectors(f"mimickit/{name}")
        library = library_of(v, skeleton)
        frames = library.sample(tensor(v["ids"]), tensor(v["times"]))
        assert max_error(library.lengths, v["lengths"]) <= 1e-6
        assert max_error(frames.phase, v["phase"]) <= 1e-6
        assert max_error(frames.root_pos, v["root_pos"]) <= 1e-5
        # Between rotations that are nearly equal, the original's slerp is decided by rounding.
        for ours, theirs in ((frames.root_rot, v["root_rot"]), (frames.joint_rot, v["joint_rot"])):
            assert max_rotation_error(ours, theirs) <= 5e-4
            assert (np.abs(ours.numpy() - theirs) <= 1e-5).mean() > 0.99
        assert max_error(frames.root_vel, v["root_vel"]) <= 1e-4
        assert max_error(frames.root_ang_vel, v["root_ang_vel"]) <= 1e-3
        assert max_error(frames.dof_vel, v["dof_vel"]) <= 1e-3

    def test_kinematics(self, name, skeleton):
        v = vectors(f"mimickit/{name}")
        assert list(skeleton.body_names) == list(v["body_names"])
        poses = (tensor(v[key]) for key in ("root_pos", "root_rot", "joint_rot"))
        body_pos, body_rot = skeleton.forward_kinematics(*poses)
        assert max_error(body_pos, v["body_pos"]) <= 1e-5
        assert max_rotation_error(body_rot, v["body_rot"]) <= 1e-5
        assert max_error(skeleton.rot_to_dof(tensor(v["joint_rot"])), v["dof_pos"]) <= 1e-4


def held(v) -> tuple:
    """State and pose of the characters of a file of observations."""
    names = ("root_pos", "root_rot", "root_vel", "root_ang_vel", "dof_pos", "dof_vel", "contact_force")
    state = CharacterState(**{name: tensor(v[name]) for name in names})
    joint_rot = SKELETON.dof_to_rot(state.dof_pos)
    return state, Pose(joint_rot, *SKELETON.forward_kinematics(state.root_pos, state.root_rot, joint_rot))


def referenced(v) -> tuple:
    """References of a file of observations, now and at the target steps, and their poses."""
    names = ("root_pos", "root_rot", "joint_rot", "phase")
    known = {name: tensor(v[f"reference_{name}"]) for name in names}
    frames = ReferenceFrames(
        **known, root_vel=torch.zeros(0), root_ang_vel=torch.zeros(0), dof_vel=torch.zeros(0), contacts=torch.zeros(0)
    )
    poses = SKELETON.forward_kinematics(frames.root_pos, frames.root_rot, frames.joint_rot)
    return frames, Pose(frames.joint_rot, *poses)


def no_ground(points):
    raise AssertionError("MimicKit's trackers do not look at the ground")


@pytest.mark.parametrize("variant", VARIANTS)
class TestVariants:
    def test_observations(self, variant):
        v = vectors(f"mimickit/{variant}")
        config = MimickitEnvironmentConfig.model_validate(json.loads(str(v["config"])))
        observer = MimickitObserver(config, SKELETON, CPU)
        state, pose = held(v)
        features = observer.reference_features(*referenced(v))
        contacts = torch.zeros(len(features), SKELETON.num_bodies)
        obs = observer.observe(ObservationInputs(state, pose, contacts, features, no_ground))
        assert observer.layout.size == v["obs"].shape[1]
        # Its slerp leaves quaternions that are not quite of unit length, which turn vectors otherwise than matrices.
        assert max_error(obs, v["obs"]) <= (1e-5 if config.global_obs else 2e-4)

    def test_termination(self, variant):
        v = vectors(f"mimickit/{variant}")
        config = MimickitEnvironmentConfig.model_validate(json.loads(str(v["config"])))
        termination = MimickitTermination(config, 0.3, SKELETON, CPU)
        (state, pose), reference = held(v), referenced(v)[1]
        ground = torch.zeros(pose.body_pos.shape[:2]) if termination.needs_ground else None
        verdict = termination.compute(
            tensor(v["time"]), state, pose, Pose(*(part[:, 0] for part in vars(reference).values())), ground
        )
        failed = verdict.reason.numpy() > 0
        assert (failed == v["failed"]).all()
        assert failed.any() == config.enable_early_termination and not failed.all()


def test_nothing_fails_before_the_first_step():
    v = vectors("mimickit/observations_default")
    config = MimickitEnvironmentConfig.model_validate(json.loads(str(v["config"])))
    termination = MimickitTermination(config, 0.3, SKELETON, CPU)
    state, pose = held(v)
    far = replace(pose, body_pos=pose.body_pos + 10.0)
    reasons = [
        termination.compute(torch.full((len(far.body_pos),), time), state, pose, far, None).reason
        for time in (0.0, 0.1)
    ]
    assert not reasons[0].any() and reasons[1].all()


def test_action_bounds():
    v = vectors("mimickit/robot_bounds")
    for name, zero_centred in (("", False), ("zero_centred_", True)):
        low, high = action_bounds(ROBOT, zero_centred)
        assert max_error(low, v[f"{name}low"]) <= 1e-6 and max_error(high, v[f"{name}high"]) <= 1e-6


@pytest.mark.parametrize("agent", ["ppo", "awr", "add"])
def test_actions_of_a_checkpoint(agent):
    v = vectors(f"mimickit/actions_{agent}")
    config = RecordConfig(
        output_dir="out", model_file=f"{agent}.pt", env_file="env", agent_file="agent", dataset_file="walk.pkl"
    )
    content, size = (FOLDER / f"{agent}.pt").read_bytes(), v["obs"].shape[1]
    parameters = load_checkpoint(content, NETWORK, size, SKELETON.dof_count, config)
    low, high = action_bounds(SKELETON)
    assert max_error(low, v["low"]) <= 1e-6 and max_error(high, v["high"]) <= 1e-6
    obs = tensor(v["obs"])
    assert max_error(Policy(parameters, NETWORK, 10.0, None, CPU).act(obs), v["action"]) <= 1e-4
    assert max_error(Policy(parameters, NETWORK, 10.0, (low, high), CPU).act(obs), v["target"]) <= 1e-4
    assert np.abs(v["action"] - v["target"]).max() > 0.1, "some are out of bounds"
