"""AttemptResult: a finished attempt with its files, as an actor returns it."""

from __future__ import annotations

from dataclasses import dataclass, field

from parc_ray.recording.run_attempt import RunAttempt


@dataclass(frozen=True)
class AttemptResult:
    """The summary of a finished attempt, with its files."""

    attempt: RunAttempt
    recording: bytes | None = field(default=None, repr=False)
    """Contents of a motion file; None if the attempt was not recorded."""
    trajectory: bytes | None = field(default=None, repr=False)
    """Contents of a motion file of an unrecorded attempt; None if it is not kept, or cannot be written."""
