"""NumPy archives (.npz) of motions, read without executing anything."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parc_ray.errors import InputError
from parc_ray.files.reading import MAX_BYTES, read_bytes

_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, ValueError, OSError, EOFError, LookupError)
"""Errors of zipfile and numpy for damaged archives."""
MAX_MEMBERS = 1000


def load_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an archive by name; arrays of Python objects, which are pickles, are left out.

    Raises InputError if it is damaged, or larger than MAX_BYTES when decompressed.
    """
    content = read_bytes(path)
    arrays: dict[str, npt.NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_BYTES:
                raise InputError(f"{path}: is larger than {MAX_BYTES} bytes when decompressed. Split it")
            for member in members:
                array = _array(archive.read(member))
                if array is not None:
                    arrays[member.filename[: -len(".npy")]] = array
    except _DAMAGE as error:
        raise InputError(f"{path}: is no readable NumPy archive ({error}). Copy it again") from None
    return arrays


def _array(content: bytes) -> npt.NDArray[Any] | None:
    file = io.BytesIO(content)
    try:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except ValueError as error:
        if "Object arrays" in str(error):
            return None
        raise


def names(value: Any) -> tuple[str, ...]:
    """Return an array of names as text; empty for anything else."""
    if value is None or getattr(value, "dtype", np.dtype(int)).kind not in "US":
        return ()
    return tuple(item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in value.ravel())
