"""Mjcf: an MJCF document, with attributes resolved through MuJoCo's default classes."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from typing import Iterator
from xml.etree.ElementTree import Element

from parc_ray.errors import InputError, quote

MAX_DEPTH = 100
MAX_BODIES = 1000
MAX_NUMBER = 1e9


class Mjcf:
    """An MJCF document. Attributes are resolved in MuJoCo's order: element, class, enclosing class, main.

    >>> document = Mjcf('<mujoco><default><joint damping="2"/></default><worldbody><body name="a">'
    ...                 '<joint name="j"/></body></worldbody></mujoco>', "inline")
    >>> document.attribute(next(document.root_body().iter("joint")), "damping")
    '2'
    """

    def __init__(self, text: str, source: str):
        """Parse MJCF text; source names it in messages.

        Raises InputError if it is not XML, has no body, or includes other files.
        """
        self.source = source
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            # Entities can expand to gigabytes, or read other files. No character needs them.
            raise InputError(f"{source}: has a document type (<!DOCTYPE ...>): remove it")
        try:
            self.root = ElementTree.fromstring(text)
        except (ElementTree.ParseError, ValueError) as error:
            raise InputError(f"{source}: not valid XML: {error}. Correct it there") from error
        self._require_plain()
        self._class_of: dict[Element, str | None] = {}
        self._defaults: dict[str, tuple[str | None, Element]] = {}
        for default in self.root.findall("default"):
            self._collect_defaults(default, None)
        self._collect_classes(self.root_body(), None)

    def root_body(self) -> Element:
        """Return the first body of the world: the character's root."""
        body = self.root.find("worldbody/body")
        if body is None:
            raise InputError(f"{self.source}: no <body> inside <worldbody>: is this a character file (MJCF)?")
        return body

    def degrees(self) -> bool:
        """Return whether angles are in degrees (MuJoCo's default)."""
        compiler = self.root.find("compiler")
        return compiler is None or compiler.get("angle", "degree") == "degree"

    def attribute(self, element: Element, name: str) -> str | None:
        """Return the value that MuJoCo uses for an attribute; None if neither the element nor a default has it."""
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

    def numbers(self, element: Element, name: str, default: str | None = None, count: int | None = None) -> list[float]:
        """Return a list-valued attribute as `count` floats (None: any number of them).

        Raises InputError if it is missing, not numeric, not finite or has another length.
        """
        text = self.attribute(element, name)
        text = default if text is None else text
        where = f"{self.source}: <{element.tag} name={quote(element.get('name'))}>"
        if text is None:
            raise InputError(f"{where} has no {name!r}: give it there or in its default class")
        try:
            values = [float(part) for part in text.split()]
        except ValueError:
            raise InputError(f"{where}: {name}={quote(text)} is not a list of numbers") from None
        if any(not math.isfinite(value) or abs(value) > MAX_NUMBER for value in values):
            raise InputError(f"{where}: {name}={quote(text)} has a number that is not finite, or absurdly large")
        if count is not None and len(values) != count:
            raise InputError(f"{where}: {name}={quote(text)} has {len(values)} numbers instead of {count}")
        return values

    def bodies(self) -> Iterator[tuple[int, Element]]:
        """Yield all bodies of the character depth first, each with the index of its parent (-1 for the root)."""
        stack = [(-1, self.root_body())]
        index = 0
        while stack:
            parent, body = stack.pop()
            yield parent, body
            stack.extend((index, child) for child in reversed(body.findall("body")))
            index += 1

    def excluded_pairs(self) -> list[tuple[str, str]]:
        """Return the pairs of the character's bodies, by name, that do not collide with each other."""
        names = {body.get("name") for _, body in self.bodies()}
        pairs = [(pair.get("body1", ""), pair.get("body2", "")) for pair in self.root.findall("contact/exclude")]
        return [pair for pair in pairs if names.issuperset(pair)]

    def _require_plain(self) -> None:
        """Raise InputError for depths and sizes that would break recursive readers, and for includes."""
        waiting, bodies = [(self.root, 1)], 0
        while waiting:
            element, depth = waiting.pop()
            bodies += element.tag == "body"
            if depth > MAX_DEPTH or bodies > MAX_BODIES:
                raise InputError(f"{self.source}: has more than {MAX_BODIES} bodies or {MAX_DEPTH} levels")
            if element.tag == "include":
                raise InputError(f"{self.source}: has an <include>: write the character into one file")
            waiting.extend((child, depth + 1) for child in element)

    def _collect_defaults(self, default: Element, parent: str | None) -> None:
        name = default.get("class", "main" if parent is None else "")
        self._defaults[name] = (parent, default)
        for child in default.findall("default"):
            self._collect_defaults(child, name)

    def _collect_classes(self, body: Element, inherited: str | None) -> None:
        inherited = body.get("childclass", inherited)
        for child in body:
            if child.tag in ("body", "frame"):
                self._collect_classes(child, inherited)
            else:
                self._class_of[child] = inherited
