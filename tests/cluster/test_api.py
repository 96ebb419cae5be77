"""The Python API as a program uses it: the examples in its docstrings, and that it is a guest in its process."""

from __future__ import annotations

import doctest
import logging
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

import parc_ray
from parc_ray.cli import app, run_command
from parc_ray.cluster import run
from tests.cluster.command import actor_processes
from tests.cluster.runs import write_config
from tests.cluster.waiting import PATIENCE
from tests.test_docs import pages
from tests.test_pages import blocks


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


def test_the_python_blocks_of_the_pages_run(
    tmp_path: Path, motions: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, in the folder of a demo-like run of a motion called walk."""
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "motions").mkdir()
    shutil.copy(motions / "idle_000.pkl", tmp_path / "motions" / "walk.pkl")
    write_config(tmp_path, [tmp_path / "motions"], address, output_dir="output/demo", output={"report": False})
    found = [(page, text) for page in pages() for language, text in blocks(page) if language == "python"]
    found.sort(key=lambda block: block[0].name != "api.md")  # it makes the run that the others read
    assert len(found) > 1
    for index, (page, text) in enumerate(found):
        exec(compile(text, str(page), "exec"), {})
        if not index:
            with pytest.raises(SystemExit) as ended:
                run_command(app, ["export", "output/demo", "--to", "npz", "-o", "elsewhere"])
            assert not ended.value.code


def handler_of_the_program(*_: object) -> None:
    pass


@pytest.mark.parametrize("in_a_thread", [False, True])
def test_a_program_keeps_its_ray_and_its_signals(
    tmp_path: Path, motions: Path, address: str, monkeypatch: pytest.MonkeyPatch, in_a_thread: bool
) -> None:
    """A run uses the Ray that its caller has started, leaves no actor in it, and takes no signal for longer."""
    (tmp_path / "motions").mkdir()
    shutil.copy(motions / "idle_000.pkl", tmp_path / "motions" / "idle.pkl")
    config = write_config(tmp_path, [tmp_path / "motions"], address, output={"report": False})
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    during = []
    for number in before:
        signal.signal(number, handler_of_the_program)
    try:
        original = run.prepare

        def prepare(*arguments: Any) -> Any:
            during.append(signal.getsignal(signal.SIGTERM))
            return original(*arguments)

        monkeypatch.setattr(run, "prepare", prepare)
        if in_a_thread:
            with ThreadPoolExecutor(1) as pool:
                recorded = pool.submit(parc_ray.record, config, quiet=True).result()
        else:
            recorded = parc_ray.record(config, quiet=True)
        assert (during == [handler_of_the_program]) == in_a_thread
        assert all(signal.getsignal(number) is handler_of_the_program for number in before)
        assert ray.is_initialized() and ray.get(ray.put(7)) == 7
        assert [motion.state for motion in recorded.motions] == ["recorded"]
        _, alive = psutil.wait_procs(actor_processes(), timeout=PATIENCE)
        assert not alive
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        ray.shutdown()
