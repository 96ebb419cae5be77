"""The locks hold every package that pyproject.toml asks for, in a version that it allows."""

from __future__ import annotations

import re
from typing import Iterator

import pytest
from packaging.requirements import Requirement

from tests.reference import ROOT

LOCKS = ROOT / "scripts" / "locks"


def asked_for() -> Iterator[Requirement]:
    """What pyproject.toml asks for, but for the extra that holds Ray back because pip cannot override a bound."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = re.findall(r"^(\S+) = \[(.*?)\]$", text, flags=re.MULTILINE | re.DOTALL)
    for name, content in lists:
        if name in ("dependencies", "dev", "export", "render", "tracking", "upload", "view", "warp"):
            for line in re.findall(r'"([^"]+)"', re.sub(r"\[default\]", "", content)):
                yield Requirement(line)


def locked(lock: str, python: str) -> dict[str, str]:
    """Version of each package, with this version of Python."""
    requirements = (
        Requirement(line.split("#")[0]) for line in (LOCKS / lock).read_text().splitlines() if line[0] != "#"
    )
    here = {"python_full_version": f"{python}.0", "python_version": python}
    return {
        requirement.name: str(requirement.specifier)[2:]
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(here)
    }


@pytest.mark.parametrize(
    ("lock", "python"),
    [("python3.8.txt", "3.8"), *[("current.txt", python) for python in ("3.10", "3.11", "3.12", "3.13")]],
)
def test_everything_is_locked(lock, python):
    versions = locked(lock, python)
    needed = [one for one in asked_for() if one.marker is None or one.marker.evaluate({"python_version": python})]
    assert len(needed) > 15
    for requirement in needed:
        name = requirement.name.lower()
        assert name in versions, f"{name} is missing in {lock}: run scripts/lock.sh"
        assert requirement.specifier.contains(versions[name], prereleases=True), requirement
