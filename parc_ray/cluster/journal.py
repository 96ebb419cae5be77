"""Journal: what has happened so far, one JSON object a line, only ever appended."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, Dict, Iterator, TextIO


class Journal:
    """An open journal.jsonl.

    Events: run (what is recorded with what), shard (given to an actor), attempt (how it ended), motion (its final
    state), death (an actor was lost), end.
    """

    def __init__(self, path: Path):
        """Open for appending."""
        self._file: TextIO = path.open("a", encoding="utf-8")

    def write(self, event: str, **values: Any) -> None:
        """Append an event; it survives the death of this process at any later moment."""
        line = json.dumps(_finite({"event": event, "time": round(time.time(), 3), **values}), allow_nan=False)
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _finite(value: Any) -> Any:
    """null for numbers that JSON does not know: the figures of an attempt that has diverged are not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_journal(path: Path) -> Iterator[Dict[str, Any]]:
    """All whole lines of a journal; a torn last line, left by a kill, is skipped."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
