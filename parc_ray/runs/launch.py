"""Launch: one actor that worked on one shard."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """One actor that worked on one shard. Times are seconds since its session began."""

    session: int
    """Index into Run.sessions."""
    shard: int
    motions: int
    """Number of motions of the shard."""
    envs: int | None
    began: float
    """Time at which its shard was assigned."""
    ready: float | None = None
    """Time at which it started to simulate; None if it never did."""
    ended: float | None = None
    death: str = ""
    """Reason for its loss; empty if it was not lost."""
    cut: bool = False
    """True if it ended with attempts in flight."""
