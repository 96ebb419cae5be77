"""Renders a motion file as a video, a GIF or a picture."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from parc_ray.errors import InputError, printable
from parc_ray.terminal.screen import say
from parc_ray.viewing.render.graphics import Picture, Search
from parc_ray.viewing.render.renderer import Look, Renderer, time_range
from parc_ray.viewing.render.video import (
    GIF_FASTEST,
    MAX_SAMPLES,
    SUFFIXES,
    require_video_library,
    write_gif,
    write_mp4,
    write_png,
)
from parc_ray.viewing.scenes.playlist import open_playlist
from parc_ray.viewing.scenes.scene import Scene

CAMERAS = ("follow", "fixed")
SIZES = {".mp4": (1280, 720), ".gif": (640, 360), ".png": (1280, 720)}
TILE = (400, 480)
"""Width and height of one picture in a strip, pixels."""
RATES = {".mp4": 30.0, ".gif": 25.0, ".png": 30.0}
"""Hz; a GIF's frame lasts a whole number of hundredths of a second."""
SIDES = (32, 4096)
MAX_STRIP = 32_768
"""Pixels."""


@dataclass(frozen=True)
class RenderOptions:
    """Options of `parc-ray render`; None: chosen to suit the output."""

    file: Path
    output: Path
    size: tuple[int, int] | None = None
    fps: float | None = None
    start: float | None = None
    end: float | None = None
    """s, on the clock of the motion or, in a run, of its reference."""
    speed: float = 1.0
    camera: str = "follow"
    reference: bool = True
    contacts: bool = True
    attempts: bool | None = None
    poses: int = 8
    character: Path | None = None
    overwrite: bool = False


def render(options: RenderOptions, console: Console) -> None:
    """Write the video, GIF or picture that the options describe. Raises InputError, OutputError."""
    kind = _checked_kind(options)
    size, fps = _checked_size(options, kind), _checked_rate(options, kind)
    require_video_library()
    search = Search()
    playlist = open_playlist(options.file, options.character)
    scene = playlist.items[0].read()
    strip = kind == ".png" and options.camera == "follow"
    look = Look(*size, options.camera, options.reference, options.contacts, options.attempts)
    span = _span(options, scene, look)
    for note in scene.notes:
        say(console, f"note: {note}")
    with Renderer(scene, playlist.skeleton, playlist.geoms, search.result(), look, span) as renderer:
        began = time.monotonic()
        if kind == ".png":
            count = options.poses
            times = [float(value) for value in np.linspace(*span, count)] if count > 1 else [sum(span) / 2]
            pictures = _drawn(renderer, times, options.output.name, console)
            write_png(options.output, np.concatenate(list(pictures), axis=1) if strip else renderer.composite(times))
            told = f"{count} poses"
        else:
            step = options.speed / fps
            count = math.floor((span[1] - span[0]) / step + 1e-6) + 1
            times = [span[0] + k * step for k in range(count)]
            pictures = _drawn(renderer, times, options.output.name, console)
            if kind == ".mp4":
                write_mp4(options.output, pictures, size, fps)
            else:
                some = sorted({round(k) for k in np.linspace(0, count - 1, MAX_SAMPLES)})
                samples = [renderer.frame(times[k]) for k in some]
                write_gif(options.output, pictures, size, fps, samples)
            told = f"{count} frames, {count / fps:.2f} s, {count / max(time.monotonic() - began, 1e-9):.1f} frames/s"
        say(console, f"{options.output}: {told}, drawn by {renderer.engine}")


def _drawn(renderer: Renderer, times: list[float], name: str, console: Console) -> Iterator[Picture]:
    shown = track(times, escape(printable(name)), console=console, transient=True, disable=not console.is_terminal)
    return (renderer.frame(moment) for moment in shown)


def _checked_kind(options: RenderOptions) -> str:
    """Return the output's suffix. Raises InputError if the output cannot be written or may not be replaced."""
    output, kind = options.output, options.output.suffix.lower()
    if kind not in SUFFIXES:
        raise InputError(f"{output}: unknown kind of file; let its name end in {', '.join(SUFFIXES)}")
    if options.file.is_dir():
        raise InputError(f"{options.file}: is a folder, and one motion is rendered at a time: give a motion file in it")
    if output.is_dir():
        raise InputError(f"{output}: is a folder; give the name of a file")
    if not output.parent.is_dir():
        raise InputError(f"{output}: its folder does not exist; make it first")
    if output.exists():
        if options.file.exists() and output.samefile(options.file):
            raise InputError(f"{output}: is the motion file itself; give another name")
        if not options.overwrite:
            raise InputError(f"{output}: exists; give another name, or --overwrite")
    return kind


def _checked_size(options: RenderOptions, kind: str) -> tuple[int, int]:
    strip = kind == ".png" and options.camera == "follow"
    width, height = options.size or (TILE if strip else SIZES[kind])
    if not all(SIDES[0] <= side <= SIDES[1] for side in (width, height)):
        raise InputError(f"--size {width} {height}: each must be {SIDES[0]} to {SIDES[1]} pixels")
    if kind == ".mp4" and (width % 2 or height % 2):
        even = f"{width + width % 2} {height + height % 2}"
        raise InputError(f"--size {width} {height}: an .mp4 needs even numbers; take --size {even}")
    if strip and width * options.poses > MAX_STRIP:
        raise InputError(
            f"--poses {options.poses}: {options.poses} pictures of {width} pixels are wider than {MAX_STRIP}"
            ": take fewer"
        )
    return width, height


def _checked_rate(options: RenderOptions, kind: str) -> float:
    fps = RATES[kind] if options.fps is None else options.fps
    fastest = GIF_FASTEST if kind == ".gif" else 240.0
    if not 1 <= fps <= fastest:
        raise InputError(f"--fps {fps:g}: must be 1 to {fastest:g} for {kind}")
    if not 0.01 <= options.speed <= 100:
        raise InputError(f"--speed {options.speed:g}: must be 0.01 to 100")
    if not 1 <= options.poses <= 100:
        raise InputError(f"--poses {options.poses}: must be 1 to 100")
    if options.camera not in CAMERAS:
        raise InputError(f"--camera {options.camera}: must be {' or '.join(CAMERAS)}")
    return fps


def _span(options: RenderOptions, scene: Scene, look: Look) -> tuple[float, float]:
    """Return start and end (s). Raises InputError if they are not within the motion."""
    low, high = time_range(scene, look)
    start = low if options.start is None else options.start
    end = high if options.end is None else options.end
    if not 0 <= start <= end <= scene.seconds + 1e-3:
        raise InputError(
            f"--from {start:g} --to {end:g}: must be within 0 to {scene.seconds:g} s, the earlier one first"
        )
    return start, end
