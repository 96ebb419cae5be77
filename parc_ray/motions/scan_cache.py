"""KnownMotions: what is known of motion files from reading them before.

The cache is a file for each dataset and each way to check it, in $XDG_CACHE_HOME/parc_ray (by default ~/.cache). What
it says of a file holds as long as that has the same size, times and inode. Only the driver's process uses it, and
actors get no motion whose content has another hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from parc_ray.errors import InputError, OutputError
from parc_ray.files.reading import read_bytes
from parc_ray.files.writing import write_file_atomic
from parc_ray.motions.dataset import MotionEntry

CHECKS = 2
"""To be raised whenever another motion is valid than before: all caches are void then"""
MAX_CACHES = 32
"""The caches used last are kept"""
SETTLED = 2_000_000_000
"""ns after its last change before a file's times are trusted: it may change again before the clock ticks"""

Stamp = Tuple[int, int, int, int]
"""Size, time of the last change of content (ns), of anything (ns; no program can set it), inode."""


class KnownMotions:
    """Entries of motions that were valid, and fit, before.

    known = KnownMotions(); known.entry(path) or known.learn(path, read(path))
    """

    def __init__(self, entries: Iterable[MotionEntry] = (), cache: Optional[Path] = None):
        """entries: known by their content alone; cache: its file, which need not exist."""
        self.by_hash: Dict[str, MotionEntry] = {entry.sha256: entry for entry in entries}
        """By the hash of the content."""
        self._cache = cache
        self._cached: Dict[str, Tuple[Stamp, MotionEntry]] = _read(cache) if cache else {}
        for _, entry in self._cached.values():
            self.by_hash.setdefault(entry.sha256, entry)
        self._stamps: Dict[str, Stamp] = {}
        """Of files that were looked at, where they are settled."""
        self._used: Dict[str, Tuple[Stamp, MotionEntry]] = {}

    def entry(self, path: str) -> Optional[MotionEntry]:
        """The entry of a file that has not changed since it was learnt; None if it has to be read."""
        if self._cache is None:
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

    def learn(self, path: str, entry: MotionEntry) -> None:
        """Keep the entry of a file that was read after `entry` had asked for it."""
        if path in self._stamps:
            self._used[path] = (self._stamps[path], entry)

    def save(self) -> None:
        """Write the cache, with what was used or learnt and nothing else. A run does not need it: it may fail."""
        if self._cache is None:
            return
        with suppress(OSError, OutputError):
            if self._used == self._cached:
                os.utime(self._cache)
                return
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            lines = [[path, stamp, _values(entry)] for path, (stamp, entry) in self._used.items()]
            write_file_atomic(self._cache, json.dumps(lines, separators=(",", ":")).encode("utf-8"))
            by_use = sorted(self._cache.parent.glob("motions-*.json"), key=lambda path: path.stat().st_mtime)
            for old in by_use[:-MAX_CACHES]:
                old.unlink()


def cache_of(*depends_on: Any) -> Path:
    """The cache of a dataset and a way to check it, from all (JSON values) that the outcome of checking depends on."""
    content = json.dumps([CHECKS, *depends_on], sort_keys=True)
    name = f"motions-{hashlib.sha256(content.encode('utf-8')).hexdigest()[:32]}.json"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "parc_ray" / name


def _stamp(path: str) -> Optional[Stamp]:
    """None if the file cannot be looked at, or has changed so lately that its times may stay when it changes again."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if max(status.st_mtime_ns, status.st_ctime_ns) > time.time_ns() - SETTLED:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _read(path: Path) -> Dict[str, Tuple[Stamp, MotionEntry]]:
    """What a cache holds; nothing if it is damaged or not there."""
    try:
        lines: List[Tuple[str, List[int], Mapping[str, Any]]] = json.loads(read_bytes(path))
        return {name: (_four(stamp), _entry(values)) for name, stamp, values in lines}
    except (InputError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _four(stamp: List[int]) -> Stamp:
    size, modified, changed, inode = stamp
    return size, modified, changed, inode


def _values(entry: MotionEntry) -> Dict[str, Any]:
    """Without what is a matter of the dataset, not of the file."""
    return {**vars(replace(entry, name="", path="", weight=0.0))}


def _entry(values: Mapping[str, Any]) -> MotionEntry:
    size_x, size_y = values["terrain_shape"]
    return MotionEntry(**{**values, "terrain_shape": (size_x, size_y)})
