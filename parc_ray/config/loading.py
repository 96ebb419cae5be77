"""Loads YAML files with $DATA_DIR expanded. Every error names file, key, value and remedy."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, Container, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Type, TypeVar

from pydantic import BaseModel, ValidationError

from parc_ray.config.base import section_of
from parc_ray.config.file_kind import wrong_kind_hint
from parc_ray.errors import InputError, quote
from parc_ray.files.bundled import DEFAULT_CONFIG
from parc_ray.files.plain_yaml import read_yaml

DATA_DIR = re.compile(r"\$(?:DATA_DIR\b|\{DATA_DIR\})")
MAX_LINES = 20
"""Maximum number of problems reported for one file."""
REQUIREMENTS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "path": "a path",
    "too": "a list that is not empty",
}
"""Required kind of value, by the first word of pydantic's name for the problem."""
TYPE_NAME = re.compile(r"\w*Config$|constrained-|list\[|literal\[|bool$|float$")
"""Names that pydantic inserts among the keys of a value that may have several types."""
USER_CONFIG_FILES = ("data/configs/user_config.yaml", "configs/user_config.yaml")

Model = TypeVar("Model", bound=BaseModel)


def find_data_dir(option: Optional[str]) -> Optional[str]:
    """Return the value of $DATA_DIR: the option, else the environment, else PARC's user_config.yaml, else None."""
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


def find_default_config(data_dir: Optional[str]) -> Path:
    """Return PARC's default phys_record.yaml: the working directory's, else the bundled one for a $DATA_DIR.

    Raises InputError if there is neither.
    """
    own = (Path(folder, DEFAULT_CONFIG.name) for folder in ("configs", "data/configs"))
    path = next((path for path in own if path.is_file()), None)
    if path is None and data_dir is None:
        raise InputError(
            "no configuration: give one, as in `parc-ray record phys_record.yaml` (`parc-ray init` writes it), or set "
            "$DATA_DIR for PARC's default"
        )
    return path or DEFAULT_CONFIG


def load_yaml(path: Path) -> Dict[str, Any]:
    """Read a YAML file that holds a mapping. Raises InputError naming the file, and the line if known."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        held = "nothing" if content is None else "a list" if isinstance(content, list) else "a single value"
        raise InputError(f"{path}: must hold 'key: value' lines, but holds {held}")
    return content


def expand(value: Any, data_dir: Optional[str], source: str, key: str = "", unread: Container[str] = ()) -> Any:
    """Replace $DATA_DIR in every string of nested lists and mappings; `source` and `key` name the place in messages.

    Without a value for $DATA_DIR, the keys in `unread` are left unchanged. Raises InputError for any other key.
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
    """Check loaded YAML against a model; `source` names it in messages. Raises InputError with one line per problem."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        other = wrong_kind_hint(content, getattr(model, "file_kind", ""))
        lines = [f"{source}: {other}"] if other else _lines(error.errors(), model, source)
        if len(lines) > MAX_LINES:
            lines[MAX_LINES:] = [f"{source}: and {len(lines) - MAX_LINES} more problems"]
        raise InputError("\n".join(lines)) from None


def _lines(problems: Sequence[Any], model: Type[BaseModel], source: str) -> List[str]:
    """Return one line per place with a problem. Of the problems of several types, the innermost is kept."""
    places = [_place(problem) for problem in problems]
    lines: Dict[Tuple[str, ...], str] = {}
    for place, problem in zip(places, problems):
        if any(len(other) > len(place) > 0 and other[: len(place)] == place for other in places):
            continue
        line = _explain(place, problem, model, source)
        lines[place] = f"{lines[place]} or {line.rpartition(': must be ')[2]}" if place in lines else line
    return list(lines.values())


def _place(problem: Any) -> Tuple[str, ...]:
    """Return the key of a problem, without the type names that pydantic inserts."""
    names = [str(part) for part in problem["loc"]]
    # The last part of an unknown key may have any name.
    known = len(names) - (problem["type"] == "extra_forbidden")
    return (*(name for name in names[:known] if not TYPE_NAME.match(name)), *names[known:])


def _explain(place: Tuple[str, ...], problem: Any, model: Type[BaseModel], source: str) -> str:
    key, value = ".".join(place), problem["input"]
    if problem["type"] == "extra_forbidden":
        return f"{source}: key {quote(key)} = {quote(value)} is unknown; {_suggestion(place, model)}"
    if problem["type"] == "missing":
        return f"{source}: key {quote(key)} is missing; add it"
    given = f"key {quote(key)} " + ("has no value" if value is None else f"= {quote(value)}")
    if problem["type"] == "model_type":
        return f"{source}: {given}: must be a section of 'key: value' lines"
    kind = REQUIREMENTS.get(problem["type"].partition("_")[0])
    message = f"must be {kind}" if kind else problem["msg"].replace("Value error, ", "").replace("Input should", "must")
    return f"{source}: {given}: {message}" if place else f"{source}: {message}"


def _suggestion(place: Sequence[str], model: Type[BaseModel]) -> str:
    """Return the replacement for an unknown key: the most similar key of its section, else of the whole file."""
    known = _known_keys(model, place[:-1])
    close = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.75)
    if not close:
        keys = {key: key.rpartition(".")[2] for key in _all_keys(model)}
        names = difflib.get_close_matches(place[-1], list(keys.values()), n=1, cutoff=0.75)
        close = [key for key, name in keys.items() if name in names][:1]
    if not close:
        close = difflib.get_close_matches(place[-1], known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"


def _known_keys(model: Type[BaseModel], place: Sequence[str]) -> List[str]:
    """Return the keys of a section."""
    for name in place:
        section = section_of(model.model_fields[name].annotation) if name in model.model_fields else None
        if section is None:
            return []
        model = section
    return sorted(model.model_fields)


def _all_keys(model: Type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a file, sections included."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        section = section_of(field.annotation)
        if section is not None:
            yield from _all_keys(section, f"{prefix}{name}.")
