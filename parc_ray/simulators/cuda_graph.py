"""GraphedCall: work on tensors that stay where they are, replayed by the device instead of launched by the host."""

from __future__ import annotations

import warnings
from typing import Callable, Optional

import torch

WARM_UP = 2
"""Calls before the work is captured: constants are made and libraries set up meanwhile."""


class GraphedCall:
    """Work that is the same every time: fixed shapes, no synchronisation, results written to tensors that stay.

    On a CUDA device it becomes a CUDA graph after some calls; elsewhere, or if that fails, it is a plain call.

        double = GraphedCall(lambda: total.mul_(2.0), total.device)
        double()
    """

    def __init__(self, work: Callable[[], None], device: torch.device):
        self._work = work
        self._left = WARM_UP if device.type == "cuda" else -1
        """Calls until it is captured."""
        self._graph: Optional[torch.cuda.CUDAGraph] = None

    def __call__(self) -> None:
        """Do the work."""
        if self._left == 0:
            self._capture()
        self._left -= 1
        if self._graph is None:
            self._work()
        else:
            self._graph.replay()

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            torch.cuda.synchronize()
            with torch.cuda.graph(graph):
                self._work()
        except RuntimeError as error:
            torch.cuda.synchronize()
            warnings.warn(f"a control step cannot be captured as a CUDA graph, and is slower: {error}", stacklevel=2)
        else:
            self._graph = graph
