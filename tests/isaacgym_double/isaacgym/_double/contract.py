"""How the double refuses: argument types of methods, attributes of structs, members of enumerations."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import typing
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, TypeVar

import numpy as np

from isaacgym._double.settings import SETTINGS

Function = TypeVar("Function", bound=Callable[..., Any])


class ContractViolation(AssertionError):
    """The caller did what Isaac Gym does not allow, or what would go wrong there without a word."""


def refuse(message: str, kind: type = ContractViolation) -> "typing.NoReturn":
    """Raises `kind`, and leaves a trace that no `except` can hide."""
    if SETTINGS.violations:
        with Path(SETTINGS.violations).open("a") as file:
            file.write(f"{os.getpid()}: {message}\n")
    raise kind(f"isaacgym double: {message}")


class TypeViolation(ContractViolation, TypeError):
    """pybind11 raises TypeError for these."""


class NotModelled(ContractViolation, NotImplementedError):
    """The real engine may do this; the double cannot."""


class MissingFile(ContractViolation, FileNotFoundError):
    """An asset that is not there."""


def not_modelled(what: str) -> "typing.NoReturn":
    """Raises NotModelled."""
    refuse(f"{what} is not modelled by the double", NotModelled)


class Float32Array:
    """Annotation: a contiguous numpy array of float32."""


class Uint32Array:
    """Annotation: a contiguous numpy array of uint32."""


ARRAYS = {Float32Array: np.float32, Uint32Array: np.uint32}


def convert(value: Any, expected: Any, what: str) -> Any:
    """`value` as pybind11 would hand it on, if it has the type that the stubs state. Raises TypeViolation."""
    if expected is Any:
        return value
    if typing.get_origin(expected) in (list, List):
        (item,) = typing.get_args(expected)
        if not isinstance(value, list):
            refuse(f"{what} must be a list, but it is {value!r}", TypeViolation)
        return [convert(part, item, what) for part in value]
    if typing.get_origin(expected) is typing.Union:
        if value is None:
            return None
        expected = next(part for part in typing.get_args(expected) if part is not type(None))
    if expected in ARRAYS:
        return _array(value, ARRAYS[expected], what)
    if not _fits(value, expected):
        refuse(f"{what} must be {expected.__name__}, but it is {type(value).__name__} {value!r}", TypeViolation)
    if expected in (int, float):
        return expected(value)
    return value


def _fits(value: Any, expected: type) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return expected is bool and isinstance(value, bool)
    if expected is int:
        return isinstance(value, (int, np.integer))
    if expected is float:
        return isinstance(value, (int, float, np.integer, np.floating))
    return isinstance(value, expected)


def _array(value: Any, dtype: Any, what: str) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        found = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        refuse(f"{what} must be a numpy array of {np.dtype(dtype).name}, but it is {found}", TypeViolation)
    if value.ndim != 1 or not value.flags.c_contiguous:
        refuse(f"{what} must be flat and contiguous, but its shape is {value.shape}", TypeViolation)
    return value


def checked(function: Function) -> Function:
    """Check the types of a method's arguments against its annotations, which are those of the stubs."""
    signature = inspect.signature(function)
    hints: Dict[str, Any] = {}

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        if not hints:
            hints.update(typing.get_type_hints(function))
        try:
            bound = signature.bind(*arguments, **keywords)
        except TypeError as error:
            refuse(f"{function.__name__}: {error}", TypeViolation)
        for name, value in list(bound.arguments.items())[1:]:
            bound.arguments[name] = convert(value, hints[name], f"{function.__name__}: {name}")
        return function(*bound.args, **bound.kwargs)

    return typing.cast(Function, call)


class Struct:
    """A C++ struct behind pybind11: the attributes of its annotations, with their types, and no others."""

    _hints: Optional[Dict[str, Any]] = None
    _order: Tuple[str, ...] = ()
    """fields that the constructor takes"""

    def __init__(self, *values: Any, **named: Any) -> None:
        if len(values) > len(self._order) or not set(named) <= set(self._order):
            refuse(f"{type(self).__name__}() takes the arguments {self._order}", TypeViolation)
        for name in self.fields():
            default = getattr(type(self), name, None)
            object.__setattr__(self, name, copy.deepcopy(default))
        for name, value in {**dict(zip(self._order, values)), **named}.items():
            setattr(self, name, value)

    @classmethod
    def fields(cls) -> Dict[str, Any]:
        """Types of the attributes by name."""
        if "_hints" not in cls.__dict__ or cls._hints is None:
            hints = typing.get_type_hints(cls)
            cls._hints = {name: hint for name, hint in hints.items() if not name.startswith("_")}
        return cls._hints

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_own"):
            object.__setattr__(self, name, value)
            return
        if name not in self.fields():
            refuse(f"{type(self).__name__} has no attribute {name!r}", AttributeViolation)
        value = convert(value, self.fields()[name], f"{type(self).__name__}.{name}")
        # pybind11 copies structs on assignment: a later change of the original does not arrive.
        object.__setattr__(self, name, copy.deepcopy(value) if isinstance(value, Struct) else value)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.fields())
        return f"{type(self).__name__}({values})"


class AttributeViolation(ContractViolation, AttributeError):
    """pybind11 raises AttributeError for these."""


class Enumeration:
    """A pybind11 enumeration: not an int, though int() works; members also stand in the module."""

    __members__: typing.ClassVar[Dict[str, Any]] = {}

    def __init_subclass__(cls, **values: int) -> None:
        cls.__members__ = {}
        for name, value in values.items():
            member = object.__new__(cls)
            object.__setattr__(member, "_value", value)
            cls.__members__[name] = member
            setattr(cls, name, member)

    def __init__(self, arg0: int) -> None:
        convert(arg0, int, f"{type(self).__name__}()")
        if arg0 not in [int(member) for member in self.__members__.values()]:
            refuse(f"{type(self).__name__} has no member of value {arg0}")
        object.__setattr__(self, "_value", int(arg0))

    def __setattr__(self, name: str, value: Any) -> None:
        refuse(f"{type(self).__name__} has no attribute {name!r}", AttributeViolation)

    def __deepcopy__(self, memo: Any) -> "Enumeration":
        return self

    def __int__(self) -> int:
        return int(self._value)  # type: ignore[attr-defined]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and int(other) == int(self)

    def __hash__(self) -> int:
        return hash((type(self).__name__, int(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    @property
    def name(self) -> str:
        """Name of the member."""
        return next(name for name, member in self.__members__.items() if int(member) == int(self))
