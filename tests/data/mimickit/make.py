"""Makes the files of this folder by running MimicKit's own code, on a CPU and without a simulator.

python tests/data/mimickit/make.py CHECKOUT

CHECKOUT is a clone of https://github.com/xbpeng/MimicKit; its requirements are torch, numpy, pyyaml and gymnasium. Its
classes are used as they are: environments, motion library, kinematic model, agents. What they would ask the simulator,
an engine answers that holds the states which are given to it; contact forces are counted as in its Isaac Gym engine.
"""

from __future__ import annotations

import copy
import json
import sys
import xml.etree.ElementTree as ElementTree
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
import yaml

HERE = Path(__file__).resolve().parent
HUMANOID = HERE.parents[2] / "parc_ray" / "demo" / "files" / "humanoid.xml"
ROBOT = HERE / "robot.xml"
ENVS = 48
ENGINE = {"engine_name": "isaac_gym", "control_mode": "pos", "control_freq": 30, "sim_freq": 120, "env_spacing": 5}
KEYS = ["head", "right_hand", "left_hand", "right_foot", "left_foot"]
ENVIRONMENT = {
    "env_name": "deepmimic",
    "char_file": "humanoid.xml",
    "camera_mode": "track",
    "episode_length": 10.0,
    "global_obs": True,
    "root_height_obs": True,
    "pose_termination": True,
    "pose_termination_dist": 0.5,
    "enable_phase_obs": False,
    "enable_tar_obs": True,
    "num_phase_encoding": 4,
    "tar_obs_steps": [1, 2, 3],
    "ref_char_offset": [2.0, 0.0, 0.0],
    "enable_early_termination": True,
    "key_bodies": KEYS,
    "contact_bodies": ["right_foot", "left_foot"],
    "num_disc_obs_steps": 1,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "local": {"global_obs": False, "enable_phase_obs": True},
    "local_without_height": {"global_obs": False, "root_height_obs": False, "key_bodies": [], "contact_bodies": []},
    "phase_only": {"enable_tar_obs": False, "enable_phase_obs": True, "num_phase_encoding": 0},
    "global_without_height": {"root_height_obs": False, "tar_obs_steps": [0, 4], "enable_phase_obs": True},
    "untracked_root": {"enable_tar_obs": False, "enable_phase_obs": True, "num_phase_encoding": 2},
    "no_early_termination": {"enable_early_termination": False},
    "no_pose_termination": {"pose_termination": False},
}
AGENT = {
    "agent_name": "PPO",
    "model": {
        "actor_net": "fc_2layers_128units",
        "critic_net": "fc_2layers_128units",
        "disc_net": "fc_2layers_128units",
        "actor_init_output_scale": 0.3,
        "actor_std_type": "FIXED",
        "action_std": 0.05,
    },
    **{f"{name}_optimizer": {"type": "Adam", "learning_rate": 1e-3} for name in ("actor", "critic", "disc")},
    **{f"{name}_{what}": 2 for name in ("actor", "critic", "disc") for what in ("epochs", "batch_size")},
    **{"discount": 0.99, "steps_per_iter": 4, "iters_per_output": 100, "test_episodes": 0},
    **{"td_lambda": 0.95, "ppo_clip_ratio": 0.2, "norm_adv_clip": 4.0, "awr_temp": 1.0, "a_weight_clip": 20.0},
    **{"action_bound_weight": 10.0, "action_entropy_weight": 0.0, "action_reg_weight": 0.0},
    **{"disc_buffer_size": 64, "disc_replay_samples": 8, "disc_logit_reg": 0.01, "disc_grad_penalty": 2},
    **{"disc_reward_scale": 2, "task_reward_weight": 0.0, "disc_reward_weight": 1.0},
}
STAND = {"tar_obs_steps": [1], "pose_termination_dist": 1.0, "contact_bodies": ["right_foot", "left_foot"]}
"""Changes of the environment in which the checkpoint stand.pt has learned to aim at the next pose."""


MODULES = {
    "character": "anim.mjcf_char_model",
    "motion": "anim.motion",
    "motion_lib": "anim.motion_lib",
    "engine": "engines.engine",
    "engine_builder": "engines.engine_builder",
    "isaac_gym": "engines.isaac_gym_engine",
    "add_env": "envs.add_env",
    "deepmimic_env": "envs.deepmimic_env",
    "base_agent": "learning.base_agent",
    "add_agent": "learning.add_agent",
    "awr_agent": "learning.awr_agent",
    "ppo_agent": "learning.ppo_agent",
    "torch_util": "util.torch_util",
}


def load_mimickit(checkout: Path) -> SimpleNamespace:
    """Its modules. What only simulating, drawing and logging need is replaced by nothing."""
    sys.path.insert(0, str(checkout / "mimickit"))
    for name in ("isaacgym", "isaacgym.gymapi", "isaacgym.gymtorch", "tensorboardX", "wandb", "util.video"):
        sys.modules.setdefault(name, mock.MagicMock())
    return SimpleNamespace(**{name: import_module(module) for name, module in MODULES.items()})


def dof_limits(path: Path) -> Any:
    """Lowest and highest angle of every hinge of a character, [D] rad, as a simulator reads them."""
    root = ElementTree.parse(path).getroot()
    ranges = {d.get("class"): d.find("joint").get("range") for d in root.iter("default") if d.find("joint") is not None}
    found = [
        joint.get("range", ranges.get(joint.get("class"))).split() for joint in root.find("worldbody").iter("joint")
    ]
    degrees = root.find("compiler").get("angle") == "degree"
    limits = np.array(found, dtype=np.float64)
    return np.radians(limits).astype(np.float32) if degrees else limits.astype(np.float32)


def make_engine(kit: SimpleNamespace, character: Path, count: int) -> Any:
    """An engine that holds states, and answers as MimicKit's Isaac Gym engine does."""
    model = kit.character.MJCFCharModel("cpu")
    model.load(str(character))
    limits = dof_limits(character)
    names = model.get_body_names()

    class HeldEngine(kit.isaac_gym.IsaacGymEngine):
        def __init__(self) -> None:
            self._timestep, self._ground_contact_height, self._num_envs = 1.0 / ENGINE["control_freq"], 0.3, count
            self._control_mode = kit.engine.ControlMode.pos
            self._objs_need_reset = torch.zeros(count, 1, dtype=torch.bool)
            shapes = {"root_pos": 3, "root_rot": 4, "root_vel": 3, "root_ang_vel": 3}
            for name, size in shapes.items():
                setattr(self, f"_{name}", torch.zeros(count, 1, size))
            self._root_rot[..., 3] = 1.0
            self._obj_dof_pos, self._obj_dof_vel = ([torch.zeros(count, len(limits))] for _ in range(2))
            self._obj_body_pos, self._obj_body_vel, self._obj_body_ang_vel, self._obj_contact_forces = (
                [torch.zeros(count, len(names), 3)] for _ in range(4)
            )
            self._obj_body_rot = [torch.zeros(count, len(names), 4)]
            self._obj_dof_cmd = [torch.zeros(count, len(limits))]
            self._envs: list[int] = []

        def create_env(self) -> int:
            self._envs.append(0)
            return len(self._envs) - 1

        def create_obj(self, *_: Any, **__: Any) -> int:
            return 0

        def initialize_sim(self) -> None:
            pass

        def _has_dof(self) -> bool:
            return True

        def get_obj_num_dofs(self, obj_id: int) -> int:
            return len(limits)

        def calc_obj_mass(self, env_id: int, obj_id: int) -> float:
            return 0.0

        def get_obj_body_names(self, obj_id: int) -> Any:
            return names

        def find_obj_body_id(self, obj_id: int, name: str) -> int:
            return names.index(name)

        def get_obj_dof_limits(self, env_id: int, obj_id: int) -> Any:
            return limits[:, 0], limits[:, 1]

        def hold(
            self, root_pos: Any, root_rot: Any, root_vel: Any, root_ang_vel: Any, dof_pos: Any, dof_vel: Any
        ) -> None:
            self._root_pos[:, 0], self._root_rot[:, 0] = root_pos, root_rot
            self._root_vel[:, 0], self._root_ang_vel[:, 0] = root_vel, root_ang_vel
            self._obj_dof_pos[0][:], self._obj_dof_vel[0][:] = dof_pos, dof_vel
            poses = model.forward_kinematics(root_pos, root_rot, model.dof_to_rot(dof_pos))
            self._obj_body_pos[0][:], self._obj_body_rot[0][:] = poses

    return HeldEngine()


def make_environment(kit: SimpleNamespace, character: Path, dataset: Path, changes: dict[str, Any]) -> Any:
    config = {**copy.deepcopy(ENVIRONMENT), **changes, "char_file": str(character), "motion_file": str(dataset)}
    kind = {"deepmimic": kit.deepmimic_env.DeepMimicEnv, "add": kit.add_env.ADDEnv}[config["env_name"]]
    with mock.patch.object(kit.engine_builder, "build_engine", lambda *_, **__: make_engine(kit, character, ENVS)):
        return kind(config, ENGINE, ENVS, "cpu", visualize=False)


def smooth(rng: np.random.Generator, frames: int, fps: float, low: Any, high: Any) -> Any:
    """Sums of slow waves between limits, [frames, n]."""
    time = np.arange(frames)[:, None] / fps
    waves = sum(np.sin(rng.uniform(2, 7, len(low)) * time + rng.uniform(0, 6.3, len(low))) for _ in range(3)) / 3
    return (low + high) / 2 + 0.8 * (high - low) / 2 * waves


def random_frames(rng: np.random.Generator, character: Path, frames: int, fps: float, height: float) -> Any:
    low, high = dof_limits(character).T
    dofs = smooth(rng, frames, fps, low, high)
    root_rot = smooth(rng, frames, fps, np.array([-0.6, -0.6, -2.8]), np.array([0.6, 0.6, 2.8]))
    root_pos = smooth(rng, frames, fps, np.array([-1.0, -1.0, height - 0.2]), np.array([1.0, 1.0, height + 0.2]))
    root_pos[:, 0] += np.arange(frames) / fps
    return np.concatenate((root_pos, root_rot, dofs), axis=1).astype(np.float32)


def standing_frames() -> Any:
    """Two seconds of standing with hanging, slightly swaying arms, on level ground."""
    frames = np.zeros((61, 34), dtype=np.float32)
    frames[:, 2] = 0.8819
    sway = 0.05 * np.sin(np.arange(61) / 8.0)
    frames[:, 12], frames[:, 16] = 1.45 + sway, -1.45 - sway
    return frames


def write_dataset(kit: SimpleNamespace, folder: Path, clips: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, (frames, fps, mode) in enumerate(clips):
        kit.motion.Motion(kit.motion.LoopMode(mode), fps, frames).save(str(folder / f"{number}.pkl"))
        entries.append({"file": str(folder / f"{number}.pkl"), "weight": 1.0})
    (folder / "motions.yaml").write_text(yaml.safe_dump({"motions": entries}))
    return folder / "motions.yaml"


def arrays(values: dict[str, Any]) -> dict[str, Any]:
    plain = {
        name: value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value) for name, value in values.items()
    }
    return {name: value.astype(np.float32) if value.dtype == np.float64 else value for name, value in plain.items()}


def save(name: str, values: dict[str, Any]) -> None:
    np.savez_compressed(HERE / f"{name}.npz", **arrays(values))


def clips_of(clips: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, (frames, fps, mode) in enumerate(clips):
        found.update({f"frames{number}": frames, f"fps{number}": fps, f"loop_mode{number}": mode})
    return found


def sampling(
    kit: SimpleNamespace, rng: np.random.Generator, character: Path, clips: list[Any], scratch: Path
) -> dict[str, Any]:
    """The character's kinematics, and frames of its motions at times within them and beyond."""
    model = kit.character.MJCFCharModel("cpu")
    model.load(str(character))
    library = kit.motion_lib.MotionLib(str(write_dataset(kit, scratch, clips)), model, "cpu")
    ids = torch.from_numpy(rng.integers(0, len(clips), 64))
    times = torch.from_numpy(rng.uniform(0.0, 1.9, 64).astype(np.float32)) * library.get_motion_length(ids)
    names = ("root_pos", "root_rot", "root_vel", "root_ang_vel", "joint_rot", "dof_vel")
    frames = dict(zip(names, library.calc_motion_frame(ids, times)))
    body_pos, body_rot = model.forward_kinematics(frames["root_pos"], frames["root_rot"], frames["joint_rot"])
    return {
        **clips_of(clips), **frames, "ids": ids, "times": times, "phase": library.calc_motion_phase(ids, times),
        "lengths": library.get_motion_lengths(), "dof_pos": model.rot_to_dof(frames["joint_rot"]),
        "body_pos": body_pos, "body_rot": body_rot, "body_names": model.get_body_names(),
    }  # fmt: skip


def scatter(kit: SimpleNamespace, env: Any, rng: np.random.Generator, spread: float) -> None:
    """Every env at a time of a motion, its character not quite in the pose of the reference, some bodies touched."""

    def noise(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.normal(0.0, 1.0, shape).astype(np.float32))

    amount = spread * torch.linspace(0.0, 1.0, ENVS).unsqueeze(1)
    env._motion_ids[:] = torch.from_numpy(rng.integers(0, env._motion_lib.get_num_motions(), ENVS))
    steps = torch.from_numpy(rng.integers(1, 20, ENVS)).int()
    env._timestep_buf[:] = steps
    env._time_buf[:] = env._engine.get_timestep() * steps
    env._motion_time_offsets[:] = torch.from_numpy(rng.uniform(0.0, 0.5, ENVS).astype(np.float32))
    root_pos, root_rot, root_vel, root_ang_vel, joint_rot, dof_vel = env._motion_lib.calc_motion_frame(
        env._motion_ids, env._get_motion_times()
    )
    turn = env._kin_char_model.dof_to_rot(torch.zeros(ENVS, env._kin_char_model.get_dof_size()))[:, 0].clone()
    turn[:, :3] = 0.3 * amount * noise(ENVS, 3)
    turn = turn / turn.norm(dim=-1, keepdim=True)
    dof_pos = env._kin_char_model.rot_to_dof(joint_rot)
    env._engine.hold(
        root_pos + 0.4 * amount * noise(ENVS, 3), kit.torch_util.quat_mul(turn, root_rot), root_vel + noise(ENVS, 3),
        root_ang_vel + noise(ENVS, 3), dof_pos + 0.5 * amount * noise(*dof_pos.shape), dof_vel + noise(*dof_vel.shape),
    )  # fmt: skip
    force = env._engine._obj_contact_forces[0]
    force[:] = 0.0
    touched = torch.from_numpy(rng.uniform(size=force.shape[:2]) < 0.1)
    force[touched] = 30.0 * noise(int(touched.sum()), 3)
    env._update_ref_motion()


def observations(kit: SimpleNamespace, rng: np.random.Generator, dataset: Path, variant: str) -> dict[str, Any]:
    """What characters observe, and whether they have failed; with their references now and at the target steps."""
    changes = VARIANTS[variant]
    env = make_environment(kit, HUMANOID, dataset, changes)
    scatter(kit, env, rng, 1.0)
    held = env._engine
    env._update_done()
    steps = torch.tensor([0, *(env._tar_obs_steps.tolist() if env._enable_tar_obs else [])])
    times = env._get_motion_times().unsqueeze(1) + held.get_timestep() * steps
    ids = env._motion_ids.unsqueeze(1).expand_as(times)
    root_pos, root_rot, _, _, joint_rot, _ = env._motion_lib.calc_motion_frame(ids.flatten(), times.flatten())
    return {
        "config": json.dumps({**ENVIRONMENT, **changes}), "time": env._time_buf,
        "reference_root_pos": root_pos.unflatten(0, times.shape),
        "reference_root_rot": root_rot.unflatten(0, times.shape),
        "reference_joint_rot": joint_rot.unflatten(0, times.shape),
        "reference_phase": env._motion_lib.calc_motion_phase(ids.flatten(), times.flatten()).unflatten(0, times.shape),
        "root_pos": held.get_root_pos(0), "root_rot": held.get_root_rot(0), "root_vel": held.get_root_vel(0),
        "root_ang_vel": held.get_root_ang_vel(0), "dof_pos": held.get_dof_pos(0), "dof_vel": held.get_dof_vel(0),
        "contact_force": held.get_contact_forces(0), "obs": env._compute_obs(), "failed": env._done_buf == 1,
    }  # fmt: skip


def agent_of(kit: SimpleNamespace, name: str, env: Any, rng: np.random.Generator) -> Any:
    """An agent whose normaliser has seen observations."""
    kind = {"PPO": kit.ppo_agent.PPOAgent, "AWR": kit.awr_agent.AWRAgent, "ADD": kit.add_agent.ADDAgent}[name]
    agent = kind({**copy.deepcopy(AGENT), "agent_name": name}, env, "cpu")
    for _ in range(8):
        scatter(kit, env, rng, 0.5)
        agent._obs_norm.record(env._compute_obs())
    agent._obs_norm.update()
    return agent


def actions(kit: SimpleNamespace, env: Any, agent: Any, rng: np.random.Generator) -> dict[str, Any]:
    """What an agent does in tests, and what the engine is given of it."""
    scatter(kit, env, rng, 1.0)
    obs = 1.5 * env._compute_obs()
    agent.eval()
    with torch.no_grad():
        agent._mode = kit.base_agent.AgentMode.TEST
        action, _ = agent._decide_action(obs, {})
    env._apply_action(action)
    return {
        "obs": obs, "action": action, "target": env._engine._obj_dof_cmd[0], "low": env._action_space.low,
        "high": env._action_space.high,
    }  # fmt: skip


def aim_at_the_next_pose(kit: SimpleNamespace, env: Any, agent: Any, rng: np.random.Generator) -> None:
    """A little training, by regression with the agent's own optimizer: targets are the dofs of the next frame."""
    for _ in range(1500):
        scatter(kit, env, rng, 0.1)
        times = env._get_motion_times() + env._engine.get_timestep()
        joint_rot = env._motion_lib.calc_motion_frame(env._motion_ids, times)[4]
        wanted = agent._a_norm.normalize(env._kin_char_model.rot_to_dof(joint_rot))
        mean = agent._model.eval_actor(agent._obs_norm.normalize(env._compute_obs())).mode
        agent._actor_optimizer.step(torch.mean(torch.square(mean - wanted)))


def main(checkout: Path, scratch: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    kit, rng = load_mimickit(checkout), np.random.default_rng(0)
    clips = [
        (random_frames(rng, HUMANOID, 40, 30, 0.9), 30, 0), (random_frames(rng, HUMANOID, 25, 24, 0.9), 24, 1),
        (random_frames(rng, HUMANOID, 61, 60, 0.9), 60, 0),
    ]  # fmt: skip
    save("motions", sampling(kit, rng, HUMANOID, clips, scratch / "humanoid"))
    robot_clips = [(random_frames(rng, ROBOT, 30, 30, 0.4), 30, 1)]
    save("robot", sampling(kit, rng, ROBOT, robot_clips, scratch / "robot"))
    bounds: dict[str, Any] = {}
    for name, zero_centred in (("", False), ("zero_centred_", True)):
        changes = {"zero_center_action": zero_centred, "key_bodies": [], "contact_bodies": []}
        space = make_environment(kit, ROBOT, scratch / "robot" / "motions.yaml", changes)._action_space
        bounds.update({f"{name}low": space.low, f"{name}high": space.high})
    save("robot_bounds", bounds)
    dataset = scratch / "humanoid" / "motions.yaml"
    for variant in VARIANTS:
        save(f"observations_{variant}", observations(kit, rng, dataset, variant))
    small = {"enable_tar_obs": False, "key_bodies": [], "enable_phase_obs": True, "num_phase_encoding": 1}
    for name in ("PPO", "AWR", "ADD"):
        env = make_environment(kit, HUMANOID, dataset, {**small, "env_name": "add" if name == "ADD" else "deepmimic"})
        agent = agent_of(kit, name, env, rng)
        agent.save(str(HERE / f"{name.lower()}.pt"))
        save(f"actions_{name.lower()}", actions(kit, env, agent, rng))
    stand = write_dataset(kit, scratch / "stand", [(standing_frames(), 30, 0)])
    (HERE / "stand.pkl").write_bytes((scratch / "stand" / "0.pkl").read_bytes())
    env = make_environment(kit, HUMANOID, stand, STAND)
    agent = agent_of(kit, "PPO", env, rng)
    aim_at_the_next_pose(kit, env, agent, rng)
    agent.save(str(HERE / "stand.pt"))
    files = {
        "env_config": {**ENVIRONMENT, **STAND, "motion_file": "stand.pkl"}, "engine_config": ENGINE,
        "agent_config": {**AGENT, "agent_name": "PPO"},
    }  # fmt: skip
    for name, content in files.items():
        (HERE / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        main(Path(sys.argv[1]).resolve(), Path(folder))
