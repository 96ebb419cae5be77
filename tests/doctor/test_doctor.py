"""parc-ray doctor, on a machine without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parc_ray.doctor import checkup, gpu, kernels, machine
from parc_ray.doctor.checkup import Checkup, run_checkup
from parc_ray.doctor.gpu import GpuCheck, Row, _Work, check_gpu, read_gpu_check
from parc_ray.errors import InputError
from parc_ray.simulators.isaacgym.engine import ISAAC_GYM
from parc_ray.simulators.mujoco_warp.engine import MUJOCO_WARP
from tests.reference import ROOT
from tests.simulators.remote import PRETENDED_CUDA


def doctor(*arguments, **environment):
    command = [sys.executable, "-m", "parc_ray", "doctor", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment or None, capture_output=True, text=True)


@pytest.fixture
def work(tmp_path):
    return _Work(GpuCheck("cpu", motions=1, seconds=0.1), tmp_path, time.monotonic() + 60, lambda line: None)


@pytest.mark.slow
def test_it_says_what_is_here_and_starts_nothing():
    ended = doctor("--json")
    found = json.loads(ended.stdout)
    assert (ended.returncode, found["healthy"], found["rows"]) == (0, True, [])
    here = found["machine"]
    assert here["engines"]["mujoco"] == "" and here["versions"]["mujoco"] and here["cpus"] > 0
    assert bool(here["engines"]["isaacgym"]) == bool(ISAAC_GYM.unavailable_reason())
    lines = ended.stderr.splitlines()
    assert [line for line in lines if line.startswith("mujoco ") and line.endswith("can be loaded")]
    assert [line for line in lines if line.startswith("torch ") and here["torch"] in line]


@pytest.mark.slow
def test_devices_are_those_that_torch_can_use(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{PRETENDED_CUDA}:{ROOT}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    found = machine._ask_torch()
    assert list(found["devices"]) == ["cuda:0", "cuda:1"]
    assert found["devices"]["cuda:1"] == "Pretended GPU, compute capability 8.6, 8.0 of 24.0 GiB free"


def test_a_package_that_crashes_is_reported(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    assert machine._ask_torch() == {
        "torch": "a process that only loads it was killed by signal 6: no message", "devices": {}
    }  # fmt: skip
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')\n")
    assert "cannot be imported: libcudart.so.12" in machine._ask_torch()["torch"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("cuda", "", "", ""), "--device cuda: give cuda:N, or cpu"),
        (("cpu", "bullet", "", ""), "unknown simulator 'bullet'"),
        (("cpu", "", "start,run", ""), "--parts run: use one of start, demo"),
        (("cpu", "", "", "64,many"), "--envs 64,many: give numbers"),
        (("cpu", "", "", "0"), "--envs 0: give numbers from 1"),
    ],
)
def test_names_that_do_not_exist_are_input_errors(arguments, message):
    with pytest.raises(InputError, match=message):
        read_gpu_check(*arguments)


def test_what_a_gpu_check_is_given():
    assert read_gpu_check("cuda:1", "", "", "") == GpuCheck("cuda:1")
    assert read_gpu_check("cpu", "physx, mujoco", "start", "8,16") == GpuCheck(
        "cpu", ("start",), ("physx", "mujoco"), (8, 16)
    )
    with pytest.raises(InputError, match="--compile sm90: name an architecture such as sm_80"):
        kernels.read_architectures(["sm_80", "sm90"])


@pytest.mark.slow
@pytest.mark.skipif(not ISAAC_GYM.unavailable_reason(), reason="Isaac Gym is here")
def test_a_check_on_cpus_goes_on_after_an_engine_that_does_not_start(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "CLONE", tmp_path)
    check = GpuCheck("cpu", ("start", "conformance", "demo", "speed"), ("isaacgym", "mujoco"), (3,), 2, 0.2)
    said = []
    rows = {(row.part, row.engine): row for row in check_gpu(check, said.append)}
    broken = rows.pop(("start", "isaacgym"))
    assert broken.state == "failed" and "Isaac Gym is not installed" in broken.text
    assert rows.pop(("conformance", "mujoco")).text.startswith("needs a clone")
    assert all(row.state == "ok" for row in rows.values()), rows
    assert set(rows) == {("start", "mujoco"), ("demo", "mujoco on cpu"), ("demo", "mujoco"), ("speed", "mujoco")}
    assert len(said) == 6
    assert rows["demo", "mujoco"].numbers["as_reference"] == len(rows["demo", "mujoco"].numbers["ends"]) == 2
    speed = rows["speed", "mujoco"].numbers
    assert speed["bare"] > 0 and speed["recorded"] > 0 and speed["kernels"] > 10


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 9), reason="newer Rays only")
def test_two_actors_record_on_the_device(work):
    (row,) = work.run_part("ray", ["mujoco"], [])
    assert (row.state, row.numbers["motions"], row.numbers["crashed"]) == ("ok", 1, 0), row.text


@pytest.fixture
def child(monkeypatch, tmp_path):
    """Replaces the program of child processes."""

    def replace(code):
        (tmp_path / "pretended_part.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(gpu, "CHILD", "pretended_part")

    return replace


def test_a_process_that_dies_is_reported(child, work):
    child("import os, sys\nprint('CUDA error', file=sys.stderr, flush=True)\nos.abort()\n")
    work = _Work(GpuCheck("cpu", envs=(2, 4, 100_000)), work.folder, work.deadline, work.report)
    rows = work.run_part("speed", ["mujoco"], [])
    assert [(row.envs, row.state, row.text) for row in rows] == [
        (envs, "failed", "was killed by signal 6: CUDA error") for envs in (2, 4)
    ]


@pytest.mark.slow
def test_what_hangs_is_ended_with_all_that_it_started(child, work, monkeypatch, tmp_path):
    child(
        "import subprocess, pathlib\nchild = subprocess.Popen(['sleep', '99'])\n"
        "pathlib.Path(__file__).with_name('child').write_text(str(child.pid))\nchild.wait()\n"
    )
    monkeypatch.setitem(gpu.LIMITS, "start", 5.1)
    (row,) = work.run_part("start", ["mujoco"], [])
    assert (row.state, row.text) == ("failed", "did not end within 5 s")
    process = Path(f"/proc/{(tmp_path / 'child').read_text()}/cmdline")
    while process.exists() and process.read_bytes():  # a process that has ended has no command line
        time.sleep(0.01)


def test_without_time_left_parts_are_skipped(work):
    late = _Work(work.check, work.folder, time.monotonic() + 1, work.report)
    (row,) = late.run_part("start", ["mujoco"], [])
    assert (row.state, row.text) == ("skipped", "no time was left")


@pytest.mark.skipif(bool(MUJOCO_WARP.unavailable_reason()), reason="MuJoCo Warp is not here")
@pytest.mark.parametrize("errors", [{}, {"sm_80 solver": "ptxas failed"}])
def test_kernels_that_do_not_compile_fail_the_checkup(monkeypatch, errors):
    """The compiler itself runs in `parc-ray doctor --compile sm_90`: it takes a minute."""
    monkeypatch.setattr(checkup, "examine_machine", lambda: MACHINE)
    monkeypatch.setattr(checkup, "ask", lambda arguments, seconds: {"modules": 37, "errors": errors})
    findings = run_checkup(Checkup(architectures=("sm_80",)), lambda line: None)
    (row,) = findings.rows
    assert (row.part, row.engine, row.state) == ("compile", "sm_80", "failed" if errors else "ok")
    assert row.text == ("37 modules, 1 failed; sm_80 solver: ptxas failed" if errors else "37 modules, 0 failed")
    assert findings.healthy == (not errors)


MACHINE = machine.Machine("", "", 2, 1, 1, (), "2.4", {}, {}, {"mujoco": "", "physx": "not here"}, "egl", "", {}, {})


def test_engines_are_started_on_request(monkeypatch):
    monkeypatch.setattr(checkup, "examine_machine", lambda: MACHINE)
    asked = []
    rows = [Row("start", "mujoco", state="failed", text="no")]
    monkeypatch.setattr(checkup, "check_gpu", lambda check, report: asked.append(check) or rows)
    findings = run_checkup(Checkup(start_engines=True), lambda line: None)
    assert asked == [GpuCheck(device="cpu", parts=("start",), engines=["mujoco"])]
    assert not findings.healthy and json.loads(findings.to_json())["rows"][0]["text"] == "no"
