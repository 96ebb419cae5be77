"""parc_ray: record physically tracked motions with PARC trackers, on every GPU of a workstation or a Ray cluster.

`record` makes a run, `read_run` reads one, and `read_recording` reads a motion file. The classes that they return and
raise are public, too; nothing else is. Importing parc_ray is cheap: each name is loaded on first use, and with it Ray
and PyTorch where needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parc_ray.errors import (
        BusyOutputError,
        InputError,
        LostRayError,
        MissingDependencyError,
        OutputError,
        ParcRayError,
        UploadError,
    )
    from parc_ray.exporting.recording import Recording, read_recording
    from parc_ray.recording.run_attempt import RunAttempt
    from parc_ray.runs.history import Run, RunMotion, read_run
    from parc_ray.runs.launch import Launch
    from parc_ray.runs.session import Session
    from parc_ray.session import record

__version__ = "0.1.0"

__all__ = [
    "BusyOutputError",
    "InputError",
    "Launch",
    "LostRayError",
    "MissingDependencyError",
    "OutputError",
    "ParcRayError",
    "Recording",
    "Run",
    "RunAttempt",
    "RunMotion",
    "Session",
    "UploadError",
    "read_recording",
    "read_run",
    "record",
]

_HOMES = {
    "parc_ray.errors": (
        "BusyOutputError",
        "InputError",
        "LostRayError",
        "MissingDependencyError",
        "OutputError",
        "ParcRayError",
        "UploadError",
    ),
    "parc_ray.exporting.recording": ("Recording", "read_recording"),
    "parc_ray.recording.run_attempt": ("RunAttempt",),
    "parc_ray.runs.history": ("RunMotion", "Run", "read_run"),
    "parc_ray.runs.launch": ("Launch",),
    "parc_ray.runs.session": ("Session",),
    "parc_ray.session": ("record",),
}


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
