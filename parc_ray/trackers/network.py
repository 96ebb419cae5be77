"""Network: fully connected layers, evaluated so that a row's result depends on no other row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Dict, Sequence, Tuple

import torch
from torch import Tensor

HIDDEN: Dict[str, Tuple[int, ...]] = {
    "fc_2layers_128units": (128, 64),
    "fc_2layers_256units": (256, 128),
    "fc_2layers_512units": (512, 256),
    "fc_2layers_1024units": (1024, 512),
    "fc_3layers_1024units": (1024, 1024, 512),
    "fc_3layers_2048units": (2048, 1024, 512),
}
"""Widths of the hidden layers, by the names that PARC and MimicKit give their networks."""

CHUNK = {"cpu": 32, "cuda": 1024}
"""Rows per matrix product, padded: the order in which a product sums depends on its shape. To a GPU, a product of many
rows is as dear as one of few."""


class Network:
    """Layers with a ReLU after each but the last."""

    def __init__(self, layers: Sequence[Tuple[Tensor, Tensor]], threads: int = 1):
        """layers: weight [out, in] and bias [out] of each; threads: chunks computed side by side on a CPU."""
        self._layers = [(weight.t().contiguous(), bias) for weight, bias in layers]
        device = layers[0][0].device.type
        self._rows = CHUNK[device]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 and device == "cpu" else None

    def __call__(self, rows: Tensor) -> Tensor:
        """Output [N, out] of rows [N, in]."""
        count = len(rows)
        missing = -count % self._rows
        padded = torch.nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows
        run = map if self._pool is None else self._pool.map
        return torch.cat(list(run(self._chunk, padded.split(self._rows))))[:count]

    def _chunk(self, hidden: Tensor) -> Tensor:
        for weight, bias in self._layers[:-1]:
            hidden = torch.addmm(bias, hidden, weight).relu_()
        weight, bias = self._layers[-1]
        return torch.addmm(bias, hidden, weight)
