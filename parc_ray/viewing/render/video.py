"""Video files that play everywhere, written atomically."""

from __future__ import annotations

import io
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Iterable, Iterator, Sequence

import numpy as np

from parc_ray.errors import MissingDependencyError, OutputError
from parc_ray.files.writing import atomic_file, write_file_atomic
from parc_ray.viewing.render.graphics import Picture

SUFFIXES = (".mp4", ".gif", ".png")
QUALITY = {"crf": "18", "preset": "medium"}
BT709 = "colorprim=bt709:transfer=bt709:colormatrix=bt709"
"""Colour space written to the file; without it, players guess from the video's size."""
GIF_FASTEST = 50.0
"""Hz; browsers slow down faster GIFs."""
VIVID, VIVID_WEIGHT = 60, 8
"""Minimum channel range of a vivid pixel, and the weight of vivid pixels in a GIF's palette."""
MAX_SAMPLES = 12
"""Maximum number of pictures sampled for a GIF's palette."""


def require_video_library() -> None:
    """Raise MissingDependencyError if the extra is not installed."""
    for module in ("av", "PIL"):
        if find_spec(module) is None:
            raise MissingDependencyError("rendering needs more packages: pip install 'parc-ray[render]'")


def write_mp4(path: Path, pictures: Iterable[Picture], size: tuple[int, int], fps: float) -> None:
    """Write pictures of size (width, height), both even, as H.264. Raises OutputError if the file cannot be written."""
    import av

    if "libx264" not in av.codecs_available:
        raise MissingDependencyError(
            f"{path}: this PyAV has no H.264 encoder (libx264): pip install --force-reinstall av"
        )
    rate = Fraction(fps).limit_denominator(1000)
    with _encoder(path, "mp4", {"movflags": "+faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=rate, options={**QUALITY, "x264-params": BT709})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_gif(
    path: Path, pictures: Iterable[Picture], size: tuple[int, int], fps: float, samples: Sequence[Picture]
) -> None:
    """Write an endless GIF with the 256 colours that suit the samples best. Raises OutputError, see write_mp4."""
    import av
    from PIL import Image

    pixels = np.concatenate(samples).reshape(-1, 3)
    vivid = pixels[np.ptp(pixels, axis=1) > VIVID]
    # A foot in contact is small, but its colour matters most.
    pixels = np.concatenate([pixels, np.tile(vivid, (VIVID_WEIGHT, 1))])
    palette = Image.fromarray(pixels[None]).quantize(256, Image.Quantize.MEDIANCUT)
    colours = np.zeros((256, 4), dtype=np.uint8)  # alpha, red, green, blue
    values = np.array(palette.getpalette(), dtype=np.uint8).reshape(-1, 3)
    colours[:, 0], colours[: len(values), 1:] = 255, values
    with _encoder(path, "gif", {"loop": "0", "final_delay": f"{round(100 / fps)}"}) as container:
        # GIF times are in hundredths of a second.
        stream: Any = container.add_stream("gif", rate=100)
        stream.width, stream.height, stream.pix_fmt = *size, "pal8"
        stream.codec_context.time_base = Fraction(1, 100)
        for number, picture in enumerate(pictures):
            indices = np.asarray(Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE))
            paletted: Any = (indices, colours)
            frame = av.VideoFrame.from_ndarray(paletted, format="pal8")
            frame.pts, frame.time_base = round(100 * number / fps), Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_png(path: Path, picture: Picture) -> None:
    """Write one picture. Raises OutputError, see write_mp4."""
    from PIL import Image

    # Encode in memory first: some versions of Pillow do not report a full disk.
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    write_file_atomic(path, content.getvalue())


@contextmanager
def _encoder(path: Path, kind: str, options: dict[str, str]) -> Iterator[Any]:
    """Yield a container that becomes the file at `path` on success."""
    import av

    try:
        with atomic_file(path) as temporary, av.open(str(temporary), "w", format=kind, options=options) as container:
            yield container
    except av.FFmpegError as error:
        raise OutputError(f"{path}: cannot be written ({error})") from error
