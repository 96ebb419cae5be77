"""Last words: what an actor's process printed before it was gone. Native code says nowhere else why it crashes."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, List, Tuple

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from parc_ray.errors import shorten

STREAMS = (1, 2)
"""File descriptors of standard output and standard error."""
MAX_BYTES = 16 << 10
"""Of each stream: a crash with the stacks of all threads."""
LONGEST_LINE = 1000
"""Characters."""
PATIENCE_SECONDS = 10.0
"""How long another node has for its answer: the driver waits for it."""


@dataclass(frozen=True)
class Printout:
    """A file that a process prints into."""

    path: str
    start: int
    """Bytes that were in it before the process got its work."""


def own_printouts() -> Tuple[Printout, ...]:
    """Where this process prints, as far as that is into files; Ray gives its workers one for each stream."""
    found: List[Printout] = []
    for stream in STREAMS:
        with suppress(OSError):
            status = os.fstat(stream)
            if stat.S_ISREG(status.st_mode):
                found.append(Printout(os.readlink(f"/proc/self/fd/{stream}"), status.st_size))
    return tuple(found)


def last_words(printouts: Tuple[Printout, ...], node_id: str) -> List[str]:
    """The lines that a process has printed last; none if they cannot be had.

    node_id: Ray's name for its node. What is on another machine is read by a task there.
    """
    if all(os.path.exists(printout.path) for printout in printouts):  # noqa: PTH110
        return read_last(printouts)
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    try:
        task: Any = ray.remote(read_last).options(num_cpus=0, scheduling_strategy=there)
        lines: List[str] = ray.get(task.remote(printouts), timeout=PATIENCE_SECONDS)
    except RayError:
        return []
    return lines


def read_last(printouts: Iterable[Printout]) -> List[str]:
    """The last lines in files of this machine, as far as they can be read."""
    text = b""
    for printout in printouts:
        with suppress(OSError), Path(printout.path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = printout.start if printout.start <= size else 0  # somebody may have emptied it
            file.seek(max(start, size - MAX_BYTES))
            text += file.read(MAX_BYTES) + b"\n"
    lines = text.decode("utf-8", errors="replace").splitlines()
    return [shorten(line.rstrip(), LONGEST_LINE) for line in lines if line.strip()]
