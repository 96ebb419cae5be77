from __future__ import annotations

import re
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from parc_ray.cli import app, run_command
from parc_ray.cluster import host
from parc_ray.cluster.connection import _require_listener
from parc_ray.config.loading import check_config
from parc_ray.config.record import RecordConfig
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.errors import InputError
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.planning.fingerprint import fingerprint
from parc_ray.planning.host import ThisMachine
from parc_ray.planning.placement import Placement, place
from parc_ray.planning.plan import bytes_per_env
from parc_ray.planning.resources import Resources
from parc_ray.recording.build import build_recorder
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.runs.events import RunStarted, dataset_events
from parc_ray.runs.journal import Journal
from parc_ray.simulators.engine import EngineCheck
from parc_ray.simulators.isaacgym.engine import ISAAC_GYM
from parc_ray.simulators.mujoco.engine import MUJOCO
from parc_ray.simulators.physx.engine import PHYSX
from tests.cluster.conftest import SPECS
from tests.cluster.runs import CHECKPOINT, DEMO, write_config
from tests.planning.prepared import prepared


def node(cpus, gpus):
    return Resources(((cpus, gpus),), local_gpus=gpus)


def config(device="cpu", ray=None, **settings):
    content = {
        "output_dir": "/out", "model_file": "m", "env_file": "e", "agent_file": "a", "dataset_file": "d",
        "device": device, "ray": ray or {}, **settings,
    }  # fmt: skip
    return check_config(content, RecordConfig, "test")


# ------------------------------------------------------------------------------------------- placement


@pytest.mark.parametrize(
    "device, ray, has, actors, cpus, gpus, inside",
    [
        ("cpu", {}, (2, 0), 2, 1, 0, "cpu"),
        ("cpu", {}, (1, 0), 1, 1, 0, "cpu"),
        ("cpu", {}, (4, 8), 4, 1, 0, "cpu"),
        ("cpu", {"num_actors": 2}, (8, 0), 2, 4, 0, "cpu"),
        ("cpu", {"num_actors": 2, "cpus_per_actor": 1}, (8, 0), 2, 1, 0, "cpu"),
        ("cuda", {}, (16, 4), 4, 4, 1, "cuda:0"),
        ("cuda", {"num_actors": 1}, (16, 4), 1, 16, 1, "cuda:0"),
        ("cuda", {"gpus_per_actor": 0.5}, (16, 2), 4, 4, 0.5, "cuda:0"),
        ("cuda:0", {}, (16, 4), 1, 16, 1, "cuda:0"),
        ("cuda:3", {}, (16, 4), 1, 16, 1, "cuda:0"),
        (["cuda:0", "cuda:1"], {}, (16, 4), 2, 8, 1, "cuda:0"),
        (["cuda:2", "cuda:3"], {"cpus_per_actor": 3}, (16, 4), 2, 3, 1, "cuda:0"),
    ],
)
def test_placement(device, ray, has, actors, cpus, gpus, inside):
    placement = place(config(device, ray), node(*has))
    assert (placement.actors, placement.cpus, placement.gpus) == (actors, cpus, gpus)
    assert placement.device == inside
    assert placement.notices == ()


def test_without_gpus_cpus_do_the_work_and_it_is_said():
    placement = place(config("cuda"), node(4, 0))
    assert (placement.gpus, placement.device) == (0, "cpu")
    assert placement.actors >= 1
    assert ["no CUDA device" in notice for notice in placement.notices] == [True]


def test_more_actors_than_fit_take_turns():
    placement = place(config("cpu", {"num_actors": 8, "cpus_per_actor": 2}), node(6, 0))
    assert (placement.actors, placement.cpus) == (3, 2)
    (notice,) = placement.notices
    assert "8 actors" in notice and "3 at a time" in notice


@pytest.mark.parametrize(
    "device, ray, has, message",
    [
        ("cuda:0", {}, (4, 0), "names cuda:0, but this machine has no CUDA devices; name one that is there, or"),
        ("cuda:2", {}, (8, 2), "names cuda:2, but this machine has 2 CUDA devices"),
        (["cuda:0", "cuda:1", "cuda:2"], {}, (8, 2), "names cuda:2, but this machine has 2 CUDA devices"),
        ("cpu", {"cpus_per_actor": 9}, (8, 0), "needs 9 CPUs"),
        ("cuda", {"gpus_per_actor": 3, "num_actors": 1}, (8, 2), "3 GPUs, the nodes of Ray have 8 and 2"),
    ],
)
def test_what_cannot_be_placed_is_an_input_error(device, ray, has, message):
    with pytest.raises(InputError, match=message):
        place(config(device, ray), node(*has))


@pytest.mark.parametrize(
    "device, ray, nodes, actors, cpus",
    [
        ("cuda", {}, [(4, 0), (8, 1), (8, 1)], 2, 8),
        ("cuda", {}, [(2, 2), (2, 2)], 4, 1),
        ("cuda", {}, [(16, 4), (8, 4)], 8, 2),
        ("cuda", {}, [(64, 8), (4, 1)], 9, 4),
        ("cuda", {"gpus_per_actor": 2}, [(8, 3), (8, 1)], 1, 8),
        ("cpu", {"num_actors": 1}, [(6, 0), (6, 0)], 1, 6),
        ("cpu", {"num_actors": 3}, [(4, 0), (4, 0)], 3, 2),
        ("cpu", {}, [(0, 0), (2, 0)], 2, 1),
    ],
)
def test_an_actor_fits_on_one_node(device, ray, nodes, actors, cpus):
    """Ray would wait for ever for a node that is as large as two."""
    placement = place(config(device, ray), Resources(tuple(nodes)))
    assert (placement.actors, placement.cpus, placement.notices) == (actors, cpus, ())


def test_on_a_cluster_ray_assigns_gpus_and_it_is_said():
    placement = place(config(["cuda:0", "cuda:1"]), Resources(((8, 1), (8, 1))))
    assert (placement.actors, placement.cpus, placement.gpus, placement.device) == (2, 8, 1, "cuda:0")
    assert placement.notices == ("device: cuda:0, cuda:1: on a cluster, Ray assigns GPUs; the numbers have no effect",)
    with pytest.raises(InputError, match="names cuda:2, but Ray has 2 CUDA devices"):
        place(config("cuda:2"), Resources(((8, 1), (8, 1))))


def test_an_actor_larger_than_any_node_is_an_input_error():
    with pytest.raises(InputError, match="needs 8 CPUs and 0 GPUs, the nodes of Ray have 4 and 0, 6 and 1"):
        place(config("cpu", {"cpus_per_actor": 8}), Resources(((6, 1), (4, 0), (4, 0))))


def test_this_machine_has_cpus():
    ((cpus, _),) = ThisMachine().resources().nodes
    assert cpus >= 1


def test_a_check_asks_the_cluster_that_a_run_would_join(address, motions, tmp_path, monkeypatch, capsys):
    """It has four GPUs, this machine has none."""

    def check(**settings):
        with pytest.raises(SystemExit) as ended:
            run_command(app, ["check", "--config", str(write_config(tmp_path, [motions], **settings))])
        return ended.value.code, " ".join(" ".join(capsys.readouterr()).split())

    code, said = check(address=address, device="cuda:3")
    assert code == 0, said
    assert f"plan for the cluster at {address}" in said
    assert "actors 1 on cuda:0, 1 CPU and 1 GPU each" in said
    assert re.search(rf"engine MuJoCo {version('mujoco')}, Python", said), "it was tried out there"
    monkeypatch.setenv("RAY_ADDRESS", address)
    code, said = check(address=None, device="cuda:4")
    assert (code, "key 'device' names cuda:4, but Ray has 4 CUDA devices" in said) == (2, True), said


# ------------------------------------------------------------------------------------------- plan


def inputs_of(tmp_path, motions, **settings):
    return prepared(write_config(tmp_path, [motions], None, **settings)).inputs


def plan_of(tmp_path, motions, resources, **settings):
    return prepared(write_config(tmp_path, [motions], None, **settings), resources).plan


def test_a_plan_says_what_will_be_run(tmp_path, motions):
    settings = {"ray": {"num_actors": 4, "cpus_per_actor": 1, "num_shards": 3}, "max_envs_per_actor": 2}
    plan = plan_of(tmp_path, motions, node(8, 0), **settings)
    assert plan.placement.actors == 3, "no more actors than shards"
    assert sorted(entry.name for shard in plan.shards for entry in shard) == sorted(SPECS)
    assert plan.seconds == pytest.approx(sum(spec.seconds for spec in SPECS.values()), abs=0.05)
    assert plan.envs == [2, 2, 2]
    assert len(plan.inputs.dataset.invalid) == 2
    assert not (tmp_path / "out").exists() and not (tmp_path / "dataset.yaml").exists()


def test_memory_grows_with_motion_observations_and_envs(tmp_path, motions, skeleton):
    inputs = inputs_of(tmp_path / "short", motions)
    longer = tmp_path / "longer"
    shutil.copytree(motions, longer)
    long_motion = generate_motion(MotionSpec("idle", 1, 20.0), skeleton, "long")
    (longer / "long.pkl").write_bytes(motion_file_bytes(long_motion))
    short, long = bytes_per_env(inputs), bytes_per_env(inputs_of(tmp_path / "long", longer))
    observed = bytes_per_env(inputs_of(tmp_path / "observed", motions, record={"observations": True}))
    assert MUJOCO.env_bytes < short < long and short < observed
    # Eight times the longest motion needs eight times the buffers.
    assert (long - MUJOCO.env_bytes) / (short - MUJOCO.env_bytes) == pytest.approx(8.0, rel=0.15)
    few = plan_of(tmp_path / "few", motions, node(1, 0), max_envs_per_actor=2)
    many = plan_of(tmp_path / "many", motions, node(1, 0), max_envs_per_actor=6)
    assert many.actor_bytes - few.actor_bytes == 4 * short


def test_a_name_too_long_for_a_recording_is_invalid(tmp_path, motions):
    plain = inputs_of(tmp_path / "plain", motions).dataset
    lengths = {entry.name: len(entry.name) for entry in plain.entries}
    suffix = "x" * (255 - len(".pkl") - min(lengths.values()))
    dataset = inputs_of(tmp_path / "suffix", motions, output={"name_suffix": suffix}).dataset
    too_long = {name for name, length in lengths.items() if length > min(lengths.values())}
    assert too_long
    assert {entry.name for entry in dataset.entries} == lengths.keys() - too_long
    assert {m.name for m in dataset.invalid if "too long" in m.reason} == too_long


def test_envs_are_bounded_by_memory(tmp_path, motions):
    enough = plan_of(tmp_path, motions, Resources(((2, 0),), 64 << 30))
    inputs = enough.inputs
    assert max(enough.envs) > 2 and enough.placement.notices == ()
    memory = enough.placement.actors * (MUJOCO.actor_bytes + 2 * bytes_per_env(inputs) + 1000)
    tight = plan_of(tmp_path, motions, Resources(((2, 0),), memory))
    assert max(tight.envs) == 2
    assert tight.placement.notices == ("max_envs_per_actor lowered from 128 to 2 to fit the memory",)
    assert tight.inputs.files.config == inputs.files.config, "what a run is made of does not depend on the machine"
    assert sum(len(shard) for shard in tight.shards) == len(inputs.dataset.entries)


@pytest.mark.parametrize("observations", [False, True])
def test_estimated_buffers_are_those_of_a_recorder(tmp_path, motions, monkeypatch, observations):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    inputs = inputs_of(tmp_path, motions, record={"observations": observations})
    contents = [ShardMotion(e.name, e.path, Path(e.path).read_bytes(), 0) for e in inputs.dataset.entries]
    recorder = build_recorder(inputs.files, Shard(0, tuple(contents)), 1, "cpu")
    environment = recorder.environment
    buffers = [recorder._frames, recorder._observations]
    buffers += [environment._features, environment._references, environment._first, environment._now]
    held = sum(buffer.numel() * buffer.element_size() for buffer in buffers) / environment.num_envs
    assert bytes_per_env(inputs) - MUJOCO.env_bytes == pytest.approx(held, rel=0.03)
    environment.simulator.close()


# ------------------------------------------------------------------------------------------- bad input


@pytest.fixture
def files(tmp_path, motions):
    """A good configuration and copies of its files, to be spoilt."""
    path = write_config(
        tmp_path, [motions], None, model_file=str(tmp_path / "model.pt"), env_file=str(tmp_path / "dm_env.yaml"),
        agent_file=str(tmp_path / "agent_config.yaml"),
    )  # fmt: skip
    for name in ("dm_env.yaml", "agent_config.yaml", "humanoid.xml"):
        shutil.copy(DEMO / name, tmp_path / name)
    shutil.copy(CHECKPOINT, tmp_path / "model.pt")
    return path


def edit(path, **changes):
    """Change keys of a YAML file; a__b is key b of section a."""
    content = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        section, names = content, key.split("__")
        for name in names[:-1]:
            section = section[name]
        section[names[-1]] = value
    path.write_text(yaml.safe_dump(content))


def refusal(path):
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(InputError) as error:
        prepared(path)
    assert sorted(path.parent.rglob("*")) == before, "something was written"
    return str(error.value)


def test_the_unspoilt_files_are_read(files):
    inputs = prepared(files).inputs
    assert len(inputs.dataset.entries) == len(SPECS)
    assert inputs.files.simulator == "mujoco"


def test_a_run_that_goes_on_keeps_its_engine(files):
    inputs, tried = prepared(files).inputs, []
    (files.parent / "out").mkdir()
    journal = Journal(files.parent / "out" / "journal.jsonl")
    journal.write(RunStarted(fingerprint(inputs.files), len(inputs.dataset.entries)))
    journal.write(*dataset_events(inputs.dataset))
    journal.close()
    edit(files, simulator="auto")

    def try_out(engine, placement):
        tried.append(engine.name)
        return EngineCheck()

    run = prepared(files, try_out=try_out)
    assert run.goes_on and run.inputs.files.engine is MUJOCO and tried == ["mujoco"]


def test_an_actor_tries_out_only_what_may_fail_without_a_word(files, monkeypatch):
    """An engine that works everywhere needs no trial; one whose setup says what is wrong only if not named, or if it
    has to compile something first."""
    here = Placement((1,), 0.0, "cpu")
    monkeypatch.setattr(host, "actor_class", lambda engine, cpus, gpus: 1 / 0)
    for engine, name in ((MUJOCO, "auto"), (MUJOCO, "mujoco"), (PHYSX, "physx")):
        assert host.RayHost(config(simulator=name), print).try_out(engine, here) == EngineCheck()
    compiles = replace(PHYSX, first_start=lambda device: f"compiling for {device}")
    for engine, name in ((PHYSX, "auto"), (ISAAC_GYM, "auto"), (ISAAC_GYM, "isaacgym"), (compiles, "physx")):
        with pytest.raises(ZeroDivisionError):
            host.RayHost(config(simulator=name), print).try_out(engine, here)


def test_a_missing_checkpoint(files):
    (files.parent / "model.pt").unlink()
    message = refusal(files)
    assert "'model_file'" in message and str(files.parent / "model.pt") in message and "no such file" in message


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_checkpoint(files, content):
    (files.parent / "model.pt").write_bytes(content)
    assert f"{files.parent / 'model.pt'}: not a checkpoint" in refusal(files)


def test_a_checkpoint_that_observes_something_else(files):
    edit(files.parent / "dm_env.yaml", env__ray_points_ahead=12)
    message = refusal(files)
    assert message.startswith(f"{files.parent / 'model.pt'}:")
    size = len(torch.load(CHECKPOINT, weights_only=True)["_obs_norm._mean"])
    assert f"observes {size} numbers" in message and "dm_env.yaml" in message


def test_a_checkpoint_of_another_network(files):
    edit(files.parent / "agent_config.yaml", model__actor_net="fc_3layers_1024units")
    message = refusal(files)
    assert "model.pt" in message and "agent_config.yaml" in message


def test_an_unknown_network(files):
    edit(files.parent / "agent_config.yaml", model__actor_net="transformer")
    message = refusal(files)
    assert "agent_config.yaml" in message and "'model.actor_net' = 'transformer'" in message
    assert "fc_2layers_1024units" in message


def test_an_unknown_simulator(files):
    edit(files, simulator="bullet")
    message = refusal(files)
    assert "simulator" in message and "'bullet'" in message and "mujoco" in message


def test_a_missing_character(files):
    edit(files.parent / "dm_env.yaml", env__char_file="assets/robot.xml")
    message = refusal(files)
    assert message.startswith(f"{files.parent / 'dm_env.yaml'}: key 'env.char_file' = 'assets/robot.xml'")


def test_a_character_beside_its_environment_is_found(files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path.parent)
    edit(files.parent / "dm_env.yaml", env__char_file="data/assets/humanoid.xml")
    inputs = prepared(files).inputs
    assert inputs.files.character_source == str(files.parent / "humanoid.xml")


def test_an_unsupported_control_mode(files):
    edit(files.parent / "dm_env.yaml", env__control_mode="pd_exp")
    message = refusal(files)
    assert str(files.parent / "dm_env.yaml") in message
    assert "'env.control_mode' = 'pd_exp'" in message and "supported: 'pd'" in message


@pytest.mark.parametrize("key", ["contact_bodies", "key_bodies"])
def test_an_unknown_body(files, key):
    edit(files.parent / "dm_env.yaml", **{f"env__{key}": ["left_wing"]})
    message = refusal(files)
    assert str(files.parent / "dm_env.yaml") in message and key in message and "left_wing" in message


def test_a_missing_folder_of_motions(files):
    edit(files.parent / "create_dataset_config.yaml", folder_paths=["/nowhere/at/all"])
    assert "/nowhere/at/all" in refusal(files)


def test_a_missing_environment(files):
    (files.parent / "dm_env.yaml").unlink()
    assert refusal(files).startswith(f"{files.parent / 'dm_env.yaml'}: no such file")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('<geom name="pelvis" type="sphere"', '<geom name="pelvis" type="sphere" mass="-1"', "MuJoCo cannot load"),
        ("<worldbody>", "<!DOCTYPE x><worldbody>", "document type"),
    ],
)
def test_a_character_that_cannot_be_simulated(files, old, new, problem):
    """Noticed here, not in every actor."""
    path = files.parent / "humanoid.xml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    edit(files.parent / "dm_env.yaml", env__char_file=str(path))
    message = refusal(files)
    assert message.startswith(str(path)) and problem in message


def test_terrain_too_rough_for_mujoco_is_invalid(tmp_path, motions, skeleton):
    noise = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
    terrain = HeightField(noise, np.stack([noise, noise], axis=-1), np.zeros(2), 0.05)
    motion = generate_motion(MotionSpec("idle", 9, 2.0), skeleton, "rough")
    folder = tmp_path / "rough"
    shutil.copytree(motions, folder)
    for mode in ("WRAP", "CLAMP"):
        (folder / f"rough_{mode}.pkl").write_bytes(motion_file_bytes(replace(motion, terrain=terrain, loop_mode=mode)))
    dataset = inputs_of(tmp_path, folder).dataset
    # A CLAMP motion stays on a small part of its terrain.
    assert "rough_CLAMP" in {entry.name for entry in dataset.entries}
    (reason,) = [motion.reason for motion in dataset.invalid if motion.name == "rough_WRAP"]
    assert reason.startswith("its terrain is too rough to be made of boxes: ")


@pytest.mark.parametrize("address", ["host:\u00b2", "host:99999999", f"{'a' * 300}:80", "a\0b:80", "[::1:80"])
def test_addresses_that_are_none(address):
    if address.rpartition(":")[2].isdecimal():
        with pytest.raises(InputError, match="nothing answers there"):
            _require_listener(address)
    else:
        _require_listener(address)


@pytest.mark.parametrize("victim", ["create_dataset_config.yaml", "dm_env.yaml", "agent_config.yaml", "model.pt"])
def test_the_dataset_is_not_written_over_an_input(files, victim):
    edit(files.parent / "create_dataset_config.yaml", save_path=str(files.parent / "." / victim))
    message = refusal(files)
    assert "'save_path'" in message and "overwrite" in message
