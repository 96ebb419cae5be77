"""Outcome: how an attempt ended."""

from __future__ import annotations

from parc_ray.recording.string_enum import StringEnum


class Outcome(StringEnum):
    """How an attempt ended."""

    RECORDED = "recorded"
    FAILED = "failed"
    """Terminated early: not tracked."""
    REJECTED = "rejected"
    """Tracked to the end, but not accepted."""
    LOST = "lost"
    """Recorded, but the recording was gone when the run was resumed."""
