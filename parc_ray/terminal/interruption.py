"""SIGINT, SIGTERM and SIGHUP: the first asks a run to stop, the second ends it."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any, Callable

PAUSE_SECONDS = 2.0
"""Time after a KeyboardInterrupt in which no other one is raised: it would hit what cleans up."""


class Interruption:
    """A context in which signals call `gently` once, if it is set, and otherwise raise KeyboardInterrupt.

    SIGHUP counts, too, unless it is ignored (nohup). The caller's handlers are restored at its end. Outside of the main
    thread, it changes nothing.
    """

    def __init__(self) -> None:
        self.gently: Callable[[], None] | None = None
        self._previous: dict[int, Any] = {}
        self._raised = float("-inf")

    def __enter__(self) -> Interruption:
        self.listen()
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._previous.items():
            if handler is not None:  # None: set by another language, and out of Python's reach
                signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals, again after ray.init has taken them."""
        if threading.current_thread() is threading.main_thread():
            kinds = [signal.SIGINT, signal.SIGTERM]
            if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
                kinds.append(signal.SIGHUP)
            for number in kinds:
                self._previous.setdefault(number, signal.signal(number, self._handle))

    def _handle(self, *_: Any) -> None:
        if self.gently is None:
            if time.monotonic() - self._raised < PAUSE_SECONDS:
                return
            self._raised = time.monotonic()
            raise KeyboardInterrupt
        gently, self.gently = self.gently, None
        gently()
