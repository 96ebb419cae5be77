"""Importers: clips of other formats become motions. A format is one file here, and its record in FORMATS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from parc_ray.character.skeleton import Skeleton
from parc_ray.character.surface import SurfacePoints
from parc_ray.errors import InputError
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.importers import bvh, deepmimic, mimickit
from parc_ray.motions.importers.clip import Format, faster, looped, resampled
from parc_ray.motions.importers.placing import placed
from parc_ray.motions.motion import Motion

FORMATS = (deepmimic.FORMAT, mimickit.FORMAT, bvh.FORMAT)


@dataclass(frozen=True)
class Import:
    """How clips are imported."""

    skeleton: Skeleton
    surface: SurfacePoints
    """Surface points of the same character."""
    terrain: Optional[HeightField] = None
    """Terrain under all clips, where they are; None for level ground under each."""
    mapping: Optional[Path] = None
    """File that says what the joints of BVH files are to the character."""
    loop: int = 1
    """How often a clip is played in a row."""
    speed: float = 1.0
    """Factor of the clip's pace."""


def format_of(path: Path) -> Optional[Format]:
    """The format that a file's name ends like, if it is a known one."""
    return next((known for known in FORMATS if path.suffix.lower() in known.suffixes), None)


def clips_in(folder: Path) -> List[Path]:
    """The files in a folder whose names end like those of a format, in order. Raises InputError if it has none."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and format_of(path))
    if not files:
        raise InputError(f"{folder}: has no clips; their names end in {_endings()}")
    return files


def import_clip(path: Path, how: Import) -> Motion:
    """The motion that a clip becomes: 30 fps, CLAMP, feet on the ground, contacts labelled.

    Raises InputError, which names the file, if the file is no clip of a known format, or of another character.
    """
    form = format_of(path)
    if form is None:
        raise InputError(f"{path}: its name does not end like that of a clip: {_endings()}")
    clip = looped(form.read(path, how.skeleton, how.mapping), how.loop, str(path))
    clip = resampled(faster(clip, how.speed))
    if len(clip.times) < 2:
        raise InputError(f"{path}: at speed {how.speed:g} it is shorter than a frame of 1/30 s")
    return placed(clip, imported_name(path, how), how.skeleton, how.surface, how.terrain)


def imported_name(path: Path, how: Import) -> str:
    """The motion's name: its file's, and what was done to it."""
    loop = f"_loop{how.loop}" if how.loop != 1 else ""
    speed = f"_speed{round(100 * how.speed)}" if how.speed != 1.0 else ""
    return f"{path.stem}{loop}{speed}"


def _endings() -> str:
    return ", ".join(f"{' or '.join(known.suffixes)} ({known.name})" for known in FORMATS)
