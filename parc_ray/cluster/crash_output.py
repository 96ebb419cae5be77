"""Crash output: the last lines that a lost actor's process printed. Native code reports crashes nowhere else."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from parc_ray.errors import shorten

STREAMS = (1, 2)
"""File descriptors of standard output and standard error."""
MAX_BYTES = 16 << 10
"""Per stream; enough for a crash with the stacks of all threads."""
LONGEST_LINE = 1000
"""In characters."""
PATIENCE_SECONDS = 10.0
"""Timeout for reading on another node; the driver is blocked meanwhile."""


@dataclass(frozen=True)
class Printout:
    """A file that a process prints to."""

    path: str
    start: int
    """Size of the file before the process got its work, bytes."""


def own_printouts() -> tuple[Printout, ...]:
    """Return the files that this process prints to. Ray gives each worker one per stream."""
    found: list[Printout] = []
    for stream in STREAMS:
        with suppress(OSError):
            status = os.fstat(stream)
            if stat.S_ISREG(status.st_mode):
                found.append(Printout(os.readlink(f"/proc/self/fd/{stream}"), status.st_size))
    return tuple(found)


def read_crash_output(printouts: tuple[Printout, ...], node_id: str) -> list[str]:
    """Return the last lines that a process printed; empty if they cannot be read.

    node_id: Ray's ID of its node. A task reads the files of another machine there.
    """
    if all(os.path.exists(printout.path) for printout in printouts):  # noqa: PTH110
        return read_last(printouts)
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    try:
        task: Any = ray.remote(read_last).options(num_cpus=0, scheduling_strategy=there)
        lines: list[str] = ray.get(task.remote(printouts), timeout=PATIENCE_SECONDS)
    except RayError:
        return []
    return lines


def read_last(printouts: Iterable[Printout]) -> list[str]:
    """Return the last lines of files on this machine; unreadable files are skipped."""
    text = b""
    for printout in printouts:
        with suppress(OSError), Path(printout.path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = printout.start if printout.start <= size else 0  # the file may have been truncated
            file.seek(max(start, size - MAX_BYTES))
            text += file.read(MAX_BYTES) + b"\n"
    lines = text.decode("utf-8", errors="replace").splitlines()
    return [shorten(line.rstrip(), LONGEST_LINE) for line in lines if line.strip()]
