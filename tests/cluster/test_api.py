"""The examples in the docstrings of the Python API, one after the other, as a program would run them."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import pytest

import parc_ray
from tests.cluster.runs import write_config


def test_the_examples(tmp_path: Path, motions: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run, then reading it; its progress and summary are in TensorBoard's files, too."""
    pytest.importorskip("pandas")
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "motions").mkdir()
    shutil.copy(motions / "idle_000.pkl", tmp_path / "motions" / "walk_0.pkl")
    output = {"logger": "tensorboard", "report": False}
    write_config(tmp_path, [tmp_path / "motions"], address, output_dir="output", output=output)
    for function in (parc_ray.record, parc_ray.read_run, parc_ray.read_recording):
        (example,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
        assert example.examples
        runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
        runner.run(example)
        assert not runner.failures, function.__name__
    events = accumulators.EventAccumulator("output/tensorboard")
    events.Reload()
    (summary,) = events.Scalars("summary/recorded")
    assert summary.value == 1 and summary.step == parc_ray.read_run("output").attempts()[0][1].seconds * 30
