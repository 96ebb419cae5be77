"""Journal: what has happened so far, one JSON object a line, only ever appended."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence

from parc_ray.errors import BusyOutputError, InputError
from parc_ray.files.writing import unwritable
from parc_ray.runs.events import AttemptEnded, Event, RunStarted, ShardStarted
from parc_ray.runs.lines import event_of, line_of
from parc_ray.runs.listener import RunListener

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems answer that have no locks."""


class Journal(RunListener):
    """An open journal.jsonl, locked against other runs for as long as this process has it open.

    journal.write(ActorReady(shard=3))
    """

    def __init__(self, path: Path):
        """Open for appending, after the last whole line.

        Raises BusyOutputError if another run has it open, OutputError if it cannot be written.
        """
        self.path = path
        self._opened = time.monotonic()
        self._clock = SessionClock()
        self.listener: Optional[Callable[[bytes], None]] = None
        """Is given every line as it is written."""
        self.locked = True
        """Whether the file system knows locks."""
        try:
            self._file: BinaryIO = path.open("ab", buffering=0)
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                self.close()
                raise BusyOutputError(
                    f"output_dir {path.parent}: another run is at work there{_owner(path)}; wait for its end, or "
                    "choose another output_dir"
                ) from None
            self.locked = False
        size = _whole_bytes(path)
        if size < path.stat().st_size:
            # Appended to half a line, the next event would be lost with it.
            self._cut(size)

    def write(self, *events: Event) -> None:
        """Append events at once; they survive the death of this process at any later moment. Raises OutputError."""
        stamps = self._stamps()
        for event in events:
            self._clock.take(JournalLine(event, **stamps))
        rest = content = _lines(map(line_of, events), stamps)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise unwritable(self.path, error) from error
        if self.listener:
            self.listener(content)

    def events(self, events: Sequence[Event]) -> None:
        """See RunListener. Finished attempts survive the death of the machine, too."""
        self.write(*events)
        if any(isinstance(event, AttemptEnded) for event in events):
            self.sync()

    def tell(self, event: str, **values: Any) -> None:
        """Let the listener know of something that is not worth keeping."""
        if self.listener:
            self.listener(_lines([{"event": event, **values}], self._stamps()))

    @property
    def seconds(self) -> float:
        """How long this session has worked, see SessionClock."""
        return sum(self._clock.seconds)

    def _stamps(self) -> Dict[str, float]:
        return {"time": round(time.time(), 3), "elapsed": round(time.monotonic() - self._opened, 3)}

    def sync(self) -> None:
        """Have it survive the death of the machine, too. Raises OutputError."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def require_empty(self) -> None:
        """Raises BusyOutputError if there are events: another run has begun, and ended, since somebody looked."""
        if self.path.stat().st_size:
            raise BusyOutputError(
                f"output_dir {self.path.parent}: another run was at work there while this one read its inputs; "
                "the same command goes on with it"
            )

    def clear(self) -> None:
        """Forget everything: a new run begins."""
        self._cut(0)

    def close(self) -> None:
        """Close the file, which ends the lock."""
        self._file.close()

    def _cut(self, size: int) -> None:
        try:
            os.ftruncate(self._file.fileno(), size)
        except OSError as error:
            raise unwritable(self.path, error) from error


def _lines(events: Iterable[Mapping[str, Any]], stamps: Mapping[str, float]) -> bytes:
    lines = [
        json.dumps(finite({"event": event["event"], **stamps, **event}), allow_nan=False) + "\n" for event in events
    ]
    return "".join(lines).encode("utf-8")


def _owner(path: Path) -> str:
    """Who has given the last command."""
    try:
        runs = [line for line in read_journal(path) if line["event"] == RunStarted.kind]
        return f" (on {runs[-1]['host']}, pid {runs[-1]['pid']})"
    except (InputError, OSError, LookupError):
        return ""


def finite(value: Any) -> Any:
    """Return plain values with None for numbers that JSON lacks, such as the metrics of an attempt that diverged."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class JournalLine:
    """An event, and when it happened."""

    event: Event
    time: float
    """Seconds since 1970, by a clock that people may set."""
    elapsed: Optional[float] = None
    """Seconds since the journal was opened, by a clock that never jumps; None in journals of earlier versions."""

    @property
    def clock(self) -> float:
        """Seconds, by the best clock of its session."""
        return self.time if self.elapsed is None else self.elapsed


class SessionClock:
    """How long each session has worked: from its first line to its last; 0 if there was nothing to do."""

    def __init__(self) -> None:
        self.seconds: List[float] = []
        self._began, self._works = 0.0, False

    def take(self, line: JournalLine) -> float:
        """Take the next line; returns the seconds since its session began."""
        if isinstance(line.event, RunStarted):
            self.seconds.append(0.0)
            self._began, self._works = line.clock, False
        now = max(0.0, line.clock - self._began)
        self._works = self._works or isinstance(line.event, ShardStarted)
        if self._works and self.seconds:
            self.seconds[-1] = max(self.seconds[-1], now)
        return now


def read_events(path: Path) -> Iterator[JournalLine]:
    """The events of a journal that this version knows; see read_journal for damaged lines."""
    for line in read_journal(path):
        event = event_of(line)
        if event is not None:
            yield JournalLine(event, line["time"], line.get("elapsed"))


@contextmanager
def journal_errors(path: Path) -> Iterator[None]:
    """Raises InputError where events lack something, or contradict each other."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: is the journal of another version of parc_ray, or damaged ({error}); to record anew, choose "
            "another output_dir, or pass --overwrite to delete that run"
        ) from None


def read_journal(path: Path) -> Iterator[Dict[str, Any]]:
    """The lines of a journal, as they are; a torn last one, left by a kill or a power failure, is skipped.

    Raises InputError if any other line is damaged.
    """
    damaged = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if damaged:
                raise InputError(
                    f"{path}: line {damaged} is damaged, so the run cannot go on; restore the file, choose another "
                    "output_dir, or pass --overwrite to begin anew"
                )
            content = _parsed(line)
            if content is None:
                damaged = number
            else:
                yield content


def _parsed(line: bytes) -> Optional[Dict[str, Any]]:
    """What is in a line; None if it is damaged."""
    try:
        content = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return content if isinstance(content, dict) and "event" in content else None


def _whole_bytes(path: Path) -> int:
    """The size of a journal without its last line, if that is damaged."""
    size, last = 0, b""
    with path.open("rb") as file:
        for line in file:
            size, last = size + len(line), line
    return size if _parsed(last) else size - len(last)
