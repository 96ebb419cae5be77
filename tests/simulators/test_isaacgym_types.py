"""The adapter calls nothing that Isaac Gym lacks: mypy against isaacgym-stubs, typed from Preview 4.

`pytest -m isaacgym` does not need this: there the real package answers.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from parc_ray.config.environment import PhysxConfig
from tests.reference import ROOT

pytestmark = pytest.mark.slow

pytest.importorskip("mypy")
ADAPTER = ROOT / "parc_ray" / "simulators" / "isaacgym" / "simulator.py"

GYMTORCH = """
from torch import Tensor
from isaacgym import gymapi

def wrap_tensor(gym_tensor: gymapi.Tensor, offsets: object = ..., counts: object = ...) -> Tensor: ...
def unwrap_tensor(torch_tensor: Tensor) -> gymapi.Tensor: ...
"""


@pytest.fixture(scope="module")
def stubs(tmp_path_factory) -> Path:
    """A valid copy of the stubs: as published, `isaacgym` itself is no stub, two attributes are keywords, and arrays
    are given an element type for a shape."""
    try:
        files = metadata.files("isaacgym-stubs") or []
    except metadata.PackageNotFoundError:
        pytest.fail("isaacgym-stubs is not installed: pip install -e .[dev]")
    (published,) = [Path(str(file.locate())) for file in files if file.name == "gymapi.pyi"]
    folder = tmp_path_factory.mktemp("stubs")
    package = folder / "isaacgym"
    package.mkdir()
    text = re.sub(r"def lambda\b", "def lambda_", published.read_text(encoding="utf-8"))
    text = re.sub(r"numpy\.ndarray\[(?:numpy\.)?(\w+)\]", r"numpy.ndarray[Any, numpy.dtype[numpy.\1]]", text)
    (package / "gymapi.pyi").write_text(text, encoding="utf-8")
    (package / "__init__.pyi").write_text("")
    (package / "gymtorch.pyi").write_text(GYMTORCH)
    return folder


def mypy(stubs: Path, target: Path) -> subprocess.CompletedProcess:
    config = stubs / "mypy.ini"
    config.write_text(
        "[mypy]\nstrict = true\npython_version = 3.11\nfollow_imports = silent\nuntyped_calls_exclude = torch\n"
        "allow_untyped_calls = true\n[mypy-isaacgym.*]\nignore_errors = true\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", stubs / "cache", target]
    return subprocess.run(
        [str(part) for part in command],
        env={"MYPYPATH": f"{stubs}:{ROOT}", "PATH": "/usr/bin:/bin"},
        cwd=stubs,
        capture_output=True,
        text=True,
    )


def test_the_adapter_fits_the_stubs(stubs):
    ended = mypy(stubs, ADAPTER)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("self._gym.prepare_sim(self._sim)", "self._gym.prepare_simulation(self._sim)", "no attribute"),
        ("DOF_MODE_POS", "DOF_MODE_POSITION", "no attribute"),
        ("self._gym.fetch_results(self._sim, True)", "self._gym.fetch_results(self._sim)", "Missing positional"),
        ("params.nb_vertices = len(vertices)", "params.num_vertices = len(vertices)", "no attribute"),
        ('pose, "character", index, 0, 0)', 'pose, index, "character", 0, 0)', "incompatible type"),
    ],
)
def test_mistakes_would_be_found(stubs, right, wrong, complaint):
    text = ADAPTER.read_text(encoding="utf-8")
    assert right in text
    mistaken = stubs / "mistaken.py"
    mistaken.write_text(text.replace(right, wrong), encoding="utf-8")
    ended = mypy(stubs, mistaken)
    assert ended.returncode == 1 and complaint in ended.stdout, ended.stdout


def test_every_physx_setting_is_one_of_isaac_gym(stubs):
    text = (stubs / "isaacgym" / "gymapi.pyi").read_text(encoding="utf-8")
    known = re.search(r"^class PhysXParams:.*?(?=^class )", text, flags=re.MULTILINE | re.DOTALL).group(0)
    assert set(PhysxConfig.model_fields) <= set(re.findall(r"^    (\w+): ", known, flags=re.MULTILINE))
