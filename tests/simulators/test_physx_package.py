"""Availability of PhysX and messages without it; most of it on any Python."""

from __future__ import annotations

import platform

import pytest
import torch

from parc_ray.errors import InputError
from parc_ray.simulators.engine_check import check_here
from parc_ray.simulators.engines import choose_engine
from parc_ray.simulators.physx import package
from parc_ray.simulators.physx.engine import PHYSX
from parc_ray.simulators.physx.package import VERSION
from tests.reference import ROOT
from tests.simulators.test_conformance import WITHOUT_PHYSX

here = pytest.mark.skipif(bool(WITHOUT_PHYSX), reason=WITHOUT_PHYSX)


def test_the_version_is_the_one_that_is_installed():
    assert f'"ovphysx=={VERSION}; python_version' in (ROOT / "pyproject.toml").read_text()
    assert f"\novphysx=={VERSION}\n" in (ROOT / "scripts" / "physx.txt").read_text()


@pytest.mark.parametrize(("python", "hint"), [("3.8.18", "needs Python 3.10 or newer, not 3.8.18"), ("3.12.1", "")])
def test_without_the_package_its_remedy_is_named(pretend, monkeypatch, python, hint):
    pretend(None)
    monkeypatch.setattr(platform, "python_version_tuple", lambda: tuple(python.split(".")))
    monkeypatch.setattr(platform, "python_version", lambda: python)
    assert choose_engine("auto", ["cpu"], "cpu").engine.name == "mujoco"
    with pytest.raises(
        InputError, match=r"PhysX is not installed in .*pip install .*or set simulator: mujoco"
    ) as refused:
        choose_engine("physx", ["cpu"], "cpu")
    assert hint in str(refused.value) and ("needs Python" in str(refused.value)) == bool(hint)


def test_another_version_is_refused_with_a_remedy(pretend):
    pretend("0.8.0.1")
    assert choose_engine("auto", ["cpu"], "cpu").engine.name == "mujoco"
    with pytest.raises(InputError, match=rf"ovphysx 0\.8\.0\.1, but .* {VERSION}.*pip install"):
        choose_engine("physx", ["cpu"], "cpu")


def test_physx_that_does_not_start_is_refused(pretend, monkeypatch):
    pretend(VERSION)
    monkeypatch.setattr(package.importlib, "import_module", lambda name: 1 / 0)
    with pytest.raises(InputError, match="does not start: division by zero"):
        choose_engine("physx", ["cpu"], "cpu")


@here
def test_auto_prefers_physx_to_mujoco():
    assert choose_engine("auto", ["cpu"], "cpu").engine is choose_engine("auto", ["cuda"], "cuda:0").engine is PHYSX


@here
def test_a_trial_says_what_is_here():
    trial = check_here(PHYSX, "cpu")
    assert (trial.problem, trial.version, trial.torch) == ("", VERSION, torch.__version__)
    assert "PhysX does not work on cuda:0" in check_here(PHYSX, "cuda:0").problem
