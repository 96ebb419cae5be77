"""SIGINT and SIGTERM: the first asks a run to stop, the second ends it."""

from __future__ import annotations

import signal
import threading
from typing import Any, Callable, Dict, Optional


class Interruption:
    """A context in which SIGINT and SIGTERM call `gently` once, if it is set, and otherwise raise KeyboardInterrupt.

    The caller's handlers are restored at its end. Outside of the main thread, it changes nothing.
    """

    def __init__(self) -> None:
        self.gently: Optional[Callable[[], None]] = None
        self._previous: Dict[int, Any] = {}

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
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous.setdefault(number, signal.signal(number, self._handle))

    def _handle(self, *_: Any) -> None:
        if self.gently is None:
            raise KeyboardInterrupt
        gently, self.gently = self.gently, None
        gently()
