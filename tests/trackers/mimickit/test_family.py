"""MimicKit's files, from its three YAML files and its checkpoint to recordings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from parc_ray.character.skeleton import load_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.environment import PhysxConfig
from parc_ray.config.loading import load_yaml
from parc_ray.config.mimickit_args import config_of_mimickit
from parc_ray.config.record import RecordConfig
from parc_ray.config.record_args import config_of_args, format_args, parse_args, record_environment
from parc_ray.errors import InputError
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion_file import parse_motion, read_misc
from parc_ray.planning.fingerprint import fingerprint
from parc_ray.recording.build import build_recorder
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.simulators.mujoco.engine import MUJOCO
from parc_ray.simulators.simulator import SimulatorConfig
from tests.planning.prepared import prepared
from tests.reference import DATA, HUMANOID, max_error

SKELETON = load_skeleton(HUMANOID)
FILES = DATA / "mimickit"


def filled(folder: Path) -> Path:
    """What MimicKit has written into its out_dir, with the motion and the character beside it."""
    for name in ("env_config.yaml", "engine_config.yaml", "agent_config.yaml", "stand.pkl"):
        shutil.copy(FILES / name, folder)
    shutil.copy(FILES / "stand.pt", folder / "model.pt")
    shutil.copy(HUMANOID, folder)
    return folder


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    return filled(tmp_path)


def config_of(folder: Path, **changes) -> RecordConfig:
    content = {
        "tracker": "mimickit",
        "simulator": "mujoco",
        "device": "cpu",
        "output_dir": folder / "out",
        "model_file": folder / "model.pt",
        "env_file": folder / "env_config.yaml",
        "engine_file": folder / "engine_config.yaml",
        "agent_file": folder / "agent_config.yaml",
        "dataset_file": folder / "stand.pkl",
        **changes,
    }
    return RecordConfig.model_validate(content)


def edit(path: Path, **changes) -> None:
    path.write_text(yaml.safe_dump({**load_yaml(path), **changes}))


def recorded(config: RecordConfig):
    inputs = prepared(config).inputs
    (entry,) = inputs.dataset.entries
    motion = ShardMotion(entry.name, entry.path, Path(entry.path).read_bytes(), 0)
    (result,) = build_recorder(inputs.files, Shard(0, (motion,)), 1, "cpu").work(60.0)
    return result


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory):
    """The attempt of the checkpoint that has learned to stand."""
    return recorded(config_of(filled(tmp_path_factory.mktemp("stand")), record={"observations": True}))


def test_a_checkpoint_of_its_own_agent_stands_and_is_recorded(result):
    assert (result.attempt.outcome, result.attempt.reason, round(result.attempt.seconds, 2)) == ("recorded", "", 2.0)
    assert "contact_agreement" not in result.attempt.quality and result.attempt.quality["root_error"] < 0.3
    motion, misc = parse_motion(result.recording, "stand", SKELETON, "recording"), read_misc(result.recording)
    assert (motion.fps, motion.num_frames, motion.loop_mode, motion.terrain.is_flat) == (30.0, 61, "CLAMP", True)
    assert motion.contacts[1:, [SKELETON.body_index(name) for name in ("right_foot", "left_foot")]].all()
    assert list(misc["obs_shapes"]) == ["char_obs", "tar_obs"] and misc["obs"].shape == (61, 140 + 108)


def test_a_motion_that_is_not_accepted_at_once_is_recovered(result, folder):
    """MimicKit's standard deviations explore; the limit on the root error decides, since nothing is labelled."""
    limit = 0.999 * result.attempt.quality["root_error"]
    config = config_of(
        folder,
        acceptance={"max_mean_root_error": limit},
        recovery={"copies": [16], "noise": 1.0, "max_mean_root_error": limit},
    )
    inputs = prepared(config).inputs
    (entry,) = inputs.dataset.entries
    motion = ShardMotion(entry.name, entry.path, Path(entry.path).read_bytes(), 0)
    first, recovered = (r.attempt for r in build_recorder(inputs.files, Shard(0, (motion,)), 1, "cpu").work(60.0)[:2])
    assert (first.copies, first.outcome, recovered.copies, recovered.outcome) == (0, "rejected", 16, "recorded")
    assert recovered.quality["root_error"] <= limit < first.quality["root_error"]


def test_a_recording_in_mimickits_format_is_the_same_motion(result, folder):
    theirs = recorded(config_of(folder, output={"format": "mimickit"}))
    one, other = (parse_motion(result.recording, "stand", SKELETON, "file") for result in (result, theirs))
    assert max_error(one.root_pos, other.root_pos) <= 1e-6
    for name in ("root_rot", "joint_rot"):
        assert max_error(getattr(one, name), getattr(other, name)) <= 1e-5
    assert (one.contacts == other.contacts).all() and other.labelled
    assert read_misc(theirs.recording)["recording"]["source_motion"] == "stand"


def test_what_motions_without_labels_are_judged_by_is_said(folder):
    (notice,) = [line for line in prepared(config_of(folder)).plan.placement.notices if "contact labels" in line]
    assert notice.startswith("acceptance: 1 of 1 motions have no contact labels, so min_contact_agreement does not")
    assert not prepared(config_of(folder, acceptance="none")).plan.placement.notices


def test_a_dataset_file_of_mimickit_is_a_dataset(folder, monkeypatch):
    monkeypatch.chdir(folder)
    shutil.copy(folder / "stand.pkl", folder / "other.pkl")
    entries = [{"file": name, "weight": weight} for name, weight in (("stand.pkl", 3.0), ("other.pkl", 1.0))]
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"motions": entries}))
    dataset = prepared(config_of(folder, dataset_file="dataset.yaml")).inputs.dataset
    assert [(entry.name, entry.weight, entry.labelled) for entry in dataset.entries] == [
        ("stand", 3.0, False), ("other", 1.0, False),
    ]  # fmt: skip


class TestTranslation:
    def test_engine_and_physics(self, folder):
        edit(folder / "env_config.yaml", engine={"control_freq": 60, "ground_contact_height": 0.15})
        environment = prepared(config_of(folder)).inputs.files.environment
        env, sim = environment.env, environment.sim
        assert (env.control_freq, env.sim_freq, environment.steps_per_control) == (60, 120, 2)
        assert (env.termination_height, env.gravity_z) == (0.15, -9.81)
        assert sim.physx == PhysxConfig(
            contact_offset=0.02, rest_offset=0.0, bounce_threshold_velocity=0.2, max_depenetration_velocity=10.0,
            default_buffer_size_multiplier=10.0,
        )  # fmt: skip

    def test_the_environment_may_bring_the_whole_engine(self, folder):
        edit(folder / "env_config.yaml", engine=load_yaml(folder / "engine_config.yaml"))
        assert prepared(config_of(folder, engine_file=None)).inputs.files.environment.steps_per_control == 4

    def test_whatever_recordings_depend_on_is_in_the_fingerprint(self, folder):
        before = fingerprint(prepared(config_of(folder)).inputs.files)
        edit(folder / "env_config.yaml", zero_center_action=True)
        after = fingerprint(prepared(config_of(folder)).inputs.files)
        assert before != after and before["env_file"] == after["env_file"]

    @pytest.mark.parametrize(
        ("file", "changes", "says"),
        [
            ("env_config", {"env_name": "amp"}, "does not track motions one by one.*supported: deepmimic, add"),
            ("env_config", {"env_name": "static_objects"}, "supported: deepmimic, add"),
            ("env_config", {"char_file": "humanoid.usd"}, "is no MJCF file"),
            ("env_config", {"key_bodies": ["tail"]}, "env_config.yaml: key 'key_bodies': the character has no body"),
            ("env_config", {"tar_obs_steps": []}, "tar_obs_steps"),
            ("env_config", {"enable_phase_obs": True}, "observes 248 numbers, .*env_config.yaml describes 257"),
            ("engine_config", {"control_mode": "torque"}, "engine_config.yaml: key 'control_mode'.*supported: pos"),
            ("engine_config", {"sim_freq": 100}, "must be a multiple"),
            ("agent_config", {"agent_name": "ASE"}, "supported: PPO, AWR, ADD, LCP"),
            ("agent_config", {"model": {"actor_net": "cnn_3conv_1fc_0"}}, "agent_config.yaml: key 'model.actor_net'"),
        ],
    )
    def test_what_is_not_supported_is_refused(self, folder, file, changes, says):
        edit(folder / f"{file}.yaml", **changes)
        with pytest.raises(InputError, match=says):
            prepared(config_of(folder))

    def test_a_missing_engine_is_asked_for(self, folder):
        with pytest.raises(InputError, match="key 'engine_file' is missing"):
            prepared(config_of(folder, engine_file=None))


class TestArguments:
    @pytest.fixture()
    def arg_file(self, folder, monkeypatch) -> Path:
        monkeypatch.chdir(folder)
        path = folder / "args.txt"
        path.write_text(
            "--num_envs 4096\n\n--engine_config engine_config.yaml\n--env_config env_config.yaml\n"
            "--agent_config agent_config.yaml\n\n--out_dir output/"
        )
        return path

    def test_an_argument_file_is_a_run(self, arg_file):
        config = config_of_mimickit(arg_file, Path("model.pt"), Path("out"), None, None)
        assert (config.tracker, config.num_envs, config.output_dir) == ("mimickit", None, Path("out"))
        assert (config.dataset_file, config.engine_file) == (Path("stand.pkl"), Path("engine_config.yaml"))
        assert prepared(config.model_copy(update={"device": "cpu", "simulator": "mujoco"})).inputs.dataset.entries

    def test_settings_have_the_last_word(self, arg_file):
        settings = arg_file.with_name("more.yaml")
        settings.write_text("simulator: mujoco\nacceptance: none\ndataset_file: others.yaml\noutput_dir: there\n")
        config = config_of_mimickit(arg_file, Path("model.pt"), None, settings, None)
        assert (config.simulator, config.acceptance, config.dataset_file) == ("mujoco", None, Path("others.yaml"))
        assert config.output_dir == Path("there")

    @pytest.mark.parametrize(
        ("line", "says"), [("", "--model-file is missing"), ("--env_config none.yaml", "none.yaml: .*no such file")]
    )
    def test_what_is_missing_is_asked_for(self, arg_file, line, says):
        arg_file.write_text(f"{line}\n{arg_file.read_text()}")
        with pytest.raises(InputError, match=says):
            config_of_mimickit(arg_file, None, Path("out"), None, None)

    def test_a_run_repeats_itself_from_its_record_args(self, folder):
        config = config_of(folder, acceptance="none")
        run = prepared(config)
        content = record_environment(run.inputs.environment_content, config, config.dataset_file, config.output_dir)
        record_env = folder / "record_env.yaml"
        record_env.write_text(yaml.safe_dump(content))
        again = config_of_args(parse_args(format_args(config, record_env, 1).split()), None)
        before, after = fingerprint(run.inputs.files), fingerprint(prepared(again).inputs.files)
        assert before == after and again.tracker == "mimickit"


def test_turned_bodies_and_meshes_for_looks_are_simulated():
    text, cpu = (FILES / "robot.xml").read_text(), torch.device("cpu")
    robot = load_skeleton(FILES / "robot.xml")
    simulator = MUJOCO.build(SimulatorConfig(text, "robot.xml", [HeightField.flat()], 1, 30, 4, cpu, 1), robot)
    dofs = torch.tensor([[0.1, 0.5, 0.9, -0.1, 0.5, 0.9]])
    state = CharacterState(
        torch.tensor([[0.4, 0.4, 3.0]]), torch.tensor([[0.0, 0.0, 0.0, 1.0]]), torch.zeros(1, 3), torch.zeros(1, 3),
        dofs, torch.zeros(1, 6), torch.zeros(1, 8, 3),
    )  # fmt: skip
    simulator.reset([0], [0], state)
    after = simulator.step([0], dofs)
    simulator.close()
    assert max_error(after.dof_pos, dofs) <= 0.05
    assert float(after.root_vel[0, 2]) == pytest.approx(-9.81 / 30, rel=0.02), "it falls freely"
    heavy = text.replace('<geom class="visual" pos="0 0 0.01"/>', '<geom class="visual" density="9"/>')
    with pytest.raises(InputError, match="body 'left_foot' has its mass from a mesh"):
        MUJOCO.build(SimulatorConfig(heavy, "robot.xml", [], 1, 30, 4, cpu, 1), robot)
