"""Constraints for pip that leave torch and numpy of this environment as they are: keep_installed.py > keep.txt

Packages that are not installed yet get the versions that parc_ray is tested with on Python 3.8. Other packages that are
installed are free, and pip changes them only if they are too old. Needs nothing but Python.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

KEPT = ("torch", "torchvision", "torchaudio", "numpy", "scipy", "isaacgym")
TESTED = Path(__file__).parent / "locks" / "python3.8.txt"


def plain(name: str) -> str:
    """Return a package's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Print one constraint per line."""
    names = ((found.metadata["Name"], found.version) for found in metadata.distributions())
    installed = {plain(name): version for name, version in names if name}
    for name in KEPT:
        if name in installed:
            print(f"{name}=={installed[name]}")
    if sys.version_info[:2] == (3, 8):
        for line in TESTED.read_text(encoding="utf-8").splitlines():
            if "==" in line and plain(line.split("==")[0]) not in installed:
                print(line.split()[0])


if __name__ == "__main__":
    main()
