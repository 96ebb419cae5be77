"""Writing files, each whole or not at all."""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Sequence, Tuple

from parc_ray.errors import OutputError

TEMPORARY_FILES = f".{'[0-9a-f]' * 16}.tmp"
"""Names of files that are being written, and of what a killed process leaves of them, as a glob pattern"""
WRITERS = 16
"""Files that are written at a time: a file system makes what waits for the disk together safe in one go"""


def unwritable(path: Path, error: OSError) -> OutputError:
    """What to raise where a file or a folder cannot be written."""
    return OutputError(
        f"{path}: cannot be written ({error.strerror}). Check that its directory exists, is writable and has space left"
    )


def make_folder(path: Path, parents: bool = True) -> None:
    """Make a folder, and those above it (parents), unless it is there. Raises OutputError."""
    try:
        path.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be made a folder ({error.strerror}). Give another one, or remove what is in the way"
        ) from error


def write_file_atomic(path: Path, content: bytes) -> None:
    """Write a file that is either complete or, after a crash at any moment, as it was before. See `replaced`."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def write_files_atomic(files: Sequence[Tuple[Path, bytes]]) -> None:
    """The same for many files, which wait for the disk together. If one cannot be written, others may be there."""
    if len(files) < 2:
        for path, content in files:
            write_file_atomic(path, content)
        return
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write_file_atomic, *zip(*files)))


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A new, empty file that takes the place of `path` if the block ends well, and disappears otherwise.

    Its permissions follow the umask. Raises OutputError if the directory is missing, full or not writable.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        # mkstemp would give permissions 0600, which would hide a recording from the rest of a group.
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
