"""SourceFiles: a character's original files, MJCF with includes and meshes, read within limits.

MuJoCo never opens them: a name may refer to a device, a pipe, or another kind of file.
"""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Sequence
from xml.etree.ElementTree import Element

from parc_ray.character.mjcf import MAX_DEPTH, Mjcf
from parc_ray.errors import InputError, quote
from parc_ray.files.reading import read_bytes, read_text

MESH_TYPES = (".stl", ".obj")
MAX_FILES = 64
MAX_MESH_BYTES, MAX_TOTAL_BYTES = 64 << 20, 512 << 20


class SourceFiles:
    """A character's MJCF with its includes in place, and access to its mesh files."""

    def __init__(self, path: Path):
        """Read the MJCF. Raises InputError if a file is missing, malformed or includes itself."""
        self.path = path
        self.source = str(path)
        self._texts: dict[Path, str] = {}
        self._meshes: dict[str, bytes] = {}
        root = self._parse(path)
        self._include(root, 1, [path.resolve()])
        _merge_defaults(root)
        self.document = Mjcf(ElementTree.tostring(root, encoding="unicode"), self.source)
        """The MJCF as a single document with one <default>."""
        compiler: dict[str, str] = {}
        for element in root.findall("compiler"):
            compiler.update(element.attrib)
        self.compiler = compiler
        """Attributes of all <compiler> elements."""
        self.meshes: dict[str, Element] = {}
        """<mesh> elements by name."""
        for mesh in self.document.root.findall("asset/mesh"):
            name = mesh.get("name") or Path(mesh.get("file", "")).stem
            mesh.set("name", name)
            self.meshes[name] = mesh

    def mesh(self, name: str) -> bytes:
        """Return the content of a mesh's file. Raises InputError if it is missing, too large, or of another type."""
        if name in self._meshes:
            return self._meshes[name]
        file = self.mesh_file(name)
        if Path(file).suffix.lower() not in MESH_TYPES:
            raise InputError(f"{self.source}: mesh {quote(name)}: {quote(file)} is none of {', '.join(MESH_TYPES)}")
        self._meshes[name] = content = read_bytes(self._inside(file), MAX_MESH_BYTES)
        if sum(map(len, self._meshes.values())) > MAX_TOTAL_BYTES:
            raise InputError(f"{self.source}: its meshes have more than {MAX_TOTAL_BYTES >> 20} MiB: simplify them")
        return content

    def mesh_file(self, name: str) -> str:
        """Return the file of a mesh, relative to the character's folder; empty if it has none."""
        file = self.meshes[name].get("file", "") if name in self.meshes else ""
        if not file:
            return ""
        folder = self.compiler.get("meshdir", self.compiler.get("assetdir", ""))
        return str(Path(folder) / (Path(file).name if self.compiler.get("strippath") == "true" else file))

    @property
    def sha256(self) -> str:
        """SHA-256 of everything read so far."""
        digest = hashlib.sha256()
        for text in self._texts.values():
            digest.update(hashlib.sha256(text.encode("utf-8")).digest())
        for name in sorted(self._meshes):
            digest.update(hashlib.sha256(self._meshes[name]).digest())
        return digest.hexdigest()

    def _parse(self, path: Path) -> Element:
        text = self._texts[path] = read_text(path)
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise InputError(f"{path}: has a document type (<!DOCTYPE ...>): remove it")
        try:
            # MuJoCo accepts "--" inside comments, but XML does not.
            return ElementTree.fromstring(re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL))
        except (ElementTree.ParseError, ValueError) as error:
            raise InputError(f"{path}: not valid XML: {error}. Correct it there") from error

    def _include(self, element: Element, depth: int, files: Sequence[Path]) -> None:
        """Replace every <include> with its file's content. files: The chain of including files, outermost first."""
        if depth > MAX_DEPTH:
            raise InputError(f"{self.source}: has more than {MAX_DEPTH} levels")
        for place, child in reversed(list(enumerate(element))):
            if child.tag != "include":
                self._include(child, depth + 1, files)
                continue
            name = child.get("file", "")
            # Paths are relative to the including file in MuJoCo 4, to the main file in MuJoCo 3.
            path = self._inside(name, files[-1].parent)
            if not path.is_file():
                path = self._inside(name)
            if path in files:
                raise InputError(f"{self.source}: includes {quote(name)} within itself")
            if len(self._texts) >= MAX_FILES:
                raise InputError(f"{self.source}: includes more than {MAX_FILES} files")
            included = self._parse(path)
            self._include(included, depth + 1, [*files, path])
            element[place : place + 1] = list(included)

    def _inside(self, name: str, folder: Path | None = None) -> Path:
        if not name or Path(name).is_absolute() or "\0" in name:
            raise InputError(f"{self.source}: the file {quote(name)} is not relative to the character's folder")
        return ((folder or self.path.parent) / name).resolve()


def _merge_defaults(root: Element) -> None:
    """Merge several <default> elements as MuJoCo does: later attributes replace earlier ones."""
    defaults = root.findall("default")
    for other in defaults[1:]:
        first = defaults[0]
        for child in other:
            same = None if child.tag == "default" else first.find(child.tag)
            if same is None:
                first.append(child)
            else:
                same.attrib.update(child.attrib)
        root.remove(other)
