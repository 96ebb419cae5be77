"""Reading input files, whatever they turn out to be.

A name may stand for a pipe that nobody writes to, a device, or a sparse file of terabytes: only regular files are
opened, and their size is known to be bearable before the first byte is read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Optional

from parc_ray.errors import InputError

MAX_BYTES = 1 << 30
"""Of a motion file or a checkpoint. PARC's own are below 2^20 and 2^28; a shard has room for as much"""
MAX_TEXT_BYTES = 1 << 24
"""Of a configuration or a character"""
MAX_DATASET_BYTES = 1 << 28
"""Of a dataset file: a million motions"""

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_bytes(path: Path, limit: int = MAX_BYTES, place: Optional[str] = None) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises InputError, which starts with `place` (the path, if not given), for anything else.
    """
    place = str(path) if place is None else place
    try:
        # Opening alone waits at a pipe, and does worse to some devices; afterwards it may have become one.
        _require_regular(path.stat(), limit, place)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            size = _require_regular(os.fstat(descriptor), limit, place)
            content = file.read(size + 1)
    except FileNotFoundError:
        raise InputError(f"{place}: no such file. Check its path") from None
    except OSError as error:
        raise InputError(f"{place}: cannot be read: {error.strerror}. Check its name and permissions") from None
    except ValueError as error:
        raise InputError(f"{place}: cannot be read: {error}. Check its name") from None
    if len(content) != size:
        raise InputError(f"{place}: cannot be read: it is changing. Wait until it is complete")
    return content


def read_text(path: Path, limit: int = MAX_TEXT_BYTES, place: Optional[str] = None) -> str:
    """The text of a UTF-8 file. Raises InputError, see `read_bytes`."""
    place = str(path) if place is None else place
    try:
        return read_bytes(path, limit, place).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{place}: cannot be read: line {line} is not UTF-8 text. Save it as UTF-8") from None


def _require_regular(status: os.stat_result, limit: int, place: str) -> int:
    """The size of a regular file. Raises InputError if it is none, or larger than `limit`."""
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in KINDS if test(status.st_mode)), "something else")
        remedy = "Give a file in it" if stat.S_ISDIR(status.st_mode) else "Give a regular file"
        raise InputError(f"{place}: cannot be read: it is {kind}, not a file. {remedy}")
    if status.st_size > limit:
        raise InputError(
            f"{place}: is too large: {status.st_size} bytes, and at most {limit} are read. Is it the right file?"
        )
    return status.st_size
