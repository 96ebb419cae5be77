"""parc_ray: record physically tracked motions with PARC trackers, on every GPU of a workstation or a Ray cluster."""

from __future__ import annotations

__version__ = "0.1.0"
