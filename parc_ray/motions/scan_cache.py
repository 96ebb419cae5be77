"""ScanCache: results of earlier scans of motion files.

There is one cache file per dataset and set of checks, in $XDG_CACHE_HOME/parc_ray (by default ~/.cache). An entry is
valid while the motion file has the same size, times and inode. Only the driver's process uses it, and actors never
get a motion whose content has a different hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterable, Mapping, Tuple

from parc_ray.errors import InputError, OutputError
from parc_ray.files.reading import read_bytes
from parc_ray.files.writing import write_file_atomic
from parc_ray.motions.dataset import MotionEntry

CHECKS = 4
"""Version of the checks. Increase it when the set of valid motions changes, to invalidate all caches."""
MAX_CACHES = 32
"""Number of most recently used cache files to keep."""
SETTLED = 2_000_000_000
"""Minimum time since a file's last change, ns; a newer file may change again within one clock tick."""

Stamp = Tuple[int, int, int, int]
"""Size, mtime (ns), ctime (ns; programs cannot set it), inode."""


class ScanCache:
    """Entries of motions found valid and supported by earlier scans.

    cache = ScanCache(); cache.entry(path) or cache.add(path, read(path))
    """

    def __init__(self, entries: Iterable[MotionEntry] = (), file: Path | None = None):
        """entries: looked up by content only. file: the cache file, which need not exist."""
        self.by_hash: dict[str, MotionEntry] = {entry.sha256: entry for entry in entries}
        """Entries by the hash of their content."""
        self._file = file
        self._cached: dict[str, tuple[Stamp, MotionEntry]] = _read(file) if file else {}
        for _, entry in self._cached.values():
            self.by_hash.setdefault(entry.sha256, entry)
        self._stamps: dict[str, Stamp] = {}
        """Stamps of requested files that have not changed recently."""
        self._used: dict[str, tuple[Stamp, MotionEntry]] = {}

    def entry(self, path: str) -> MotionEntry | None:
        """Return the entry of a file that has not changed since it was added; None if it must be read."""
        if self._file is None:
            return None
        stamp = _stamp(path)
        if stamp is None:
            return None
        self._stamps[path] = stamp
        known = self._cached.get(path)
        if known is None or known[0] != stamp:
            return None
        self._used[path] = known
        return known[1]

    def add(self, path: str, entry: MotionEntry) -> None:
        """Store the entry of a file that was requested and then read."""
        if path in self._stamps:
            self._used[path] = (self._stamps[path], entry)

    def save(self) -> None:
        """Write only the entries used or added. Errors are ignored: a run does not need the cache."""
        if self._file is None:
            return
        with suppress(OSError, OutputError):
            if self._used == self._cached:
                os.utime(self._file)
                return
            self._file.parent.mkdir(parents=True, exist_ok=True)
            lines = [[path, stamp, _values(entry)] for path, (stamp, entry) in self._used.items()]
            write_file_atomic(self._file, json.dumps(lines, separators=(",", ":")).encode("utf-8"))
            by_use = sorted(self._file.parent.glob("motions-*.json"), key=lambda path: path.stat().st_mtime)
            for old in by_use[:-MAX_CACHES]:
                old.unlink()


def cache_file(*depends_on: Any) -> Path:
    """Return the cache file for JSON values that determine the result of checking a dataset."""
    content = json.dumps([CHECKS, *depends_on], sort_keys=True)
    name = f"motions-{hashlib.sha256(content.encode('utf-8')).hexdigest()[:32]}.json"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "parc_ray" / name


def _stamp(path: str) -> Stamp | None:
    """Return a file's stamp; None if it is inaccessible, or so new that another change might go undetected."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if max(status.st_mtime_ns, status.st_ctime_ns) > time.time_ns() - SETTLED:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _read(path: Path) -> dict[str, tuple[Stamp, MotionEntry]]:
    """Return the content of a cache file; empty if it is damaged or missing."""
    try:
        lines: list[tuple[str, list[int], Mapping[str, Any]]] = json.loads(read_bytes(path))
        return {name: (_four(stamp), _entry(values)) for name, stamp, values in lines}
    except (InputError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _four(stamp: list[int]) -> Stamp:
    size, modified, changed, inode = stamp
    return size, modified, changed, inode


def _values(entry: MotionEntry) -> dict[str, Any]:
    """Return the values of an entry that belong to the file, not to the dataset."""
    return {**vars(replace(entry, name="", path="", weight=0.0))}


def _entry(values: Mapping[str, Any]) -> MotionEntry:
    size_x, size_y = values["terrain_shape"]
    return MotionEntry(**{**values, "terrain_shape": (size_x, size_y), "notes": tuple(values["notes"])})
