"""The house's rules: a room imports only from rooms above it, and the top level of the repository stays as it is."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path
from typing import Iterator, Mapping

import pytest

from tests.reference import ROOT

PACKAGE = ROOT / "parc_ray"
ROOMS = (
    *("errors", "files", "config", "tensors", "character", "motions", "simulators", "trackers", "tracking"),
    *("recording", "runs", "exporting", "planning", "terminal", "cluster", "viewing", "report", "demo", "doctor"),
    *("session", "cli"),
)
"""Each may import from those before it"""
TOP_LEVEL = {"parc_ray", "configs", "scripts", "tests", "pyproject.toml", "README.md", "LICENSE"}
"""Besides what begins with a dot"""


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].replace(".py", "")


def imports(path: Path) -> Iterator[str]:
    """Dotted names of parc_ray that a file imports, within functions, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports by its own place"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith("parc_ray."))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_rooms_above_it(room):
    files = [path for path in PACKAGE.rglob("*.py") if room_of(path) == room]
    allowed = ROOMS[: ROOMS.index(room) + 1]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imports(path)
        if name.split(".")[1] not in (*allowed, "__version__")
    ]
    assert files and not wrong, wrong


def test_there_are_no_other_rooms():
    assert {room_of(path) for path in PACKAGE.rglob("*.py")} <= {*ROOMS, "__init__", "__main__"}


def test_the_top_level():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no clone")
    names = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


def test_no_import_cycles():
    """Between files, counting imports within functions and for type checking."""
    modules = {dotted(path): path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"}
    graph = {
        name: {target(imported, modules) for imported in imports(path)} - {name, None} for name, path in modules.items()
    }
    while True:
        imported = set().union(*graph.values())
        ends = {name for name, targets in graph.items() if not targets & graph.keys() or name not in imported}
        if not ends:
            break
        graph = {name: targets & graph.keys() for name, targets in graph.items() if name not in ends}
    assert not graph, f"cycles among {sorted(graph)}"


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__init__", "")


def target(imported: str, modules: Mapping[str, Path]) -> str | None:
    """The file that an imported name comes from; None for the package itself."""
    return next((name for name in (imported, imported.rpartition(".")[0]) if name in modules), None)
