"""The training script, on tiny networks and a handful of motions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import training_curve
import yaml
from train_tracker import __main__ as command
from train_tracker import ppo, search, tracker

from parc_ray.character.character import read_character
from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import load_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.loading import load_config
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.errors import InputError
from parc_ray.motions.dataset import write_dataset_file
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.library import ReferenceFrames
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.trackers.parc.config import AgentConfig
from parc_ray.trackers.policy import load_checkpoint
from tests.character.robots import write_robot
from tests.reference import DATA, DEMO, HUMANOID, max_error, tensor, vectors
from tests.trackers.test_policy import CONFIG

pytestmark = pytest.mark.slow

SKELETON = load_skeleton(HUMANOID)
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
def dataset(tmp_path_factory) -> Path:
    """Four motions of somebody who stands."""
    folder = tmp_path_factory.mktemp("dataset")
    files = []
    for seed in range(4):
        motion = generate_motion(MotionSpec("idle", seed, 1.6, 0.0), SKELETON, f"idle_{seed}")
        files.append(folder / f"{motion.name}.pkl")
        files[-1].write_bytes(motion_file_bytes(motion))
    write_dataset_file([(str(file), 1.0) for file in files], folder / "motions.yaml")
    return folder / "motions.yaml"


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


@pytest.fixture
def options(dataset, config) -> Any:
    """The command's options for an output folder: eight characters, twice as many as there are motions."""

    def parse(output: Path, *arguments: str) -> Any:
        fixed = ["--dataset", str(dataset), "--config", str(config), "--output", str(output), "--num-envs", "8"]
        more = ["--threads", "1", "--print-every", "2", "--save-every", "3"]
        return command.parse_options([*fixed, *more, *arguments])

    return parse


# --- Reward --------------------------------------------------------------------------------------------------


def rewarded_environment() -> Any:
    return load_config(DEMO / "dm_env.yaml", tracker.TrainingEnvironmentFile, None).env


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
    reward = tracker.Reward(rewarded_environment(), SKELETON, torch.device("cpu"))
    step, frames = reference_case()
    parts = reward.parts(step, frames)
    assert max_error(parts[:, :5], REWARD["deepmimic_reward_track"]) < 1e-5
    assert max_error(parts[:, 5], REWARD["reward_contact_penalty"]) < 1e-5
    assert max_error(reward(step, frames), REWARD["reward_total_r"]) < 1e-5
    np.testing.assert_allclose(reward.dofs, REWARD["dof_err_w"])


def test_reward_needs_a_weight_for_every_joint():
    config = rewarded_environment().model_copy(update={"joint_err_w": [1.0]})
    with pytest.raises(InputError, match=r"joint_err_w has 1 weights .* 14 joints"):
        tracker.Reward(config, SKELETON, torch.device("cpu"))


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
    actual = ppo.generalized_advantages(*map(torch.from_numpy, (rewards, values, over, last_values)), 0.97, 0.9)
    expected = brute_force_advantages(rewards, values, over, last_values, 0.97, 0.9)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_nothing_beyond_an_end_matters():
    values = torch.tensor([[1.0], [2.0], [float("nan")]])
    over = torch.tensor([[False], [True], [False]])
    advantages = ppo.generalized_advantages(torch.ones(3, 1), values, over, torch.zeros(1), 0.5, 1.0)
    assert advantages[:2].flatten().tolist() == [1.0 + 0.5 * 1.0 - 1.0, 1.0 - 2.0]


# --- Training ------------------------------------------------------------------------------------------------


def trained(arguments: Any) -> dict[str, torch.Tensor]:
    command.train(arguments)
    return torch.load(arguments.output / "model.pt", weights_only=True)


def test_a_run_writes_parcs_files(options, config, tmp_path, capsys):
    output = tmp_path / "output"
    state = trained(options(output, "--samples", "192"))
    wide = json.loads((DATA / "agent_state_dict_keys.json").read_text())["keys"]
    # The demo's networks have one hidden layer less than those that PARC's listing is of.
    expected = [key["key"] for key in wide if "layers.4" not in key["key"]]
    assert list(state) == expected
    agent = load_config(output / "agent_config.yaml", AgentConfig, None)
    size = len(state["_obs_norm._mean"])
    content = (output / "model.pt").read_bytes()
    parameters = load_checkpoint(content, agent.model.actor_net, size, SKELETON.dof_count, CONFIG)
    assert parameters["_obs_norm._std"].dtype == torch.float32
    std = state["_model._action_dist._logstd_net"].float().exp()
    np.testing.assert_allclose(std, 0.02, rtol=0.01)
    for name in tracker.CONFIG_FILES:
        assert (output / name).read_bytes() == (config / name).read_bytes()
    written = sorted(path.name for path in output.iterdir())
    assert written == sorted([*tracker.CONFIG_FILES, "best.pt", "model.pt", "training.pt"])
    printed = capsys.readouterr().out
    assert "4 motions, 8 characters" in printed and "success" in printed
    assert "of 4 motions recorded whole" in printed


def test_a_seed_gives_one_checkpoint_interrupted_or_not(options, tmp_path):
    def train(folder: str, *more: str) -> bytes:
        # Which precision is faster here is measured anew each time; the answer could differ under load.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ppo, "half_is_faster", lambda *_: False)
            command.train(options(tmp_path / folder, "--samples", "256", "--save-every", "2", *more))
        return (tmp_path / folder / "model.pt").read_bytes()

    whole = train("whole")
    assert train("interrupted", "--minutes", "0.000001") != whole
    assert train("interrupted", "--resume") == whole
    assert train("other", "--seed", "1") != whole


def test_a_training_can_begin_with_another_s_networks(options, tmp_path, config):
    command.train(options(tmp_path / "first", "--samples", "64"))
    first = tmp_path / "first" / "model.pt"
    arguments = options(tmp_path / "second", "--samples", "64", "--start-from", str(first))
    training = ppo.Training(arguments, command.read_dataset(arguments.dataset, arguments.character))
    training.start_from(first.read_bytes())
    assert not training.supervised, "it would unlearn what PPO taught it"
    state = torch.load(first, weights_only=True)
    for name, value in training.network.state_dict().items():
        assert torch.equal(value, state[f"_model.{name}"].float())
    np.testing.assert_allclose(training.normalizer.std, state["_obs_norm._std"], rtol=1e-3)
    np.testing.assert_allclose(training.normalizer.mean, state["_obs_norm._mean"], atol=1e-5)
    state["_model._critic_out.bias"] = torch.zeros(2)
    torch.save(state, first)
    with pytest.raises(InputError, match=r"model.pt: does not fit agent_config.yaml"):
        training.start_from(first.read_bytes())


def test_evaluation_tells_what_became_of_every_motion(options, tmp_path, capsys):
    output = tmp_path / "output"
    command.train(options(output, "--samples", "64"))
    capsys.readouterr()
    command.report(options(output, "--evaluate"))
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [f"idle_{seed}" for seed in range(4)]
    recorded = sum(line.split()[1] == "recorded" for line in lines)
    assert last == f"{recorded} of 4 motions recorded whole"
    for line in lines:
        assert re.search(r"from 0.00 +\d\.\d\d of +1\.60 s +root error \d\.\d\d\d m", line)


def test_a_dataset_with_a_broken_motion_is_refused(dataset, tmp_path):
    (tmp_path / "broken.pkl").write_bytes(b"no motion")
    write_dataset_file([(str(tmp_path / "broken.pkl"), 1.0), *listed(dataset)], tmp_path / "motions.yaml")
    with pytest.raises(InputError, match=r"motions.yaml: .*broken.pkl: "):
        command.read_dataset(tmp_path / "motions.yaml", HUMANOID)


def test_a_folder_of_motions_is_a_dataset(dataset, tmp_path):
    names = [motion.name for motion in command.read_dataset(dataset.parent, HUMANOID)]
    assert names == [f"idle_{seed}" for seed in range(4)]
    with pytest.raises(InputError, match="has no motion files"):
        command.read_dataset(tmp_path, HUMANOID)


def listed(dataset: Path) -> list[Any]:
    return [(motion["file"], motion["weight"]) for motion in yaml.safe_load(dataset.read_text())["motions"]]


def test_what_fails_is_drawn_more_often_motions_and_phases(options, tmp_path):
    arguments = options(tmp_path, "--samples", "100000")
    training = ppo.Training(arguments, command.read_dataset(arguments.dataset, arguments.character))
    training.iteration = 1000  # past the supervised start
    training.failure_rates[:] = 0.0
    training.failure_rates[2, 1] = 1.0
    counts = torch.zeros(4, ppo.PHASES)
    for _ in range(100):
        training.to_start, training.motions[:] = training.envs, -1
        training._start_attempts()
        counts += torch.zeros_like(counts).index_put_(
            (training.motions, training.phases), torch.ones(8), accumulate=True
        )
    shares = counts / counts.sum()
    # Weights are 0.25 everywhere and 1.25 there: 1.25 of 4 * 8 * 0.25 + 1.
    assert float(shares[2, 1]) == pytest.approx(1.25 / 9.0, abs=0.04)
    assert float(shares[2].sum()) == pytest.approx(3.0 / 9.0, abs=0.06)
    assert float(shares.min()) > 0.0


@pytest.mark.parametrize("half", [0.5, 2.0])
def test_bfloat16_is_used_where_it_is_faster(options, tmp_path, monkeypatch, half):
    arguments = options(tmp_path, "--samples", "64")
    training = ppo.Training(arguments, command.read_dataset(arguments.dataset, arguments.character))
    clock = iter([0, 9, 10, 19, 20, 21, 30, 30 + half])
    monkeypatch.setattr(tracker.time, "perf_counter", lambda: next(clock))
    size = len(training.normalizer.mean)
    assert tracker.half_is_faster(training.network, 4, size, torch.device("cpu")) == (half < 1.0)
    assert all(parameter.grad is None for parameter in training.network.parameters())


# --- Lessons -------------------------------------------------------------------------------------------------


def random_state(count: int, seed: int) -> CharacterState:
    random = torch.Generator().manual_seed(seed)
    parts = {"root_pos": 3, "root_rot": 4, "root_vel": 3, "root_ang_vel": 3, "dof_pos": 28, "dof_vel": 28}
    state = {name: 0.5 * torch.randn(count, size, generator=random) for name, size in parts.items()}
    state["root_rot"] = state["root_rot"] / state["root_rot"].norm(dim=-1, keepdim=True)
    return CharacterState(**state, contact_force=torch.zeros(count, 15, 3))


def test_deviations_lead_from_state_to_state():
    state, deviation = random_state(6, 0), 0.3 * torch.randn(6, 68, generator=torch.Generator().manual_seed(1))
    moved = search.displace(SKELETON, state, deviation)
    np.testing.assert_allclose(search.difference(SKELETON, moved, state), deviation, atol=2e-5)
    turned = search.displace(SKELETON, state, torch.eye(68)[5:6].expand(6, 68) * 0.4)
    angle = 2 * torch.acos((turned.root_rot * state.root_rot).sum(-1).abs())
    np.testing.assert_allclose(angle, 0.4, atol=1e-4)


@pytest.fixture(scope="module")
def walk() -> Motion:
    return generate_motion(MotionSpec("walk", 3, 1.2, 0.2), SKELETON, "walk")


def test_a_lesson_carries_the_character_through_its_motion_and_back_to_it(options, walk, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "SPREADS", (0.13, 0.08))
    monkeypatch.setattr(search, "FITTED", 256)
    arguments = options(tmp_path, "--search", "256")
    training = ppo.Training(arguments, [walk])
    recorder = tracker.build(
        [walk], training.checkpoint(), arguments, arguments.config, num_envs=256, max_envs_per_actor=256
    )
    lesson, share = search.Search(recorder.environment, 0).lesson(0)
    assert share == 1.0 and lesson is not None
    steps = recorder.environment.steps_of(0, 0.0)
    assert len(lesson.targets) == len(lesson.gains) == steps
    envs, environment = list(range(32)), recorder.environment
    random = torch.Generator().manual_seed(0)

    def root_error(corrected: bool, noise: float) -> float:
        environment.start(envs, [0] * 32, [0.0] * 32)
        errors = []
        random.manual_seed(0)
        for step in range(steps):
            state = environment.first_frame(envs)[0]
            targets = lesson.targets[step].expand(32, -1)
            if corrected:
                targets = lesson.targets_at(environment.steps_done[envs], state, SKELETON)
            taken = environment.step(envs, targets + noise * torch.randn(32, 28, generator=random))
            assert noise or not bool((taken.reason > 0).any())
            errors.append((taken.state.root_pos - lesson.states.root_pos[step + 1]).norm(dim=-1).mean())
        return float(torch.stack(errors).mean())

    assert root_error(True, 0.0) < 0.001
    assert root_error(True, 0.02) < 0.8 * root_error(False, 0.02)


def test_gains_are_optimal_and_errors_cost_what_the_roots_say(options, walk, tmp_path, monkeypatch):
    arguments = options(tmp_path)
    training = ppo.Training(arguments, [walk])
    one_search = search.Search(training.environment, 0)
    one_search.motion, one_search.steps = 0, 4
    random = torch.Generator().manual_seed(2)
    size, dofs = 68, 28
    systems = [(0.12 * torch.randn(size, size, generator=random), 0.2 * torch.randn(size, dofs, generator=random))
               for _ in range(4)]  # fmt: skip
    backwards = iter(reversed(systems))
    monkeypatch.setattr(one_search, "_linearize", lambda *_: next(backwards))
    lesson = one_search._with_gains([random_state(1, seed) for seed in range(5)], torch.zeros(4, dofs))
    gains = [gain.double() for gain in lesson.gains]
    sizes = torch.tensor([3, 3, dofs, 3, 3, dofs])
    prices = torch.tensor([20.0, 10.0, 1.0, 1.0, 0.5, 0.01]).repeat_interleave(sizes).double()

    def cost(state: torch.Tensor, first: torch.Tensor) -> float:
        """Of the linear system, when targets are off by `first` before they follow the gains."""
        total = 0.0
        for step, (a, b) in enumerate(systems):
            change = first if step == 0 else -gains[step] @ state
            state = a.double() @ state + b.double() @ change
            total += float(search.CAUTION * change.square().sum() + (prices * state.square()).sum())
        return total

    start = torch.randn(size, generator=random).double()
    best = -gains[0] @ start
    errors = torch.randn(5, dofs, generator=random).double()
    more = torch.tensor([cost(start, best + error) - cost(start, best) for error in errors])
    assert (more > 0).all()
    said = (errors @ lesson.roots[0].double()).square().sum(-1)
    np.testing.assert_allclose(more / more[0], said / said[0], rtol=1e-3)
    np.testing.assert_allclose((lesson.roots @ lesson.roots.mT).diagonal(dim1=1, dim2=2).mean(1), 1.0, rtol=1e-4)


def test_the_actor_takes_over_from_the_lesson_at_different_steps(options, tmp_path, dataset):
    arguments = options(tmp_path, "--num-envs", "64")
    training = ppo.Training(arguments, command.read_dataset(dataset, HUMANOID))
    training._start_attempts()
    takeovers, total = training.takeovers, training.environment.steps_total
    assert 16 < int((takeovers == 0).sum()) < 48
    assert len(takeovers.unique()) > 10 and (takeovers < total).all()
    training.iteration = 1
    acted, taught, silence = torch.zeros(64, 28), torch.ones(64, 28), torch.zeros(64, 28)
    training.environment.steps_done[:] = 20
    shown = training._shown_actions(acted, taught, silence)
    np.testing.assert_array_equal(shown[:, 0] == 1.0, takeovers > 20)
    training.iteration = 1000  # past the supervised start
    training.to_start = training.envs
    training._start_attempts()
    assert not training.takeovers.any()


def test_lessons_are_found_once(options, tmp_path, dataset, capsys, monkeypatch):
    arguments = options(tmp_path / "output", "--search", "32", "--samples", "64")
    monkeypatch.setattr(search, "SPREADS", (0.05,))
    monkeypatch.setattr(search, "FITTED", 128)
    motions = command.read_dataset(dataset, HUMANOID)[:1]
    training = ppo.Training(arguments, motions)
    found = search.lessons(arguments, motions, training.checkpoint())
    assert found[0] is not None and "lesson of idle_0: found" in capsys.readouterr().out
    arguments.search = 33
    again = search.lessons(arguments, motions, training.checkpoint())
    assert capsys.readouterr().out == ""
    assert torch.equal(again[0].gains, found[0].gains) and torch.equal(again[0].states.dof_pos, found[0].states.dof_pos)
    # What is taught at the lesson's own states is what it does there.
    training.learn_lessons(found * 4)
    training._start_attempts()
    taught = training._taught_actions() * training.reach + training.centre
    first = training.environment.motion == 0
    assert first.any()
    np.testing.assert_allclose(taught[first], found[0].targets[:1].expand(int(first.sum()), -1), atol=1e-4)


def test_a_trainable_agent_is_asked_for(config):
    text = (config / "agent_config.yaml").read_text()
    (config / "agent_config.yaml").write_text(text.replace("Adam", "SGD"))
    with pytest.raises(InputError, match=r"agent_config.yaml: key 'optimizer.type'.*'Adam'"):
        tracker.read_configs(config)


def test_ppo_moves_the_actor_towards_what_paid_off(options, tmp_path):
    arguments = options(tmp_path, "--samples", "100000")
    training = ppo.Training(arguments, command.read_dataset(arguments.dataset, arguments.character))
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
        moments = torch.zeros(8, 8, dtype=torch.int64)
        training._learn(ppo.Experience(observations, actions, now, now, torch.zeros(8, 8), paid, moments, over), paid)
    moved = ((means() - before) / 0.02).mean(dim=(0, 1))
    assert moved[0] > 1.0 > -1.0 > moved[1]
    assert moved[2:].abs().max() < 1.0


def test_the_curve_shows_what_a_training_has_printed(options, tmp_path, capsys):
    command.train(options(tmp_path / "output", "--samples", "192", "--print-every", "1"))
    drawing = training_curve
    log = capsys.readouterr().out
    recorded, errors, motions = drawing.read_log(log)
    assert motions == 4 and len(recorded) == 1 and 0 <= recorded[0][1] <= 4
    assert len(errors) == 2 and all(error > 0.0 for _, error in errors)  # 128 of the 192 samples are supervised
    both = drawing.read_log("1.50 M samples\n  3 of 4 motions recorded whole\n" + log)[0]
    assert both == [(1.5, 3.0), (1.5 + recorded[0][0], recorded[0][1])]
    svg = ElementTree.fromstring(drawing.curve([(1.0, 1.0), (4.0, 3.0)], [(0.0, 0.2), (4.0, 0.05)], 4))
    lines = [line.get("points").split() for line in svg.findall("{http://www.w3.org/2000/svg}polyline")]
    heights = [[float(point.split(",")[1]) for point in line] for line in lines]
    low, top = drawing.HEIGHT - drawing.BOTTOM, drawing.TOP
    shares = [[(low - height) / (low - top) for height in line] for line in heights]
    np.testing.assert_allclose(shares, [[1.0, 0.25], [0.25, 0.75]], atol=0.001)  # of 0.2 rad, and of 4 motions
    with pytest.raises(ValueError, match="recorded whole"):
        drawing.curve([], [], 0)


def test_what_was_not_found_is_looked_for_again_with_more_samples(options, tmp_path, dataset, capsys, monkeypatch):
    monkeypatch.setattr(search.Search, "lesson", lambda *_: (None, 0.5))
    motions = command.read_dataset(dataset, HUMANOID)[:1]
    for samples, looked in ((4, True), (4, False), (3, False), (5, True)):
        arguments = options(tmp_path / "output", "--search", str(samples))
        assert search.lessons(arguments, motions, ppo.Training(arguments, motions).checkpoint()) == [None]
        assert ("lesson of idle_0: not found: the best come to 0.8 s" in capsys.readouterr().out) == looked


def test_any_robot_that_can_be_recorded_can_be_trained(tmp_path):
    """Its MJCF need not be plain: includes, default classes, meshes."""
    robot = read_character(write_robot(tmp_path / "robot"))
    count = robot.skeleton.num_bodies
    still = np.tile(np.array([0, 0, 0, 1], dtype=np.float32), (60, 1))
    motion = Motion(
        name="stand", root_pos=np.tile(np.array([0, 0, 0.5], dtype=np.float32), (60, 1)), root_rot=still,
        joint_rot=np.tile(still[:, None], (1, count - 1, 1)), contacts=np.zeros((60, count), dtype=np.float32),
        fps=30.0, loop_mode="CLAMP", terrain=HeightField.level(np.zeros((1, 2)), 2.0),
    )  # fmt: skip
    (tmp_path / "motions").mkdir()
    (tmp_path / "motions" / "stand.pkl").write_bytes(motion_file_bytes(motion))
    (read,) = command.read_dataset(tmp_path / "motions", tmp_path / "robot" / "robot.xml")
    assert read.num_frames == 60
