"""Helpers: processes of this machine that share out many small tasks of one kind."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Callable, Deque, Dict, Iterator, List, Sequence, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_HELPERS = 7
"""Each imports what it needs, for itself"""
CHUNK = 32
"""Items that a helper is given at a time"""
AHEAD = 2
"""Chunks that a helper has: it begins the next one before somebody has taken the last one"""


@dataclass
class _Helper:
    """A process that works, and the chunks that it has."""

    connection: Connection
    chunks: Deque[int] = field(default_factory=deque)


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], worth_it: int, helpers: int = -1
) -> Iterator[Result]:
    """function(item) of every item, in order. This process works, too.

    worth_it: number of items from which on helpers cost less than they bring, which begins with imports.
    helpers: how many; by default one per CPU beside this process's own. function must be one that pickles, and must
    not raise. A helper that dies, for instance because memory is short, leaves its items to the others.
    """
    if helpers < 0:
        helpers = min(_cpus() - 1, MAX_HELPERS, len(items) // CHUNK)
    if not helpers or len(items) < worth_it or multiprocessing.current_process().daemon:
        yield from map(function, items)
        return
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    waiting: Deque[int] = deque(range(len(chunks)))
    done: Dict[int, List[Result]] = {}
    working = _start(function, helpers)
    try:
        for index in range(len(chunks)):
            while index not in done:
                _exchange(working, chunks, waiting, done, patient=not waiting)
                if waiting and index not in done:
                    own = waiting.popleft()
                    done[own] = list(map(function, chunks[own]))
            yield from done.pop(index)
    finally:
        for helper in working:
            helper.connection.close()


def _exchange(
    working: List[_Helper], chunks: Sequence[Sequence[Any]], waiting: Deque[int], done: Dict[int, Any], patient: bool
) -> None:
    """Take what helpers have done, and give them more. patient: wait until one has done something."""
    ready = wait([helper.connection for helper in working], None if patient and working else 0)
    for helper in [helper for helper in working if helper.connection in ready]:
        try:
            while helper.connection.poll():
                results = pickle.loads(helper.connection.recv_bytes())
                if results is not None:  # None: it has begun
                    done[helper.chunks.popleft()] = results
            while waiting and len(helper.chunks) < AHEAD:
                helper.connection.send_bytes(pickle.dumps(chunks[waiting[0]]))
                helper.chunks.append(waiting.popleft())
        except (EOFError, OSError):
            waiting.extendleft(reversed(helper.chunks))
            working.remove(helper)


def _start(function: Callable[[Any], Any], count: int) -> List[_Helper]:
    # A fork would inherit locks of threads that Ray and torch have in this process.
    context = multiprocessing.get_context("spawn")
    task = pickle.dumps(function)
    helpers = []
    for _ in range(count):
        ours, theirs = context.Pipe()
        context.Process(target=_help, args=(task, theirs), daemon=True).start()
        theirs.close()
        helpers.append(_Helper(ours))
    return helpers


def _help(task: bytes, connection: Connection) -> None:
    """Work until there is nothing left, or whoever gives the work is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; whoever gives the work decides
    with suppress(EOFError, OSError):
        function = pickle.loads(task)
        connection.send_bytes(pickle.dumps(None))
        while True:
            connection.send_bytes(pickle.dumps(list(map(function, pickle.loads(connection.recv_bytes())))))


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
