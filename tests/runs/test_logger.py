"""What is logged, read back by the libraries themselves; without a network."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from parc_ray.errors import InputError
from parc_ray.runs.logger import RunLogger, require_logger

PROGRESS: dict[str, Any] = {"recorded": 1, "seconds_left": None, "steps_per_second": 33.5}
SUMMARY: dict[str, Any] = {"recorded": 2, "recorded_from": {"0": 1, "0.25": 1}, "simulator": "mujoco", "ok": True}


def logged(name: str, folder: Path) -> list[str]:
    """Progress at 10 and a summary at 20 control steps; returns what the run was told."""
    told: list[str] = []
    logger = RunLogger(name, folder, {"seed": 0, "acceptance": None}, told.append)
    logger.log(10, PROGRESS, "progress")
    logger.log(20, SUMMARY, "summary")
    logger.close()
    logger.close()
    return told


@pytest.mark.slow
def test_tensorboard(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert not logged("tensorboard", tmp_path)
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found == {
        "progress/recorded": [(10, 1.0)],
        "progress/steps_per_second": [(10, 33.5)],
        "summary/recorded": [(20, 2.0)],
        "summary/recorded_from/0": [(20, 1.0)],
        "summary/recorded_from/0.25": [(20, 1.0)],
    }


@pytest.mark.slow
def test_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    runs: list[Any] = []
    begin = wandb.init
    monkeypatch.setattr(wandb, "init", lambda **values: runs.append(begin(**values)) or runs[-1])
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    told: list[str] = []
    logger = RunLogger("wandb", tmp_path, {"seed": 0, "acceptance": None}, told.append)
    logger.log(10, PROGRESS, "progress")
    logger.log(20, SUMMARY, "summary")
    (run,) = runs
    seen = dict(run.summary)  # of whole steps; a run that is closed does not tell it any more
    logger.close()
    assert not told
    assert (run.project, run.name, run.group) == ("mine", tmp_path.name, str(tmp_path))
    assert dict(run.config) == {"seed": 0, "acceptance": None}
    assert (seen["progress/recorded"], seen["progress/steps_per_second"], seen["_step"]) == (1.0, 33.5, 10)
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert path.stat().st_size


def test_a_logger_that_fails_does_not_reach_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch.utils.tensorboard")
    (tmp_path / "tensorboard").write_text("no folder")
    told = logged("tensorboard", tmp_path)
    assert len(told) == 1 and told[0].startswith("tensorboard logs no more of this run")


def test_a_library_that_is_missing_is_told_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    require_logger("none")
    with pytest.raises(InputError, match=r'output\.logger.*pip install "parc-ray\[tracking\]"'):
        require_logger("wandb")
