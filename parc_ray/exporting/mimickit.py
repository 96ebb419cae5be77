"""MimicKit's motion files."""

from __future__ import annotations

from parc_ray.exporting.format import Format
from parc_ray.exporting.recording import Recording
from parc_ray.motions.mimickit_file import mimickit_file_bytes


def mimickit_bytes(recording: Recording) -> bytes:
    """A recording as a MimicKit file, without its terrain, which MimicKit has none of."""
    return mimickit_file_bytes(recording.motion, recording.skeleton)


FORMAT = Format("mimickit", ".pkl", mimickit_bytes)
