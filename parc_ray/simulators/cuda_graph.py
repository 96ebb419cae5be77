"""GraphedCall: work on tensors at fixed addresses, replayed by the device instead of launched by the host."""

from __future__ import annotations

import warnings
from typing import Any, Callable, Sequence

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from parc_ray.errors import one_line

WARM_UP = 2
"""Calls before the work is captured, in which constants are created and libraries initialized."""
RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""Tolerance between a replayed graph and the same eager work: during capture, CUDA's libraries may choose kernels that
round differently. Integers must be equal."""


class GraphedCall:
    """Repeatable work: fixed shapes, no synchronization, results written to persistent tensors.

    On a CUDA device it becomes a CUDA graph after WARM_UP calls. The new graph is replayed once and compared with the
    eager work from the same state. If the results differ, or the work cannot be captured, a warning is logged and all
    calls stay eager. On other devices it is a plain call.

        double = GraphedCall(lambda: total.mul_(2.0), total.device)
        double()
    """

    def __init__(self, work: Callable[[], None], device: torch.device):
        self._work, self._device = work, device
        self._eager_calls = WARM_UP if device.type == "cuda" else -1
        """Calls left until capture; negative: captured, or never to be captured."""
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do the work."""
        self._eager_calls -= 1
        if self._eager_calls == -1:
            self._capture_and_check()
        elif self._graph is None:
            self._work()
        else:
            self._graph.replay()

    def _capture_and_check(self) -> None:
        """Capture the work, and do it once."""
        written = WrittenRegions()
        with written:
            self._work()
        # Use this device's streams, whichever device is current in this thread.
        with torch.cuda.device(self._device):
            problem = self._capture()
            if self._graph is not None:
                expected = written.read()
                written.restore()
                self._graph.replay()
                if not _all_close(written.read(), expected):
                    written.restore()
                    written.write(expected)
                    self._graph, problem = None, "its replay differs from the same work launched by the host"
        if problem:
            warnings.warn(
                f"a control step runs without a CUDA graph on {self._device}, and is slower: {problem}", stacklevel=3
            )

    def _capture(self) -> str:
        """Capture the work on the current device; return the reason for a failure, empty on success."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        try:
            torch.cuda.synchronize()
            # Engines may call CUDA in their own threads meanwhile.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._work()
        except RuntimeError as error:
            torch.cuda.synchronize()
            return one_line(error)
        self._graph = graph
        return ""


class WrittenRegions(TorchDispatchMode):
    """Saves the regions of tensors that operations in this context write, before they are written.

    Tensors created in the context are ignored. For index_copy_ and index_fill_, only the written rows are saved,
    because frame buffers are large.

    >>> x = torch.zeros(3)
    >>> with WrittenRegions() as written:
    ...     _ = x.add_(1)
    >>> written.restore()
    >>> x
    tensor([0., 0., 0.])
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._regions: list[tuple[Tensor, tuple[int, Tensor] | None, Tensor]] = []
        """Tensor, dimension and indices of each written region (None: all of it), and its old values."""
        self._made: set[int] = set()
        """Addresses of memory that was allocated in the context."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # inference mode dispatches composite operations as one
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                tensor = args[place] if place < len(args) else kwargs[argument.name]
                if _address(tensor) in self._made:
                    continue
                indexed = func._schema.name in ("aten::index_copy_", "aten::index_fill_")
                region = (args[1], args[2].clone()) if indexed else None
                self._regions.append((tensor, region, _read(tensor, region)))
        result = func(*args, **kwargs)
        if all(value.alias_info is None for value in func._schema.returns):
            self._made.update(_address(part) for part in tree_flatten(result)[0] if isinstance(part, Tensor))
        return result

    def read(self) -> list[Tensor]:
        """Return copies of the regions' current values."""
        return [_read(tensor, region) for tensor, region, _ in self._regions]

    def write(self, values: Sequence[Tensor]) -> None:
        """Write values in the order in which the regions were written."""
        for (tensor, region, _), value in zip(self._regions, values):
            _write(tensor, region, value)

    def restore(self) -> None:
        """Restore all values from before the first operation."""
        for tensor, region, before in self._regions[::-1]:
            _write(tensor, region, before)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _read(tensor: Tensor, region: tuple[int, Tensor] | None) -> Tensor:
    return tensor.clone() if region is None else tensor.index_select(*region)


def _write(tensor: Tensor, region: tuple[int, Tensor] | None, value: Tensor) -> None:
    if region is None:
        tensor.copy_(value)
    else:
        tensor.index_copy_(*region, value)


def _all_close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Return whether two results are equal: floats within the tolerance, everything else exactly."""
    close = [
        torch.isclose(one, other, RELATIVE, ABSOLUTE, equal_nan=True) if one.is_floating_point() else one == other
        for one, other in zip(found, expected)
    ]
    return bool(torch.stack([part.all() for part in close]).all()) if close else True
