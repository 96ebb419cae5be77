"""PyTorch tensor interop, as in the real package: two public functions, and torch."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from isaacgym import gymapi
from isaacgym._double.contract import TypeViolation, not_modelled, refuse
from isaacgym._double.settings import SETTINGS

_DTYPES = {
    torch.float32: gymapi.DTYPE_FLOAT32,
    torch.uint8: gymapi.DTYPE_UINT8,
    torch.int16: gymapi.DTYPE_INT16,
    torch.int32: gymapi.DTYPE_UINT32,
    torch.int64: gymapi.DTYPE_UINT64,
}


def wrap_tensor(gym_tensor: Any, offsets: Any = None, counts: Any = None) -> torch.Tensor:
    """The torch tensor that shares the memory of one of the simulation's tensors."""
    if offsets is not None or counts is not None:
        not_modelled("wrap_tensor with offsets or counts")
    if not isinstance(gym_tensor, gymapi.Tensor):
        refuse(f"wrap_tensor takes a gymapi.Tensor, not {gym_tensor!r}", TypeViolation)
    buffer = gym_tensor._own_buffer
    if buffer is None:
        refuse("wrap_tensor takes what an acquire_* function returned")
    return torch.from_numpy(buffer.array)


def unwrap_tensor(torch_tensor: torch.Tensor) -> Any:
    """Descriptor of a torch tensor; does not keep it alive."""
    if not isinstance(torch_tensor, torch.Tensor):
        refuse(f"unwrap_tensor takes a torch tensor, not {type(torch_tensor).__name__}", TypeViolation)
    if not torch_tensor.is_contiguous():
        refuse("Input tensor must be contiguous")
    if torch_tensor.dtype not in _DTYPES:
        refuse(f"Unsupported Gym tensor dtype {torch_tensor.dtype}")
    tensor = gymapi.Tensor()
    tensor.device = torch_tensor.get_device()
    tensor.dtype = _DTYPES[torch_tensor.dtype]
    tensor.shape = list(torch_tensor.shape)
    tensor.data_address = torch_tensor.data_ptr()
    tensor._own_storage = StorageWeakRef(torch_tensor.untyped_storage())
    return tensor


def _compile() -> None:
    """torch.utils.cpp_extension.load: one process at a time, by a lock file that nobody removes after a crash."""
    root = os.environ.get("TORCH_EXTENSIONS_DIR")
    if not root:
        return
    folder = Path(root) / "gymtorch"
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "lock"
    try:
        os.close(os.open(str(lock), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        while lock.exists():
            time.sleep(0.05)
        return
    library = folder / "gymtorch.so"
    if not library.exists():
        time.sleep(SETTINGS.compile_seconds)
        library.touch()
    lock.unlink()


_compile()
