"""Importers: convert clips of other formats to motions. Each format is one file here and a record in FORMATS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

from parc_ray.character.surface import SurfacePoints
from parc_ray.errors import InputError
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.importers import amass, bvh, deepmimic, gmr, mimickit, phc, protomotions, robot_csv, tracking_npz
from parc_ray.motions.importers.clip import ClipFormat, ReadOptions, change_speed, resample
from parc_ray.motions.importers.placing import to_motion
from parc_ray.motions.importers.repetition import repeat
from parc_ray.motions.motion import Motion

FORMATS = (
    deepmimic.FORMAT,
    mimickit.FORMAT,
    bvh.FORMAT,
    gmr.FORMAT,
    phc.FORMAT,
    protomotions.FORMAT,
    robot_csv.FORMAT,
    tracking_npz.FORMAT,
    amass.FORMAT,
)


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import."""

    read: ReadOptions
    surface: SurfacePoints
    """Surface points of the same character."""
    terrain: HeightField | None = None
    """Terrain under all clips, in the clips' coordinates; None for level ground under each."""
    format: str | None = None
    """Name of the format; None to detect it."""
    loop: int = 1
    """Number of passes of each clip."""
    speed: float = 1.0
    """Speed factor."""


def clips_in(folder: Path) -> list[Path]:
    """Return the files of known formats in a folder, sorted by name. Raises InputError if there are none."""
    suffixes = {suffix for form in FORMATS for suffix in form.suffixes}
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in suffixes)
    if not files:
        raise InputError(f"{folder}: has no clips; their names end in {_endings()}")
    return files


def import_clips(path: Path, options: ImportOptions) -> Iterator[Motion]:
    """Yield the motions of a file's clips: 30 fps, CLAMP, feet on the ground, contacts labelled.

    Raises InputError, which names the file, if its format is unknown or its character is different.
    """
    form, content = open_clips(path, options.format)
    for name, source in form.clips(content, path, options.read).items():
        clip = resample(change_speed(repeat(source, options.loop, str(path)), options.speed))
        if len(clip.times) < 2:
            raise InputError(f"{path}: at speed {options.speed:g} it is shorter than a frame of 1/30 s")
        yield to_motion(clip, imported_name(name, options), options.read.skeleton, options.surface, options.terrain)


def imported_name(name: str, options: ImportOptions) -> str:
    """Return the motion's name: the clip's name plus its changes."""
    loop = f"_loop{options.loop}" if options.loop != 1 else ""
    speed = f"_speed{round(100 * options.speed)}" if options.speed != 1.0 else ""
    return f"{name}{loop}{speed}"


def open_clips(path: Path, wanted: str | None) -> tuple[ClipFormat, Any]:
    """Return a file's format (the wanted or a detected one) and its content. Raises InputError."""
    if wanted is not None:
        form = next((form for form in FORMATS if form.name == wanted), None)
        if form is None:
            raise InputError(
                f"--format {wanted}: no such format; there are: {', '.join(form.name for form in FORMATS)}"
            )
        return form, form.load(path)
    forms = [form for form in FORMATS if path.suffix.lower() in form.suffixes]
    if not forms:
        raise InputError(f"{path}: its name does not end like that of a clip: {_endings()}. --format NAME reads it")
    content = forms[0].load(path)
    form = next((form for form in forms if form.recognize(content)), None)
    if form is None:
        raise InputError(f"{path}: is {_describe(content)}, and no {' or '.join(form.name for form in forms)} clip")
    return form, content


def _describe(content: Any) -> str:
    """Return a short description of content that no format recognizes."""
    if isinstance(content, dict) and {"motion_data", "terrain_data"} & set(content):
        return "a motion file already: use it as it is"
    if isinstance(content, dict):
        return f"a dict of {', '.join(sorted(str(key)[:40] for key in list(content)[:8])) or 'nothing'}"
    return f"a {type(content).__name__}"


def _endings() -> str:
    endings: dict[str, list[str]] = {}
    for form in FORMATS:
        endings.setdefault(" or ".join(form.suffixes), []).append(form.name)
    return ", ".join(f"{suffixes} ({', '.join(names)})" for suffixes, names in endings.items())
