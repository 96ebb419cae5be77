"""Messages for engine packages that are missing or do not work."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

from parc_ray.errors import InputError, one_line


def require(unavailable_reason: str) -> None:
    """Raise InputError if there is a reason why an engine cannot be used."""
    if unavailable_reason:
        raise InputError(f"simulator: {unavailable_reason}")


def missing_reason(package: str, title: str, python: tuple[int, int], remedy: str) -> str:
    """Return the reason why an engine's package cannot be imported here; empty if it is installed.

    python: the oldest supported Python version.
    """
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        too_old = tuple(map(int, platform.python_version_tuple()[:2])) < python
        needs = f", and needs Python {python[0]}.{python[1]} or newer, not {platform.python_version()}"
        return f"{title} is not installed in {sys.prefix}{needs if too_old else ''}: {remedy}"
    return ""


def does_not_work(title: str, device: str, error: Exception, otherwise: str) -> InputError:
    """Return the error for an engine that failed its trial. otherwise: a remedy without a GPU."""
    import torch

    reason = one_line(error)
    return InputError(
        f"simulator: {title} does not work on {device} (torch {torch.__version__}): {reason}; does nvidia-smi list "
        f"a device, and is its driver recent? Else use device: cpu{otherwise}"
    )
