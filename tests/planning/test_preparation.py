"""Preparing a run: what is asked of a host, and when."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from rich.console import Console

from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.errors import InputError
from parc_ray.motions import scanning
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.planning.fingerprint import fingerprint
from parc_ray.planning.preparation import prepare
from parc_ray.planning.resources import Resources
from parc_ray.runs.output import OutputDirectory
from parc_ray.simulators import engines
from parc_ray.simulators.engine import EngineCheck
from parc_ray.simulators.mujoco.engine import MUJOCO
from parc_ray.simulators.physx.engine import PHYSX
from tests.cluster.runs import write_config
from tests.planning.prepared import MadeUpHost, prepared
from tests.reference import DEMO, HUMANOID


@pytest.fixture
def motions(tmp_path, skeleton) -> Path:
    folder = tmp_path / "motions"
    folder.mkdir()
    motion = generate_motion(MotionSpec("idle", 9, 2.0, difficulty=0.0), skeleton, "idle")
    (folder / "idle.pkl").write_bytes(motion_file_bytes(motion))
    return folder


def prepared_on(host, path):
    config = load_config(path, RecordConfig, None)
    return prepare(config, None, False, OutputDirectory(config.output_dir, config.output), host, Console(quiet=True))


@pytest.mark.parametrize(
    ("key", "value"), [("model_file", "gone.pt"), ("dataset_file", "gone.yaml"), ("env_file", "gone.yaml")]
)
def test_a_host_is_asked_for_nothing_before_paths_are_checked(tmp_path, motions, key, value):
    settings = {key: str(tmp_path / value)}
    if key == "dataset_file":
        settings["create_dataset_config"] = None
    host = MadeUpHost(Resources(((2, 0),)), lambda engine, placement: EngineCheck())
    with pytest.raises(InputError, match=value):
        prepared_on(host, write_config(tmp_path, [motions], None, **settings))
    assert host.asked == 0


def test_a_host_is_asked_for_nothing_when_there_is_no_such_engine(tmp_path, motions):
    host = MadeUpHost(Resources(((2, 0),)), lambda engine, placement: EngineCheck())
    with pytest.raises(InputError, match="unknown simulator 'bullet'"):
        prepared_on(host, write_config(tmp_path, [motions], None, simulator="bullet"))
    assert host.asked == 0


def test_a_folder_that_is_gone_is_told_before_the_host_is_asked(tmp_path):
    host = MadeUpHost(Resources(((2, 0),)), lambda engine, placement: EngineCheck())
    with pytest.raises(InputError, match="/nowhere is not a folder"):
        prepared_on(host, write_config(tmp_path, [Path("/nowhere")], None))
    assert host.asked == 0


def test_keys_that_a_run_replaces_may_lie_in_an_unknown_data_dir(tmp_path, motions):
    """As in PARC's own dm_env.yaml; not so keys that are read."""
    content = yaml.safe_load((DEMO / "dm_env.yaml").read_text())
    content["env"]["dm"].update(motion_file="$DATA_DIR/motions.yaml", terrain_save_path="$DATA_DIR/terrain.pkl")
    content["env"].update(output_motion_dir="$DATA_DIR/out", char_file=str(HUMANOID))
    path = write_config(tmp_path, [motions], None, env_file=str(tmp_path / "dm_env.yaml"))
    (tmp_path / "dm_env.yaml").write_text(yaml.safe_dump(content))
    assert prepared(path).plan is not None
    content["env"]["char_file"] = "$DATA_DIR/humanoid.xml"
    (tmp_path / "dm_env.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"'env.char_file' = '\$DATA_DIR/humanoid.xml': \$DATA_DIR is not known"):
        prepared(path)


def test_an_output_among_the_motions_is_told_before_they_are_read(tmp_path, motions):
    (motions / "idle.pkl").write_bytes(b"no motion")
    for output in (motions, motions / "deep" / "out"):
        with pytest.raises(InputError, match=r"one of the folder_paths of .*: recordings "):
            prepared(write_config(tmp_path, [motions], None, output_dir=str(output)))
    with pytest.raises(InputError, match="no usable motion"):
        prepared(write_config(tmp_path, [motions], None, output_dir=str(motions / "ignored")))


def test_a_run_that_would_not_fit_the_disk_is_told_so(tmp_path, motions, monkeypatch):
    path = write_config(tmp_path, [motions], None)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=1000))
    (notice,) = prepared(path).plan.placement.notices
    assert "output_dir" in notice and "0 MiB are free" in notice


def test_no_motion_is_read_for_an_engine_that_does_not_work(tmp_path, motions):
    (motions / "idle.pkl").write_bytes(b"no motion")
    host = MadeUpHost(Resources(((2, 0),)), lambda engine, placement: EngineCheck("simulator: it is broken here"))
    with pytest.raises(InputError, match="it is broken here"):
        prepared_on(host, write_config(tmp_path, [motions], None))
    assert host.asked == 1


def test_inputs_do_not_depend_on_the_machine(tmp_path, motions):
    """What fits the memory, and which devices there are, is the plan's."""
    path = write_config(tmp_path, [motions], None, device="cuda")
    runs = [
        prepared_on(MadeUpHost(resources, lambda engine, placement: EngineCheck()), path)
        for resources in (Resources(((64, 8),)), Resources(((1, 0),), 1))
    ]
    assert runs[0].inputs.files == runs[1].inputs.files
    assert runs[0].plan.placement.device == "cuda:0" and runs[1].plan.placement.device == "cpu"
    assert len(runs[1].plan.placement.notices) == 2 and runs[1].plan.envs == [1]


def test_what_takes_minutes_on_a_first_start_is_told_before_it_is_tried_out(tmp_path, motions, monkeypatch):
    slow = replace(MUJOCO, first_start=lambda device: f"compiling for {device}")
    monkeypatch.setattr(engines, "ENGINES", (slow,))
    told = io.StringIO()
    seen = []
    host = MadeUpHost(Resources(((2, 0),)), lambda engine, placement: seen.append(told.getvalue()) or EngineCheck())
    config = load_config(write_config(tmp_path, [motions], None), RecordConfig, None)
    output = OutputDirectory(config.output_dir, config.output)
    prepare(config, None, False, output, host, Console(file=told))
    assert seen == ["compiling for cpu\n"]


def test_recordings_depend_on_the_settings_of_their_engine_and_on_no_others(tmp_path, motions, monkeypatch):
    monkeypatch.setattr(engines, "ENGINES", (MUJOCO, replace(MUJOCO, name="other", sections=())))

    def depends_on(simulator: str, **settings: object):
        path = write_config(tmp_path, [motions], None, simulator=simulator, mujoco=settings)
        return fingerprint(prepared(path).inputs.files)

    faithful, usual, harder = ({"profile": "faithful"}, {}, {"contact_time": 0.01})
    different = [depends_on("mujoco", **settings) for settings in (faithful, usual, harder)]
    assert different[0] != different[1] != different[2]
    assert different[1] == depends_on("mujoco", profile="fast")
    assert depends_on("other", **faithful) == depends_on("other")


@pytest.mark.parametrize("device, resources, envs", [(["cpu"], (2, 0), 128), ("cuda", (2, 1), 1024)])
def test_an_actor_gets_as_many_envs_as_its_engine_can_use_on_its_device(
    tmp_path, motions, monkeypatch, device, resources, envs
):
    monkeypatch.setattr(engines, "ENGINES", (replace(PHYSX, unavailable_reason=lambda: ""),))
    path = write_config(tmp_path, [motions], None, simulator="physx", device=device)
    assert prepared(path, Resources((resources,))).plan.max_envs == envs


def test_motions_can_be_read_in_other_processes(motions, tmp_path, monkeypatch):
    """Whatever decides which of them are fit has to travel there."""
    travelled = []

    def parallel_map(function, items, worth_it):
        travelled.append(pickle.loads(pickle.dumps(function)))
        return map(travelled[-1], items)

    monkeypatch.setattr(scanning, "parallel_map", parallel_map)
    path = write_config(tmp_path, [motions], None)
    run = prepared_on(MadeUpHost(Resources(((2, 0),)), lambda *_: EngineCheck()), path)
    assert [entry.name for entry in run.inputs.dataset.entries] == ["idle"] and travelled
