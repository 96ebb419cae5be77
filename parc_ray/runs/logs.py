"""Logs: one file for the whole run and one per shard.

Every line begins with its time, which sorts as text, so a stable sort merges lines written out of order.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Iterable

from parc_ray.errors import OutputError, printable
from parc_ray.files.writing import unwritable, write_file_atomic

RUN_LOG = "run.log"
SHARD_LOG = re.compile(r"shard_\d{4,}\.log")
STAMP = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{3}Z)?(?= )")
"""Earlier versions wrote whole seconds."""
EPOCH = datetime(1970, 1, 1)


class Logs:
    """The log files of one output directory; only the driver writes them.

    logs.write([(0.2, "walk_001: attempt 0 from 0%: recorded"), (0.0, "done")], shard=3)
    logs.merge()
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.run = folder / RUN_LOG
        # Setting the system clock during a run would put lines out of order.
        self._start = time.time() - time.monotonic()

    def shards(self) -> list[Path]:
        """Return the existing logs of shards."""
        return sorted(path for path in self.folder.glob("shard_*.log") if SHARD_LOG.fullmatch(path.name))

    def write(self, lines: Iterable[tuple[float, str]], shard: int | None = None) -> None:
        """Append lines, each with its age (s), to run.log and to the shard's log. Raises OutputError."""
        now = self._start + time.monotonic()
        place = "" if shard is None else f"shard {shard}: "
        # Lines of equal age, up to rounding, keep their order.
        aged = sorted(((max(age, 0.0), line) for age, line in lines), key=lambda line: -line[0])
        text = "".join(f"{stamp(now - age)} {place}{_one_line(line)}\n" for age, line in aged)
        if not text:
            return
        _append(self.run, text)
        if shard is not None:
            _append(self.folder / f"shard_{shard:04d}.log", text)

    def merge(self) -> None:
        """Sort the logs by time: reports bring lines older than those already written by others.

        Each log is replaced as a whole. Raises OutputError.
        """
        for path in (self.run, *self.shards()):
            try:
                content = path.read_bytes() if path.is_file() else b""
            except OSError as error:
                raise OutputError(f"{path}: cannot be read ({error.strerror}). Check its permissions") from error
            merged = in_order(content)
            if merged != content:
                write_file_atomic(path, merged)


def in_order(content: bytes) -> bytes:
    """Return the lines of a log, sorted by time; a line without a time stays with the line before it."""
    groups: dict[bytes, list[bytes]] = {}
    last = b""
    for line in content.split(b"\n"):
        match = STAMP.match(line)
        last = match.group() if match else last
        groups.setdefault(last, []).append(line)
    if content.endswith(b"\n") or not content:
        groups[last].pop()
    return b"".join(line + b"\n" for time_of in sorted(groups) for line in groups[time_of])


def stamp(seconds: float) -> str:
    """Return a time (s since 1970) as sortable text, in UTC, where no hour is repeated in autumn.

    >>> stamp(1_790_000_000.9996)
    '2026-09-21 14:13:21.000Z'
    """
    return (EPOCH + timedelta(milliseconds=round(seconds * 1000))).isoformat(" ", "milliseconds") + "Z"


def _one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n")


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise unwritable(path, error) from error
