"""YAML as plain values, within limits.

A document may nest deeper than the C stack allows, or grow without bound through aliases. So the parser's events are
checked before PyYAML builds any value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from parc_ray.errors import InputError, quote
from parc_ray.files.reading import MAX_TEXT_BYTES, read_text

MAX_YAML_DEPTH = 50
TOO_DEEP = f"more than {MAX_YAML_DEPTH} levels"
MAX_ALIASED_VALUES = 100_000
"""Maximum number of values that aliases may add to a document."""
MAX_SCALAR = 10_000
"""Maximum characters of one value; the longest path has 4096."""
MAX_NUMBER = 100
"""Maximum characters of a number; some Python versions take hours for long ones."""
UNCLOSED = {
    "flow sequence": "a '[' is not closed",
    "flow mapping": "a '{' is not closed",
    "quoted scalar": "a quote is not closed",
}
"""Problems that libyaml reports several lines late, by its parsing context."""

# libyaml, if PyYAML was built with it, is ten times faster; a dataset may have 100,000 motions.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = yaml.resolver.Resolver()


def read_yaml(path: Path, limit: int = MAX_TEXT_BYTES) -> Any:
    """Return the plain values of a YAML file. Raises InputError that names the file and, if known, the line."""
    return parse_yaml(read_text(path, limit), str(path))


def parse_yaml(text: str, source: str) -> Any:
    """Return the plain values of YAML text with bounded depth, aliases and numbers, and without duplicate keys.

    Raises InputError, whose message starts with `source`.
    """
    try:
        _require_bounds(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not valid YAML{_explain(error, text)}. Correct it there") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        # PyYAML raises these for a value that does not match its tag, such as the 30th of February.
        raise InputError(f"{source}: not valid YAML: a value is malformed ({error}). Correct it there") from None


def _explain(error: yaml.YAMLError, text: str) -> str:
    """Return the line and description of an error."""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
    if "nesting depth" in problem:  # libyaml since 0.2.6 has its own limit, and looks ahead
        problem = TOO_DEEP
    mark: Any = getattr(error, "problem_mark", None)
    start: Any = getattr(error, "context_mark", None)
    opened = next((words for part, words in UNCLOSED.items() if part in (getattr(error, "context", "") or "")), "")
    if opened and start is not None and mark is not None and start.line < mark.line:
        mark, problem = start, opened
    if mark is None:
        return f": {problem}"
    lines = text.splitlines()
    if mark.line < len(lines) and re.match(r" *\t", lines[mark.line]):
        problem = "a tab indents it; indent with spaces"
    return f", line {mark.line + 1}: {problem}"


@dataclass
class _Collection:
    """An open list or mapping of a document."""

    is_mapping: bool
    anchor: str | None
    size: int = 1
    """Number of values inside, including those of aliases."""
    keys: set[tuple[str, str]] = field(default_factory=set)
    """Tags and text of its keys so far."""
    expects_key: bool = True


def _require_bounds(text: str) -> None:
    """Raise YAMLError for a document that is too deep or too large, or has duplicate or non-scalar keys."""
    open_: list[_Collection] = []
    sizes: dict[str, int] = {}
    aliased = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _problem("a second document begins", event)
        elif isinstance(event, yaml.AliasEvent):
            if any(collection.anchor == event.anchor for collection in open_):
                raise _problem(f"the alias {quote(event.anchor)} stands for the collection that it is in", event)
            if event.anchor not in sizes:
                raise _problem(f"the alias {quote(event.anchor)} stands for nothing", event)
            aliased += sizes[event.anchor]
            if aliased > MAX_ALIASED_VALUES:
                raise _problem(f"aliases repeat more than {MAX_ALIASED_VALUES} values", event)
            _add(open_, sizes[event.anchor], event)
        elif isinstance(event, yaml.ScalarEvent):
            _require_short(event)
            if event.anchor:
                sizes[event.anchor] = 1
            _add(open_, 1, event)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(open_) == MAX_YAML_DEPTH:
                raise _problem(TOO_DEEP, event)
            if open_ and open_[-1].is_mapping and open_[-1].expects_key:
                raise _problem("a list or a mapping is used as a key", event)
            open_.append(_Collection(isinstance(event, yaml.MappingStartEvent), event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = open_.pop()
            if closed.anchor:
                sizes[closed.anchor] = closed.size
            _add(open_, closed.size, event)


def _add(open_: list[_Collection], size: int, event: Any) -> None:
    """Add a complete value to the innermost open collection. Raises YAMLError for a duplicate key."""
    if not open_:
        return
    inner = open_[-1]
    inner.size += size
    if not inner.is_mapping:
        return
    if inner.expects_key:
        if isinstance(event, yaml.AliasEvent):
            raise _problem("an alias is used as a key", event)
        tag = event.tag or _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
        if (tag, event.value) in inner.keys:
            raise _problem(f"the key {quote(event.value)} is there twice", event)
        inner.keys.add((tag, event.value))
    inner.expects_key = not inner.expects_key


def _require_short(event: Any) -> None:
    length = len(event.value)
    if length > MAX_SCALAR:
        raise _problem(f"a value has {length} characters; the maximum is {MAX_SCALAR}", event)
    if length > MAX_NUMBER:
        tag = event.tag or _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
            raise _problem(f"a number has {length} characters", event)


def _problem(text: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=event.start_mark)
