"""Rows in whole batches.

Vector kernels may round their odd tail differently, and the outcome of a motion must not depend, not even in its last
bit, on how many others are tracked beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor

BATCH = 64
"""Rows per batch: tensor math runs on whole batches."""


def whole_batches(rows: Tensor) -> Tensor:
    """Rows [n, ...], the first one repeated up to a multiple of BATCH."""
    return torch.cat((rows, rows[:1].expand(-len(rows) % BATCH, *rows.shape[1:])))
