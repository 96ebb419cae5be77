"""Packages of engines: what is said where one is missing, or does not work."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Tuple

from parc_ray.errors import InputError


def require(unavailable_reason: str) -> None:
    """Raises InputError if there is a unavailable_reason, why an engine cannot be used here."""
    if unavailable_reason:
        raise InputError(f"simulator: {unavailable_reason}")


def missing(package: str, title: str, python: Tuple[int, int], remedy: str) -> str:
    """Why an engine's package cannot be imported here; empty if it is installed.

    python: the oldest version of Python that there is a package for.
    """
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        too_old = tuple(map(int, platform.python_version_tuple()[:2])) < python
        needs = f", and needs Python {python[0]}.{python[1]} or newer, not {platform.python_version()}"
        return f"{title} is not installed in {sys.prefix}{needs if too_old else ''}: {remedy}"
    return ""


def does_not_work(title: str, device: str, error: Exception, otherwise: str) -> InputError:
    """What is raised of an engine that has failed when it was tried out. otherwise: what to do without a GPU."""
    import torch

    reason = " ".join(str(error).split())
    return InputError(
        f"simulator: {title} does not work on {device} (torch {torch.__version__}): {reason}; does nvidia-smi list "
        f"a device, and is its driver recent? Else use device: cpu{otherwise}"
    )
