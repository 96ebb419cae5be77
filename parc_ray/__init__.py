"""parc_ray: record physically tracked motions with PARC trackers, on every GPU of a workstation or a Ray cluster.

record makes a run, read_run reads one, and read_recording a motion file; what else is public are the classes of what
they return and raise. Importing parc_ray loads none of this, and neither Ray nor PyTorch: using a name does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from parc_ray.errors import InputError, LostRayError, OutputError, ParcRayError, UploadError
    from parc_ray.exporting.recording import Recording, read_recording
    from parc_ray.runs.history import Run, RunAttempt, RunMotion, read_run
    from parc_ray.session import record

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "LostRayError",
    "OutputError",
    "ParcRayError",
    "Recording",
    "Run",
    "RunAttempt",
    "RunMotion",
    "UploadError",
    "read_recording",
    "read_run",
    "record",
]

_HOMES = {
    "parc_ray.errors": ("InputError", "LostRayError", "OutputError", "ParcRayError", "UploadError"),
    "parc_ray.exporting.recording": ("Recording", "read_recording"),
    "parc_ray.runs.history": ("RunAttempt", "RunMotion", "Run", "read_run"),
    "parc_ray.session": ("record",),
}


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> List[str]:
    return [*globals(), *__all__]
