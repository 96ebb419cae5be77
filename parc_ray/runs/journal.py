"""Journal: the open journal.jsonl of a run, one JSON object per line, append-only."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import time
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterable, Mapping, Sequence

from parc_ray.errors import BusyOutputError, InputError, OutputError
from parc_ray.files.writing import unwritable, write_file_atomic
from parc_ray.runs.events import AttemptEnded, Event, RunStarted
from parc_ray.runs.journal_reader import JournalLine, read_journal, size_of_whole_lines
from parc_ray.runs.lines import line_of
from parc_ray.runs.listener import RunListener
from parc_ray.runs.session_clock import SessionClock

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of file systems without locks."""


class Journal(RunListener):
    """An open journal.jsonl, locked against other runs while this process has it open.

    journal.write(ActorReady(shard=3))
    """

    def __init__(self, path: Path):
        """Open the file for appending, after its last complete line.

        Raises BusyOutputError if another run has it open, OutputError if it cannot be written.
        """
        self.path = path
        self._opened = time.monotonic()
        self._clock = SessionClock()
        self.listener: Callable[[bytes], None] | None = None
        """Called with the lines of every write."""
        self.locked = True
        """True if the file system supports locks."""
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
        size = size_of_whole_lines(path)
        if size < path.stat().st_size:
            # An event appended to a torn line would be lost with it.
            self._truncate(size)

    def write(self, *events: Event) -> None:
        """Append events; they survive the death of this process. Raises OutputError."""
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
        """Pass a line to the listener without keeping it."""
        if self.listener:
            self.listener(_lines([{"event": event, **values}], self._stamps()))

    @property
    def seconds(self) -> float:
        """Working time of this session, see SessionClock."""
        return sum(self._clock.seconds)

    def _stamps(self) -> dict[str, float]:
        return {"time": round(time.time(), 3), "elapsed": round(time.monotonic() - self._opened, 3)}

    def sync(self) -> None:
        """Flush to disk, so that events survive the death of the machine. Raises OutputError."""
        try:
            os.fsync(self._file.fileno())
            deleted = os.fstat(self._file.fileno()).st_nlink == 0
        except OSError as error:
            raise unwritable(self.path, error) from error
        if deleted and self.path.parent.is_dir():
            raise self._restore()

    def _restore(self) -> OutputError:
        """Rewrite a deleted journal, as far as the system still has it, and return the error that reports this."""
        lost = f"{self.path}: was deleted or replaced while the run was at work"
        if self.path.exists():
            return OutputError(f"{lost}. Another file is in its place; the recordings are kept beside it")
        try:
            content = Path(f"/proc/self/fd/{self._file.fileno()}").read_bytes()
        except OSError as error:
            return OutputError(f"{lost}, and cannot be restored ({error.strerror}). The recordings are kept beside it")
        write_file_atomic(self.path, content)
        return OutputError(f"{lost}. It is restored, and nothing is lost; run the same command to resume")

    def require_empty(self) -> None:
        """Raise BusyOutputError if another run has written events since the directory was checked."""
        if self.path.stat().st_size:
            raise BusyOutputError(
                f"output_dir {self.path.parent}: another run was at work there while this one read its inputs; "
                "run the same command to resume it"
            )

    def clear(self) -> None:
        """Remove all events, for a new run."""
        self._truncate(0)

    def close(self) -> None:
        """Close the file and release the lock."""
        self._file.close()

    def _truncate(self, size: int) -> None:
        try:
            os.ftruncate(self._file.fileno(), size)
        except OSError as error:
            raise unwritable(self.path, error) from error


def finite(value: Any) -> Any:
    """Return plain values with None for numbers that JSON lacks, such as metrics of a diverged attempt."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(events: Iterable[Mapping[str, Any]], stamps: Mapping[str, float]) -> bytes:
    lines = [
        json.dumps(finite({"event": event["event"], **stamps, **event}), allow_nan=False) + "\n" for event in events
    ]
    return "".join(lines).encode("utf-8")


def _owner(path: Path) -> str:
    """Return the origin of the last command on a journal, for messages."""
    try:
        runs = [line for line in read_journal(path) if line["event"] == RunStarted.kind]
        return f" (on {runs[-1]['host']}, pid {runs[-1]['pid']})"
    except (InputError, OSError, LookupError):
        return ""
