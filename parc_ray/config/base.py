"""Base classes and field types of the configuration models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Dict, Optional, Tuple, Type

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import Annotated

from parc_ray.errors import UNPRINTABLE


def require_printable(text: object) -> object:
    """Return the text. Raises ValueError if a terminal or a log cannot show it on one line."""
    if UNPRINTABLE.search(str(text)) or "\n" in str(text):
        raise ValueError("must not contain control characters")
    return text


def expand_user(path: Any) -> Any:
    """Return a path with `~` and environment variables such as `$HOME` expanded; unknown ones stay.

    >>> expand_user("motions/walk.pkl")
    'motions/walk.pkl'
    """
    if not isinstance(path, str):
        return path
    return os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111


def section_of(annotation: Any) -> Optional[Type[BaseModel]]:
    """Return the model of a field that is a section; else None."""
    options: Tuple[Any, ...] = getattr(annotation, "__args__", (annotation,))
    models = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    return models[0] if models else None


PlainPath = Annotated[Path, BeforeValidator(expand_user), AfterValidator(require_printable)]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=True)]
"""0 or more; .inf means no limit."""


class Strict(BaseModel):
    """A parc_ray section: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file_kind: ClassVar[str] = ""
    """Name of the file that the model describes; empty for a section."""


class Parc(BaseModel):
    """A PARC or MimicKit section: keys that recording does not need are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    file_kind: ClassVar[str] = ""
    """Name of the file that the model describes; empty for a section."""


def since(version: str) -> Dict[str, Any]:
    """Return the marker of a key added in a version: `Field(default, json_schema_extra=since("0.2"))`.

    At its default, such a key is excluded from fingerprints, so that runs of earlier versions can be resumed.
    """
    return {"since": version}


def fingerprint_values(section: BaseModel, exclude: Any = None) -> Dict[str, Any]:
    """Return the values of a section that recordings depend on.

    Omits `exclude` (as in pydantic) and keys of later versions at their default.
    """
    return _without_later_defaults(section, section.model_dump(exclude=exclude))


def _without_later_defaults(section: BaseModel, values: Dict[str, Any]) -> Dict[str, Any]:
    for name, field in type(section).model_fields.items():
        value, extra = getattr(section, name), field.json_schema_extra
        later = isinstance(extra, dict) and "since" in extra
        if later and value == field.get_default(call_default_factory=True):
            values.pop(name, None)
        elif isinstance(value, BaseModel) and name in values:
            values[name] = _without_later_defaults(value, values[name])
    return values
