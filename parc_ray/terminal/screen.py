"""Where a run speaks: to people on a terminal or in a log, and to scripts in JSON lines."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Iterator, Optional, TextIO, cast

from rich.console import Console

from parc_ray.errors import ParcRayError, printable


class Unbreakable:
    """A stream for people: whatever becomes of its reader, what writes to it goes on.

    The reader may go away (`| head -1`), its disk may be full, its terminal may lack the letters of a name.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or lose it."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            name = self._stream.encoding
            self._stream.write(text.encode(name, "backslashreplace").decode(name))
        except (OSError, ValueError):
            self._forget()
        return len(text)

    def flush(self) -> None:
        """Flush, or lose it."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._forget()

    def _forget(self) -> None:
        # What is in its buffer would fail again when Python ends, which changes the exit code.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class EventStream:
    """JSON lines for scripts. A reader that is slow does not slow the run, one that goes away does not end it."""

    def __init__(self, descriptor: int):
        self._descriptor, self._gone = descriptor, False
        self._lines: SimpleQueue[Optional[bytes]] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="events", daemon=True)
        self._writer.start()

    def send(self, lines: bytes) -> None:
        """Whole lines."""
        self._lines.put(lines)

    def event(self, event: str, **values: Any) -> None:
        """Something that happens outside of a journal."""
        self.send((json.dumps({"event": event, "time": round(time.time(), 3), **values}) + "\n").encode("utf-8"))

    def close(self) -> None:
        """Wait until everything is read, or the reader has gone."""
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
                except BlockingIOError:  # a pipe that somebody has made non-blocking is full
                    time.sleep(0.05)
                except OSError:
                    self._gone = True


@dataclass
class Screen:
    """What a run says, by whom it is for."""

    console: Console
    """Everything that people may want to see."""
    alerts: Console
    """What people must know: why a run ends, what is not recorded."""
    events: Optional[EventStream] = None

    def say(self, *lines: str) -> None:
        """For people who look on."""
        say(self.console, *lines)

    def alert(self, *lines: str) -> None:
        """For people who look on or not."""
        say(self.alerts, *lines)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Lets scripts know why a run cannot begin, and read everything, before what is in it ends."""
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
        """Why a run ends without a summary, for scripts; people are told by whoever catches the error."""
        if self.events:
            self.events.event("error", message=message, exit_code=code)


def open_screen(quiet: bool = False, json_lines: bool = False) -> Screen:
    """The screen of this process: standard output is for people, or, if `json_lines`, for scripts alone."""
    errors = _console(sys.stderr)
    output = Console(quiet=True) if quiet else errors if json_lines else _console(sys.stdout)
    events = _take_standard_output() if json_lines else None
    return Screen(output, errors if quiet else output, events)


def _console(stream: Optional[TextIO]) -> Console:
    return Console(file=cast(TextIO, Unbreakable(stream))) if stream else Console(quiet=True)


def _take_standard_output() -> EventStream:
    """Events go where standard output went; whatever else is printed there, by any library, goes to standard error."""
    if sys.stdout:
        sys.stdout.flush()
    events = EventStream(os.dup(1))
    os.dup2(2, 1)
    return events


def say(console: Console, *lines: str) -> None:
    """Print lines as they are: what is in them may come from files."""
    for line in lines:
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
