"""Reading MJCF: attributes through MuJoCo's default classes."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Dict, Iterator, List, Optional, Tuple
from xml.etree.ElementTree import Element

from parc_ray.errors import InputError


class Mjcf:
    """An MJCF document whose attributes are looked up as MuJoCo does: element, class, enclosing class, main.

    >>> document = Mjcf('<mujoco><default><joint damping="2"/></default><worldbody><body name="a">'
    ...                 '<joint name="j"/></body></worldbody></mujoco>', "inline")
    >>> document.attribute(next(document.root_body().iter("joint")), "damping")
    '2'
    """

    def __init__(self, text: str, source: str):
        """Parse MJCF text; source names it in messages. Raises InputError if it is not XML or has no body."""
        self.source = source
        try:
            self.root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise InputError(f"{source}: not valid XML: {error}") from error
        self._class_of: Dict[Element, Optional[str]] = {}
        self._defaults: Dict[str, Tuple[Optional[str], Element]] = {}
        for default in self.root.findall("default"):
            self._collect_defaults(default, None)
        self._collect_classes(self.root_body(), None)

    def root_body(self) -> Element:
        """The first body of the world: the character's root."""
        body = self.root.find("worldbody/body")
        if body is None:
            raise InputError(f"{self.source}: no <body> inside <worldbody>: is this a character file (MJCF)?")
        return body

    def degrees(self) -> bool:
        """Whether angles are in degrees (MuJoCo's default)."""
        compiler = self.root.find("compiler")
        return compiler is None or compiler.get("angle", "degree") == "degree"

    def attribute(self, element: Element, name: str) -> Optional[str]:
        """The value that MuJoCo would use for an attribute, None if neither the element nor a default has it."""
        value = element.get(name)
        class_name = element.get("class", self._class_of.get(element)) or "main"
        while value is None and class_name in self._defaults:
            parent, default = self._defaults[class_name]
            own = default.find(element.tag)
            value = own.get(name) if own is not None else None
            if parent is None:
                break
            class_name = parent
        return value

    def numbers(self, element: Element, name: str, default: Optional[str] = None) -> List[float]:
        """A list-valued attribute as floats. Raises InputError where it is missing or not numeric."""
        text = self.attribute(element, name)
        text = default if text is None else text
        where = f"{self.source}: <{element.tag} name={element.get('name')!r}>"
        if text is None:
            raise InputError(f"{where} has no {name!r}: give it there or in its default class")
        try:
            return [float(part) for part in text.split()]
        except ValueError:
            raise InputError(f"{where}: {name}={text!r} is not a list of numbers") from None

    def bodies(self) -> Iterator[Tuple[int, Element]]:
        """All bodies of the character depth first, each with the index of its parent (-1 for the root)."""
        stack = [(-1, self.root_body())]
        index = 0
        while stack:
            parent, body = stack.pop()
            yield parent, body
            stack.extend((index, child) for child in reversed(body.findall("body")))
            index += 1

    def _collect_defaults(self, default: Element, parent: Optional[str]) -> None:
        name = default.get("class", "main" if parent is None else "")
        self._defaults[name] = (parent, default)
        for child in default.findall("default"):
            self._collect_defaults(child, name)

    def _collect_classes(self, body: Element, inherited: Optional[str]) -> None:
        inherited = body.get("childclass", inherited)
        for child in body:
            if child.tag == "body":
                self._collect_classes(child, inherited)
            else:
                self._class_of[child] = inherited
