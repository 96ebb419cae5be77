"""Output of an engine's native code: some report lost contacts and failed allocations nowhere else."""

from __future__ import annotations

import atexit
import ctypes
import os
import stat
import sys
import tempfile
from typing import Dict

STREAMS = (1, 2)
"""File descriptors of standard output and standard error: native code may write to either."""


class EngineOutput:
    """Reads what this process prints, below Python, while letting it through to where it goes.

    A stream that goes to a file (as in Ray's workers) is read there. Any other is turned into a temporary file, whose
    text is passed on when it is read: a pipe and a thread to empty it could deadlock, because engines print while
    they hold Python's lock.

    >>> output = EngineOutput()
    >>> _ = os.write(2, b"found lost pairs overflow")
    >>> output.new_text()
    'found lost pairs overflow'
    >>> output.close()
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._flush()
        self._originals: Dict[int, int] = {}
        for stream in STREAMS:
            if not stat.S_ISREG(os.fstat(stream).st_mode):
                self._originals[stream] = os.dup(stream)
                with tempfile.TemporaryFile(mode="ab") as file:
                    os.dup2(file.fileno(), stream)
        # Opened anew, for a reading position of our own.
        self._readers = {stream: open(f"/proc/self/fd/{stream}", "rb", buffering=0) for stream in STREAMS}  # noqa: PTH123, SIM115
        for reader in self._readers.values():
            reader.seek(0, os.SEEK_END)
        # Engines print as their process ends, after the last call.
        atexit.register(self.close)

    def new_text(self) -> str:
        """Return the text printed since the last call."""
        self._flush()
        text = b""
        for stream, reader in self._readers.items():
            if os.fstat(stream).st_size < reader.tell():  # somebody has emptied the file
                reader.seek(0)
            part = reader.read()
            if part and stream in self._originals:
                _write_all(self._originals[stream], part)
            text += part
        return text.decode("utf-8", errors="replace")

    def close(self) -> None:
        """Pass on what is left, and leave the streams as they were; the second time, do nothing."""
        atexit.unregister(self.close)
        self.new_text()
        for reader in self._readers.values():
            reader.close()
        for stream, original in self._originals.items():
            os.dup2(original, stream)
            os.close(original)
        self._readers, self._originals = {}, {}

    def _flush(self) -> None:
        """C buffers whole blocks of standard output where it is no terminal, and would keep the news to itself."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._libc.fflush(None)


def _write_all(stream: int, data: bytes) -> None:
    while data:
        data = data[os.write(stream, data) :]
