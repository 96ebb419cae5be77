"""What is logged, read back by the libraries themselves; without a network."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Dict, List

import pytest

from parc_ray.errors import InputError
from parc_ray.runs.logger import RunLogger, require_logger

PROGRESS: Dict[str, Any] = {"recorded": 1, "seconds_left": None, "steps_per_second": 33.5}
SUMMARY: Dict[str, Any] = {"recorded": 2, "recorded_from": {"0": 1, "0.25": 1}, "simulator": "mujoco", "ok": True}


def logged(name: str, folder: Path) -> List[str]:
    """Progress at 10 and a summary at 20 control steps; returns what the run was told."""
    told: List[str] = []
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
    pytest.importorskip("wandb")
    datastore = pytest.importorskip("wandb.sdk.internal.datastore")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    assert not logged("wandb", tmp_path)
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    store, records = datastore.DataStore(), []
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
        records.append(wandb_internal_pb2.Record())
        records[-1].ParseFromString(data)
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.project, run.display_name, run.run_group) == ("mine", tmp_path.name, str(tmp_path))
    history = [
        {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    assert [float(row["progress/recorded"]) for row in history if "progress/recorded" in row] == [1.0]
    assert [float(row["summary/recorded_from/0.25"]) for row in history if "summary/recorded" in row] == [1.0]


def test_a_logger_that_fails_does_not_reach_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch.utils.tensorboard")
    (tmp_path / "tensorboard").write_text("no folder")
    told = logged("tensorboard", tmp_path)
    assert len(told) == 1 and told[0].startswith("tensorboard takes nothing of this run any longer")


def test_a_library_that_is_missing_is_told_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    require_logger("none")
    with pytest.raises(InputError, match=r'output\.logger.*pip install "parc-ray\[tracking\]"'):
        require_logger("wandb")
