"""Session: one command on an output directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping


@dataclass(frozen=True)
class Session:
    """One command on an output directory: the first one, or one that resumed the run."""

    began: float
    """Seconds since 1970."""
    seconds: float
    """Working time, excluding the start of Ray; 0 if there was nothing to do."""
    exit_code: int | None
    """None if it was killed, or is still running."""
    host: str
    versions: Mapping[str, str]
    config: Mapping[str, Any]
