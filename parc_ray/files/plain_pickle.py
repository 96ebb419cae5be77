"""Pickles as data: read without executing anything, written for any numpy version.

A pickle is a program, and even a restricted `pickle.Unpickler` builds objects, hashes nested keys and grows
its memo as the program demands. `loads` instead interprets the opcodes itself: it supports plain Python values,
numpy arrays and numpy scalars, and calls nothing that a pickle names. It never recurses, no array is larger than
its bytes in the pickle, and its running time is bounded. It reads protocols 2 to 5: the defaults of Python 3 and
of torch.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections import OrderedDict
from typing import Any, Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from parc_ray.errors import InputError, quote

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_CONTAINERS: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_IGNORED = {"PROTO", "FRAME"}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_OLDER = {
    *("MARK", "STOP", "TUPLE", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET"),
    *("LONG_BINGET", "REDUCE", "BUILD", "BINPERSID"),
}
"""Operations of older protocols that protocol 3 still writes."""
_TUPLE_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MALFORMED = (ValueError, TypeError, LookupError, OverflowError, MemoryError)
_SCALARS = (str, bytes, int, float, bool, type(None))
_NUMBER_TYPE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[US][1-9][0-9]{0,5}")
_MAX_DIMENSIONS = 32
_MAX_OPERATIONS = 10**7
"""Maximum operations, which take seconds; a motion file has about a hundred."""
_MAX_ODD_KEYS = 10**4
"""Maximum keys that are not text: crafted keys with equal hashes make dicts quadratic."""
_MAX_KEY_ITEMS = 16
_MAX_NAME = 300


Builder = Callable[..., Any]


def loads(
    content: bytes | io.BytesIO,
    source: str,
    inert: Callable[[str], bool] = lambda name: False,
    builders: Mapping[str, Builder] | None = None,
    persistent: Builder | None = None,
) -> Any:
    """Return the value of a pickle, built from plain Python values and numpy arrays only.

    content: the bytes, or a file positioned at the pickle, which is left at its end. Arrays are views of the pickle's
    bytes and mostly read-only. Objects whose dotted name `inert` accepts become `Inert` instead of being built; any
    other class or function raises InputError, as does a damaged pickle. `builders` maps names in the pickle to
    replacements, called with plain values; `persistent` is called with the id of an external object. Messages start
    with `source`.
    """
    try:
        file = content if isinstance(content, io.BytesIO) else io.BytesIO(content)
        return _Reader(inert, {**_BUILDERS, **(builders or {})}, persistent, file).read()
    except _Forbidden as error:
        raise InputError(
            f"{source}: asks for {error}, which is neither plain data nor a numpy array; nothing was run. "
            "Use the file only if you trust its origin, after rewriting it with plain values."
        ) from None
    except _MALFORMED as error:
        raise InputError(
            f"{source}: is not a readable pickle ({str(error)[:200] or type(error).__name__}). "
            "It may be cut off or of another kind: copy or generate it again."
        ) from None


def dumps(value: Any, check: bool = True) -> bytes:
    """Return `value` (dicts, lists, tuples, scalars, numpy arrays) as a pickle for Python 3 and any numpy.

    numpy 2 names its functions `numpy._core`, which numpy 1 does not have; both have `numpy.core`.
    Raises InputError for values that `loads` would reject, unless `check` is false.
    """
    content = pickle.dumps(value, protocol=3)
    pieces: list[bytes] = []
    start = 0
    # Reading all of it would cost as much as writing it, and a name is written in full only at its first use.
    unseen = content.count(b"cnumpy._core.")
    for opcode, argument, position in pickletools.genops(content) if unseen else ():
        if opcode.name == "GLOBAL" and str(argument).startswith("numpy._core."):
            pieces += [content[start:position], b"cnumpy.core."]
            start = (position or 0) + len(b"cnumpy._core.")
            unseen -= 1
        if not unseen:
            break
    portable = b"".join([*pieces, content[start:]])
    if check:
        loads(portable, "value to be written")
    return portable


class Inert:
    """Stands for an object that was not built; `state` is its content."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: Any = None


class _Forbidden(Exception):
    """The pickle names something that may not be built."""


class _Name:
    """A class or function with a builder, by its name in the pickle."""

    def __init__(self, name: str, builder: Builder) -> None:
        self.name, self.builder = name, builder


class Unfinished:
    """A value that `finish` creates from the content of a later BUILD and the file after it; `memo_keys` refer to it.

    Builders return this for classes whose instances are filled in after creation.
    """

    def __init__(self, finish: Callable[[Any, io.BytesIO], Any]) -> None:
        self.finish = finish
        self.memo_keys: list[int] = []


class _Reader:
    """The machine that executes a pickle's opcodes on plain data."""

    def __init__(
        self,
        inert: Callable[[str], bool],
        builders: Mapping[str, Builder],
        persistent: Builder | None,
        file: io.BytesIO,
    ) -> None:
        self._file = file
        self._inert, self._builders, self._persistent = inert, builders, persistent
        self._odd_keys = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def read(self) -> Any:
        for name, argument in _operations(self._file):
            if name in _LITERALS:
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _CONTAINERS:
                self._stack.append(_CONTAINERS[name]())
            elif name in _TUPLE_SIZES:
                self._stack.append(self._pop_tuple(_TUPLE_SIZES[name]))
            elif name == "STOP":
                return self._require_value(self._stack.pop())
            elif name not in _IGNORED:
                self._step(name, argument)
        raise ValueError(f"no end within {_MAX_OPERATIONS} operations")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name == "MARK":
            self._marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(self._pop_to_mark())
        elif name == "FROZENSET":
            stack.append(frozenset(map(self._key, self._pop_to_mark())))
        elif name in ("APPEND", "SETITEM"):
            items = self._pop_tuple(1 if name == "APPEND" else 2)
            self._extend(stack[-1], items)
        elif name in ("APPENDS", "SETITEMS", "ADDITEMS"):
            items = self._pop_to_mark()
            self._extend(stack[-1], items)
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            self._remember(len(self._memo) if name == "MEMOIZE" else argument)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "GLOBAL":
            stack.append(self._global_name(*argument))
        elif name == "STACK_GLOBAL":
            stack.append(self._global_name(*self._pop_tuple(2)))
        elif name in ("REDUCE", "NEWOBJ"):
            (arguments,) = self._pop_tuple(1)
            stack.append(_call(stack.pop(), arguments))
        elif name == "BUILD":
            self._build(stack.pop())
        elif name == "BINPERSID" and self._persistent is not None:
            stack.append(self._persistent(*self._pop_tuple(1)))
        else:
            raise _Forbidden(f"the pickle operation {name}")

    def _pop_tuple(self, size: int) -> tuple[Any, ...]:
        if len(self._stack) < size:
            raise ValueError("values are missing")
        items = tuple(map(self._require_value, self._stack[-size:]))
        del self._stack[-size:]
        return items

    def _pop_to_mark(self) -> tuple[Any, ...]:
        start = self._marks.pop()
        items = tuple(map(self._require_value, self._stack[start:]))
        del self._stack[start:]
        return items

    def _require_value(self, value: Any) -> Any:
        if isinstance(value, _Name):
            raise _Forbidden(f"{value.name} as a value")
        if isinstance(value, Unfinished):
            raise ValueError("an array without content")
        return value

    def _remember(self, key: int) -> None:
        value = self._stack[-1]
        self._memo[key] = value
        if isinstance(value, Unfinished):
            value.memo_keys.append(key)

    def _global_name(self, module: Any, attribute: Any) -> Any:
        if type(module) is not str or type(attribute) is not str or len(module) + len(attribute) > _MAX_NAME:
            raise ValueError("a name that is none")
        name = f"{module}.{attribute}".replace("numpy._core.", "numpy.core.", 1)
        if name in self._builders:
            return _Name(name, self._builders[name])
        if name == "numpy.ndarray":
            return None  # a _reconstruct argument that carries no information
        if self._inert(name):
            return Inert(name)
        raise _Forbidden(name)

    def _build(self, state: Any) -> None:
        target = self._stack[-1]
        if isinstance(target, Inert):
            target.state = state
        elif isinstance(target, Unfinished):
            value = target.finish(state, self._file)
            self._stack[-1] = value
            for key in target.memo_keys:
                self._memo[key] = value
        elif type(target) is OrderedDict and type(state) is dict:
            pass  # attributes, such as the _metadata of a torch module: no content
        else:
            raise ValueError("content for a value that takes none")

    def _extend(self, target: Any, items: tuple[Any, ...]) -> None:
        if type(target) is list:
            target.extend(items)
        elif type(target) is set:
            target.update(map(self._key, items))
        elif type(target) in (dict, OrderedDict):
            if len(items) % 2:
                raise ValueError("a key without a value")
            target.update(zip(map(self._key, items[::2]), items[1::2]))
        elif not isinstance(target, Inert):
            raise ValueError("items for a value that takes none")

    def _key(self, key: Any) -> Any:
        """Return `key` if it is a scalar or a short flat tuple; hashing a deeply nested tuple overflows the C stack."""
        if type(key) in (str, bytes):
            return key
        self._odd_keys += 1
        if self._odd_keys > _MAX_ODD_KEYS:
            raise ValueError(f"more than {_MAX_ODD_KEYS} keys that are not text")
        if type(key) in _SCALARS:
            return key
        if type(key) is tuple and len(key) <= _MAX_KEY_ITEMS and all(type(item) in _SCALARS for item in key):
            return key
        raise ValueError(f"a key of type {type(key).__name__}")


def _operations(file: io.BytesIO) -> Iterator[tuple[str, Any]]:
    """Yield names and arguments of a pickle's operations. For operations that Python 3 does not write, arguments are
    not read: some Python versions take hours to parse a long integer."""
    for _ in range(_MAX_OPERATIONS):
        code = file.read(1)
        if code not in _OPERATIONS:
            raise ValueError("an operation that Python 3 does not write" if code else "no end")
        name, read = _OPERATIONS[code]
        yield name, read(file) if read else None


def _read_name(file: io.BytesIO) -> tuple[str, str]:
    module, attribute = (file.readline(_MAX_NAME) for _ in range(2))
    if not (module.endswith(b"\n") and attribute.endswith(b"\n")):
        raise ValueError("a name without end")
    return module[:-1].decode("utf-8"), attribute[:-1].decode("utf-8")


_OPERATIONS: dict[bytes, tuple[str, Any]] = {
    opcode.code.encode("latin-1"): (opcode.name, opcode.arg.reader if opcode.arg else None)
    for opcode in pickletools.opcodes
    if opcode.proto >= 2 or opcode.name in _LITERALS.union(_CONSTANTS, _CONTAINERS, _OLDER)
}
_OPERATIONS[pickle.GLOBAL] = ("GLOBAL", _read_name)


def _call(function: Any, arguments: Any) -> Any:
    if isinstance(function, Inert):
        return Inert(function.name)
    if not isinstance(function, _Name) or type(arguments) is not tuple:
        raise ValueError("a call of a value")
    return function.builder(*arguments)


def plain_array(shape: Any, dtype: Any, data: Any, order: Any) -> npt.NDArray[Any]:
    """Return an array over `data`, whose size must match `shape` and `dtype` exactly."""
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


def _unfinished_array(*_: Any) -> Unfinished:
    def finish(state: Any, _: io.BytesIO) -> npt.NDArray[Any]:
        _version, shape, dtype, is_fortran, data = state
        return plain_array(shape, dtype, data, "F" if is_fortran else "C")

    return Unfinished(finish)


def _unfinished_dtype(code: Any, *_: Any) -> Unfinished:
    if type(code) is not str or not _NUMBER_TYPE.fullmatch(code):
        raise _Forbidden(f"numpy type {quote(code, 40) if type(code) is str else type(code).__name__}")

    def finish(state: Any, _: io.BytesIO) -> Any:
        _version, order, subtype, names, fields = state[:5]
        if order not in ("<", ">", "|", "=") or (subtype, names, fields) != (None, None, None):
            raise ValueError("a structured numpy type")
        return np.dtype(code).newbyteorder(order)

    return Unfinished(finish)


def _array_from_buffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> npt.NDArray[Any]:
    if order == "K":
        return plain_array(shape, dtype, data, "C").transpose(axes)
    return plain_array(shape, dtype, data, order)


def _scalar(dtype: Any, data: Any) -> Any:
    return plain_array((), dtype, data, "C")[()]


def _encode_latin1(text: Any, encoding: Any) -> bytes:
    """Return bytes, which protocol 2 stores as text. Raises ValueError for any other encoding."""
    if type(text) is not str or encoding != "latin1":
        raise ValueError("bytes in an unknown encoding")
    return text.encode("latin1")


def _ordered_dict() -> Any:
    return OrderedDict()


_BUILDERS: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray._reconstruct": _unfinished_array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array_from_buffer,
    "numpy.dtype": _unfinished_dtype,
    "collections.OrderedDict": _ordered_dict,
    "_codecs.encode": _encode_latin1,
}
"""Replacements for the functions that a pickle may call, by their names in numpy 1."""
