"""MotionState: the state of a motion in a run."""

from __future__ import annotations

from parc_ray.recording.string_enum import StringEnum

WAITING = "waiting"
"""In the counts of a run at work: motions without a final state."""


class MotionState(StringEnum):
    """The state of a motion, in listing order."""

    RECORDED = "recorded"
    REJECTED = "rejected"
    """All of its attempts failed or were not accepted."""
    INVALID = "invalid"
    """Its file cannot be used."""
    CRASHED = "crashed"
    """It killed its actors, or its file changed; a resumed run attempts it again."""
    UNFINISHED = "unfinished"
    """It has no final state yet."""
