"""Torch tensors inside pickles, as numpy arrays, without torch.

A tensor in an ordinary pickle is a call of `_rebuild_tensor_v2` on a storage. A storage is a file in torch's format
before 1.6: a magic number, a protocol number, a dict about the machine, the storage's name, a list of keys, and a
count and the raw numbers for each key.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from parc_ray.files import plain_pickle
from parc_ray.files.plain_pickle import Builder, Inert

MAGIC_NUMBER, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MAX_DIMENSIONS = 8
NUMBER_TYPES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "|i1",
    "torch.ByteStorage": "|u1",
    "torch.BoolStorage": "|b1",
}
"""NumPy's type names; bfloat16 has none."""


def tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> npt.NDArray[Any]:
    """Replace torch._utils._rebuild_tensor_v2. Raises ValueError unless the storage holds all numbers of the tensor."""
    if not isinstance(storage, np.ndarray) or type(shape) is not tuple or type(stride) is not tuple:
        raise ValueError("a tensor without proper parts")
    numbers = (offset, *shape, *stride)
    if len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("a tensor without proper parts")
    if any(type(number) is not int or not 0 <= number < 2**48 for number in numbers):
        raise ValueError("a tensor without proper parts")
    # A stride of 0 would make an arbitrarily large array from one number.
    if any(step == 0 and size > 1 for size, step in zip(shape, stride)):
        raise ValueError("a tensor that repeats its numbers")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride))
    if 0 not in shape and last >= storage.size:
        raise ValueError("a tensor that is larger than its storage")
    if 0 in shape:
        return np.zeros(shape, storage.dtype)
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False).copy()


def storage(content: Any) -> npt.NDArray[Any]:
    """Replace torch.storage._load_from_bytes: return a storage's numbers. Raises ValueError if some are missing."""
    if type(content) not in (bytes, bytearray):
        raise ValueError("a storage without content")
    file, source = io.BytesIO(bytes(content)), "a torch storage"
    if plain_pickle.loads(file, source) != MAGIC_NUMBER or plain_pickle.loads(file, source) != PROTOCOL:
        raise ValueError("a storage in an unknown format")
    plain_pickle.loads(file, source)  # byte order and type sizes, which torch reads but does not use
    number_type = plain_pickle.loads(
        file, source, inert=lambda name: name.startswith("torch."), persistent=_number_type
    )
    keys = plain_pickle.loads(file, source)
    if type(keys) is not list or len(keys) != 1:
        raise ValueError("a storage without a key")
    count = int.from_bytes(file.read(8), "little")
    data = file.read(count * np.dtype(number_type).itemsize)
    return plain_pickle.plain_array((count,), np.dtype(number_type), data, "C")


def _number_type(name: Any) -> str:
    """Return NumPy's type of a storage with the persistent id ("storage", kind, key, device, count, view)."""
    if type(name) is not tuple or len(name) < 5 or name[0] != "storage" or not isinstance(name[1], Inert):
        raise ValueError("a storage without a proper name")
    if name[1].name not in NUMBER_TYPES:
        raise ValueError(f"numbers of the type {name[1].name}")
    return NUMBER_TYPES[name[1].name]


BUILDERS: dict[str, Builder] = {
    "torch._utils._rebuild_tensor_v2": tensor,
    "torch.storage._load_from_bytes": storage,
}
"""Builders for `plain_pickle.loads`."""
