"""Launch: one actor that worked on one shard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Launch:
    """One actor that worked on one shard. Times are seconds since its session began."""

    session: int
    """Index into Run.sessions."""
    shard: int
    motions: int
    """Number of motions of the shard."""
    envs: Optional[int]
    began: float
    """When its shard was assigned."""
    ready: Optional[float] = None
    """When it began to simulate; None if it never did."""
    ended: Optional[float] = None
    death: str = ""
    """Why it was lost; empty if it was not."""
    cut: bool = False
    """Whether it ended with attempts in flight."""
