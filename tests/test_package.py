"""What an installed package has: its data files, its type information, its commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import parc_ray
from tests.reference import ROOT

PACKAGE = ROOT / "parc_ray"


def test_every_file_that_is_no_code_is_package_data() -> None:
    """What pyproject.toml does not list is missing in a wheel only, where no other test looks."""
    tomllib = pytest.importorskip("tomllib")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    installed = {
        path
        for package, patterns in declared.items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    documents = {path for path in files if path.suffix == ".md" or path.parent.name == "pictures"}
    assert {path for path in files if path.suffix != ".py"} - documents == installed
    assert PACKAGE / "py.typed" in installed


def test_the_default_configuration_to_copy_is_the_bundled_one() -> None:
    name = "parc_4_phys_record_default.yaml"
    assert (ROOT / "configs" / name).resolve() == PACKAGE / "config" / name


@pytest.mark.parametrize("command", [["-m", "parc_ray"], ["-c", "from parc_ray.cli import main; main()"]])
def test_version(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, *command, "--version"], cwd=str(ROOT), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"parc-ray {parc_ray.__version__}\n", "")
