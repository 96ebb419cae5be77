"""Reading input files, whatever they turn out to be.

A name may stand for a pipe that nobody writes to, a device, or a sparse file of terabytes: only regular files are
opened, and their size is known to be bearable before the first byte is read. A YAML document may be deeper than the C
stack, or grow without bounds through its aliases: it is put together from the parser's events, and counted.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple, Type, Union

import yaml

from parc_ray.errors import InputError, shown

MAX_BYTES = 1 << 30
"""Of a motion file or a checkpoint. PARC's own are below 2^20 and 2^28; a shard has room for as much"""
MAX_TEXT_BYTES = 1 << 24
"""Of a configuration or a character"""
MAX_DATASET_BYTES = 1 << 28
"""Of a dataset file: a million motions"""
MAX_YAML_DEPTH = 50
MAX_ALIASED_VALUES = 100_000
"""So many values may a YAML document gain through aliases"""
MAX_SCALAR = 10_000
"""Characters of one YAML value; the longest path has 4096"""
MAX_NUMBER = 100
"""Characters of a YAML number: some Pythons take hours for long ones"""

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

# libyaml is ten times faster where PyYAML was built with it; a dataset may have 100,000 motions.
_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_bytes(path: Path, limit: int = MAX_BYTES, place: Optional[str] = None) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises InputError, which starts with `place` (the path, if not given), for anything else.
    """
    place = str(path) if place is None else place
    try:
        # Opening alone waits at a pipe, and does worse to some devices; afterwards it may have become one.
        _require_regular(path.stat(), limit, place)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            size = _require_regular(os.fstat(descriptor), limit, place)
            content = file.read(size + 1)
    except FileNotFoundError:
        raise InputError(f"{place}: no such file") from None
    except OSError as error:
        raise InputError(f"{place}: cannot be read: {error.strerror}. Check its name and permissions") from None
    except ValueError as error:
        raise InputError(f"{place}: cannot be read: {error}. Check its name") from None
    if len(content) != size:
        raise InputError(f"{place}: cannot be read: it is changing. Wait until it is complete")
    return content


def read_text(path: Path, limit: int = MAX_TEXT_BYTES, place: Optional[str] = None) -> str:
    """The text of a UTF-8 file. Raises InputError, see `read_bytes`."""
    place = str(path) if place is None else place
    try:
        return read_bytes(path, limit, place).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{place}: cannot be read: line {line} is not UTF-8 text. Save it as UTF-8") from None


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
        raise InputError(f"{source}: not valid YAML{line}: {problem}. Correct it there") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        # What PyYAML raises for a value that is not of the kind that its tag claims, such as the 30th of February.
        raise InputError(f"{source}: not valid YAML: a value is malformed ({error}). Correct it there") from None


def _require_regular(status: os.stat_result, limit: int, place: str) -> int:
    """The size of a regular file. Raises InputError if it is none, or larger than `limit`."""
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in KINDS if test(status.st_mode)), "something else")
        raise InputError(f"{place}: cannot be read: it is {kind}, not a file")
    if status.st_size > limit:
        raise InputError(f"{place}: is too large: {status.st_size} bytes, and at most {limit} are read")
    return status.st_size


Collection = Union[yaml.SequenceNode, yaml.MappingNode]


class _Composer:
    """Parser events -> node tree, as yaml.Composer does it, but without recursion and with limits."""

    def __init__(self) -> None:
        self._resolver: Any = yaml.resolver.Resolver()
        self._anchors: Dict[str, yaml.Node] = {}
        self._open: List[Collection] = []
        self._keys: List[Set[Tuple[str, str]]] = []
        self._waiting: List[Optional[yaml.Node]] = []
        """for each open mapping, the key whose value comes next"""
        self._sizes: Dict[int, int] = {}
        """values in each collection, those of aliases included"""
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
            raise _problem(f"the alias {shown(event.anchor)} stands for nothing", event)
        if node in self._open:
            raise _problem(f"the alias {shown(event.anchor)} stands for what it is in", event)
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
            raise _problem(f"more than {MAX_YAML_DEPTH} levels", event)
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
            raise _problem(f"the key {shown(node.value)} is there twice", event)
        self._keys[-1].add((node.tag, node.value))
        return node

    def _size(self, node: yaml.Node) -> int:
        return self._sizes.get(id(node), 1)


def _problem(text: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=event.start_mark)
