"""Batches: how many rows tensor math works on, and how they lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor

BATCH = 32
"""Rows per batch. Vector kernels may round their odd tail differently, and the outcome of a motion must not depend, not
even in its last bit, on how many others are tracked beside it."""


def pad_to_batch(rows: Tensor) -> Tensor:
    """Rows [n, ...], the first one repeated up to a multiple of BATCH."""
    missing = -len(rows) % BATCH
    return torch.cat((rows, rows[:1].expand(missing, *rows.shape[1:]))) if missing else rows


def reverse_dims(x: Tensor) -> Tensor:
    """A view with all dimensions in reverse order."""
    dims = x.dim()
    # To exchange two is twice as fast, and this is called a hundred times in a control step.
    return x.transpose(0, dims - 1) if 1 < dims < 4 else x.permute(tuple(range(dims - 1, -1, -1)))


def batch_last(x: Tensor) -> Tensor:
    """The same tensor [n, ...], with its dimensions in reverse order in memory: components first, rows last.

    So an operation on one component of all rows reads and writes whole vectors, which is many times faster.
    Elementwise operations keep the order, and those in rotations.py make it.
    """
    return reverse_dims(reverse_dims(x).contiguous())


def gather(x: Tensor, places: Tensor, dim: int) -> Tensor:
    """The entries of a tensor at places [k] along a dimension (-1, -2, ...); rows lie last in memory if they did."""
    return reverse_dims(reverse_dims(x).index_select(-1 - dim, places))
