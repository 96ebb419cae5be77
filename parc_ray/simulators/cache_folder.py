"""Where what engines compile on their first start is kept for the next ones."""

from __future__ import annotations

import fcntl
import os
import platform
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator


def cache_folder(name: str) -> Path:
    """~/.cache/parc_ray/NAME/HOST, or below $XDG_CACHE_HOME; each machine has its own, because homes may be shared."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "parc_ray" / name / platform.node()


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """The folder, made and for this process alone; a temporary one where it cannot be written.

    A lock of the operating system goes with its process, however that ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock_of_parc_ray").open("w")
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="parc_ray_cache_"))
        lock = (folder / "lock_of_parc_ray").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
