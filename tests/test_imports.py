"""What importing a room loads: what a run leaves on disk is read without Ray, and but for motions without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import parc_ray

pytestmark = pytest.mark.slow

PACKAGE = Path(parc_ray.__file__).parent


def modules_of(room):
    files = sorted(path for path in (PACKAGE / room).rglob("*.py") if path.name != "__init__.py")
    return [".".join(["parc_ray", *path.relative_to(PACKAGE).with_suffix("").parts]) for path in files]


@pytest.mark.parametrize(
    "room, never, others",
    [
        ("runs", ("ray", "torch"), ("numpy", "pydantic", "rich")),
        ("report", ("ray",), ("numpy", "pydantic", "rich", "torch")),
        ("planning", ("ray",), ("numpy", "pydantic", "rich", "torch")),
        ("viewing", ("ray",), ("numpy", "pydantic", "rich", "torch", "mujoco", "viser", "PIL")),
    ],
)
def test_no_module_of_a_room_loads(room, never, others):
    """Each is imported first in a process of its own: forks of one that has loaded nothing of ours.

    Packages of others, which take most of the time, are loaded once.
    """
    script = """
import os, sys
never, others, modules = sys.argv[1].split(","), sys.argv[2].split(","), sys.argv[3:]
for other in others:
    __import__(other)
assert not set(never) & set(sys.modules), "loaded before anything of ours is imported"
for module in modules:
    if os.fork() == 0:
        __import__(module)
        loaded = set(never) & set(sys.modules)
        print(f"{module} loads {sorted(loaded)}" if loaded else "", end="", flush=True)
        os._exit(bool(loaded))
    _, status = os.wait()
    if status:
        sys.exit(f"{module}: status {status}")
"""
    modules = modules_of(room)
    assert modules
    ended = subprocess.run(
        [sys.executable, "-c", script, ",".join(never), ",".join(others), *modules],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
