"""The training script, on tiny networks and a handful of motions."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import numpy as np
import pytest
import torch

from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import load_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.loading import load_config
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.errors import InputError
from parc_ray.motions.library import ReferenceFrames
from parc_ray.trackers.parc.config import AgentConfig
from parc_ray.trackers.parc.policy import load_checkpoint
from tests.reference import DATA, DEMO, HUMANOID, ROOT, max_error, tensor, vectors

pytestmark = pytest.mark.slow

SKELETON = load_skeleton(HUMANOID)


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location("train_demo_tracker", ROOT / "scripts" / "train_demo_tracker.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_demo_tracker"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


script = load_script()

REWARD = vectors("reward")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Training sets the number of torch's threads and the visible devices for its process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CUDA_VISIBLE_DEVICES", "")
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def motions() -> List[Any]:
    return [generate_motion(MotionSpec("idle", seed, 1.6, 0.0), SKELETON, f"idle_{seed}") for seed in range(8)]


@pytest.fixture
def few_motions(motions, monkeypatch) -> None:
    monkeypatch.setattr(script, "generate_motions", lambda count, *_, **__: iter(motions[:count]))


@pytest.fixture
def config(tmp_path) -> Path:
    """The demo's configuration files, to train quickly with."""
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "dm_env.yaml").write_text((DEMO / "dm_env.yaml").read_text())
    text = (DEMO / "agent_config.yaml").read_text()
    settings = {"steps_per_iter": 8, "batch_size": 4, "update_epochs": 2, "normalizer_samples": 128}
    settings.update(type="Adam", learning_rate=0.001, action_std=0.02)
    for name, value in settings.items():
        text, count = re.subn(rf"(?m)^( *{name}): \S+", rf"\g<1>: {value}", text)
        assert count == 1, name
    (folder / "agent_config.yaml").write_text(text)
    return folder


def options(config: Path, output: Path, *arguments: str) -> Any:
    fixed = ["--config", str(config), "--output", str(output), "--motions", "8", "--num-envs", "8", "--threads", "1"]
    return script.parse_options([*fixed, "--held-out", "4", "--print-every", "2", "--save-every", "3", *arguments])


# --- Reward --------------------------------------------------------------------------------------------------


def rewarded_environment() -> Any:
    return load_config(DEMO / "dm_env.yaml", script.TrainingEnvironmentFile, None).env


def reference_case() -> Any:
    """A step and the reference's frames, of the reference vectors."""
    state = CharacterState(
        **{
            name: tensor(REWARD[f"char_{name}"])
            for name in ("root_pos", "root_rot", "root_vel", "root_ang_vel", "dof_pos", "dof_vel")
        },
        contact_force=tensor(REWARD["char_contact_forces"]),
    )
    joint_rot = SKELETON.dof_to_rot(state.dof_pos)
    pose = Pose(joint_rot, tensor(REWARD["char_body_pos"]), torch.empty(0))
    reference_pose = Pose(torch.empty(0), tensor(REWARD["ref_body_pos"]), torch.empty(0))
    names = ("root_pos", "root_rot", "root_vel", "root_ang_vel", "joint_rot", "dof_vel", "contacts")
    frames = ReferenceFrames(**{name: tensor(REWARD[f"ref_{name}"]) for name in names}, phase=torch.empty(0))
    return SimpleNamespace(state=state, pose=pose, reference=reference_pose), frames


def test_reward_is_the_originals():
    reward = script.Reward(rewarded_environment(), SKELETON, torch.device("cpu"))
    step, frames = reference_case()
    parts = reward.parts(step, frames)
    assert max_error(parts[:, :5], REWARD["deepmimic_reward_track"]) < 1e-5
    assert max_error(parts[:, 5], REWARD["reward_contact_penalty"]) < 1e-5
    assert max_error(reward(step, frames), REWARD["reward_total_r"]) < 1e-5
    np.testing.assert_allclose(reward.dofs, REWARD["dof_err_w"])


def test_reward_needs_a_weight_for_every_joint():
    config = rewarded_environment().model_copy(update={"joint_err_w": [1.0]})
    with pytest.raises(InputError, match=r"joint_err_w has 1 weights .* 14 joints"):
        script.Reward(config, SKELETON, torch.device("cpu"))


# --- Advantages ----------------------------------------------------------------------------------------------


def brute_force_advantages(rewards, values, over, last_values, discount, td_lambda) -> np.ndarray:
    """Sums of the discounted temporal differences up to the attempt's end, written out (Schulman et al. 2016, 16)."""
    steps, envs = rewards.shape
    following = np.concatenate((values[1:], last_values[None]))
    advantages = np.zeros((steps, envs))
    for env in range(envs):
        for start in range(steps):
            for t in range(start, steps):
                ahead = 0.0 if over[t, env] else following[t, env]
                difference = rewards[t, env] + discount * ahead - values[t, env]
                advantages[start, env] += (discount * td_lambda) ** (t - start) * difference
                if over[t, env]:
                    break
    return advantages


def test_advantages_are_those_of_the_definition():
    rng = np.random.default_rng(5)
    rewards, values = rng.normal(size=(2, 20, 6))
    over, last_values = rng.random((20, 6)) < 0.15, rng.normal(size=6)
    actual = script.generalized_advantages(*map(torch.from_numpy, (rewards, values, over, last_values)), 0.97, 0.9)
    expected = brute_force_advantages(rewards, values, over, last_values, 0.97, 0.9)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_nothing_beyond_an_end_matters():
    values = torch.tensor([[1.0], [2.0], [float("nan")]])
    over = torch.tensor([[False], [True], [False]])
    advantages = script.generalized_advantages(torch.ones(3, 1), values, over, torch.zeros(1), 0.5, 1.0)
    assert advantages[:2].flatten().tolist() == [1.0 + 0.5 * 1.0 - 1.0, 1.0 - 2.0]


# --- Training ------------------------------------------------------------------------------------------------


def trained(arguments: Any) -> Dict[str, torch.Tensor]:
    script.train(arguments)
    return torch.load(arguments.output / "model.pt", weights_only=True)


def test_a_run_writes_parcs_files(few_motions, config, tmp_path, capsys):
    output = tmp_path / "output"
    state = trained(options(config, output, "--samples", "192"))
    wide = json.loads((DATA / "agent_state_dict_keys.json").read_text())["keys"]
    # The demo's networks have one hidden layer less than those that PARC's listing is of.
    expected = [key["key"] for key in wide if "layers.4" not in key["key"]]
    assert list(state) == expected
    agent = load_config(output / "agent_config.yaml", AgentConfig, None)
    size = len(state["_obs_norm._mean"])
    content = (output / "model.pt").read_bytes()
    parameters = load_checkpoint(content, "model.pt", agent, "agent_config.yaml", size, SKELETON)
    assert parameters["_obs_norm._std"].dtype == torch.float32
    std = state["_model._action_dist._logstd_net"].float().exp()
    np.testing.assert_allclose(std, 0.02, rtol=0.01)
    for name in script.CONFIG_FILES:
        assert (output / name).read_bytes() == (config / name).read_bytes()
    assert sorted(path.name for path in output.iterdir()) == [*script.CONFIG_FILES, "model.pt", "training.pt"]
    printed = capsys.readouterr().out
    assert "success" in printed and "held-out" in printed


def test_a_seed_gives_one_checkpoint_interrupted_or_not(few_motions, config, tmp_path):
    def train(folder: str, *more: str) -> bytes:
        arguments = ("--samples", "256", "--save-every", "2", "--held-out", "0", *more)
        script.train(options(config, tmp_path / folder, *arguments))
        return (tmp_path / folder / "model.pt").read_bytes()

    whole = train("whole")
    assert train("interrupted", "--minutes", "0.000001") != whole
    assert train("interrupted", "--resume") == whole
    assert train("other", "--seed", "1") != whole


def test_evaluation_counts_every_motion_once(few_motions, config, tmp_path, capsys):
    output = tmp_path / "output"
    script.train(options(config, output, "--samples", "64"))
    capsys.readouterr()
    script.report(options(config, output, "--evaluate", "8"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0][-12:] for line in lines] == [
        "0.00 to 0.25", "0.25 to 0.50", "0.50 to 0.75", "0.75 to 1.00"
    ]  # fmt: skip
    for line in lines:
        assert sum(int(share) for share in re.findall(r"(\d+) %", line)) in (99, 100, 101)
        assert "failed 100 %" in line  # nothing can be learnt in 64 steps


def test_a_trainable_agent_is_asked_for(config):
    text = (config / "agent_config.yaml").read_text()
    (config / "agent_config.yaml").write_text(text.replace("Adam", "SGD"))
    with pytest.raises(InputError, match=r"agent_config.yaml: key 'optimizer.type'.*'Adam'"):
        script.read_configs(config)


def test_ppo_moves_the_actor_towards_what_paid_off(few_motions, config, tmp_path):
    training = script.Training(options(config, tmp_path, "--samples", "100000"))
    training.iteration = 100  # past the supervised start
    random = torch.Generator().manual_seed(3)
    observations = torch.randn(8, 8, len(training.normalizer.mean), generator=random)

    def means() -> torch.Tensor:
        return training.network.act(observations.flatten(0, 1)).detach().unflatten(0, (8, 8))

    before = means()
    for _ in range(10):
        now = means()
        actions = now + 0.02 * torch.randn(now.shape, generator=random)
        paid, over = actions[..., 0] - actions[..., 1], torch.ones(8, 8, dtype=torch.bool)
        training._learn(script.Experience(observations, actions, now, now, torch.zeros(8, 8), paid, over), paid)
    moved = ((means() - before) / 0.02).mean(dim=(0, 1))
    assert moved[0] > 1.0 > -1.0 > moved[1]
    assert moved[2:].abs().max() < 1.0
