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


def test_settings_need_no_package_that_users_lack():
    """pydantic evaluates annotations; on Python 3.8 a package that only the tests install lets it read newer ones."""
    files = [path for path in PACKAGE.rglob("*.py") if "pydantic" in path.read_text()]
    modules = [".".join(["parc_ray", *path.relative_to(PACKAGE).with_suffix("").parts]) for path in files]
    modules += ["parc_ray.trackers.parc.config", "parc_ray.trackers.mimickit.config"]
    block = "import sys; sys.modules['eval_type_backport'] = None; [__import__(name) for name in sys.argv[1:]]"
    ended = subprocess.run([sys.executable, "-c", block, *modules], capture_output=True, text=True)
    assert len(modules) > 8 and ended.returncode == 0, ended.stderr
