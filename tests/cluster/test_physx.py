"""Whole runs with PhysX in Ray's actors."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from parc_ray.errors import InputError
from parc_ray.simulators.engine import EngineCheck
from parc_ray.simulators.engine_check import check_locally
from parc_ray.simulators.physx import package
from parc_ray.simulators.physx.engine import PHYSX
from tests.cluster.runs import (
    Run,
    assert_accounted_for,
    assert_same_recordings,
    record_run,
    unprejudiced_environment,
    write_config,
)
from tests.planning.prepared import prepared

if package.unavailable_reason():
    pytest.skip(package.unavailable_reason(), allow_module_level=True)


@pytest.fixture
def environment(tmp_path) -> Path:
    """The demo's environment, with enough iterations for a tracker that learned in MuJoCo."""
    path = unprejudiced_environment(tmp_path)
    content = yaml.safe_load(path.read_text())
    content["sim"]["physx"]["num_position_iterations"] = 32
    path.write_text(yaml.safe_dump(content))
    return path


def run_with_physx(folder: Path, motions: Path, address: str, environment: Path, **config: Any) -> Run:
    ray = {"num_shards": 1, **config.pop("ray", {})}
    settings = {"simulator": "physx", "env_file": str(environment), "ray": ray, **config}
    return record_run(folder, motions, address, **settings)


def test_a_run_repeats_to_the_bit_in_other_processes_and_slots(tmp_path, motions, address, environment, undisturbed):
    runs = [
        run_with_physx(tmp_path / str(envs), motions, address, environment, num_envs=envs, simulator=name)
        for envs, name in ((8, "auto"), (3, "physx"))
    ]
    for run in runs:
        assert run.code == 0, run.console + run.log
        assert_accounted_for(run)
        assert run.summary["simulator"] == "physx" and not run.events("death")
    assert_same_recordings(*runs)
    origin = pickle.loads(runs[0].recordings()["idle_000"]["misc_data"])["recording"]
    assert (origin["simulator"], origin["simulator_version"]) == ("physx", package.VERSION)
    # Another engine, in small enough steps, comes to the same verdict on what is easy and what is impossible.
    mine, theirs = runs[0].final_states(), undisturbed.final_states()
    for name in ("idle_000", "idle_107", "fly_003"):
        assert mine[name][0] == theirs[name][0], name


def working_plan(path: Path, try_out=lambda engine, placement: check_locally(engine, placement.device)):
    """The plan on this machine for the engine that works here, and what that says of itself."""
    run = prepared(path, try_out=try_out)
    return run.plan, run.engine_check


def test_the_engine_is_tried_out(tmp_path, motions):
    made, trial = working_plan(write_config(tmp_path, [motions], None, simulator="physx"))
    assert made.inputs.files.engine is PHYSX
    assert trial.version == package.VERSION and trial.python.startswith("3.") and not trial.devices


def test_auto_without_a_working_physx_says_why_it_takes_mujoco(tmp_path, motions):
    def fail(engine, placement):
        return EngineCheck(f"PhysX does not work on {placement.device}" if engine is PHYSX else "")

    env_file = str(unprejudiced_environment(tmp_path))
    config = write_config(tmp_path, [motions], None, simulator="auto", env_file=env_file)
    made, _ = working_plan(config, fail)
    assert made.inputs.files.simulator == "mujoco"
    assert made.placement.notices == ("simulator: mujoco, because PhysX does not work on cpu",)
    with pytest.raises(InputError, match="does not work on cpu"):
        working_plan(write_config(tmp_path, [motions], None, simulator="physx"), fail)
