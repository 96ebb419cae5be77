"""Pickles as data: read without running anything, written so that every numpy can read them.

A pickle is a program, and even a restricted `pickle.Unpickler` builds objects, hashes nested keys and grows
its memo as the program asks. `loads` instead steps through the opcodes itself: it knows plain Python values,
numpy arrays and numpy scalars, and calls nothing that a pickle names. Nothing it does recurses, and no array
is larger than the bytes that the pickle brings along. It reads protocols 3 to 5, the defaults of Python 3.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
from collections import OrderedDict
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import numpy.typing as npt

from parc_ray.errors import InputError

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_CONTAINERS: Dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_IGNORED = {"PROTO", "FRAME"}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_TUPLE_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MALFORMED = (ValueError, TypeError, LookupError, OverflowError, MemoryError)
_SCALARS = (str, bytes, int, float, bool, type(None))
_NUMBER_TYPE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[US][1-9][0-9]{0,5}")
_MAX_DIMENSIONS = 32


def loads(content: bytes, source: str, inert: Callable[[str], bool] = lambda name: False) -> Any:
    """The value that a pickle describes, built from plain Python values and numpy arrays only.

    Arrays are views of the pickle's own bytes and mostly read-only. Objects whose dotted name `inert` accepts
    become `Inert` instead of being built; any other class or function raises InputError, as does a damaged
    pickle. Messages start with `source`.
    """
    try:
        return _Reader(inert).read(content)
    except _Forbidden as error:
        raise InputError(
            f"{source}: asks for {error}, which is neither plain data nor a numpy array; nothing was run. "
            "Use the file only if you trust its origin, after rewriting it with plain values."
        ) from None
    except _MALFORMED as error:
        raise InputError(
            f"{source}: is not a readable pickle ({str(error) or type(error).__name__}). "
            "It may be cut off or of another kind: copy or generate it again."
        ) from None


def dumps(value: Any, check: bool = True) -> bytes:
    """`value` (dicts, lists, tuples, scalars, numpy arrays) as a pickle for Python 3 and any numpy.

    numpy 2 names its functions `numpy._core`, which numpy 1 does not know; both know `numpy.core`.
    Raises InputError for values that `loads` would refuse, unless the caller knows them and spares the check.
    """
    content = pickle.dumps(value, protocol=3)
    pieces: List[bytes] = []
    start = 0
    for opcode, argument, position in pickletools.genops(content):
        if opcode.name == "GLOBAL" and str(argument).startswith("numpy._core."):
            pieces += [content[start:position], b"cnumpy.core."]
            start = (position or 0) + len(b"cnumpy._core.")
    portable = b"".join([*pieces, content[start:]])
    if check:
        loads(portable, "value to be written")
    return portable


class Inert:
    """Stands for an object that a pickle asked for and that was not built; `state` is what it would hold."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: Any = None


class _Forbidden(Exception):
    """The pickle names something that may not be built."""


class _Name:
    """A class or function of `_BUILDERS` as the pickle names it."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Unfinished:
    """An array or dtype whose content follows in a BUILD; the memo's `memo_keys` must learn of it then."""

    def __init__(self, finish: Callable[[Any], Any]) -> None:
        self.finish = finish
        self.memo_keys: List[int] = []


class _Reader:
    """The machine that executes a pickle's opcodes on plain data."""

    def __init__(self, inert: Callable[[str], bool]) -> None:
        self._inert = inert
        self._stack: List[Any] = []
        self._marks: List[int] = []
        self._memo: Dict[int, Any] = {}

    def read(self, content: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(content):
            name = opcode.name
            if name in _LITERALS:
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _CONTAINERS:
                self._stack.append(_CONTAINERS[name]())
            elif name in _TUPLE_SIZES:
                self._stack.append(self._pop_tuple(_TUPLE_SIZES[name]))
            elif name == "STOP":
                return self._finished(self._stack.pop())
            elif name not in _IGNORED:
                self._step(name, argument)
        raise ValueError("no end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name == "MARK":
            self._marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(self._pop_to_mark())
        elif name == "FROZENSET":
            stack.append(frozenset(map(_key, self._pop_to_mark())))
        elif name in ("APPEND", "SETITEM"):
            items = self._pop_tuple(1 if name == "APPEND" else 2)
            _extend(stack[-1], items)
        elif name in ("APPENDS", "SETITEMS", "ADDITEMS"):
            items = self._pop_to_mark()
            _extend(stack[-1], items)
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            self._remember(len(self._memo) if name == "MEMOIZE" else argument)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "GLOBAL":
            stack.append(self._named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(self._named(*self._pop_tuple(2)))
        elif name in ("REDUCE", "NEWOBJ"):
            (arguments,) = self._pop_tuple(1)
            stack.append(_call(stack.pop(), arguments))
        elif name == "BUILD":
            self._build(stack.pop())
        else:
            raise _Forbidden(f"the pickle operation {name}")

    def _pop_tuple(self, size: int) -> Tuple[Any, ...]:
        if len(self._stack) < size:
            raise ValueError("values are missing")
        items = tuple(map(self._finished, self._stack[-size:]))
        del self._stack[-size:]
        return items

    def _pop_to_mark(self) -> Tuple[Any, ...]:
        start = self._marks.pop()
        items = tuple(map(self._finished, self._stack[start:]))
        del self._stack[start:]
        return items

    def _finished(self, value: Any) -> Any:
        if isinstance(value, _Name):
            raise _Forbidden(f"{value.name} as a value")
        if isinstance(value, _Unfinished):
            raise ValueError("an array without content")
        return value

    def _remember(self, key: int) -> None:
        value = self._stack[-1]
        self._memo[key] = value
        if isinstance(value, _Unfinished):
            value.memo_keys.append(key)

    def _named(self, module: Any, attribute: Any) -> Any:
        name = f"{module}.{attribute}".replace("numpy._core.", "numpy.core.", 1)
        if name in _BUILDERS:
            return _Name(name)
        if name == "numpy.ndarray":
            return None  # an argument of _reconstruct that says nothing
        if self._inert(name):
            return Inert(name)
        raise _Forbidden(name)

    def _build(self, state: Any) -> None:
        target = self._stack[-1]
        if isinstance(target, Inert):
            target.state = state
        elif isinstance(target, _Unfinished):
            value = target.finish(state)
            self._stack[-1] = value
            for key in target.memo_keys:
                self._memo[key] = value
        else:
            raise ValueError("content for a value that takes none")


def _extend(target: Any, items: Tuple[Any, ...]) -> None:
    if type(target) is list:
        target.extend(items)
    elif type(target) is set:
        target.update(map(_key, items))
    elif type(target) in (dict, OrderedDict):
        if len(items) % 2:
            raise ValueError("a key without a value")
        target.update(zip(map(_key, items[::2]), items[1::2]))
    else:
        raise ValueError("items for a value that takes none")


def _key(key: Any) -> Any:
    """`key` if it is a scalar or a flat tuple; hashing a deeply nested tuple overflows the C stack."""
    if type(key) in _SCALARS or (type(key) is tuple and all(type(item) in _SCALARS for item in key)):
        return key
    raise ValueError(f"a key of type {type(key).__name__}")


def _call(function: Any, arguments: Any) -> Any:
    if isinstance(function, Inert):
        return Inert(function.name)
    if not isinstance(function, _Name) or type(arguments) is not tuple:
        raise ValueError("a call of a value")
    return _BUILDERS[function.name](*arguments)


def _array(shape: Any, dtype: Any, data: Any, order: Any) -> npt.NDArray[Any]:
    """An array on `data`, which must have exactly the size that `shape` and `dtype` claim."""
    if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("an array without a proper shape")
    if any(type(size) is not int or not 0 <= size < 2**62 for size in shape):
        raise ValueError("an array without a proper shape")
    if not isinstance(dtype, np.dtype) or type(data) not in (bytes, bytearray) or order not in ("C", "F"):
        raise ValueError("an array without proper data")
    claimed = dtype.itemsize * math.prod(shape)
    if claimed != len(data):
        raise ValueError(f"an array that claims {claimed} bytes and has {len(data)}")
    return np.ndarray(shape, dtype, data, order=order)


def _unfinished_array(*_: Any) -> _Unfinished:
    def finish(state: Any) -> npt.NDArray[Any]:
        _, shape, dtype, is_fortran, data = state
        return _array(shape, dtype, data, "F" if is_fortran else "C")

    return _Unfinished(finish)


def _unfinished_dtype(code: Any, *_: Any) -> _Unfinished:
    if type(code) is not str or not _NUMBER_TYPE.fullmatch(code):
        raise _Forbidden(f"numpy type {code!r}")

    def finish(state: Any) -> Any:
        _, order, subtype, names, fields = state[:5]
        if order not in ("<", ">", "|", "=") or (subtype, names, fields) != (None, None, None):
            raise ValueError("a structured numpy type")
        return np.dtype(code).newbyteorder(order)

    return _Unfinished(finish)


def _array_from_buffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> npt.NDArray[Any]:
    if order == "K":
        return _array(shape, dtype, data, "C").transpose(axes)
    return _array(shape, dtype, data, order)


def _scalar(dtype: Any, data: Any) -> Any:
    return _array((), dtype, data, "C")[()]


def _ordered_dict() -> Any:
    return OrderedDict()


_BUILDERS: Dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray._reconstruct": _unfinished_array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array_from_buffer,
    "numpy.dtype": _unfinished_dtype,
    "collections.OrderedDict": _ordered_dict,
}
"""What a pickle may call, under the names of numpy 1, and what is done in its place."""
