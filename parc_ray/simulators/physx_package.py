"""Whether NVIDIA's PhysX package (ovphysx) is here, in the version that parc_ray was written for.

Imports neither torch nor PhysX at module level.
"""

from __future__ import annotations

import importlib
import platform
import sys
from importlib import metadata
from typing import Dict

from parc_ray.errors import InputError

VERSION = "0.7.0.74035321"
"""of ovphysx, as in pyproject.toml: its interface changes with every minor version, its results may with any"""
REMEDY = f'pip install "parc-ray[physx]" (ovphysx {VERSION}), or set simulator: mujoco'


def complaint() -> str:
    """Why PhysX cannot be used here; empty if it can."""
    try:
        found = metadata.version("ovphysx")
    except metadata.PackageNotFoundError:
        python = f", which needs Python 3.10 or newer, not {platform.python_version()}"
        return f"PhysX is not installed in {sys.prefix}{python if sys.version_info < (3, 10) else ''}: {REMEDY}"
    if found != VERSION:
        return f"PhysX is here as ovphysx {found}, but parc_ray is written for {VERSION}: {REMEDY}"
    try:
        # Loads what is native of it, which an older CPU or C library may refuse.
        importlib.import_module("ovphysx").PhysX  # noqa: B018
        importlib.import_module("ovstage")
    except Exception as error:
        return f"PhysX (ovphysx {found}) does not start: {' '.join(str(error).split())}; or set simulator: mujoco"
    return ""


def require_usable() -> None:
    """Raises InputError if PhysX cannot be used here."""
    reason = complaint()
    if reason:
        raise InputError(f"simulator: {reason}")


def try_physx(device: str) -> Dict[str, str]:
    """Versions, devices and memory, after loading PhysX for a device; under "error" what is wrong."""
    import torch

    from parc_ray.simulators.isaacgym_process import cuda_devices

    reason = complaint()
    if not reason and device != "cpu" and not torch.cuda.is_available():
        reason = f"PhysX finds no CUDA device (torch {torch.__version__}); use device: cpu"
    if reason:
        return {"error": f"simulator: {reason}"}
    return {
        "version": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **(cuda_devices() if device != "cpu" else {}),
    }
