"""Rows in memory: the numbers stay the same, the strides do not."""

from __future__ import annotations

import pytest
import torch

from parc_ray.tensors.rows import BATCH, batch_last, gather, pad_to_batch, reverse_dims


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1])
def test_rows_are_padded_with_the_first_one(count):
    rows = torch.arange(2.0 * count).view(count, 2)
    padded = pad_to_batch(rows)
    assert len(padded) % BATCH == 0 and len(padded) - count < BATCH
    assert torch.equal(padded[:count], rows) and (padded[count:] == rows[0]).all()


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 3, 4), (5, 3, 4, 2)])
def test_reversing_is_a_view_that_undoes_itself(shape):
    x = torch.rand(shape)
    assert torch.equal(reverse_dims(x), x.permute(*range(len(shape) - 1, -1, -1)))
    assert reverse_dims(reverse_dims(x)).data_ptr() == x.data_ptr()


def test_rows_lie_last_in_memory_and_stay_there():
    x = torch.rand(7, 3, 4)
    last = batch_last(x)
    assert torch.equal(last, x) and last.stride(0) == 1
    indices = torch.tensor([2, 0])
    for dim in (-1, -2):
        some = gather(last, indices, dim)
        assert torch.equal(some, x.index_select(dim, indices)) and some.stride(0) == 1
