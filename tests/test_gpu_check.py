"""The check of a machine's GPU, in its CPU mode."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from parc_ray.simulators.isaacgym.engine import ISAAC_GYM
from tests.reference import ROOT

SCRIPT = ROOT / "scripts" / "gpu_check.py"


@pytest.fixture
def script(monkeypatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_check", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def check(script, tmp_path):
    return script.Check("cpu", 1, 0.1, tmp_path, time.monotonic() + 60)


@pytest.mark.slow
@pytest.mark.skipif(not ISAAC_GYM.unavailable_reason(), reason="Isaac Gym is here")
def test_a_check_on_cpus_goes_on_after_an_engine_that_does_not_start(tmp_path):
    """From an empty folder and beside an installed package, as users may run it."""
    alone = tmp_path / "gpu_check.py"
    alone.write_bytes(SCRIPT.read_bytes())
    parts = ["start", "conformance", "demo", "speed"]
    command = [sys.executable, str(alone), "--device", "cpu", "--engines", "isaacgym", "mujoco", "--parts", *parts]
    command += ["--envs", "3", "--motions", "2", "--seconds", "0.2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    report = json.loads((tmp_path / "gpu_check.json").read_text())
    rows = {(row["part"], row["engine"]): row for row in report["rows"]}
    broken = rows.pop(("start", "isaacgym"))
    assert broken["state"] == "failed" and "Isaac Gym is not installed" in broken["text"]
    assert ended.returncode == 1 and broken["text"][:60] in ended.stdout
    assert rows.pop(("conformance", "mujoco"))["text"].startswith("needs a clone")
    assert all(row["state"] == "ok" for row in rows.values()), ended.stdout + ended.stderr
    assert set(rows) == {("start", "mujoco"), ("demo", "mujoco on cpu"), ("demo", "mujoco"), ("speed", "mujoco")}
    assert rows["demo", "mujoco"]["numbers"]["as_reference"] == len(rows["demo", "mujoco"]["numbers"]["ends"]) == 2
    speed = rows["speed", "mujoco"]["numbers"]
    assert speed["bare"] > 0 and speed["recorded"] > 0 and speed["kernels"] > 10
    assert report["versions"]["mujoco"] and "isaacgym" not in report["left out"]


def test_a_process_that_dies_is_told_of(script, check, monkeypatch, tmp_path):
    dies = tmp_path / "dies.py"
    dies.write_text("import os, sys\nprint('CUDA error', file=sys.stderr, flush=True)\nos.abort()\n")
    monkeypatch.setattr(script, "__file__", str(dies))
    rows = script._run_part(check, "speed", ["mujoco"], [2, 4, 100_000], [])
    assert [(row.envs, row.state, row.text) for row in rows] == [
        (envs, "failed", "RuntimeError: exit code -6: CUDA error") for envs in (2, 4)
    ]


def test_what_hangs_is_ended_with_all_that_it_started(script, check, monkeypatch, tmp_path):
    hangs = tmp_path / "hangs.py"
    hangs.write_text(
        "import subprocess, pathlib\nchild = subprocess.Popen(['sleep', '99'])\n"
        "pathlib.Path(__file__).with_name('child').write_text(str(child.pid))\nchild.wait()\n"
    )
    monkeypatch.setattr(script, "__file__", str(hangs))
    monkeypatch.setitem(script.LIMITS, "start", 5.1)
    (row,) = script._run_part(check, "start", ["mujoco"], [], [])
    assert (row.state, row.text) == ("failed", "did not end within 5 s")
    child = Path(f"/proc/{(tmp_path / 'child').read_text()}/cmdline")
    while child.exists() and child.read_bytes():  # a process that has ended has no command line
        time.sleep(0.01)


def test_without_time_left_parts_are_skipped(script, tmp_path):
    late = script.Check("cpu", 1, 0.1, tmp_path, time.monotonic() + 1)
    (row,) = script._run_part(late, "start", ["mujoco"], [], [])
    assert (row.state, row.text) == ("skipped", "no time was left")
