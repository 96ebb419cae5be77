"""MimicKit's motion files."""

from __future__ import annotations

from parc_ray.exporting.format import ExportFormat
from parc_ray.exporting.recording import Recording
from parc_ray.motions.mimickit_file import mimickit_file_bytes


def mimickit_bytes(recording: Recording) -> bytes:
    """Return a recording as a MimicKit file, without its terrain, which MimicKit does not have."""
    return mimickit_file_bytes(recording.motion, recording.skeleton)


FORMAT = ExportFormat("mimickit", ".pkl", mimickit_bytes)
