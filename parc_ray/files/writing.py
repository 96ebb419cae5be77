"""Atomic writing: every file is complete or absent."""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Sequence

from parc_ray.errors import OutputError

TEMPORARY_FILES = f".{'[0-9a-f]' * 16}.tmp"
"""Glob pattern of files being written, or left behind by a killed process."""
MAX_WRITERS = 16
"""Maximum files written in parallel; one file system flush serves all that wait for it."""


def unwritable(path: Path, error: OSError) -> OutputError:
    """Return the error to raise when a file or a folder cannot be written."""
    return OutputError(
        f"{path}: cannot be written ({error.strerror}). Check that its directory exists, is writable and has space left"
    )


def make_folder(path: Path, parents: bool = True) -> None:
    """Create a folder unless it exists, with `parents` also its parents. Raises OutputError."""
    try:
        path.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be made a folder ({error.strerror}). Choose another path, or remove the file in the way"
        ) from error


def write_file_atomic(path: Path, content: bytes) -> None:
    """Write a file completely; a crash at any moment leaves the old one unchanged. Raises OutputError."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def write_files_atomic(files: Sequence[tuple[Path, bytes]]) -> None:
    """Write many files as `write_file_atomic` does, sharing waits for the disk. If one fails, others may exist."""
    if len(files) < 2:
        for path, content in files:
            write_file_atomic(path, content)
        return
    with ThreadPoolExecutor(MAX_WRITERS) as pool:
        list(pool.map(write_file_atomic, *zip(*files)))


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a new, empty file that replaces `path` if the block succeeds, and is deleted otherwise.

    Its permissions follow the umask. Raises OutputError if the directory is missing, full or not writable.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        # mkstemp would set permissions 0600, which hides recordings from other group members.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        descriptor = os.open(temporary, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
