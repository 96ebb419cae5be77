"""YAML as plain values, with bounds.

A document may be deeper than the C stack, or grow without bounds through its aliases: it is put together from the
parser's events, and counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple, Type, Union

import yaml

from parc_ray.errors import InputError, quote
from parc_ray.files.reading import MAX_TEXT_BYTES, read_text

MAX_YAML_DEPTH = 50
TOO_DEEP = f"more than {MAX_YAML_DEPTH} levels"
MAX_ALIASED_VALUES = 100_000
"""So many values may a YAML document gain through aliases"""
MAX_SCALAR = 10_000
"""Characters of one YAML value; the longest path has 4096"""
MAX_NUMBER = 100
"""Characters of a YAML number: some Pythons take hours for long ones"""

# libyaml is ten times faster where PyYAML was built with it; a dataset may have 100,000 motions.
_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path, limit: int = MAX_TEXT_BYTES) -> Any:
    """The plain values of a YAML file. Raises InputError naming the file, and the line where there is one."""
    return parse_yaml(read_text(path, limit), str(path))


def parse_yaml(text: str, source: str) -> Any:
    """The plain values of YAML text with bounded depth, aliases and numbers, and no key twice.

    Raises InputError, which starts with `source`.
    """
    try:
        node = _Composer().compose(yaml.parse(text, Loader=_Parser))
        return None if node is None else yaml.constructor.SafeConstructor().construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        if "nesting depth" in problem:  # libyaml since 0.2.6 has a limit of its own, and looks ahead
            problem = TOO_DEEP
        raise InputError(f"{source}: not valid YAML{line}: {problem}. Correct it there") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        # What PyYAML raises for a value that is not of the kind that its tag claims, such as the 30th of February.
        raise InputError(f"{source}: not valid YAML: a value is malformed ({error}). Correct it there") from None


Collection = Union[yaml.SequenceNode, yaml.MappingNode]


class _Composer:
    """Parser events -> node tree, as yaml.Composer does it, but without recursion and with limits."""

    def __init__(self) -> None:
        self._resolver: Any = yaml.resolver.Resolver()
        self._anchors: Dict[str, yaml.Node] = {}
        self._open: List[Collection] = []
        self._keys: List[Set[Tuple[str, str]]] = []
        self._waiting: List[Optional[yaml.Node]] = []
        """The key whose value comes next, for each open collection; None where there is none."""
        self._sizes: Dict[int, int] = {}
        """Number of values in each collection, including those of aliases."""
        self._aliased = 0
        self._root: Optional[yaml.Node] = None

    def compose(self, events: Iterator[yaml.Event]) -> Optional[yaml.Node]:
        """The document's node; None if there is none. Raises YAMLError."""
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
                raise _problem("a second document begins", event)
            if isinstance(event, yaml.AliasEvent):
                self._place(self._alias(event), event)
            elif isinstance(event, yaml.ScalarEvent):
                self._place(self._scalar(event), event)
            elif isinstance(event, yaml.SequenceStartEvent):
                self._begin(yaml.SequenceNode, event)
            elif isinstance(event, yaml.MappingStartEvent):
                self._begin(yaml.MappingNode, event)
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                self._end(event)
        return self._root

    def _alias(self, event: Any) -> yaml.Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _problem(f"the alias {quote(event.anchor)} stands for nothing", event)
        if node in self._open:
            raise _problem(f"the alias {quote(event.anchor)} stands for what it is in", event)
        self._aliased += self._size(node)
        if self._aliased > MAX_ALIASED_VALUES:
            raise _problem(f"aliases repeat more than {MAX_ALIASED_VALUES} values", event)
        return node

    def _scalar(self, event: Any) -> yaml.Node:
        if len(event.value) > MAX_SCALAR:
            raise _problem(f"a value has {len(event.value)} characters, and at most {MAX_SCALAR} are possible", event)
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag.endswith((":int", ":float")) and len(event.value) > MAX_NUMBER:
            raise _problem(f"a number has {len(event.value)} characters", event)
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark, style=event.style)
        self._anchor(node, event)
        return node

    def _begin(self, kind: Type[Collection], event: Any) -> None:
        if len(self._open) == MAX_YAML_DEPTH:
            raise _problem(TOO_DEEP, event)
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._resolver.resolve(kind, None, event.implicit)
        node = kind(tag, [], event.start_mark, None, flow_style=event.flow_style)
        self._anchor(node, event)
        self._sizes[id(node)] = 1
        self._open.append(node)
        self._keys.append(set())
        self._waiting.append(None)

    def _end(self, event: yaml.Event) -> None:
        node = self._open.pop()
        self._keys.pop()
        self._waiting.pop()
        node.end_mark = event.end_mark
        self._place(node, event)

    def _anchor(self, node: yaml.Node, event: Any) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = node

    def _place(self, node: yaml.Node, event: yaml.Event) -> None:
        """Put a complete node where it belongs."""
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        self._sizes[id(parent)] += self._size(node)
        key = self._waiting[-1]
        if isinstance(parent, yaml.SequenceNode):
            parent.value.append(node)
        elif key is not None:
            parent.value.append((key, node))
            self._waiting[-1] = None
        else:
            self._waiting[-1] = self._key(node, event)

    def _key(self, node: yaml.Node, event: yaml.Event) -> yaml.Node:
        if not isinstance(node, yaml.ScalarNode):
            raise _problem("a list or a mapping is used as a key", event)
        if (node.tag, node.value) in self._keys[-1]:
            raise _problem(f"the key {quote(node.value)} is there twice", event)
        self._keys[-1].add((node.tag, node.value))
        return node

    def _size(self, node: yaml.Node) -> int:
        return self._sizes.get(id(node), 1)


def _problem(text: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=event.start_mark)
