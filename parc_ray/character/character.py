"""Character: a tracker's character as plain MJCF, with the decisions made in its conversion.

A file that simulators can read directly stays unchanged. Any other is compiled by MuJoCo and written as plain MJCF.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Sequence
from xml.etree import ElementTree

import mujoco

from parc_ray.character.compilation import CompiledCharacter, compile_character_files
from parc_ray.character.decisions import Decisions, Hull
from parc_ray.character.gains import Gains, read_gains
from parc_ray.character.geoms import SHAPES, read_geoms, require_shapes
from parc_ray.character.meshes import without_looks
from parc_ray.character.mjcf import Mjcf
from parc_ray.character.obstacles import hinges_of, require_supported
from parc_ray.character.plain_mjcf import hull_geoms, hull_vertices, plain_mjcf
from parc_ray.character.skeleton import Joint, Skeleton, parse_skeleton
from parc_ray.character.source_files import SourceFiles
from parc_ray.errors import InputError
from parc_ray.files.reading import read_text

HEADER = "<!-- compiled by parc_ray from files with sha256 {} -->\n"


@dataclass(frozen=True)
class Character:
    """A character that can be simulated."""

    text: str
    """Plain MJCF: the file itself, or its compiled form."""
    source: str
    """Path of the file, for messages."""
    skeleton: Skeleton
    decisions: Decisions

    @property
    def sha256(self) -> str:
        """SHA-256 of the text; recordings depend on it."""
        return text_sha256(self.text)


def text_sha256(text: str) -> str:
    """Return the SHA-256 by which runs identify their character's text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def read_character(path: Path, earlier_sha256: str = "", stored: Path | None = None, driven: bool = True) -> Character:
    """Read any MJCF whose joints can be simulated.

    earlier_sha256: SHA-256 of the text used by an earlier run in the same output directory. stored: Path of that
    text. It is reused if its files are unchanged, because hulls differ slightly between MuJoCo versions. driven: True
    if it must have gains; without gains, its motions can still be read, converted and shown.

    Raises InputError that names every obstacle: a file that cannot be read, joints of other kinds, no gains.
    """
    text = read_text(path)
    if text_sha256(text) == earlier_sha256 or is_plain(text, str(path)):
        return _character(text, str(path), Decisions())
    files = SourceFiles(path)
    compiled = compile_character_files(files)
    gains = read_gains(compiled.model)
    require_supported(compiled, gains, str(path), driven)
    header = HEADER.format(files.sha256)
    text = header + plain_mjcf(compiled, gains)
    if stored is not None and stored.is_file():
        earlier = read_text(stored)
        if earlier.startswith(header) and text_sha256(earlier) == earlier_sha256:
            text = earlier
    return _character(text, str(path), _decisions(compiled, gains))


def is_plain(text: str, source: str) -> bool:
    """Return whether simulators can read MJCF text unchanged, with gains in its joints."""
    try:
        skeleton = parse_skeleton(text, source)
        require_shapes(read_geoms(text, source), SHAPES, skeleton.body_names, source)
        plain = without_looks(text, source)
        model = mujoco.MjModel.from_xml_string(ElementTree.tostring(plain, encoding="unicode"))
    except (InputError, ValueError, mujoco.FatalError):
        return False
    root = Mjcf(text, source).root_body()
    same = (model.nbody, model.nv) == (skeleton.num_bodies + 1, skeleton.dof_count + 6)
    return same and root.find(".//frame") is None and not _limp(skeleton, text, source)


def _character(text: str, source: str, decisions: Decisions) -> Character:
    """Return the character of plain MJCF text, with the decisions evident from the text."""
    skeleton, document = parse_skeleton(text, source), Mjcf(text, source)
    moving = [joint for joint in skeleton.joints if joint.dof_count]

    def names(test: Callable[[Joint], bool]) -> tuple[str, ...]:
        return tuple(joint.name for joint in moving if test(joint))

    return Character(
        text=text,
        source=source,
        skeleton=skeleton,
        decisions=replace(
            decisions,
            uneven=names(lambda joint: len(set(joint.armature)) > 1 or len(set(joint.damping)) > 1),
            excluded_pairs=len(document.excluded_pairs()),
            undriven=names(lambda joint: not any(joint.stiffness)),
            undamped=names(lambda joint: any(joint.stiffness) and not all(joint.damping)),
        ),
    )


def _decisions(compiled: CompiledCharacter, gains: Sequence[Gains]) -> Decisions:
    model = compiled.model
    meshes = sorted({int(model.geom_dataid[geom]) for geom in hull_geoms(model)})
    return Decisions(
        compiled=True,
        gains_from_servos=sum(own.from_servo for own in gains),
        hulls=tuple(
            Hull(model.mesh(mesh).name, int(model.mesh_vertnum[mesh]), len(hull_vertices(model, mesh)))
            for mesh in meshes
        ),
        mended_inertia=compiled.mended_inertia,
        unlimited=tuple(model.joint(joint).name for joint in hinges_of(model) if not model.jnt_range[joint].any()),
        ignored=compiled.ignored,
        named_bodies=compiled.named_bodies,
    )


def _limp(skeleton: Skeleton, text: str, source: str) -> bool:
    """Return whether no driven joint has a stiffness."""
    root = Mjcf(text, source)
    actuated = {element.get("joint") for element in root.root.findall("actuator/*")} - {None}
    gains = [
        root.numbers(joint, "stiffness", "0", 1)[0]
        for _, body in root.bodies()
        for joint in body.findall("joint")
        if not actuated or joint.get("name") in actuated
    ]
    return not any(gains)
