"""The viewer's page in a real browser, and the command that serves it."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from parc_ray.errors import InputError
from parc_ray.viewing.browser.viewer import PORT, Viewer, require_viser, view
from parc_ray.viewing.scenes.playlist import open_playlist
from tests.reference import ROOT
from tests.viewing.runs import EVIL, look_at_me, motion_file

pytestmark = pytest.mark.slow

pytest.importorskip("viser", reason="needs the extra view")

SIZE = (800, 320)
"""Pixels: without a GPU each of them takes its time"""
STAGE = (290, 0, 185, 320)
"""Where the page has neither panel nor notices"""
BODY, TOUCH, ATTEMPT = (63, 147, 214), (240, 149, 43), (204, 102, 119)


@contextmanager
def served(path):
    viewer = Viewer(open_playlist(path), "127.0.0.1", 0)
    thread = threading.Thread(target=viewer.run)
    thread.start()
    try:
        yield viewer
    finally:
        viewer.stop()
        thread.join(10)
        viewer.close()
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def viewer(tmp_path_factory, walk):
    with served(look_at_me(tmp_path_factory.mktemp("viewer") / "out", walk).path) as viewer:
        # Without a GPU, shadows and the light of the sky take most of the time.
        viewer.server.scene.configure_default_lights(cast_shadow=False)
        viewer.server.scene.configure_environment_map(None)
        yield viewer


@pytest.fixture(scope="module")
def page(viewer, browser):
    """One for all tests: the first picture takes seconds without a GPU."""
    with browser.visit(f"http://127.0.0.1:{viewer.port}/", *SIZE) as page:
        page.wait_for_selector("text=Play")
        until(page, lambda: colored(picture(page), BODY) > 50)
        yield page


@pytest.fixture(autouse=True)
def from_the_start(request):
    if "page" in request.fixturenames:
        viewer, page = request.getfixturevalue("viewer"), request.getfixturevalue("page")
        before = viewer.playback.opened
        viewer.post(lambda: (viewer.playback.search("", ""), viewer.playback.open(0), viewer.playback.seek(0.0)))
        until(page, lambda: viewer.playback.opened > before and "1 of 4" in page.inner_text("body"))
        page.wait_for_timeout(300)  # until the panel has been put up anew


def until(page, condition, patience=60.0):
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "has not come about"
        page.wait_for_timeout(50)


def picture(page):
    """[rows, columns, 3]"""
    from PIL import Image

    x, y, width, height = STAGE
    shot = page.screenshot(clip={"x": x, "y": y, "width": width, "height": height}, timeout=60_000)
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))


def colored(image, color):
    """How many pixels have a colour, in whatever light: its share of red, green and blue."""
    values = image.reshape(-1, 3).astype(float) + 1e-6
    strong = np.ptp(values, axis=-1) > 60
    shares, wanted = values / values.sum(axis=-1, keepdims=True), np.array(color) / sum(color)
    return int((strong & (np.abs(shares - wanted).max(axis=-1) < 0.09)).sum())


def clock(page):
    return float(page.locator("input.mantine-NumberInput-input").first.input_value())


@pytest.mark.parametrize("size, low", [(SIZE, False), ((390, 844), True)])
def test_on_a_phone_the_character_stands_above_the_panel(viewer, browser, size, low):
    """Its panel covers the lower half, so the camera aims below the character."""
    before = set(viewer.server.get_clients())
    with browser.visit(f"http://127.0.0.1:{viewer.port}/", *size) as page:
        until(page, lambda: set(viewer.server.get_clients()) - before)
        (new,) = set(viewer.server.get_clients()) - before
        camera = viewer.server.get_clients()[new].camera
        page.wait_for_selector("text=Play")
        if low:
            until(page, lambda: camera.look_at[2] < -1.0)
        else:
            page.wait_for_timeout(500)
            assert camera.look_at[2] == pytest.approx(0.0, abs=1e-6)


def test_it_shows_the_motion_and_plays_it(viewer, page):
    still = picture(page)
    assert colored(still, BODY) > 50
    page.get_by_role("button", name="Play").click()
    until(page, lambda: clock(page) > 0.3)
    assert np.abs(picture(page).astype(int) - still).mean() > 1
    page.keyboard.press("Space")
    until(page, lambda: page.get_by_role("button", name="Play").count() == 1)
    assert not viewer.playback.playing
    stands = clock(page)
    page.wait_for_timeout(300)
    shown = min(viewer.playback.time, viewer.playback.seconds)  # it may rest after its last frame
    assert clock(page) == stands == pytest.approx(shown, abs=0.01)


def test_scrubbing(viewer, page):
    still = picture(page)
    page.locator("input.mantine-NumberInput-input").first.fill("1.5")
    until(page, lambda: viewer.playback.time == 1.5)
    until(page, lambda: np.abs(picture(page).astype(int) - still).mean() > 1)
    assert not viewer.playback.playing


def switch(page, label, on):
    """Until it is so: a panel that is just put up anew takes no clicks."""
    until(page, lambda: page.get_by_label(label).set_checked(on) or page.get_by_label(label).is_checked() == on)


def choose(page, label, option):
    """From a list, which a click closes that comes while it still closes by itself."""
    wanted = page.get_by_role("option", name=option)
    while not wanted.is_visible():
        page.get_by_label(label).first.click()
        page.wait_for_timeout(500)
    wanted.click()


def test_contacts_are_coloured(page):
    until(page, lambda: colored(picture(page), TOUCH) > 10)
    switch(page, "Contacts", False)
    until(page, lambda: colored(picture(page), TOUCH) == 0)
    switch(page, "Contacts", True)
    until(page, lambda: colored(picture(page), TOUCH) > 10)


def test_characters_are_switched(viewer, page):
    switch(page, "Recording", False)
    until(page, lambda: colored(picture(page), BODY) == 0)
    switch(page, "Recording", True)
    until(page, lambda: colored(picture(page), BODY) > 50)


def test_next_previous_and_names_that_are_no_names(viewer, page):
    page.get_by_role("button", name="Next").click()
    until(page, lambda: "2 of 4" in page.inner_text("body"))
    page.keyboard.press("n")
    until(page, lambda: "3 of 4" in page.inner_text("body"))
    said = page.inner_text("body")
    assert EVIL in said and "rejected" in said
    assert page.locator("img[src=x]").count() == 0 and page.locator("a[href^=javascript]").count() == 0
    viewer.post(lambda: viewer.playback.seek(3.0))
    until(page, lambda: colored(picture(page), ATTEMPT) > 20)
    page.keyboard.press("n")
    until(page, lambda: "Cannot be shown: " in page.inner_text("body"))
    page.get_by_role("button", name="Previous").click()
    until(page, lambda: "3 of 4" in page.inner_text("body"))


def test_searching(viewer, page):
    page.locator("input.mantine-TextInput-input").last.fill("LAT")
    until(page, lambda: "1 of 4 motions found" in page.inner_text("body") and viewer.playback.item.name == "later")
    assert "2 of 4" in page.inner_text("body")
    page.locator("input.mantine-TextInput-input").last.fill("")
    until(page, lambda: "4 motions" in page.inner_text("body"))
    choose(page, "State", "rejected")
    until(page, lambda: viewer.playback.item.name == EVIL)
    choose(page, "State", "any state")
    until(page, lambda: "4 motions" in page.inner_text("body"))


def test_no_list_lacks_what_is_looked_at_or_has_it_twice(tmp_path, walk):
    """Not even for the moment in which a page may draw it: the page would be gone."""

    class List:
        options = ("",)
        value = ""

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            assert len(set(self.options)) == len(self.options) and self.value in self.options

    viewer = Viewer(open_playlist(look_at_me(tmp_path / "out", walk).path), "127.0.0.1", 0)
    panel, playback, panel._motion = viewer._panel, viewer.playback, List()
    for text in ("", "LAT", "walk", "nowhere", "LAT", ""):
        playback.search(text, "")
        panel._list()
        for index in (0, 2, 1, 3):
            playback.open(index)
            panel._list()
            assert panel._motion.value.startswith(f"{index + 1} ")
    viewer.close()


def test_several_browsers(viewer, page, browser):
    """All see the same; it goes on when one leaves, and rests when nobody looks."""
    with browser.visit(f"http://127.0.0.1:{viewer.port}/", *SIZE) as other:
        until(other, lambda: "1 of 4" in other.inner_text("body"))
        other.get_by_role("button", name="Next").click()
        until(page, lambda: "2 of 4" in page.inner_text("body"))
    viewer.post(viewer.playback.toggle)
    until(page, lambda: clock(page) > 0.2)
    viewer.post(viewer.playback.toggle)


def test_what_nobody_looks_at_does_not_go_on(tmp_path, walk, monkeypatch):
    with served(motion_file(tmp_path / "walk.pkl", walk)) as viewer:
        act, waits = viewer._act, []
        monkeypatch.setattr(viewer, "_act", lambda patience: (waits.append(patience), act(patience))[1])
        viewer.post(viewer.playback.toggle)
        time.sleep(0.3)
        assert viewer.playback.playing and viewer.playback.time == 0.0
        assert waits == [None], "it sleeps until something is asked for"


def test_ports(tmp_path, walk):
    playlist = open_playlist(motion_file(tmp_path / "walk.pkl", walk))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: cannot be used on 127.0.0.1: Address already in use"):
            Viewer(playlist, "127.0.0.1", port)
    with pytest.raises(InputError, match="ports go from 0 to 65535"):
        Viewer(playlist, "127.0.0.1", 65536)
    with pytest.raises(InputError, match=r"--host 192.0.2.1: is no address of this machine"):
        view(playlist, "192.0.2.1", None, print)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(InputError, match=r"pip install 'parc-ray\[view\]'"):
        require_viser()


def test_the_command(tmp_path, walk):
    """Says where it is, takes another port if its own is taken, and ends without a word."""
    motion_file(tmp_path / "walk.pkl", walk)
    processes = {end: command(tmp_path) for end in (signal.SIGINT, signal.SIGTERM)}
    for end, process in processes.items():
        said = [process.stdout.readline() for _ in range(3)]
        if said[0] == f"port {PORT} is taken, so it is {port_in(said[0])}\n":
            said = [*said[1:], process.stdout.readline()]
        port = port_in(said[0])
        assert said[0].startswith(f"{tmp_path.name}: look at it on http://127.0.0.1:")
        assert f"ssh -L {port}:127.0.0.1:{port} " in said[1] and said[2] == "Ctrl-C ends it\n"
        process.send_signal(end)
        out, error = process.communicate(timeout=20)
        assert (process.returncode, out, error) == (0, "", "")


def command(path):
    return subprocess.Popen(
        [sys.executable, "-c", "from parc_ray.cli import main; main()", "view", str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "COLUMNS": "80"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def port_in(line):
    return int(line.rsplit(maxsplit=1)[-1].rsplit(":", 1)[-1])
