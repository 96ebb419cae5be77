"""Compilation: a character's source files as a MuJoCo model, in any MJCF notation.

Only relevant meshes are read: those that collide, or that give a body its mass.
"""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping
from xml.etree.ElementTree import Element, SubElement

import mujoco

from parc_ray.character.geoms import HULL_VERTICES
from parc_ray.character.mjcf import Mjcf
from parc_ray.character.source_files import SourceFiles
from parc_ray.errors import InputError, quote

COMPILER = (
    "angle", "eulerseq", "autolimits", "inertiafromgeom", "inertiagrouprange", "balanceinertia", "boundmass",
    "boundinertia", "settotalmass", "coordinate", "exactmeshinertia", "alignfree", "fitaabb",
)  # fmt: skip
"""Attributes of <compiler> that affect the character."""
IN_BODIES = ("body", "frame", "geom", "joint", "freejoint", "inertial")
ACTUATORS = ("position", "velocity", "general", "motor")
IN_DEFAULTS = ("default", "geom", "joint", "mesh", *ACTUATORS)
NOT_DRAWN = ("material", "hfield", "texture")
"""Attributes of geoms that refer to removed assets."""


@dataclass(frozen=True)
class CompiledCharacter:
    """A character compiled by MuJoCo, with the decisions made."""

    model: mujoco.MjModel
    geom_names: Mapping[str, str]
    """Names of geoms in the file (empty if unnamed) by their names in the model."""
    excluded_pairs: tuple[tuple[str, str], ...]
    """Names of bodies that do not collide with each other."""
    mended_inertia: tuple[tuple[str, str, str], ...]
    """Bodies with physically impossible moments of inertia, the moments in the file, and those used instead."""
    ignored: tuple[str, ...]
    """Elements that act on the character but are not simulated, such as "equality"."""
    named_bodies: tuple[str, ...]
    """Names given to bodies without one."""


def compile_character_files(files: SourceFiles) -> CompiledCharacter:
    """Compile a character. Raises InputError that names as many obstacles as can be found at once."""
    return _Compilation(files).run()


@dataclass
class _Compilation:
    files: SourceFiles
    obstacles: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    geom_names: dict[str, str] = field(default_factory=dict)
    mended: list[tuple[str, str, str]] = field(default_factory=list)
    named_bodies: list[str] = field(default_factory=list)

    def run(self) -> CompiledCharacter:
        document = self.files.document
        character = _root_body(document)
        self._strip(character)
        self._name_bodies(character)
        self._name(character)
        meshes = self._meshes(character)
        self._mend_inertia(character)
        self._find_loops(document.root)
        if self.obstacles:
            raise InputError(f"{self.files.source}: {'; '.join(self.obstacles)}")
        model = self._compile(character, meshes)
        bodies = {body.get("name", "") for body in character.iter("body")}
        pairs = [(pair.get("body1", ""), pair.get("body2", "")) for pair in document.root.findall("contact/exclude")]
        return CompiledCharacter(
            model=model,
            geom_names=self.geom_names,
            excluded_pairs=tuple(pair for pair in pairs if bodies.issuperset(pair)),
            mended_inertia=tuple(self.mended),
            ignored=tuple(self.ignored),
            named_bodies=tuple(self.named_bodies),
        )

    def _strip(self, character: Element) -> None:
        """Drop everything but bodies, joints, geoms and inertia."""
        for parent in list(character.iter()):
            for child in list(parent):
                if child.tag in ("replicate", "attach", "composite", "flexcomp"):
                    self.obstacles.append(f"<{child.tag}> is not supported: write out what it makes")
                if child.tag not in IN_BODIES:
                    parent.remove(child)

    def _name_bodies(self, character: Element) -> None:
        """Name unnamed bodies by their number in the tree."""
        taken = {body.get("name") for body in character.iter("body")}
        for number, body in enumerate(character.iter("body")):
            if not body.get("name"):
                name = f"body{number}"
                while name in taken:
                    name += "_"
                body.set("name", name)
                self.named_bodies.append(name)

    def _name(self, character: Element) -> None:
        """Give geoms new names, and name unnamed joints like the three hinges of a ball joint."""
        for body in character.iter("body"):
            name = body.get("name")
            joints = [joint for joint in body.findall("joint") if not joint.get("name")]
            for letter, joint in zip("xyz", joints):
                joint.set("name", f"{name}_{letter}" if len(joints) == 3 else str(name))
        for number, geom in enumerate(character.iter("geom")):
            self.geom_names[f"geom{number}"] = geom.get("name", "")
            geom.set("name", f"geom{number}")

    def _meshes(self, character: Element) -> set[str]:
        """Read the relevant meshes, drop geoms with other meshes, and return the names of the relevant ones."""
        document, needed = self.files.document, set()
        from_geoms = self.files.compiler.get("inertiafromgeom") == "true"
        for parent in list(character.iter()):
            weighed = parent.find("inertial") is None or from_geoms
            for geom in parent.findall("geom"):
                name = document.attribute(geom, "mesh")
                if name is None:
                    continue
                collides = any(document.numbers(geom, key, "1", 1)[0] for key in ("contype", "conaffinity"))
                weightless = any(document.numbers(geom, key, "1", 1)[0] == 0 for key in ("mass", "density"))
                if collides or (weighed and not weightless):
                    needed.add(name)
                else:
                    parent.remove(geom)
        for name in sorted(needed):
            try:
                self._read_mesh(name)
            except InputError as error:
                self.obstacles.append(str(error))
        return needed

    def _read_mesh(self, name: str) -> None:
        mesh = self.files.meshes.get(name)
        if mesh is None:
            raise InputError(f"there is no mesh {quote(name)}")
        if mesh.get("builtin") is not None or len(mesh):
            raise InputError(f"mesh {quote(name)} is generated by MuJoCo: give it a file")
        if mesh.get("vertex") is None:
            self.files.mesh(name)

    def _mend_inertia(self, character: Element) -> None:
        """Lower moments of inertia that exceed the sum of the other two, which is impossible and rejected by MuJoCo."""
        for body in character.iter("body"):
            inertial = body.find("inertial")
            if inertial is None or inertial.get("diaginertia") is None:
                continue
            values = self.files.document.numbers(inertial, "diaginertia", None, 3)
            largest = values.index(max(values))
            others = sum(values) - values[largest]
            if values[largest] > others > 0:
                before = " ".join(f"{value:g}" for value in values)
                values[largest] = others
                inertial.set("diaginertia", " ".join(map(repr, values)))
                self.mended.append((body.get("name", ""), before, " ".join(f"{value:g}" for value in values)))

    def _find_loops(self, root: Element) -> None:
        """Note elements other than joints that act between bodies. Closed chains are an obstacle."""
        for tag in ("connect", "weld"):
            if root.find(f"equality/{tag}") is not None:
                self.obstacles.append(f"<equality><{tag}>: closed kinematic chains are not supported")
        for path in ("equality/joint", "tendon/fixed", "tendon/spatial", "contact/pair"):
            if root.find(path) is not None:
                self.ignored.append(f"<{path.replace('/', '><')}>")

    def _compile(self, character: Element, meshes: set[str]) -> mujoco.MjModel:
        root = ElementTree.Element("mujoco")
        SubElement(root, "compiler", {key: self.files.compiler[key] for key in COMPILER if key in self.files.compiler})
        root.extend(_plain_defaults(self.files.document.root))
        content: dict[str, bytes] = {}
        assets = SubElement(root, "asset")
        for number, name in enumerate(sorted(meshes)):
            mesh = copy.deepcopy(self.files.meshes[name])
            mesh.attrib.pop("material", None)
            mesh.set("maxhullvert", str(HULL_VERTICES))
            if mesh.attrib.pop("file", None) is not None:
                file = f"mesh{number}{Path(self.files.mesh_file(name)).suffix.lower()}"
                mesh.set("file", file)
                content[file] = self.files.mesh(name)
            mesh.attrib.pop("content_type", None)
            assets.append(mesh)
        SubElement(root, "worldbody").append(character)
        joints = {joint.get("name") for joint in character.iter("joint")}
        actuators = SubElement(root, "actuator")
        for actuator in self.files.document.root.findall("actuator/*"):
            if actuator.tag in ACTUATORS and actuator.get("joint") in joints:
                actuators.append(actuator)
        for geom in root.iter("geom"):
            for attribute in NOT_DRAWN:
                geom.attrib.pop(attribute, None)
        try:
            return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"), content)
        except (ValueError, mujoco.FatalError) as error:
            named = _with_names(str(error), self.geom_names, sorted(meshes))
            raise InputError(f"{self.files.source}: MuJoCo cannot load the character: {named}") from error


def _root_body(document: Mjcf) -> Element:
    """Return the first free body of the world, else the first body."""
    for body in document.root.findall("worldbody/body"):
        free = any(document.attribute(joint, "type") == "free" for joint in body.findall("joint"))
        if free or body.find("freejoint") is not None:
            return body
    return document.root_body()


def _plain_defaults(root: Element) -> list[Element]:
    """Return the default classes without elements irrelevant to the character."""
    defaults = [copy.deepcopy(default) for default in root.findall("default")]
    for default in defaults:
        for parent in list(default.iter("default")):
            for child in list(parent):
                if child.tag not in IN_DEFAULTS:
                    parent.remove(child)
                elif child.tag == "mesh":
                    child.attrib.pop("material", None)
    return defaults


def _with_names(message: str, geom_names: Mapping[str, str], meshes: list[str]) -> str:
    """Return MuJoCo's message in one line, with the file's names instead of ours."""
    ours = {f"'{own}'": f"'{name}'" for own, name in geom_names.items()}
    ours.update({f"'mesh{number}'": f"'{name}'" for number, name in enumerate(meshes)})
    return " ".join(ours.get(word, word) for word in message.split())
