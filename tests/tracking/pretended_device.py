"""CUDA devices without a GPU: tensors that report cuda:N, whose numbers the CPU computes.

An operation that a GPU refuses raises: operands on two devices, and what a stream under capture cannot do. Graphs
behave as on a GPU: capturing computes nothing, and a replay runs no Python, only the operations that were captured, on
the memory they had then. A stream captures only work on its own device. Not pretended: full memory, CUDA's own kernels.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Iterator

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from tests.pretended_cuda.pretended_answers import FREE, TOTAL, answers

CPU = torch.device("cpu")
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "repeat_interleave")
"""Beginnings of the names of operations that the host waits for."""
RANDOM = ("rand", "normal", "uniform_", "bernoulli", "multinomial")
READ_BY_HOST = (Tensor.tolist, Tensor.item, Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.__index__)
MAY_MIX = ("add", "sub", "mul", "div", "where", "minimum", "maximum", "eq", "ne", "lt", "le", "gt", "ge", "fmax")
"""Operations for which a tensor without dimensions on the host is a number."""
aten = torch.ops.aten


class Refused(RuntimeError):
    """An operation that a GPU refuses."""


class OnDevice(Tensor):
    """A tensor on a pretended device; `host` holds its numbers."""

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor, device: torch.device = torch.device("cuda:0")) -> OnDevice:
        with torch.inference_mode(False):  # else inference mode could not view what was made outside of it
            made = Tensor._make_wrapper_subclass(
                cls, host.size(), host.stride(), host.storage_offset(), dtype=host.dtype, device=device
            )
        made.host = host
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise Refused(f"{func}: outside of the pretended device")

    def untyped_storage(self) -> Any:
        """Memory on the device; its addresses are the host's."""
        return self.host.untyped_storage()

    def __repr__(self) -> str:
        return f"OnDevice({tuple(self.shape)}, {self.dtype}, {self.device})"


class Stream:
    """A stream of the device that was current at its creation."""

    def __init__(self, device: torch.device) -> None:
        self.device = device


class PretendedDevice:
    """A context in which torch has CUDA devices."""

    def __init__(self, count: int = 1) -> None:
        self.started: Counter[str] = Counter()
        """How often the host started each operation, and each "wait: ...", "copy: ..." and "launch: graph"."""
        self.captured: Counter[str] = Counter()
        """The same, for captured operations."""
        self.graphs: list[Graph] = []
        self.capturing: Graph | None = None
        self.current = 0
        """Number of the current device."""
        self.free = [FREE - number for number in range(count)]
        """Free bytes of each device."""
        self.pinned: list[Tensor] = []
        self._stack = ExitStack()
        self._capture_thread, self._capture_mode, self._invalid = 0, "", False
        """The thread and mode of the capture, and whether a call of another thread has invalidated it."""

    def note(self, what: str, allowed: bool = True) -> None:
        """Count an event. allowed: whether it may happen while a stream is captured."""
        other_thread = bool(self.capturing) and threading.get_ident() != self._capture_thread
        if other_thread:
            self.started[what] += 1
            self._invalid |= self._capture_mode == "global" and not allowed
            return
        (self.captured if self.capturing else self.started)[what] += 1
        if self.capturing and not allowed:
            raise Refused(f"operation not permitted when stream is capturing: {what}")

    def located(self, device: torch.device) -> torch.device:
        """Return a CUDA device with its number."""
        number = self.current if device.index is None else device.index
        if number >= len(self.free):
            raise Refused("CUDA error: invalid device ordinal")
        return torch.device("cuda", number)

    def __enter__(self) -> PretendedDevice:
        changes: dict[str, Any] = {
            **answers(len(self.free)),
            "_lazy_init": lambda: None,
            "mem_get_info": lambda device=None: (self.free[self._number(device)], TOTAL),
            "current_device": lambda: self.current,
            "set_device": lambda device: setattr(self, "current", self._number(device)),
            "device": self._set_current,
            "Stream": lambda device=None: Stream(torch.device("cuda", self._number(device))),
            "synchronize": lambda device=None: self.note("wait: synchronize", allowed=False),
            "CUDAGraph": lambda: Graph(self),
            "graph": self._capture,
        }
        for name, answer in changes.items():
            self._stack.callback(setattr, torch.cuda, name, getattr(torch.cuda, name))
            setattr(torch.cuda, name, answer)
        # As for FakeTensorMode: torch.tensor(..., device="cuda") makes a tensor on the host and copies that.
        getattr(torch._C, "_ensureCUDADeviceGuardSet", lambda: None)()  # not before torch 2.5 or so
        self._stack.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)
        self._stack.enter_context(_Calls(self))
        self._stack.enter_context(_Operations(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def _number(self, device: Any) -> int:
        if device is None:
            return self.current
        return device if isinstance(device, int) else self.located(torch.device(device)).index

    @contextmanager
    def _set_current(self, device: Any) -> Iterator[None]:
        before, self.current = self.current, self._number(device)
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def _capture(self, graph: Graph, stream: Any = None, capture_error_mode: str = "global") -> Iterator[None]:
        graph.device = (stream or torch.cuda.Stream()).device
        self.capturing, self._capture_thread, self._capture_mode = graph, threading.get_ident(), capture_error_mode
        self._invalid = False
        try:
            yield
        finally:
            self.capturing = None
            graph.undo()
        if self._invalid:
            raise Refused("operation failed due to a previous error during capture: a call of another thread")
        self.graphs.append(graph)


class Graph:
    """Stands for torch.cuda.CUDAGraph: operations, each with its memory."""

    def __init__(self, pretended: PretendedDevice) -> None:
        self._pretended = pretended
        self.device = CPU
        """Device of the captured stream."""
        self.nodes: list[tuple[Any, Any, Any, Any]] = []
        """Operation, arguments, options and results; all on the host."""
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._own: set[int] = set()

    def writes(self, host: Tensor) -> None:
        """Remember memory from before the capture that an operation is about to change."""
        storage = host.untyped_storage()
        if storage.data_ptr() not in self._before and storage.data_ptr() not in self._own:
            whole = torch.empty(0, dtype=torch.uint8).set_(storage)
            self._before[storage.data_ptr()] = whole, whole.clone()

    def makes(self, host: Tensor) -> None:
        """Note memory that the graph itself allocates."""
        self._own.add(host.untyped_storage().data_ptr())

    def undo(self) -> None:
        """Restore all memory, because capturing computes nothing."""
        with unseen():
            for whole, before in self._before.values():
                whole.copy_(before)

    def replay(self) -> None:
        """Compute everything again, in the memory of the capture."""
        self._pretended.note("launch: graph")
        with unseen(), torch.inference_mode():
            for func, args, kwargs, results in self.nodes:
                again = func(*args, **kwargs)
                for old, new in zip(tree_flatten(results)[0], tree_flatten(again)[0]):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


@contextmanager
def unseen() -> Iterator[None]:
    """Hide work in this context from the device."""
    with _disable_current_modes(), torch._C.DisableTorchFunctionSubclass():
        yield


class _Calls(TorchFunctionMode):
    """Intercepts calls that a torch without CUDA refuses before it starts an operation, such as pinned memory."""

    def __init__(self, device: PretendedDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, first = dict(kwargs or {}), args[0] if args else None
        if kwargs.pop("pin_memory", False):
            self._device.note("allocate: pinned", allowed=False)
            self._device.pinned.append(func(*args, **kwargs))
            return self._device.pinned[-1]
        if func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or CPU) != CPU:
            goal = self._device.located(torch.device(kwargs.pop("device")))
            return (first if isinstance(first, Tensor) else torch.tensor(*args, **kwargs)).to(goal)
        if isinstance(first, OnDevice):
            if func in READ_BY_HOST:
                self._device.note(f"wait: {func.__name__}", allowed=False)
                return func(first.host)
            instead = {
                Tensor.__getitem__: _read,
                Tensor.__setitem__: _write,
                Tensor.__invert__: aten.bitwise_not,
                Tensor.contiguous: aten.contiguous,
                Tensor.copy_: aten.copy_,
                Tensor.nonzero: _nonzero,
            }
            func = instead.get(func, func)
        return func(*args, **kwargs)


def _located(x: Tensor, index: Any) -> tuple[Tensor, list[Tensor | None]]:
    """Return the view that an index takes of a tensor, and the tensors that index each dimension of it."""
    parts = list(index) if type(index) is tuple else [index]
    place = next((k for k, part in enumerate(parts) if part is Ellipsis), None)
    if place is not None:
        others = (part for part in parts if part is not None and part is not Ellipsis)
        used = sum(part.dim() if isinstance(part, Tensor) and part.dtype is torch.bool else 1 for part in others)
        parts[place : place + 1] = [slice(None)] * (x.dim() - used)
    rest: list[Tensor | None] = []
    dim = 0
    for part in parts:
        if part is None:
            x, part = aten.unsqueeze(x, dim), slice(None)
        if isinstance(part, list):
            part = torch.tensor(part, dtype=torch.int64).to(x.device)
        if isinstance(part, Tensor):
            rest += [None] * (dim - len(rest)) + [part]
            dim += part.dim() if part.dtype is torch.bool else 1
        elif isinstance(part, slice):
            if part != slice(None):
                x = aten.slice(x, dim, part.start, part.stop, part.step or 1)
            dim += 1
        else:
            x = aten.select(x, dim, int(part))
    return x, rest


def _read(x: Tensor, index: Any) -> Tensor:
    view, rest = _located(x, index)
    return aten.index(view, rest) if rest else view


def _write(x: Tensor, index: Any, value: Any) -> None:
    view, rest = _located(x, index)
    if not isinstance(value, Tensor):
        if not rest:
            aten.fill_(view, value)
            return
        value = torch.tensor(value, dtype=x.dtype).to(x.device)  # torch copies the number from the host
    if rest:
        aten.index_put_(view, rest, value)
    else:
        aten.copy_(view, value)


def _nonzero(x: Tensor, as_tuple: bool = False) -> Any:
    found = aten.nonzero(x)
    return found.unbind(1) if as_tuple else found


class _Operations(TorchDispatchMode):
    """Intercepts every operation."""

    def __init__(self, device: PretendedDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # inference mode hands composite operations over whole
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        goal = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        if goal is not None and goal.type == "cuda":
            goal = self._device.located(goal)
        tensors = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, Tensor)]
        if goal in (None, CPU) and not any(isinstance(part, OnDevice) for part in tensors):
            return func(*args, **kwargs)
        name = func._schema.name.split("::")[1]
        hosts = [part for part in tensors if not isinstance(part, OnDevice)]
        if name in ("_to_copy", "copy_"):
            source = args[0] if name == "_to_copy" else args[1]
            self._copy(source, args[0].device if name == "copy_" else goal or source.device, args, kwargs)
        elif hosts and not (name in MAY_MIX and all(part.dim() == 0 for part in hosts)):
            raise Refused(f"{func}: expected all tensors to be on the same device")
        devices = {part.device for part in tensors if isinstance(part, OnDevice)}
        if len(devices) > 1 and name not in ("_to_copy", "copy_"):
            raise Refused(f"{func}: expected all tensors to be on the same device, but found at least two devices")
        if name.startswith(WAITS) or _by_mask(name, args):
            self._device.note(f"wait: {name}", allowed=False)
        if name.startswith(RANDOM):
            self._device.note(f"random: {name}", allowed=False)
        return self._compute(func, name, args, kwargs, goal)

    def _copy(self, source: Tensor, goal: torch.device, args: Any, kwargs: Any) -> None:
        if goal.type == source.device.type or not source.numel():
            return
        pinned = any(part is source for part in self._device.pinned)
        self._device.note(f"copy: {'pinned' if pinned else 'pageable'} {source.device.type} to {goal.type}", pinned)
        if not (pinned and (kwargs.get("non_blocking") or args[2:3] == (True,))):
            self._device.note("wait: copy", allowed=False)

    def _compute(self, func: Any, name: str, args: Any, kwargs: Any, goal: torch.device | None) -> Any:
        schema, graph = func._schema, self._device.capturing
        devices = [part.device for part in tree_flatten((args, kwargs))[0] if isinstance(part, OnDevice)]
        own = goal if goal is not None and goal != CPU else devices[0]
        if graph and graph.device != own:
            graph = None  # its kernels go to another device's stream, and run now
        host_args, host_kwargs = tree_map(_host, args), tree_map(_host, kwargs)
        if goal is not None:
            host_kwargs["device"] = CPU
        aliases = [value.alias_info for value in schema.returns]
        view = bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)
        written = [
            args[place] if place < len(args) else kwargs[argument.name]
            for place, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        if not view:
            self._device.note(name)
        if graph:
            for part in written:
                graph.writes(_host(part))
        result = func(*host_args, **host_kwargs)
        if graph and not view:
            for part in [] if written else tree_flatten(result)[0]:
                graph.makes(part)
            graph.nodes.append((func, host_args, host_kwargs, result))
        if written:
            return written[0] if len(written) == 1 else tuple(written)
        if goal == CPU or name == "_local_scalar_dense":
            return result
        return tree_map(lambda part: OnDevice(part, own) if type(part) is Tensor else part, result)


def _host(part: Any) -> Any:
    return part.host if isinstance(part, OnDevice) else part


def _by_mask(name: str, args: Any) -> bool:
    """Return whether an operation must count a mask's rows before it can index with them."""
    if not name.startswith(("index", "_index_put")) or len(args) < 2 or not isinstance(args[1], (list, tuple)):
        return False
    return any(isinstance(part, Tensor) and part.dtype in (torch.bool, torch.uint8) for part in args[1])
