from __future__ import annotations

import json

import pytest
import torch

from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import load_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.loading import load_yaml
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.library import ReferenceFrames
from parc_ray.trackers.parc.config import ParcEnvironmentConfig
from parc_ray.trackers.parc.observer import ParcObserver, ray_points
from parc_ray.trackers.tracker import ObservationInputs
from tests.reference import DEMO, HUMANOID, max_error, tensor, vectors

SKELETON = load_skeleton(HUMANOID)
CPU = torch.device("cpu")


def pose_of(root_pos, root_rot, joint_rot) -> Pose:
    return Pose(joint_rot, *SKELETON.forward_kinematics(root_pos, root_rot, joint_rot))


def environment_config(**changes) -> ParcEnvironmentConfig:
    content = {**load_yaml(DEMO / "dm_env.yaml")["env"], **changes}
    return ParcEnvironmentConfig.model_validate(content)


def observe(v) -> tuple:
    settings = json.loads(str(v["config_json"]))
    known = {key: value for key, value in settings.items() if key in ParcEnvironmentConfig.model_fields}
    observer = ParcObserver(environment_config(**known), SKELETON, CPU)
    state = CharacterState(
        root_pos=tensor(v["char_root_pos"]),
        root_rot=tensor(v["char_root_rot"]),
        root_vel=tensor(v["char_root_vel"]),
        root_ang_vel=tensor(v["char_root_ang_vel"]),
        dof_pos=tensor(v["char_dof_pos"]),
        dof_vel=tensor(v["char_dof_vel"]),
        contact_force=tensor(v["char_contact_forces"]),
    )
    targets = ReferenceFrames(
        root_pos=tensor(v["tar_root_pos"]),
        root_rot=tensor(v["tar_root_rot"]),
        root_vel=torch.zeros(0),
        root_ang_vel=torch.zeros(0),
        joint_rot=tensor(v["tar_joint_rot"]),
        dof_vel=torch.zeros(0),
        contacts=tensor(v["tar_contacts"]),
        phase=torch.zeros(0),
    )
    target_pose = pose_of(targets.root_pos, targets.root_rot, targets.joint_rot)
    pose = pose_of(state.root_pos, state.root_rot, SKELETON.dof_to_rot(state.dof_pos))
    contacts = (state.contact_force.norm(dim=-1) > 1e-5).float()
    terrain = HeightField(
        hf=v["terrain_hf"],
        hf_maxmin=torch.zeros(*v["terrain_hf"].shape, 2).numpy(),
        min_point=v["terrain_min_point"],
        dx=float(v["terrain_dxdy"][0]),
    )
    features = observer.reference_features(targets, target_pose)

    def heights(points):
        return tensor(terrain.height_at((points + tensor(v["env_offsets"])[:, None, :2]).numpy()))

    return observer, observer.observe(ObservationInputs(state, pose, contacts, features, heights))


@pytest.mark.parametrize("name", ["observations_default", "observations_global"])
def test_reference_vectors(name):
    v = vectors(name)
    observer, obs = observe(v)
    assert list(observer.layout.shapes) == list(v["obs_keys"])
    assert observer.layout.size == v["obs"].shape[1]
    sizes = [int(size) for size in v["obs_sizes"]]
    parts = dict(zip(v["obs_keys"], obs.split(sizes, dim=1)))
    tolerance = {"char_obs": 1e-4, "tar_obs": 2e-4, "tar_contacts": 0.0, "char_contacts": 0.0}
    for key, limit in tolerance.items():
        assert max_error(parts[key], v[f"obs_{key}"]) <= limit, key
    safe = v["hf_safe"]
    assert max_error(parts["hf"].numpy()[safe], v["obs_hf"][safe]) <= 2e-5


def test_ray_cones():
    v = vectors("rays")
    for i in range(4):
        behind, ahead, right, left, dx, angle = v[f"cone{i}_params"]
        config = environment_config(
            ray_points_behind=int(behind),
            ray_points_ahead=int(ahead),
            ray_num_left=int(right),  # the original passes its ray_num_left as the number of rays on the right
            ray_num_right=int(left),
            ray_dx=float(dx),
            ray_angle=float(angle),
        )
        assert max_error(ray_points(config), v[f"cone{i}_points"]) <= 1e-5


def test_real_isaac_gym_recording():
    """What the original observed in Isaac Gym follows from the poses that it recorded."""
    v = vectors("golden_isaacgym_recording")
    config = environment_config(
        tar_obs_steps=[int(step) for step in v["tar_obs_steps"]],
        ray_points_behind=2,
        ray_points_ahead=60,
        ray_num_left=3,
        ray_num_right=3,
        ray_dx=0.05,
        ray_angle=0.26179938779,
    )
    observer = ParcObserver(config, SKELETON, CPU)
    assert observer.layout.size == v["obs"].shape[1]
    root_pos, root_rot, joint_rot = (tensor(v[key]) for key in ("root_pos", "root_rot", "joint_rot"))
    rows = len(root_pos)
    state = CharacterState(
        root_pos, root_rot, torch.zeros(rows, 3), torch.zeros(rows, 3), SKELETON.rot_to_dof(joint_rot),
        torch.zeros(rows, 28), torch.zeros(rows, 15, 3),
    )  # fmt: skip
    terrain = HeightField(v["terrain_hf"], v["terrain_hf_maxmin"], v["terrain_min_point"], float(v["terrain_dx"]))
    situation = ObservationInputs(
        state, pose_of(root_pos, root_rot, joint_rot), tensor(v["body_contacts"]),
        torch.zeros(rows, 6, observer.features.size), lambda points: tensor(terrain.height_at(points.numpy())),
    )  # fmt: skip
    obs = observer.observe(situation).numpy()
    char, recorded = obs[:, :136], v["obs"][:, :136]
    comparable = v["char_obs_comparable"]
    assert max_error(char[:, comparable], recorded[:, comparable]) <= 1e-4
    assert max_error(obs[:, 856:871], v["obs"][:, 856:871]) == 0.0
    assert max_error(obs[:, 871:][v["hf_comparable"]], v["obs"][:, 871:][v["hf_comparable"]]) <= 2e-5
