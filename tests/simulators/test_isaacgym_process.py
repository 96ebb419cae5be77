"""Messages for users when Isaac Gym does not work, on the contract double."""

from __future__ import annotations

import importlib
import os
import platform
import re
import subprocess
import sys
import time

import pytest

from parc_ray.errors import InputError
from parc_ray.simulators import engine_check, engines
from parc_ray.simulators.engines import choose_engine
from parc_ray.simulators.isaacgym.engine import ISAAC_GYM
from parc_ray.simulators.isaacgym.process import import_isaacgym, library_path
from parc_ray.simulators.mujoco.engine import MUJOCO
from tests.reference import ROOT
from tests.simulators.remote import DOUBLE, DOUBLE_HERE, PRETENDED_CUDA, double_environment

pytestmark = [pytest.mark.slow, DOUBLE_HERE]

NEW = sys.version_info >= (3, 9)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """The double is installed, here and in processes started from here, with the given settings."""

    def install(cuda: int = 1, **settings: object) -> None:
        environment = double_environment(cuda=cuda, **settings)
        environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        if not cuda:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.syspath_prepend(str(DOUBLE))
        importlib.invalidate_caches()

    return install


def test_versions_and_devices(installed):
    installed(cuda=2)
    os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
    found = engine_check.check_locally(ISAAC_GYM, "cuda:0")
    assert (found.problem, found.version, found.python) == ("", "1.0rc4", platform.python_version())
    gpu = "Pretended GPU, compute capability 8.6, 8.0 of 24.0 GiB free"
    assert found.devices == {"cuda:0": gpu, "cuda:1": gpu}
    found = engine_check.check_locally(ISAAC_GYM, "cpu")
    assert (found.problem, found.version, found.devices) == ("", "1.0rc4", {})


def test_not_installed():
    message = engine_check.check_locally(ISAAC_GYM, "cpu").problem
    assert message.startswith(f"simulator: Isaac Gym is not installed in {sys.prefix}")
    assert "https://developer.nvidia.com/isaac-gym" in message and message.endswith("or set simulator: mujoco")
    assert ("needs Python 3.8" in message) == NEW


def test_imported_after_torch(installed):
    installed()
    assert "torch" in sys.modules
    with pytest.raises(InputError, match="must be imported before torch, but this process has imported torch already"):
        import_isaacgym("cpu")


MESSAGES = {
    "wrong Python": ({"any_python": 0}, "runs on Python 3.6 to 3.8, this is Python 3."),
    "libpython": (
        {"import_error": "libpython"},
        r"does not find Python's own library \(libpython3\.8.*LD_LIBRARY_PATH=/",
    ),
    "anything else": ({"import_error": "libboost is odd"}, "cannot be imported: ImportError: libboost is odd"),
    "no CUDA device": ({"cuda": 0}, "finds no CUDA device .*nvidia-smi.*device: cpu"),
    "crash": ({"crash": "import"}, "only imports Isaac Gym was killed by signal 11.*examples"),
    "hang": ({"hang": "import"}, "did not start within 3 s"),
}


@pytest.mark.parametrize(("settings", "message"), MESSAGES.values(), ids=MESSAGES)
def test_messages(installed, monkeypatch, settings, message):
    if "any_python" in settings and not NEW:
        pytest.skip("this Python is the right one")
    monkeypatch.setattr(engine_check, "TRIAL_SECONDS", 3.0 if "hang" in settings else 100.0)
    installed(**settings)
    assert re.search(message, engine_check.check_locally(ISAAC_GYM, "cuda:0").problem)


@pytest.mark.parametrize(
    ("capability", "architectures", "fits"),
    [
        ("8.9", "sm_80 sm_90a", True),
        ("12.0", "sm_80 compute_90", True),
        ("12.0", "sm_80 sm_90", False),
        ("8.0", "sm_86 sm_90", False),
    ],
)
def test_a_gpu_that_torch_was_not_built_for(installed, monkeypatch, capability, architectures, fits):
    installed()
    monkeypatch.setenv("PRETENDED_CAPABILITY", capability)
    monkeypatch.setenv("PRETENDED_ARCHITECTURES", architectures)
    problem = engine_check.check_locally(ISAAC_GYM, "cuda:0").problem
    if fits:
        assert not problem
        return
    for words in (
        "Pretended GPU",
        f"compute capability {capability}",
        architectures.replace(" ", ", "),
        "not supported",
    ):
        assert words in problem


def test_the_extension_is_compiled_once_and_a_killed_compiler_stops_nobody(installed, tmp_path):
    """torch's own lock file stays when a process is killed, and the next one waits for it forever."""
    installed(compile_seconds=2.0)
    command = [sys.executable, "-m", "parc_ray.simulators.engine_check", "isaacgym", "cpu"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    locks = tmp_path / "cache" / "parc_ray" / "torch_extensions"
    deadline = time.monotonic() + 60
    while not list(locks.rglob("gymtorch/lock")) and time.monotonic() < deadline:
        time.sleep(0.02)
    first.kill()
    first.wait()
    assert list(locks.rglob("gymtorch/lock"))
    together = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert all('"version"' in process.communicate(timeout=60)[0] for process in together)
    assert len(list(locks.rglob("gymtorch.so"))) == 1 and not list(locks.rglob("gymtorch/lock"))


def test_the_trial_ends_where_isaac_gym_hangs_at_exit(installed, monkeypatch):
    monkeypatch.setattr(engine_check, "TRIAL_SECONDS", 60.0)
    installed(hang="exit")
    assert engine_check.check_locally(ISAAC_GYM, "cpu").version == "1.0rc4"


def test_libraries_of_the_environment_come_first(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/opt/a:{sys.prefix}/lib::/opt/b")
    assert library_path() == f"{sys.prefix}/lib:/opt/a:/opt/b"
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert library_path() == f"{sys.prefix}/lib"


def test_auto_takes_isaac_gym_where_it_is_and_a_device_is_asked_for(installed, monkeypatch):
    monkeypatch.setattr(engines, "ENGINES", (ISAAC_GYM, MUJOCO))
    assert choose_engine("auto", ["cuda"], "cuda:0").engine is MUJOCO
    installed()
    for asked in (["cuda"], ["cuda:0", "cuda:1"]):
        assert choose_engine("auto", asked, "cuda:0").engine is ISAAC_GYM
    assert choose_engine("auto", ["cpu"], "cpu").engine is MUJOCO
    assert choose_engine("auto", ["cuda"], "cpu").engine is MUJOCO
    assert choose_engine("isaacgym", ["cpu"], "cpu").engine is ISAAC_GYM
    with pytest.raises(InputError, match="isaacgym needs a CUDA device, and Ray has none; use device: cpu"):
        choose_engine("isaacgym", ["cuda"], "cpu")


def test_what_an_actor_imports_leaves_torch_alone():
    code = "import parc_ray.cluster.actor, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=str(ROOT)).returncode == 0
    assert PRETENDED_CUDA.is_dir()
