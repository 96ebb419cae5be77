"""StringEnum: enums whose members are also plain strings."""

from __future__ import annotations

from enum import Enum


class StringEnum(str, Enum):
    """An enum whose members act as their values on every version of Python: in text, JSON, comparisons and dicts."""

    __hash__ = str.__hash__
    __str__ = str.__str__
    __repr__ = str.__repr__
    __format__ = str.__format__  # type: ignore[assignment]
