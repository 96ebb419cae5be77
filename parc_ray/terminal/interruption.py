"""SIGINT and SIGTERM, gently."""

from __future__ import annotations

import signal
import threading
from typing import Any, Callable, Dict, Optional


class Interruption:
    """While it is entered, SIGINT and SIGTERM call `gently` if that is set; else, and the second time, they raise
    KeyboardInterrupt."""

    def __init__(self) -> None:
        self.gently: Optional[Callable[[], None]] = None
        self._previous: Dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        self.listen()
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals, again after somebody else has taken them: ray.init does."""
        # Python allows handlers in the main thread only; a run in another one cannot be asked to stop.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous.setdefault(number, signal.signal(number, self._handle))

    def _handle(self, *_: Any) -> None:
        if self.gently is None:
            raise KeyboardInterrupt
        gently, self.gently = self.gently, None
        gently()
