"""Whole runs with Isaac Gym on a cluster with several GPUs: on its contract double, and GPUs that are pretended."""

from __future__ import annotations

import importlib
import json
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from parc_ray.cli import app, run_command
from parc_ray.cluster import driver
from parc_ray.cluster.actor import ShardActor
from parc_ray.cluster.connection import connect, ray_session
from parc_ray.errors import InputError
from parc_ray.simulators import engines
from parc_ray.simulators.isaacgym.engine import ISAAC_GYM
from parc_ray.simulators.mujoco.engine import MUJOCO
from tests.cluster.conftest import SPECS
from tests.cluster.runs import (
    Run,
    assert_accounted_for,
    assert_same_recordings,
    record_run,
    unprejudiced_environment,
    write_config,
)
from tests.simulators.remote import DOUBLE, DOUBLE_HERE, double_environment

pytestmark = DOUBLE_HERE

GPUS = 4
"""of the test cluster: two nodes with two each"""


@pytest.fixture
def double_run(motions, address, tmp_path, monkeypatch):
    """Records the motions with the double, whose settings reach the actors as a job's runtime_env does."""
    monkeypatch.syspath_prepend(str(DOUBLE))
    importlib.invalidate_caches()
    violations = tmp_path / "violations"

    def start(settings: dict[str, Any], **config: Any) -> Run:
        environment = double_environment(violations=violations, **{"cuda": 1, **settings})
        names = [name for name in environment if name.startswith(("ISAACGYM_DOUBLE_", "PYTHONPATH"))]
        variables = {**{name: environment[name] for name in names}, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        job = {"runtime_env": {"env_vars": variables}}
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(job))
        return record_run(tmp_path, motions, address, **{"simulator": "isaacgym", "device": "cuda", **config})

    yield start
    assert not violations.exists(), violations.read_text()


def assert_nearly_same_recordings(run: Run, other: Run) -> None:
    """The double's physics is MuJoCo's, but for rounding: all tiles are in one world. Steps amplify it with time."""
    assert_accounted_for(run)
    states, expected = run.final_states(), other.final_states()
    assert {name: state[:1] + state[2:] for name, state in states.items()} == {
        name: state[:1] + state[2:] for name, state in expected.items()
    }
    mine, theirs = run.recordings(), other.recordings()
    assert mine.keys() == theirs.keys() and len(mine) >= 6
    for name, parts in mine.items():
        motion, same = (pickle.loads(recording["motion_data"]) for recording in (parts, theirs[name]))
        moved, turned = (np.abs(motion[key] - same[key]) for key in ("root_pos", "joint_rot"))
        # What differs in the first half second is not amplified yet.
        assert moved[:15].max() < 0.02 and moved.max() < 0.1, name
        assert turned[:15].max() < 0.1 and turned.max() < 0.4, name
        assert (motion["body_contacts"] == same["body_contacts"]).mean() > 0.95, name


def test_the_same_motions_are_recorded_as_with_mujoco(double_run, undisturbed):
    """One actor per GPU, and more shards than GPUs: every shard has a process of its own, and none hangs at its end."""
    hangs = "destroy_sim,undestroyed,exit"
    run = double_run({"compile_seconds": 0.5, "hang": hangs}, ray={"num_actors": None, "num_shards": 5})
    assert run.code == 0, run.console + run.log
    assert_nearly_same_recordings(run, undisturbed)
    ready = re.findall(r"shard (\d+): .* isaacgym 1\.0rc4, .* pid (\d+)", run.log)
    assert len(ready) == 5 and len({pid for _, pid in ready}) == 5
    assert run.summary["simulator"] == "isaacgym" and run.summary["actors"] == GPUS
    assert not run.events("death")
    origin = pickle.loads(run.recordings()["idle_000"]["misc_data"])["recording"]
    assert (origin["simulator"], origin["simulator_version"]) == ("isaacgym", "1.0rc4")


def test_too_many_envs_are_tried_again_with_fewer(double_run, undisturbed):
    run = double_run({"max_envs": 2}, ray={"num_shards": 1})
    assert run.code == 0, run.console + run.log
    assert_nearly_same_recordings(run, undisturbed)
    reasons = [death["reason"] for death in run.events("death")]
    # The second half began after the first had failed.
    assert [re.search(r"Isaac Gym: (\d) envs .* fail to allocate", reason).group(1) for reason in reasons] == ["8", "4"]
    assert all("max_envs_per_actor" in reason for reason in reasons)
    assert "going on with at most 2 envs per actor" in run.console
    assert sum(len(set(re.findall(r"in (\d) envs", line)) - {"1", "2"}) for line in run.log.splitlines()) == 0


def test_attempts_with_lost_contacts_are_not_trusted(double_run, undisturbed):
    """Every process loses contacts in its 400th simulate call: what ran then is repeated elsewhere, as if new."""
    run = double_run({"overflow": "400:pairs"}, num_envs=2, ray={"num_shards": 1})
    assert run.code == 0, run.console + run.log
    assert_nearly_same_recordings(run, undisturbed)
    deaths = run.events("death")
    assert deaths and all("miss interactions" in death["reason"] for death in deaths)
    attempts = [(line["motion"], line["number"]) for line in run.events("attempt")]
    assert sorted(attempts) == sorted((line["motion"], line["number"]) for line in undisturbed.events("attempt"))


def test_a_state_that_is_not_finite_fails_its_attempt_only(double_run, undisturbed):
    run = double_run({"nan": "20:0"}, ray={"num_shards": 1})
    assert run.code == 0 and not run.events("death")
    assert_accounted_for(run)
    (failed,) = [line for line in run.events("attempt") if "not finite" in line["reason"]]
    assert failed["seconds"] < 0.5
    others = {name: state for name, state in run.final_states().items() if name != failed["motion"]}
    assert others.keys() == SPECS.keys() - {failed["motion"]}
    assert all(state[0] == undisturbed.final_states()[name][0] for name, state in others.items())


def test_actors_begin_with_the_libraries_of_the_environment(address, monkeypatch):
    """The loader reads LD_LIBRARY_PATH when a process starts, so Ray has to know it before."""

    class Curious(ShardActor):
        def libraries(self):
            return Path("/proc/self/environ").read_bytes().decode().split("\0")

    monkeypatch.setattr(driver, "ShardActor", Curious)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/of_the_job/lib")
    with ray_session():
        connect(address, [])
        actor = driver.actor_class(ISAAC_GYM, 1, 1).remote()
        variables = ray.get(actor.libraries.remote(), timeout=100)
    assert f"LD_LIBRARY_PATH={sys.prefix}/lib:/opt/of_the_job/lib" in variables


def test_isaac_gym_that_does_not_work_ends_the_run_before_it_begins(double_run, tmp_path):
    with pytest.raises(InputError, match=r"libpython3\.8.*LD_LIBRARY_PATH="):
        double_run({"import_error": "libpython"})
    assert not (tmp_path / "out").exists()


def test_auto_without_a_working_isaac_gym_says_why_it_takes_mujoco(double_run, undisturbed, monkeypatch, tmp_path):
    monkeypatch.setattr(engines, "ENGINES", (ISAAC_GYM, MUJOCO))
    env_file = str(unprejudiced_environment(tmp_path))
    run = double_run({"crash": "import", "cuda": 0}, simulator="auto", env_file=env_file)
    assert_same_recordings(run, undisturbed)
    assert "simulator: mujoco, because simulator: a process that only imports Isaac Gym has died" in run.console
    (path,) = re.findall(r"its last words are in (\S+) on ", run.console)
    assert "Segmentation fault" in Path(path).read_text()


@pytest.mark.slow
def test_check_reports_engine_devices_and_memory(motions, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(DOUBLE))
    importlib.invalidate_caches()
    for name, value in double_environment(cuda=1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_config(tmp_path, [motions], None, simulator="isaacgym", device="cpu")
    with pytest.raises(SystemExit) as stop:
        run_command(app, ["check", "--config", str(path)])
    printed = " ".join(capsys.readouterr().out.split())
    assert stop.value.code in (0, None), printed
    assert re.search(r"simulator isaacgym engine Isaac Gym 1\.0rc4, Python 3\.\d+\.\d+, torch 2", printed), printed
