"""scripts/engine_fit.py: what it reads, and that it finds the targets and the engine behind a recording."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import engine_fit
import numpy as np
import pytest
import torch

from parc_ray.character import rotations
from parc_ray.errors import InputError
from parc_ray.trackers.action_bounds import action_bounds
from tests.reference import vectors
from tests.simulators.golden import CHARACTER, SKELETON, environment, golden, write_golden

FLIGHT = slice(98, 106)


def test_states_are_those_that_were_observed(tmp_path):
    """Velocities are the derivatives of the poses, as far as a mean over a control step can be."""
    data, v = golden(tmp_path), vectors("golden_isaacgym_recording")
    assert {kind: int(rows.sum()) for kind, rows in data.kinds.items()} == {"flight": 16, "contact": 86, "change": 39}
    assert torch.equal(data.before.root_pos, torch.from_numpy(v["root_pos"][:-1]))
    flight = torch.from_numpy(data.kinds["flight"])
    mean = (data.before.dof_vel + data.after.dof_vel)[flight] / 2
    before = SKELETON.dof_to_rot(data.before.dof_pos)
    derivative = SKELETON.dof_velocity(before, data.rotations_after, 1 / 30)[flight]
    assert np.corrcoef(mean.flatten(), derivative.flatten())[0, 1] > 0.9
    turned = (data.before.root_ang_vel + data.after.root_ang_vel)[flight] / 2
    turn = rotations.quat_to_exp_map(rotations.quat_diff(data.before.root_rot, data.after.root_rot))[flight] * 30
    assert float((turned - turn).norm(dim=1).median()) < 0.3 * float(turn.norm(dim=1).median())


def test_a_recording_without_observations_is_refused(tmp_path):
    write_golden(tmp_path / "bare.pkl", observations=False)
    with pytest.raises(InputError, match=r"bare\.pkl: holds no observation .* record.observations: true"):
        engine_fit.read_recording(tmp_path / "bare.pkl", SKELETON, environment())


def test_settings_that_there_are_not_are_refused():
    with pytest.raises(InputError, match="NAME=VALUE"):
        engine_fit.candidate("mujoco,faithful")
    with pytest.raises(InputError, match=r"mujoco\.profil"):
        engine_fit.run_of(engine_fit.candidate("mujoco,mujoco.profil=faithful"), CHARACTER, environment().model_dump())


def test_an_engine_explains_itself_and_the_targets_are_found_again(tmp_path):
    """In flight, where no contact can be missed, from what the same engine did with targets that are known."""
    data = golden(tmp_path)
    rows = np.flatnonzero(data.kinds["flight"])[:4]
    index = torch.from_numpy(rows)
    data = replace(
        data, before=data.before.rows(index), after=data.after.rows(index),
        rotations_after=data.rotations_after[index], contacts=data.contacts[:, rows], tiles=data.tiles[rows],
    )  # fmt: skip
    run = engine_fit.run_of(engine_fit.candidate("mujoco"), CHARACTER, environment().model_dump())
    simulator = engine_fit.build(run, SKELETON, data, 8, "cpu", 1)
    step = engine_fit.stepping(simulator, data, own_tiles=True)
    low, high = (bound.double().numpy() for bound in action_bounds(SKELETON))
    wanted = data.after.dof_pos.double().numpy() + np.random.default_rng(0).normal(0.0, 0.1, (4, 28))
    wanted = np.clip(wanted, low, high)
    after = step(np.arange(4), wanted)
    made = replace(data, after=after, rotations_after=SKELETON.dof_to_rot(after.dof_pos))
    found = engine_fit.fit(step, SKELETON, made, 1 / 30, restarts=0)
    simulator.close()
    assert engine_fit.size(found.residual).max() < 0.1
    assert np.abs(found.targets - wanted).max() < 0.03


def test_the_command_writes_figures_and_a_picture(tmp_path: Path, capsys):
    write_golden(tmp_path / "golden.pkl", FLIGHT)
    options = ["--engine", "mujoco", "mujoco,mujoco.steps_per_control=8", "--restarts", "0", "--envs", "32"]
    options += ["--character", str(CHARACTER), "--output", str(tmp_path / "out")]
    engine_fit.compare(engine_fit.parse_options([str(tmp_path / "golden.pkl"), *options]))
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    coarse, fine = figures.values()
    low, high = coarse["residual interval"]
    assert low <= coarse["residual"] <= high
    assert fine["ratio"] == pytest.approx(fine["residual"] / coarse["residual"])
    picture = ElementTree.parse(str(tmp_path / "out" / "residuals.svg"))
    assert len([part for part in picture.iter() if part.tag.endswith("polyline")]) == 2
    assert "mujoco,mujoco.steps_per_control=8" in capsys.readouterr().out
    with np.load(tmp_path / "out" / "targets.npz") as targets:
        assert targets["mujoco"].shape == (7, 28)
