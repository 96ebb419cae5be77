"""Checkpoints as data: reads the tensors of a torch.save file without torch.load.

Such a file is a zip archive with a pickle, `data.pkl`, and one member with the raw numbers of each storage. Before 2.6,
torch could run code from it despite weights_only (CVE-2025-32434), and Python 3.8 has no torch after 2.4. Here
`plain_pickle` reads the pickle and calls nothing that it names, and only tensors are built. Tensors are read on
request, and none is larger than its bytes in the file.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from parc_ray.errors import InputError
from parc_ray.files import plain_pickle
from parc_ray.files.plain_pickle import Inert

BEFORE_ZIP = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of files written by torch before 1.6."""
NO_CHECKPOINT = "not a checkpoint of plain tensors (torch.save of a state dict)"
MAX_MEMBERS = 10**5
"""Maximum members of the archive, which has one per tensor."""
MAX_PICKLE_BYTES = 1 << 26
MAX_DIMENSIONS = 8
STORAGES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}


_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,  # encrypted, or compressed by a method that zipfile does not support
    ValueError,
    OSError,
    EOFError,
    LookupError,
    OverflowError,
)
"""Errors that zipfile raises for damaged archives."""


@dataclass(frozen=True)
class Storage:
    """An archive member with `size` numbers of one type."""

    dtype: torch.dtype
    key: str
    size: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor's place in a checkpoint; `Checkpoint.read` reads it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Checkpoint:
    """A file's contents: `state` holds plain values and StoredTensors."""

    def __init__(self, content: bytes, source: str, remedy: str = "Give the tracker's model.pt, or copy it again"):
        """Read everything but the tensors. remedy: for messages.

        Raises InputError, which starts with `source`, if the file is not a checkpoint, is damaged, or names code other
        than torch's.
        """
        self._source, self._remedy = source, remedy
        if content.startswith(BEFORE_ZIP):
            self._fail("it is in the format of torch before 1.6; torch.load and torch.save it with a newer one")
        if content.count(b"PK\1\2") > MAX_MEMBERS:
            self._fail(f"the archive has more than {MAX_MEMBERS} members")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        except _DAMAGE as error:
            self._fail(f"{error}; is it cut off?")
        members = [name for name in self._archive.namelist() if name.count("/") == 1]
        folders = [name[: -len("data.pkl")] for name in members if name.endswith("/data.pkl")]
        if len(folders) != 1:
            self._fail("the archive has no data.pkl")
        self._folder = folders[0]
        if f"{self._folder}byteorder" in members and self._member("byteorder", 16) != b"little":
            self._fail("its numbers are big-endian; save it on a little-endian machine")
        self.state: Any = plain_pickle.loads(
            self._member("data.pkl", MAX_PICKLE_BYTES),
            f"{source}: {NO_CHECKPOINT}: data.pkl",
            inert=lambda name: name.startswith("torch."),
            builders={
                "torch._utils._rebuild_tensor_v2": _tensor,
                "torch._utils._rebuild_parameter": _parameter,
            },
            persistent=_storage,
        )

    def read(self, tensor: StoredTensor) -> Tensor:
        """Return a contiguous tensor on the CPU. Raises InputError if its numbers are incomplete."""
        storage = tensor.storage
        itemsize = torch.empty((), dtype=storage.dtype).element_size()
        content = self._member(f"data/{storage.key}", storage.size * itemsize)
        last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride))
        if len(content) != storage.size * itemsize or (0 not in tensor.shape and last >= storage.size):
            self._fail(f"storage {storage.key} has {len(content)} bytes, fewer than its tensors need")
        if 0 in tensor.shape:
            return torch.empty(tensor.shape, dtype=storage.dtype)
        numbers = torch.frombuffer(bytearray(content), dtype=storage.dtype)
        return numbers.as_strided(tensor.shape, tensor.stride, tensor.offset).clone(
            memory_format=torch.contiguous_format
        )

    def _member(self, name: str, limit: int) -> bytes:
        """Return a member of the archive. torch stores members uncompressed, so none is larger than the archive."""
        try:
            info = self._archive.getinfo(f"{self._folder}{name}")
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
                self._fail(f"{name} is compressed or larger than its tensors: torch.save does not write this")
            return self._archive.read(info)
        except _DAMAGE as error:
            self._fail(f"{name} is missing or damaged ({error})")

    def _fail(self, problem: str) -> NoReturn:
        raise InputError(f"{self._source}: {NO_CHECKPOINT}: {problem}. {self._remedy}")


def _storage(name: Any) -> Any:
    """Return the storage of a torch.save persistent id: ("storage", kind, key, device, numbers)."""
    if type(name) is not tuple or len(name) != 5 or name[0] != "storage" or not isinstance(name[1], Inert):
        raise ValueError("a storage without a proper name")
    _, kind, key, _, size = name
    if type(key) is not str or type(size) is not int or size < 0:
        raise ValueError("a storage without a proper name")
    return Storage(STORAGES[kind.name], key, size) if kind.name in STORAGES else kind


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Any:
    """Replace torch's rebuild function; further arguments (requires_grad, hooks) are ignored."""
    if isinstance(storage, Inert):
        return storage
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("a tensor without proper parts")
    if any(type(number) is not int or not 0 <= number < 2**48 for number in numbers):
        raise ValueError("a tensor without proper parts")
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor
