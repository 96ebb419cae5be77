"""What the real package checks before it loads its native library. Texts of errors are the real ones."""

from __future__ import annotations

import sys

from isaacgym._double import misbehaviour
from isaacgym._double.settings import SETTINGS


def _import_deps() -> None:
    if "torch" in sys.modules:
        raise ImportError("PyTorch was imported before isaacgym modules.  Please import torch after isaacgym modules.")
    if sys.version_info >= (3, 9) and not SETTINGS.any_python:
        raise RuntimeError("No gym module found for the active version of Python (%d.%d)" % sys.version_info[:2])
    if SETTINGS.import_error == "libpython":
        raise ImportError("libpython3.8.so.1.0: cannot open shared object file: No such file or directory")
    if SETTINGS.import_error:
        raise ImportError(SETTINGS.import_error)
    misbehaviour.at("import")
    misbehaviour.watch_exit()


_import_deps()
