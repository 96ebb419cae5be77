"""Reading journals: their lines, events, and errors."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

from parc_ray.errors import InputError
from parc_ray.runs.events import Event
from parc_ray.runs.lines import event_of


@dataclass(frozen=True)
class JournalLine:
    """An event and its time."""

    event: Event
    time: float
    """Seconds since 1970, by a wall clock that users may change."""
    elapsed: float | None = None
    """Seconds since the journal was opened, by a monotonic clock; None in journals of earlier versions."""

    @property
    def clock(self) -> float:
        """Seconds by the best clock of its session."""
        return self.time if self.elapsed is None else self.elapsed


def read_events(path: Path) -> Iterator[JournalLine]:
    """Yield the events known to this version; see read_journal for damaged lines."""
    for line in read_journal(path):
        event = event_of(line)
        if event is not None:
            yield JournalLine(event, line["time"], line.get("elapsed"))


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a journal unchanged, except a last line torn by a kill or a power failure.

    Raises InputError if any other line is damaged.
    """
    damaged = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if damaged:
                raise InputError(
                    f"{path}: line {damaged} is damaged, so the run cannot be resumed; restore the file, choose "
                    "another output_dir, or pass --overwrite to start anew"
                )
            content = _parse(line)
            if content is None:
                damaged = number
            else:
                yield content


@contextmanager
def journal_errors(path: Path) -> Iterator[None]:
    """Raise InputError if events lack a key or contradict each other."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: is the journal of another version of parc_ray, or damaged ({error}); to record anew, choose "
            "another output_dir, or pass --overwrite to delete that run"
        ) from None


def size_of_whole_lines(path: Path) -> int:
    """Return the size of a journal without its last line if that line is damaged."""
    size, last = 0, b""
    with path.open("rb") as file:
        for line in file:
            size, last = size + len(line), line
    return size if _parse(last) else size - len(last)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the content of a line; None if it is damaged."""
    try:
        content = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return content if isinstance(content, dict) and "event" in content else None
