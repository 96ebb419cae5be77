"""Cache folders for the output of engines' first-run compilation."""

from __future__ import annotations

import fcntl
import os
import platform
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator


def cache_folder(name: str) -> Path:
    """Return ~/.cache/parc_ray/NAME/HOST, or the same under $XDG_CACHE_HOME. Home folders may be shared by machines."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "parc_ray" / name / platform.node()


@contextmanager
def lock_folder(folder: Path) -> Iterator[Path]:
    """Create a folder and lock it for this process; use a temporary one if it is not writable.

    The operating system releases the lock when the process ends, even after a crash.
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
