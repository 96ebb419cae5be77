"""Attempt: one planned try at one motion."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """One try at one motion from one start fraction: deterministic in one env, or exploring in several."""

    motion: int
    """Index into the shard's motions."""
    number: int
    """0 for the first attempt and for the first population: they are numbered separately."""
    start_fraction: float
    """0 for the start of the motion."""
    copies: int = 0
    """Size of an exploring population; 0 for a deterministic attempt."""

    @property
    def width(self) -> int:
        """Number of envs that it occupies."""
        return self.copies or 1
