"""Tensors in pickles that torch itself has written."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

from parc_ray.errors import InputError
from parc_ray.files import plain_pickle, torch_values


def loads(content: bytes) -> Any:
    return plain_pickle.loads(content, "file", builders=torch_values.BUILDERS)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(30.0),
        torch.tensor(60),
        torch.arange(6, dtype=torch.float64).reshape(2, 3).t(),
        torch.arange(20, dtype=torch.int32)[3:9:2],
        torch.tensor([True, False]),
        torch.zeros(0, 4),
        torch.ones(3, dtype=torch.float16, requires_grad=True),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_tensor_is_an_array(tensor: torch.Tensor, protocol: int) -> None:
    read = loads(pickle.dumps({"fps": tensor}, protocol))["fps"]
    expected = tensor.detach().numpy()
    assert read.dtype == expected.dtype and read.shape == expected.shape
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x03K\x04\x86", b"K\x03K\xff\x86"),  # more numbers than the storage has
        (b"K\x04K\x01\x86", b"K\x00K\x00\x86"),  # strides that repeat them
        (b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x1a."),
    ],
)
def test_a_damaged_tensor_is_refused(old: bytes, new: bytes) -> None:
    content = pickle.dumps(torch.arange(12.0).reshape(3, 4), 3)
    assert content.count(old) == 1
    with pytest.raises(InputError, match="is not a readable pickle"):
        loads(content.replace(old, new))


def test_numbers_that_numpy_does_not_know_are_named() -> None:
    with pytest.raises(InputError, match=r"torch\.BFloat16Storage"):
        loads(pickle.dumps(torch.zeros(2, dtype=torch.bfloat16)))
