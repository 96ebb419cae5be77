"""Output of an engine's native code. Some engines report lost contacts and failed allocations only there."""

from __future__ import annotations

import atexit
import ctypes
import os
import stat
import sys
import tempfile

STREAMS = (1, 2)
"""File descriptors of standard output and standard error: native code may write to either."""


class EngineOutput:
    """Reads this process's native output while passing it on to its destination.

    A stream that goes to a file (as in Ray's workers) is read there. Any other is redirected to a temporary file, whose
    text is passed on when read. A pipe drained by a thread could deadlock, because engines print while holding the GIL.

    >>> output = EngineOutput()
    >>> _ = os.write(2, b"found lost pairs overflow")
    >>> output.new_text()
    'found lost pairs overflow'
    >>> output.close()
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._flush()
        self._originals: dict[int, int] = {}
        for stream in STREAMS:
            if not stat.S_ISREG(os.fstat(stream).st_mode):
                self._originals[stream] = os.dup(stream)
                with tempfile.TemporaryFile(mode="ab") as file:
                    os.dup2(file.fileno(), stream)
        # Reopened, for an independent read position.
        self._readers = {stream: open(f"/proc/self/fd/{stream}", "rb", buffering=0) for stream in STREAMS}  # noqa: PTH123, SIM115
        for reader in self._readers.values():
            reader.seek(0, os.SEEK_END)
        # Engines also print at process exit, after the last call.
        atexit.register(self.close)

    def new_text(self) -> str:
        """Return the text printed since the last call."""
        self._flush()
        text = b""
        for stream, reader in self._readers.items():
            if os.fstat(stream).st_size < reader.tell():  # the file was truncated
                reader.seek(0)
            part = reader.read()
            if part and stream in self._originals:
                _write_all(self._originals[stream], part)
            text += part
        return text.decode("utf-8", errors="replace")

    def close(self) -> None:
        """Pass on remaining text and restore the streams; a second call does nothing."""
        atexit.unregister(self.close)
        self.new_text()
        for reader in self._readers.values():
            reader.close()
        for stream, original in self._originals.items():
            os.dup2(original, stream)
            os.close(original)
        self._readers, self._originals = {}, {}

    def _flush(self) -> None:
        """Flush C's buffers: standard output is block-buffered unless it is a terminal."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._libc.fflush(None)


def _write_all(stream: int, data: bytes) -> None:
    while data:
        data = data[os.write(stream, data) :]
