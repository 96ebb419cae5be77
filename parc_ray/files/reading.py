"""Bounded reading of input files.

A path may name a pipe without a writer, a device, or a sparse file of terabytes. So only regular files are opened, and
their size is checked before the first byte is read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from parc_ray.errors import InputError

MAX_BYTES = 1 << 30
"""Maximum size of a motion file or a checkpoint; PARC's own are below 2^20 and 2^28. A shard has the same limit."""
MAX_TEXT_BYTES = 1 << 24
"""Maximum size of a configuration or a character."""
MAX_DATASET_BYTES = 1 << 28
"""Maximum size of a dataset file: about a million motions."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""First bytes of the pointer that Git leaves for a large file that was not downloaded."""
NOT_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_bytes(path: Path, limit: int = MAX_BYTES, place: str | None = None) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises InputError for anything else. The message starts with `place`, by default the path.
    """
    place = str(path) if place is None else place
    try:
        # Opening a pipe blocks, and opening some devices has side effects. The path may change meanwhile: check again.
        _require_regular(path.stat(), limit, place)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            size = _require_regular(os.fstat(descriptor), limit, place)
            content = file.read(size + 1)
    except FileNotFoundError:
        raise InputError(f"{place}: {no_such_file(path)}. Check its path") from None
    except OSError as error:
        raise InputError(f"{place}: cannot be read: {error.strerror}. Check its name and permissions") from None
    except ValueError as error:
        raise InputError(f"{place}: cannot be read: {error}. Check its name") from None
    if content.startswith(LFS_POINTER):
        raise InputError(
            f"{place}: is a Git LFS pointer, not the file itself. Run `git lfs pull` in the clone that it is from"
        )
    if len(content) != size:
        raise InputError(f"{place}: cannot be read: it changed while it was read. Wait until it is complete")
    return content


def read_text(path: Path, limit: int = MAX_TEXT_BYTES, place: str | None = None) -> str:
    """Return the text of a UTF-8 file. Raises InputError as `read_bytes` does."""
    place = str(path) if place is None else place
    try:
        return read_bytes(path, limit, place).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{place}: cannot be read: line {line} is not UTF-8 text. Save it as UTF-8") from None


def no_such_file(path: Path) -> str:
    """Return the message for a missing file; for a relative path, it includes the folder searched."""
    return "no such file" if path.is_absolute() else f"no such file in {Path.cwd()}"


def _require_regular(status: os.stat_result, limit: int, place: str) -> int:
    """Return the size of a regular file. Raises InputError for anything else, or if it exceeds `limit`."""
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in NOT_FILES if test(status.st_mode)), "something else")
        remedy = "Give a file in it" if stat.S_ISDIR(status.st_mode) else "Give a regular file"
        raise InputError(f"{place}: cannot be read: it is {kind}, not a file. {remedy}")
    if status.st_size > limit:
        raise InputError(
            f"{place}: is too large: {status.st_size} bytes, where the maximum is {limit}. Is it the right file?"
        )
    return status.st_size
