"""Loading YAML files, with $DATA_DIR expanded. Every error names file, key, value and remedy."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, Container, Dict, List, Mapping, Optional, Sequence, Tuple, Type, TypeVar

from pydantic import BaseModel, ValidationError

from parc_ray.errors import InputError, quote
from parc_ray.files.bundled import DEFAULT_CONFIG
from parc_ray.files.plain_yaml import read_yaml

DATA_DIR = re.compile(r"\$(?:DATA_DIR\b|\{DATA_DIR\})")
MAX_LINES = 20
"""So many problems of a file are told"""
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "path": "a path",
    "too": "a list that is not empty",
}
"""What a value must be, by the first word of pydantic's name for the problem"""
TYPE_NAME = re.compile(r"\w*Config$|constrained-|list\[")
"""What pydantic puts among the keys where a value may have several types"""
USER_CONFIG_FILES = ("data/configs/user_config.yaml", "configs/user_config.yaml")


Model = TypeVar("Model", bound=BaseModel)


def find_data_dir(option: Optional[str]) -> Optional[str]:
    """The value of $DATA_DIR: the option, else the environment, else PARC's user_config.yaml, else None."""
    if option:
        return str(Path(os.path.expanduser(option)).absolute())  # noqa: PTH111
    if os.environ.get("DATA_DIR"):
        return os.environ["DATA_DIR"]
    for name in USER_CONFIG_FILES:
        if os.path.isfile(name):  # noqa: PTH113
            value = load_yaml(Path(name)).get("DATA_DIR")
            if value:
                return os.path.expanduser(os.path.expandvars(str(value)))  # noqa: PTH111
    return None


def find_default_config() -> Path:
    """PARC's default phys_record.yaml: that of the working directory (ours, or PARC's root), else the bundled one."""
    own = (Path(folder, DEFAULT_CONFIG.name) for folder in ("configs", "data/configs"))
    return next((path for path in own if path.is_file()), DEFAULT_CONFIG)


def load_yaml(path: Path) -> Dict[str, Any]:
    """A YAML file that holds a mapping. Raises InputError naming the file, and the line where it has one."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        held = "nothing" if content is None else "a list" if isinstance(content, list) else "a single value"
        raise InputError(f"{path}: must hold 'key: value' lines, but holds {held}")
    return content


def expand(value: Any, data_dir: Optional[str], source: str, key: str = "", unread: Container[str] = ()) -> Any:
    """Replace $DATA_DIR in every string of nested lists and mappings; source and key name the place in messages.

    Keys that nobody reads may stay as they are if its value is not known.
    """
    if isinstance(value, dict):
        prefix = f"{key}." if key else ""
        return {name: expand(item, data_dir, source, f"{prefix}{name}", unread) for name, item in value.items()}
    if isinstance(value, list):
        return [expand(item, data_dir, source, f"{key}[{i}]", unread) for i, item in enumerate(value)]
    if isinstance(value, str) and DATA_DIR.search(value):
        if data_dir is None and key in unread:
            return value
        if data_dir is None:
            raise InputError(
                f"{source}: key {quote(key)} = {quote(value)}: $DATA_DIR is not known. Set the environment variable "
                f"DATA_DIR, pass --data-dir, or write DATA_DIR into {USER_CONFIG_FILES[0]}"
            )
        return DATA_DIR.sub(lambda _: data_dir, value)
    return value


def load_config(path: Path, model: Type[Model], data_dir: Optional[str]) -> Model:
    """Read, expand and check a YAML file. Raises InputError with one line per problem."""
    return check_config(expand(load_yaml(path), data_dir, str(path)), model, str(path))


def check_config(content: Mapping[str, Any], model: Type[Model], source: str) -> Model:
    """Check loaded YAML against a model; source names it in messages."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = _lines(error.errors(), model, source)
        if len(lines) > MAX_LINES:
            lines[MAX_LINES:] = [f"{source}: and {len(lines) - MAX_LINES} more problems"]
        raise InputError("\n".join(lines)) from None


def _lines(problems: Sequence[Any], model: Type[BaseModel], source: str) -> List[str]:
    """One line for each place with a problem. A value of several types has one for each: the innermost tells."""
    places = [_place(problem) for problem in problems]
    lines: Dict[Tuple[str, ...], str] = {}
    for place, problem in zip(places, problems):
        if any(len(other) > len(place) > 0 and other[: len(place)] == place for other in places):
            continue
        line = _explain(place, problem, model, source)
        lines[place] = f"{lines[place]} or {line.rpartition(': must be ')[2]}" if place in lines else line
    return list(lines.values())


def _place(problem: Any) -> Tuple[str, ...]:
    """The key, without the names that pydantic gives to types."""
    names = [str(part) for part in problem["loc"]]
    # A key that nobody knows, the last, may have any name.
    known = len(names) - (problem["type"] == "extra_forbidden")
    return (*(name for name in names[:known] if not TYPE_NAME.match(name)), *names[known:])


def _explain(place: Tuple[str, ...], problem: Any, model: Type[BaseModel], source: str) -> str:
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, place[:-1])
        close = difflib.get_close_matches(place[-1], known, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"{source}: key {quote(key)} = {quote(problem['input'])} is unknown; {remedy}"
    if problem["type"] == "missing":
        return f"{source}: key {quote(key)} is missing; add it"
    if problem["type"] == "model_type":
        return f"{source}: key {quote(key)} = {quote(problem['input'])}: must be a section of 'key: value' lines"
    kind = KINDS.get(problem["type"].partition("_")[0])
    message = f"must be {kind}" if kind else problem["msg"].replace("Value error, ", "").replace("Input should", "must")
    if not place:
        return f"{source}: {message}"
    return f"{source}: key {quote(key)} = {quote(problem['input'])}: {message}"


def _known_keys(model: Type[BaseModel], place: Sequence[str]) -> List[str]:
    for name in place:
        annotation = model.model_fields[name].annotation if name in model.model_fields else None
        options: Tuple[Any, ...] = getattr(annotation, "__args__", (annotation,))
        nested = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
        if not nested:
            return []
        model = nested[0]
    return sorted(model.model_fields)
