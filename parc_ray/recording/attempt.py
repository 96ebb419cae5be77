"""Attempt: one try at one motion that is still to be made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """One try at one motion from one start fraction: deterministic in one env, or exploring in several."""

    motion: int
    """Index into the shard's motions."""
    number: int
    """0 for the first attempt, and for the first population: they are numbered apart."""
    start_fraction: float
    """0 for the start of the motion."""
    copies: int = 0
    """Size of a population that explores; 0 for a deterministic attempt."""

    @property
    def width(self) -> int:
        """Number of envs that it takes."""
        return self.copies or 1
