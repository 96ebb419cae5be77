"""Files written by joblib.dump, read without joblib and without executing anything.

Such a file is a pickle, compressed or not. The numbers of an array are not part of the pickle: they follow as raw
bytes after the operation that describes the array and a byte that counts the padding before them.
https://github.com/joblib/joblib/blob/main/joblib/numpy_pickle.py
"""

from __future__ import annotations

import bz2
import io
import lzma
import math
import zlib
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from parc_ray.errors import InputError
from parc_ray.files import plain_pickle, torch_values
from parc_ray.files.plain_pickle import Unfinished
from parc_ray.files.reading import MAX_BYTES

_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x78": zlib.decompressobj,
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"BZ": bz2.BZ2Decompressor,
    b"\x5d\x00": lzma.LZMADecompressor,
    b"\xfd7zXZ": lzma.LZMADecompressor,
}
"""Decompressors by the first bytes of the file: zlib, gzip, bz2, lzma and xz."""


def loads(content: bytes, source: str) -> Any:
    """Return the value of a joblib file or an ordinary pickle: plain values and numpy arrays, also for tensors.

    Raises InputError, which starts with `source`, if it is damaged, larger than MAX_BYTES, or contains anything else.
    """
    builders = {**torch_values.BUILDERS, "joblib.numpy_pickle.NumpyArrayWrapper": _array_wrapper}
    return plain_pickle.loads(_decompress(content, source), source, builders=builders)


def _decompress(content: bytes, source: str) -> bytes:
    for beginning, decompressor in _DECOMPRESSORS.items():
        if content.startswith(beginning):
            try:
                plain: bytes = decompressor().decompress(content, MAX_BYTES + 1)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                raise InputError(f"{source}: cannot be decompressed ({error}). Copy it again") from None
            if len(plain) > MAX_BYTES:
                raise InputError(f"{source}: is larger than {MAX_BYTES} bytes when decompressed. Split it")
            return plain
    return content


def _array_wrapper() -> Unfinished:
    return Unfinished(_raw_array)


def _raw_array(state: Any, file: io.BytesIO) -> npt.NDArray[Any]:
    """Return the array of a NumpyArrayWrapper's state. Raises ValueError if its numbers are incomplete."""
    if type(state) is not dict or not isinstance(state.get("dtype"), np.dtype):
        raise ValueError("an array of joblib without a description")
    shape, dtype, order = state.get("shape"), state["dtype"], state.get("order")
    if type(shape) is not tuple or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError("an array of joblib without a proper shape")
    if state.get("numpy_array_alignment_bytes") is not None:
        padding = file.read(1)
        file.read(padding[0] if padding else 0)
    return plain_pickle.plain_array(shape, dtype, file.read(dtype.itemsize * math.prod(shape)), order)
