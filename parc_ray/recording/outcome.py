"""Outcome: the result of an attempt."""

from __future__ import annotations

from parc_ray.recording.string_enum import StringEnum


class Outcome(StringEnum):
    """The result of an attempt."""

    RECORDED = "recorded"
    FAILED = "failed"
    """Terminated early: not tracked."""
    REJECTED = "rejected"
    """Tracked to the end, but not accepted."""
    LOST = "lost"
    """Recorded, but the recording was missing when the run was resumed."""
