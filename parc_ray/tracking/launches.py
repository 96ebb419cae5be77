"""LaunchCounter: counts kernel launches and waits of tensor operations, on any device.

A GPU starts small operations more slowly than it computes them, and idles while the host waits for it. Unlike time,
both counts are reproducible, and need no GPU.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from parc_ray.simulators.simulator import Simulator
from parc_ray.tracking.environment import TrackingEnvironment

NO_KERNEL = ("empty", "new_empty", "_unsafe_view", "detach", "lift_fresh", "_local_scalar_dense")
"""Name prefixes of operations that start no kernel, besides views."""
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "repeat_interleave")
"""Operations whose result, or its size, the host waits for."""
HOST_COPIES = (Tensor.tolist, Tensor.cpu, torch.tensor, torch.as_tensor, torch.from_numpy)
"""Calls that copy between host and device, so that the host waits; on a CPU nothing else reveals them."""


class LaunchCounter:
    """Counts kernel-launching operations and synchronisations of the host with the device.

    >>> with LaunchCounter() as counter:
    ...     positive = bool((torch.ones(3).view(3, 1) > 0).all())
    >>> counter.kernels, counter.synchronisations
    (3, 1)
    """

    def __init__(self) -> None:
        self.kernels = 0
        self.synchronisations = 0
        self.operations: Counter[str] = Counter()
        """Number of launches and waits by operation name."""
        self._paused = False
        self._modes = ExitStack()

    def __enter__(self) -> LaunchCounter:
        for kind in (_Calls, _Operations):
            mode: Any = kind()
            mode.counter = self
            self._modes.enter_context(mode)
        return self

    def __exit__(self, *error: Any) -> None:
        self._modes.close()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Pause counting in this context."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def count_kernel(self, name: str) -> None:
        """Count a kernel."""
        if not self._paused:
            self.kernels += 1
            self.operations[name] += 1

    def count_wait(self, name: str) -> None:
        """Count a synchronisation."""
        if not self._paused:
            self.synchronisations += 1
            self.operations[f"wait: {name}"] += 1


def count_steps(environment: TrackingEnvironment, advance: Callable[[], Any], steps: int) -> list[LaunchCounter]:
    """Return one counter for each of several calls of `advance`, which makes a control step in an environment.

    The engine's work is not counted.
    """
    counters, simulator = [], environment.simulator
    for _ in range(steps):
        counter = LaunchCounter()
        environment.simulator = _Uncounted(simulator, counter)
        try:
            with counter:
                advance()
        finally:
            environment.simulator = simulator
        counters.append(counter)
    return counters


class _Uncounted:
    """A simulator whose calls are not counted."""

    def __init__(self, simulator: Simulator, counter: LaunchCounter) -> None:
        self._simulator, self._counter = simulator, counter

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._simulator, name)
        return self._counter.pause()(member) if callable(member) else member


class _Operations(TorchDispatchMode):
    """Mode that intercepts every operation of a device."""

    counter: LaunchCounter

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with self:  # inference mode hands composite operations over whole
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        name = func._schema.name.split("::")[1]
        result = func(*args, **kwargs)
        if name.startswith(WAITS) or _indexed_by_mask(name, args) or _between_devices(name, args, result):
            self.counter.count_wait(name)
        if not (name.startswith(NO_KERNEL) or _is_view(func)):
            self.counter.count_kernel(name)
        return result


class _Calls(TorchFunctionMode):
    """Mode that intercepts every call of a tensor function."""

    counter: LaunchCounter

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        on_gpu = bool(args) and isinstance(args[0], Tensor) and args[0].device.type != "cpu"
        indexed = func in (Tensor.__getitem__, Tensor.__setitem__)
        index = (args[1] if type(args[1]) is tuple else args[1:2]) if indexed else ()
        lists = any(isinstance(part, list) for part in index)
        # x[rows] = 0.0 copies the number to the device; x.index_fill_(0, rows, 0.0) does not.
        number = func is Tensor.__setitem__ and not isinstance(args[2], Tensor) and _has_tensor(index)
        if lists or number or (func in HOST_COPIES and not on_gpu):
            self.counter.count_wait(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))


def _has_tensor(index: Sequence[Any]) -> bool:
    return any(isinstance(part, Tensor) for part in index)


def _is_view(func: Any) -> bool:
    """Return whether the result of an operation is an argument's memory, unchanged."""
    returns = func._schema.returns
    aliases = [value.alias_info for value in returns]
    return bool(returns) and all(alias is not None and not alias.is_write for alias in aliases)


def _indexed_by_mask(name: str, args: Sequence[Any]) -> bool:
    """Return whether an operation must count a mask's rows before indexing with them."""
    if not name.startswith(("index", "_index_put")) or len(args) < 2 or not isinstance(args[1], (list, tuple)):
        return False
    return any(isinstance(part, Tensor) and part.dtype in (torch.bool, torch.uint8) for part in args[1])


def _between_devices(name: str, args: Sequence[Any], result: Any) -> bool:
    """Return whether an operation copies between host and device."""
    others = [part for part in (*args, result) if isinstance(part, Tensor)]
    return "copy" in name and len({part.device.type for part in others}) > 1
