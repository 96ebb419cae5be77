"""Journal: what has happened so far, one JSON object a line, only ever appended."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Tuple

from parc_ray.errors import InputError, OutputError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems answer that have no locks"""


class Journal:
    """An open journal.jsonl, locked against other runs for as long as this process has it open.

    Events: run (what is recorded with what; again whenever a run goes on), planned (a motion of the dataset),
    excluded (one that the configuration leaves out of it), shard (given to an actor), ready (that actor begins to
    simulate), attempt (how it ended), motion (its final state), lost (a recording that was missing when the run
    went on, so that its attempt is made again), death (an actor was lost), set_aside (a
    device gets no more work), idle (an actor has been started on such a device, and its shard goes to another), end.
    Each has its time (s since 1970, by
    a clock that people may set) and elapsed (s since the file was opened, by one that never jumps).
    """

    def __init__(self, path: Path):
        """Open for appending, after the last whole line.

        Raises InputError if another run has it open, OutputError if it cannot be written.
        """
        self.path = path
        self._opened = time.monotonic()
        self.listener: Optional[Callable[[bytes], None]] = None
        """is given every line as it is written"""
        self.locked = True
        """whether the file system knows locks"""
        try:
            self._file: BinaryIO = path.open("ab", buffering=0)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                self.close()
                raise InputError(
                    f"output_dir {path.parent}: another run is at work there{_owner(path)}; wait for its end, or "
                    "choose another output_dir"
                ) from None
            self.locked = False
        with suppress(InputError):  # a damaged journal can still be cleared
            _, size = _whole_lines(path)
            if size < path.stat().st_size:
                # Appended to half a line, the next event would be lost with it.
                self._cut(size)

    def write(self, event: str, **values: Any) -> None:
        """Append an event; it survives the death of this process at any later moment. Raises OutputError."""
        self.write_all([{"event": event, **values}])

    def write_all(self, events: List[Dict[str, Any]]) -> None:
        """Append events at once."""
        rest = content = self._lines(events)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise _unwritable(self.path, error) from error
        if self.listener:
            self.listener(content)

    def tell(self, event: str, **values: Any) -> None:
        """Let the listener know of something that is not worth keeping."""
        if self.listener:
            self.listener(self._lines([{"event": event, **values}]))

    def _lines(self, events: List[Dict[str, Any]]) -> bytes:
        stamps = {"time": round(time.time(), 3), "elapsed": round(time.monotonic() - self._opened, 3)}
        lines = [
            json.dumps(_finite({"event": event["event"], **stamps, **event}), allow_nan=False) + "\n"
            for event in events
        ]
        return "".join(lines).encode("utf-8")

    def sync(self) -> None:
        """Have it survive the death of the machine, too. Raises OutputError."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def require_empty(self) -> None:
        """Raises InputError if there are events: another run has begun, and ended, since somebody looked."""
        if self.path.stat().st_size:
            raise InputError(
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
            raise _unwritable(self.path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written ({error.strerror})")


def _owner(path: Path) -> str:
    """Who has written the last run event."""
    try:
        runs = [line for line in read_journal(path) if line["event"] == "run"]
    except (InputError, OSError):
        return ""
    return f" (on {runs[-1]['host']}, pid {runs[-1]['pid']})" if runs else ""


def _finite(value: Any) -> Any:
    """null for numbers that JSON does not know: the figures of an attempt that has diverged are not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_journal(path: Path) -> Iterator[Dict[str, Any]]:
    """All whole lines of a journal; a torn last line, left by a kill or a power failure, is skipped.

    Raises InputError if any other line is damaged.
    """
    events, _ = _whole_lines(path)
    yield from events


def _whole_lines(path: Path) -> Tuple[List[Dict[str, Any]], int]:
    """The events of a journal, and how many bytes they take."""
    lines = path.read_bytes().splitlines(keepends=True)
    events: List[Dict[str, Any]] = []
    size = 0
    for number, line in enumerate(lines, start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError
            event = json.loads(line)
            if not (isinstance(event, dict) and "event" in event):
                raise ValueError
        except ValueError:
            if number < len(lines):
                raise InputError(
                    f"{path}: line {number} is damaged, so the run cannot go on; restore the file, choose another "
                    "output_dir, or pass --overwrite to begin anew"
                ) from None
            break
        events.append(event)
        size += len(line)
    return events, size
