"""Commented YAML files to start from, generated from the models that check them."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Iterator, Mapping, Type

import yaml
from pydantic import BaseModel

from parc_ray.config.base import section_of

WIDTH = 100
"""Maximum length of a comment line, characters."""


def commented_yaml(model: Type[BaseModel], values: Mapping[str, Any], header: str) -> str:
    """Return YAML text that sets `values` and lists every other key, commented out, with its default.

    Each key is below its description. To change a default, remove the first `#` of a line that begins with `#key`.

    >>> from parc_ray.config.dataset import DatasetConfig
    >>> print(commented_yaml(DatasetConfig, {"save_path": "motions.yaml"}, "A dataset.").splitlines()[0])
    # A dataset.
    """
    given = [line for name in values for line in _entry(model, name, values[name], "", "")]
    others = [name for name in model.model_fields if name not in values]
    optional = [line for name in others for line in _entry(model, name, _default(model, name), "#", "")]
    head = [f"# {line}".rstrip() for line in header.splitlines()]
    return "\n".join([*head, "", *given, "# Optional keys, with their defaults:", "", *optional]).rstrip() + "\n"


def _entry(model: Type[BaseModel], name: str, value: Any, mark: str, indent: str) -> Iterator[str]:
    field = model.model_fields[name]
    section = section_of(field.annotation)
    text = field.description or (section.__doc__ if section else "") or ""
    for line in textwrap.wrap(text, WIDTH - len(mark + indent)):
        yield f"{mark}{indent}# {line}" if indent else f"# {line}"
    if section is None or not isinstance(value, BaseModel):
        yield f"{mark}{indent}{name}: {_plain(value)}"
    else:
        yield f"{mark}{indent}{name}:"
        for key in section.model_fields:
            yield from _entry(section, key, getattr(value, key), mark, indent + "  ")
    if not indent:
        yield ""


def _default(model: Type[BaseModel], name: str) -> Any:
    return model.model_fields[name].get_default(call_default_factory=True)


def _plain(value: Any) -> str:
    """Return a value as YAML on one line."""
    value = str(value) if isinstance(value, Path) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.replace("\n...", "").strip()
