"""Applying one function to many items in several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, Callable, Iterator, Sequence, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_WORKERS = 8
"""Maximum number of workers; each imports its modules anew."""
CHUNK = 32
"""Items sent to a worker in one batch."""
TRIES = 2
"""Number of worker pools that may break before this process computes the rest."""

_function: Callable[[Any], Any]
"""The function of a worker process."""


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], worth_it: int, workers: int | None = None
) -> Iterator[Result]:
    """Yield function(item) for every item, in order.

    worth_it: minimum number of items for workers, which take seconds to start; fewer are computed in this process.
    workers: number of processes; by default one per CPU, at most MAX_WORKERS.
    The function must be picklable and must not raise. If a worker dies, for instance for lack of memory, the remaining
    items go to new workers once, and are then computed in this process.
    """
    workers = min(_cpus(), MAX_WORKERS, len(items) // CHUNK) if workers is None else workers
    done = 0
    if workers > 1 and len(items) >= worth_it and not multiprocessing.current_process().daemon:
        for _ in range(TRIES):
            with suppress(BrokenProcessPool):
                for result in _pool_map(function, items[done:], workers):
                    done += 1
                    yield result
                return
    yield from map(function, items[done:])


def _pool_map(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield function(item) for every item. Raises BrokenProcessPool when a worker dies."""
    # A fork would inherit locks held by Ray's and torch's threads.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (function,)) as pool:
        futures = [pool.submit(_apply, items[start : start + CHUNK]) for start in range(0, len(items), CHUNK)]
        try:
            for future in futures:
                yield from future.result()
        finally:
            for future in futures:
                future.cancel()


def _start(function: Callable[[Any], Any]) -> None:
    """Start a worker: the function is sent once instead of with every chunk."""
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is killed and so cannot close the pool."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _apply(items: Sequence[Any]) -> list[Any]:
    return [_function(item) for item in items]


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
