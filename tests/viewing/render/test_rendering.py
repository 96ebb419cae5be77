"""Rendered files: decoded again and compared with what was asked for and what was drawn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from parc_ray.cli import app, run_command
from parc_ray.errors import InputError, OutputError
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.viewing.render import graphics
from parc_ray.viewing.render.renderer import Look, Renderer
from parc_ray.viewing.render.video import write_gif, write_mp4, write_png
from parc_ray.viewing.scenes.playlist import open_playlist
from tests.cluster.small_disk import SmallDisk
from tests.reference import ROOT
from tests.report.made_run import MadeRun, recording_of
from tests.viewing.render.drawing import backend, blue, humanoid, pixel_of, walk

pytestmark = pytest.mark.slow

SMALL = ("--size", 160, 120)


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture()
def render(tmp_path, capsys, monkeypatch):
    """Calls parc-ray render for walk.pkl in an empty folder."""
    backend()
    # Which library works here is known by now: asking again would take a second each time.
    monkeypatch.setattr(graphics, "TRIAL", "pass # {backend}")
    monkeypatch.setenv(graphics.CHOICE, backend())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walk.pkl").write_bytes(motion_file_bytes(walk()))

    def call(*arguments: Any) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run_command(app, ["render", *(str(argument) for argument in arguments)])
        printed = capsys.readouterr()
        return Ended(int(stop.value.code or 0), printed.out, printed.err)

    return call


def drawn(path: str, span: tuple[float, float], times: list[float]) -> list[np.ndarray]:
    scene = open_playlist(Path(path)).items[0].read()
    with Renderer(scene, *humanoid(), backend(), Look(160, 120), span) as renderer:
        return [renderer.frame(time) for time in times]


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio, dB."""
    error = np.mean((one.astype(float) - other.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def decoded(path: str) -> list[np.ndarray]:
    import av

    with av.open(path) as container:
        return [
            frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray() for frame in container.decode(video=0)
        ]


def test_an_mp4_plays_what_was_drawn_at_the_right_speed(render):
    import av

    ended = render("walk.pkl", "-o", "walk.mp4", *SMALL, "--to", 1.5)
    assert ended.code == 0 and "walk.mp4: 46 frames, 1.53 s" in ended.out and not ended.err
    with av.open("walk.mp4") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height, stream.frames) == (160, 120, 46)
        assert stream.average_rate == 30 and float(stream.duration * stream.time_base) == pytest.approx(46 / 30)
    content = Path("walk.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "plays while it is being downloaded"
    pictures = decoded("walk.mp4")
    assert len(pictures) == 46
    for index, picture in zip((0, 22, 45), drawn("walk.pkl", (0.0, 1.5), [0.0, 22 / 30, 1.5])):
        ratios = [likeness(other, picture) for other in pictures]
        assert np.argmax(ratios) == index and ratios[index] > 30
    assert sorted(path.name for path in Path().iterdir()) == ["walk.mp4", "walk.pkl"]


def test_speed_rate_and_range_choose_the_moments(render):
    ended = render("walk.pkl", "-o", "slow.mp4", *SMALL, "--from", 1, "--to", 1.5, "--speed", 0.5, "--fps", 12)
    assert "slow.mp4: 13 frames, 1.08 s" in ended.out
    pictures = decoded("slow.mp4")
    for index, picture in zip((0, 6, 12), drawn("walk.pkl", (1.0, 1.5), [1.0, 1.25, 1.5])):
        assert likeness(pictures[index], picture) > 30


def test_a_gif_has_good_colours_and_the_right_timing(render):
    from PIL import Image, ImageSequence

    assert render("walk.pkl", "-o", "walk.gif", *SMALL, "--to", 1).code == 0
    with Image.open("walk.gif") as gif:
        assert gif.n_frames == 26 and gif.info["loop"] == 0 and gif.size == (160, 120)
        frames = [(frame.info["duration"], np.asarray(frame.convert("RGB"))) for frame in ImageSequence.Iterator(gif)]
    assert {duration for duration, _ in frames} == {40}
    for index, picture in zip((0, 12, 25), drawn("walk.pkl", (0.0, 1.0), [0.0, 12 / 25, 1.0])):
        assert likeness(frames[index][1], picture) > 30
    render("walk.pkl", "-o", "walk.gif", *SMALL, "--to", 0.5, "--fps", 30, "--overwrite")
    with Image.open("walk.gif") as gif:
        seconds = sum(frame.info["duration"] for frame in ImageSequence.Iterator(gif)) / 1000
    assert seconds == pytest.approx(16 / 30, abs=0.011)


def test_a_png_has_as_many_poses_as_asked_for_side_by_side_or_in_one_picture(render):
    from PIL import Image

    ended = render("walk.pkl", "-o", "strip.png", *SMALL, "--poses", 5)
    assert "strip.png: 5 poses" in ended.out
    strip = np.asarray(Image.open("strip.png"))
    assert strip.shape == (120, 5 * 160, 3)
    for tile, picture in zip(np.split(strip, 5, axis=1), drawn("walk.pkl", (0.0, 3.0), [0.0, 0.75, 1.5, 2.25, 3.0])):
        assert (tile == picture).all() and blue(tile).any()
    assert render("walk.pkl", "-o", "composite.png", *SMALL, "--poses", 3, "--camera", "fixed").code == 0
    composite = np.asarray(Image.open("composite.png"))
    scene = open_playlist(Path("walk.pkl")).items[0].read()
    with Renderer(scene, *humanoid(), backend(), Look(160, 120, camera="fixed")) as renderer:
        view = renderer.view(0)
    for frame in (0, 45, 90):
        column, row = pixel_of(view, walk().root_pos[frame], 160, 120)
        assert blue(composite)[row, column]
    assert render("walk.pkl", "-o", "one.png", *SMALL, "--poses", 1).code == 0
    assert Image.open("one.png").size == (160, 120)


def test_a_recording_inside_a_run_is_shown_with_its_reference_from_where_it_starts(render, tmp_path):
    from PIL import Image

    made = MadeRun(tmp_path / "run")
    made.begin(1)
    made.motion_file(walk(), "walk")
    made.attempt("walk", 0, seconds=0.5, again=0.5)
    recording = recording_of(walk(), 1.5, drift=0.3)
    made.attempt("walk", 1, "recorded", 1.5, 1.5, 0.5, recording=recording)
    made.final("walk", "recorded")
    file = tmp_path / "run" / "recorded_motions" / "walk.pkl"
    before = file.read_bytes()
    ended = render(file, "-o", "both.mp4", *SMALL, "--fps", 10)
    assert "both.mp4: 16 frames" in ended.out and not ended.err
    for name, option in (("both", []), ("one", ["--no-reference"])):
        assert render(file, "-o", f"{name}.png", *SMALL, "--poses", 1, "--from", 3, "--to", 3, *option).code == 0
    assert (np.asarray(Image.open("both.png")) != np.asarray(Image.open("one.png"))).any()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["walk.pkl", "-o", "walk.avi"], "walk.avi: unknown kind of file; let its name end in .mp4, .gif, .png"),
        (["gone.pkl", "-o", "x.mp4"], "gone.pkl: no such file"),
        (["junk.pkl", "-o", "x.mp4"], "junk.pkl: "),
        (["folder", "-o", "x.mp4"], "folder: is a folder, and one motion is rendered at a time"),
        (["walk.pkl", "-o", "none/x.mp4"], "none/x.mp4: its folder does not exist"),
        (["walk.pkl", "-o", "old.mp4"], "old.mp4: exists; give another name, or --overwrite"),
        (["walk.gif", "-o", "walk.gif", "--overwrite"], "walk.gif: is the motion file itself"),
        (["walk.pkl", "-o", "folder.png"], "folder.png: is a folder"),
        (["walk.pkl", "-o", "x.mp4", "--size", "641", "360"], "an .mp4 needs even numbers; take --size 642 360"),
        (["walk.pkl", "-o", "x.png", "--size", "9", "360"], "--size 9 360: each must be 32 to 4096"),
        (
            ["walk.pkl", "-o", "x.png", "--size", "4096", "360", "--poses", "9"],
            "--poses 9: 9 pictures of 4096 pixels are wider",
        ),
        (["walk.pkl", "-o", "x.png", "--poses", "0"], "--poses 0: must be 1 to 100"),
        (["walk.pkl", "-o", "x.gif", "--fps", "60"], "--fps 60: must be 1 to 50 for .gif"),
        (["walk.pkl", "-o", "x.mp4", "--fps", "nan"], "--fps nan: must be"),
        (["walk.pkl", "-o", "x.mp4", "--speed", "0"], "--speed 0: must be"),
        (["walk.pkl", "-o", "x.mp4", "--camera", "crane"], "--camera crane: must be follow or fixed"),
        (["walk.pkl", "-o", "x.mp4", "--from", "2", "--to", "9"], "--from 2 --to 9: must be within 0 to 3 s"),
        (["walk.pkl", "-o", "x.mp4", "--from", "nan"], "--from nan --to 3: must be within"),
        (["walk.pkl", "-o", "x.mp4", "--character", "gone.xml"], "gone.xml: no such file"),
    ],
)
def test_bad_input_is_one_message_and_no_file(render, tmp_path, arguments, told):
    (tmp_path / "junk.pkl").write_bytes(b"junk")
    (tmp_path / "old.mp4").write_bytes(b"old")
    (tmp_path / "walk.gif").write_bytes((tmp_path / "walk.pkl").read_bytes())
    for name in ("folder", "folder.png"):
        (tmp_path / name).mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    ended = render(*arguments)
    assert ended.code == 2 and not ended.out
    assert ended.err.startswith("error: ") and told in ended.err and ended.err.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_without_the_extra_the_message_says_what_to_install(render, monkeypatch):
    monkeypatch.setattr("parc_ray.viewing.render.video.find_spec", lambda name: None)
    assert "pip install 'parc-ray[render]'" in render("walk.pkl", "-o", "x.mp4").err


def test_a_full_disk_leaves_no_file(tmp_path):
    backend()
    pictures = list(np.random.default_rng(0).integers(0, 256, size=(8, 240, 320, 3), dtype=np.uint8))
    with SmallDisk(tmp_path / "disk", "100k") as disk:
        for write, name in (
            (lambda path: write_mp4(path, pictures, (320, 240), 30), "x.mp4"),
            (lambda path: write_gif(path, pictures, (320, 240), 25, pictures[:2]), "x.gif"),
            (lambda path: write_png(path, pictures[0]), "x.png"),
        ):
            with pytest.raises(OutputError, match=f"{name}: cannot be written .*[Nn]o space left"):
                write(disk.view / name)
            assert list(disk.view.iterdir()) == []


def test_an_interruption_leaves_the_old_file(tmp_path):
    backend()

    def pictures():
        yield np.zeros((64, 64, 3), dtype=np.uint8)
        raise KeyboardInterrupt

    (tmp_path / "x.mp4").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_mp4(tmp_path / "x.mp4", pictures(), (64, 64), 30)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_the_command_needs_no_display(tmp_path):
    name = backend()
    (tmp_path / "walk.pkl").write_bytes(motion_file_bytes(walk()))
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}

    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    ended = subprocess.run(
        [sys.executable, "-c", "from parc_ray.cli import main; main()",
         "render", "walk.pkl", "-o", "x.png", "--size", "64", "64"],
        cwd=tmp_path, env={**environment, graphics.CHOICE: name}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    assert "x.png: 8 poses, drawn by " in ended.stdout and (tmp_path / "x.png").is_file()


def test_a_window_cannot_be_opened_without_a_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(graphics.CHOICE, "glfw")
    with pytest.raises(InputError, match=r"nothing to draw with: OpenGL does not work here \(glfw: "):
        graphics.Search().result()
