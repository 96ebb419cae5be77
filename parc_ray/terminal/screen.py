"""The output of a run: text for people on a terminal or in a log, JSON lines for scripts."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Iterator, TextIO, cast

from rich.console import Console

from parc_ray.errors import ParcRayError, printable


class Unbreakable:
    """A text stream whose writer never fails.

    Its reader may go away (`| head -1`), its disk may be full, its terminal may lack the letters of a name.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            name = self._stream.encoding
            self._stream.write(text.encode(name, "backslashreplace").decode(name))
        except (OSError, ValueError):
            self._forget()
        return len(text)

    def flush(self) -> None:
        """Flush, or drop the text."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._forget()

    def _forget(self) -> None:
        # Text left in the buffer would fail again when Python ends, and change the exit code.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class EventStream:
    """JSON lines for scripts. A slow reader does not slow the run; one that goes away does not end it."""

    def __init__(self, descriptor: int):
        self._descriptor, self._gone = descriptor, False
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="events", daemon=True)
        self._writer.start()

    def send(self, lines: bytes) -> None:
        """Send complete lines."""
        self._lines.put(lines)

    def event(self, event: str, **values: Any) -> None:
        """Send an event that is not in the journal."""
        self.send((json.dumps({"event": event, "time": round(time.time(), 3), **values}) + "\n").encode("utf-8"))

    def close(self) -> None:
        """Wait until everything is read, or the reader is gone."""
        self._lines.put(None)
        self._writer.join()

    def _write(self) -> None:
        while True:
            lines = self._lines.get()
            if lines is None:
                return
            while lines and not self._gone:
                try:
                    lines = lines[os.write(self._descriptor, lines) :]
                except BlockingIOError:  # a full pipe that somebody has made non-blocking
                    time.sleep(0.05)
                except OSError:
                    self._gone = True


@dataclass
class Screen:
    """The outputs of a run, by audience."""

    console: Console
    """Progress and results."""
    alerts: Console
    """Warnings and errors, printed with --quiet, too."""
    events: EventStream | None = None

    def say(self, *lines: str) -> None:
        """Print progress or results."""
        say(self.console, *lines)

    def alert(self, *lines: str) -> None:
        """Print warnings or errors."""
        say(self.alerts, *lines)

    @contextmanager
    def explain_errors(self) -> Iterator[None]:
        """Send scripts the error that ends the block, and wait until they have read everything."""
        try:
            yield
        except ParcRayError as error:
            self.fail(str(error), error.exit_code)
            raise
        finally:
            if self.events:
                with suppress(KeyboardInterrupt):
                    self.events.close()

    def fail(self, message: str, code: int) -> None:
        """Send scripts the reason why a run ends without a summary; the error's message is for people."""
        if self.events:
            self.events.event("error", message=message, exit_code=code)


def open_screen(quiet: bool = False, json_lines: bool = False) -> Screen:
    """Return the screen of this process. Standard output is for people; with `json_lines`, for scripts alone."""
    errors = _console(sys.stderr)
    output = Console(quiet=True) if quiet else errors if json_lines else _console(sys.stdout)
    events = _take_standard_output() if json_lines else None
    return Screen(output, errors if quiet else output, events)


def _console(stream: TextIO | None) -> Console:
    return Console(file=cast(TextIO, Unbreakable(stream))) if stream else Console(quiet=True)


def _take_standard_output() -> EventStream:
    """Send events to standard output, and everything else that any library prints there to standard error."""
    if sys.stdout:
        sys.stdout.flush()
    events = EventStream(os.dup(1))
    os.dup2(2, 1)
    return events


def say(console: Console, *lines: str) -> None:
    """Print lines literally: they may quote files."""
    for line in lines:
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
