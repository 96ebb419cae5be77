"""Availability of MuJoCo Warp and compilation of its kernels, on any Python."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import torch

from parc_ray.errors import InputError
from parc_ray.simulators.cache_folder import cache_folder
from parc_ray.simulators.engine_check import check_here
from parc_ray.simulators.engines import choose_engine
from parc_ray.simulators.mujoco_warp import package
from parc_ray.simulators.mujoco_warp.engine import MUJOCO_WARP
from parc_ray.simulators.warp_runtime import require_warp_device


@pytest.fixture
def cold(pretend, monkeypatch, tmp_path):
    """MuJoCo Warp 4.2 is here and has never been started; returns the folder of its kernels."""
    pretend("4.2")
    monkeypatch.delenv("WARP_CACHE_PATH", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("start_warp", "require_warp_device"):
        monkeypatch.setattr(package, name, lambda *arguments: None)
    return cache_folder("warp")


@pytest.mark.parametrize(("python", "hint"), [("3.8.18", "needs Python 3.11 or newer, not 3.8.18"), ("3.12.1", "")])
def test_without_the_package_its_remedy_is_named(pretend, monkeypatch, python, hint):
    pretend(None)
    monkeypatch.setattr(platform, "python_version_tuple", lambda: tuple(python.split(".")))
    monkeypatch.setattr(platform, "python_version", lambda: python)
    with pytest.raises(
        InputError, match=r'MuJoCo Warp is not installed in .*pip install "parc-ray\[warp\]".*simulator: mujoco'
    ) as refused:
        choose_engine("mujoco_warp", ["cuda"], "cuda:0")
    assert hint in str(refused.value) and ("needs Python" in str(refused.value)) == bool(hint)


def test_a_cpu_has_to_be_asked_for(pretend):
    pretend("4.2")
    assert choose_engine("mujoco_warp", ["cpu"], "cpu").engine is MUJOCO_WARP
    assert choose_engine("auto", ["cpu"], "cpu").engine is not MUJOCO_WARP
    with pytest.raises(InputError, match="mujoco_warp needs a CUDA device, and Ray has none; use device: cpu"):
        choose_engine("mujoco_warp", ["cuda"], "cpu")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.skipif(bool(package.unavailable_reason()), reason=package.unavailable_reason())
def test_a_trial_without_a_gpu_fails_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    problem = check_here(MUJOCO_WARP, "cuda:0").problem
    assert problem.startswith("simulator: MuJoCo Warp does not work on cuda:0 (torch ") and "nvidia-smi" in problem


@pytest.mark.parametrize("warm", [False, True])
def test_a_driver_that_only_torch_can_use_is_one_clear_message(cold, monkeypatch, warm):
    """Also where the engine is asked for by name and its kernels are there, so that nothing was tried out before."""
    warp = SimpleNamespace(__version__="1.19.0", get_cuda_device_count=lambda: 0)
    monkeypatch.setitem(sys.modules, "warp", warp)
    if warm:
        with package.kernels("cuda:0", "humanoid"):
            pass
    monkeypatch.setattr(package, "require_warp_device", require_warp_device)
    message = (
        r"MuJoCo Warp does not work on cuda:0: Warp 1\.19\.0 can use no CUDA devices here, although torch .* driver"
    )
    with pytest.raises(InputError, match=message), package.kernels("cuda:0", "humanoid"):
        raise AssertionError("kernels were loaded")
    warp.get_cuda_device_count = lambda: 1
    with pytest.raises(InputError, match=r"cuda:1: Warp 1\.19\.0 can use 1 CUDA"), package.kernels(
        "cuda:1", "humanoid"
    ):
        pass
    for device in ("cuda:0", "cpu"):
        with package.kernels(device, "humanoid"):
            pass


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("warp") is None, reason="Warp is not installed")
def test_users_of_cpus_see_no_warning_of_a_missing_driver():
    """Warp prints it in native code. Other lines reach standard error."""
    code = (
        "import os; from parc_ray.simulators import warp_runtime as w; w.start_warp('cpu')\n"
        "with w._without_line(w.NO_DRIVER): os.write(2, b'one\\n' + w.NO_DRIVER + b'\\ntwo\\n')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "one\ntwo\n")


def test_the_first_start_on_a_machine_is_told_of(cold, monkeypatch, tmp_path):
    assert "a minute or two" in MUJOCO_WARP.first_start("cuda:0") and str(cold) in MUJOCO_WARP.first_start("cuda:0")
    with pytest.raises(RuntimeError), package.kernels("cuda:0", "humanoid"):
        raise RuntimeError("the compiler has failed")
    assert MUJOCO_WARP.first_start("cuda:0")
    with package.kernels("cuda:1", "humanoid"):
        assert MUJOCO_WARP.first_start("cuda:0")
    assert not MUJOCO_WARP.first_start("cuda:0") and MUJOCO_WARP.first_start("cpu")
    monkeypatch.setenv("WARP_CACHE_PATH", str(tmp_path / "elsewhere"))
    assert "elsewhere" in MUJOCO_WARP.first_start("cuda:0")


def test_kernels_are_compiled_by_one_process_while_others_wait(cold):
    """Locks of the operating system hold between open files: threads will do."""
    inside, order = threading.Event(), []

    def second():
        inside.wait()
        with package.kernels("cuda", "humanoid"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with package.kernels("cuda", "humanoid"):
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    with package.kernels("cuda", "humanoid"), package.kernels("cuda", "humanoid"):
        pass  # what is there is used by all at once


def test_a_cache_that_cannot_be_written_is_no_error(cold):
    cold.parent.mkdir(parents=True)
    cold.write_text("no folder")
    with package.kernels("cuda", "humanoid"):
        pass
    assert MUJOCO_WARP.first_start("cuda:0")
