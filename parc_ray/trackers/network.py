"""Network: fully connected layers, evaluated so that a row's result depends on no other row."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Sequence, Tuple

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

HIDDEN: dict[str, tuple[int, ...]] = {
    "fc_2layers_128units": (128, 64),
    "fc_2layers_256units": (256, 128),
    "fc_2layers_512units": (512, 256),
    "fc_2layers_1024units": (1024, 512),
    "fc_3layers_1024units": (1024, 1024, 512),
    "fc_3layers_2048units": (2048, 1024, 512),
}
"""Widths of the hidden layers, by the names that PARC and MimicKit give their networks."""

CHUNK = {"cpu": 64, "cuda": 1024}
"""Rows per matrix product; its shape may determine the summation order. On a GPU, many rows cost as much as few."""
LARGEST, STEP = 128, 8
"""Rows per product on CPUs where a row's result is bit-identical for every multiple of STEP up to LARGEST."""
PLAIN = "PARC_RAY_PLAIN_NETWORK"
"""Environment variable that, if set, selects PyTorch's public matrix product on CPUs."""

Layer = Tuple[Tensor, Tensor]
"""Weight [out, in] and bias [out]."""


class Network:
    """Layers with a ReLU after each but the last."""

    def __init__(self, layers: Sequence[Layer], threads: int = 1):
        """threads: number of chunks computed in parallel on a CPU."""
        device = layers[0][0].device.type
        on_cpu = device == "cpu"
        self._onednn = on_cpu and not os.environ.get(PLAIN) and _onednn_works()
        self._layers = list(layers)
        if self._onednn:
            pack = torch.ops.mkldnn._reorder_linear_weight
            self._layers = [(pack(weight, LARGEST), bias) for weight, bias in layers]
        self._size = layers[0][0].shape[1]
        self._rows = CHUNK[device]
        self._any_size = on_cpu and self._any_size_repeats()
        self._threads = threads if on_cpu else 1
        self._pool = ThreadPoolExecutor(threads) if self._threads > 1 else None

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the output [N, out] of rows [N, in]."""
        count = len(rows)
        size, unit = self._rows, self._rows
        if self._any_size:
            size, unit = min(LARGEST, -(-count // (self._threads * STEP)) * STEP), STEP
        padded = pad(rows, (0, 0, 0, -count % unit)) if count % unit else rows
        run = map if self._pool is None else self._pool.map
        return torch.cat(list(run(self._chunk, padded.split(size))))[:count]

    def _chunk(self, rows: Tensor) -> Tensor:
        for layer in self._layers[:-1]:
            rows = self._product(rows, *layer, "relu")
        return self._product(rows, *self._layers[-1], "none")

    def _product(self, rows: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
        if self._onednn:
            product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, activation, [], "")
            return product
        product = linear(rows, weight, bias)
        return product.relu_() if activation == "relu" else product

    def _any_size_repeats(self) -> bool:
        """Return whether a row's result is bit-identical in products of any multiple of STEP rows.

        This depends on the shapes and on the CPU, not on the numbers, so random numbers can decide it.
        """
        rows = torch.randn(LARGEST, self._size, generator=torch.Generator().manual_seed(0))
        whole = self._chunk(rows)
        return all(torch.equal(self._chunk(rows[:few]), whole[:few]) for few in range(STEP, LARGEST, STEP))


@lru_cache(maxsize=None)
def _onednn_works() -> bool:
    """Return whether oneDNN's packed product is available and correct.

    PyTorch itself uses MKL, which is half as fast as oneDNN on CPUs other than Intel's. oneDNN is only accessible
    through the private operations of torch.compile, which may change with any version: hence this test.
    """
    generator = torch.Generator().manual_seed(0)
    rows, weight, bias = (torch.randn(size, generator=generator) for size in ((LARGEST, 96), (40, 96), (40,)))
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, LARGEST)
        product = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "relu", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool(torch.allclose(product, linear(rows, weight, bias).relu(), rtol=1e-4, atol=1e-4))
