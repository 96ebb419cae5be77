"""ShardMotion: one motion of a shard, with its file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ShardMotion:
    """One motion of a shard."""

    name: str
    source: str
    """Path of its file, for messages."""
    content: bytes
    """Contents of its motion file."""
    first_attempt: int
    """Number of the first attempt to make; other actors made earlier ones."""
    first_population: int = 0
    """Number of the first population to make."""
