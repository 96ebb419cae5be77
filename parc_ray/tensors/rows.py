"""Batches of rows: how many rows tensor math works on, and how they lie in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BATCH = 32
"""Rows per batch. Vector kernels may round the odd tail of a tensor differently, and a motion's outcome must not depend
on the number of others tracked beside it, not even in the last bit."""


def pad_to_batch(rows: Tensor) -> Tensor:
    """Return rows [n, ...], padded with the first one to a multiple of BATCH."""
    missing = -len(rows) % BATCH
    return torch.cat((rows, rows[:1].expand(missing, *rows.shape[1:]))) if missing else rows


def reverse_dims(x: Tensor) -> Tensor:
    """Return a view with all dimensions in reverse order."""
    dims = x.dim()
    # Called a hundred times per control step; transposing two dimensions takes half the time of permuting them.
    return x.transpose(0, dims - 1) if 1 < dims < 4 else x.permute(tuple(range(dims - 1, -1, -1)))


def batch_last(x: Tensor) -> Tensor:
    """Return a tensor equal to x [n, ...] whose dimensions lie in reverse order in memory: components first, rows last.

    An operation on one component of all rows then reads and writes whole vectors, which is many times faster.
    Elementwise operations and those in rotations.py keep this order.
    """
    return reverse_dims(reverse_dims(x).contiguous())


def gather(x: Tensor, indices: Tensor, dim: int) -> Tensor:
    """Return the entries of x at indices [k] along a negative dimension; rows stay last in memory."""
    return reverse_dims(reverse_dims(x).index_select(-1 - dim, indices))


def upload(values: Any, device: torch.device) -> Tensor:
    """Return numbers of the host as a tensor on a device, without waiting for the device."""
    return torch.tensor(values, pin_memory=device.type == "cuda").to(device, non_blocking=True)
