"""Attempt: one try at one motion that is still to be made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """One try at one motion from one start fraction."""

    motion: int
    """Index into the shard's motions."""
    number: int
    """0 for the first attempt."""
    start_fraction: float
    """0 for the start of the motion."""
