"""The page in a real browser: what a user sees and does."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.report.page import PAGE, write_report
from parc_ray.report.previews import pack_batch
from parc_ray.report.shapes import character_shapes
from parc_ray.runs.history import read_run
from tests.reference import HUMANOID
from tests.report.made_run import QUALITY, MadeRun, recording_of
from tests.report.test_page import EVIL, evil_run

pytestmark = pytest.mark.slow

MOTIONS = 500


@pytest.fixture(scope="module")
def large(tmp_path_factory, walk) -> MadeRun:
    """500 motions: every tenth was rejected, every fifth of the others recorded from 25 %."""
    made = MadeRun(tmp_path_factory.mktemp("large") / "out")
    content = motion_file_bytes(walk)
    (made.path / "walk.in").write_bytes(content)
    whole, later = recording_of(walk, drift=0.05), recording_of(walk, 0.75)
    made.begin(MOTIONS)
    made.event("shard", shard=0, motions=[f"walk_{k:03d}" for k in range(MOTIONS)], envs=50, deaths=0)
    made.now = 1.0
    made.event("ready", shard=0)
    made.now = 12.0
    lines, made.lines = made.lines, []
    for k in range(MOTIONS):
        name, quality = f"walk_{k:03d}", {**QUALITY, "root_error": ((k * 37) % 101) / 500}
        made.planned(name, walk.length, "walk.in", content)
        values = {"env": k % 50, "began": float(k // 50), "quality": quality}
        if k % 10 == 0:
            made.attempt(name, again=0.25, criteria=["fall"], body="head", **values)
            made.attempt(name, 1, "rejected", fraction=0.25, start=0.75, seconds=2.25, **values)
        elif k % 5 == 1:
            made.attempt(name, again=0.25, **values)
            made.attempt(name, 1, "recorded", fraction=0.25, start=0.75, seconds=2.25, recording=later, **values)
        else:
            made.attempt(name, outcome="recorded", seconds=3.0, recording=whole, **values)
        lines, made.lines = lines + made.lines, []
    made.lines = lines
    made.event("end", exit_code=0)
    write_report(made.path)
    return made


def texts(page, selector):
    return page.locator(selector).all_inner_texts()


def until(page, condition):
    """Playwright's own waiting needs eval in the page, which its policy forbids."""
    deadline = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)


def scrub(page, value):
    page.evaluate(f"""
        const slider = document.getElementById("scrub");
        slider.value = {value};
        slider.dispatchEvent(new Event("input"));
    """)


def test_five_hundred_motions_are_there_at_once(large, browser):
    """Loads without a word on the console and without a request, is small, and can be used within two seconds."""
    path = large.path / "report.html"
    assert path.stat().st_size < 5_000_000
    times = []
    for _ in range(3):
        with browser.page(path) as page:
            times.append(float(page.get_attribute("html", "data-ready")))
            assert page.locator("#table tbody tr").count() == 20
            assert texts(page, ".tile b") == ["500", "450", "50", "0", "0"]
            assert page.inner_text("#found") == "1–20 of 500 motions"
    assert min(times) < 2000, f"ready after {times} ms"


def test_filters_and_order(large, browser):
    with browser.page(large.path / "report.html") as page:
        page.click('button[data-state="rejected"]')
        assert page.inner_text("#found") == "1–20 of 50 motions, filtered from 500"
        assert {tuple(text.split("\n")) for text in texts(page, "#table td:nth-child(2)")} == {
            ("rejected", "not accepted: max_penetration")
        }
        page.evaluate(
            "document.querySelectorAll('#table td.name').forEach(cell => cell.textContent += '_of_a_long_name')"
        )
        width = page.evaluate("document.querySelector('.list .scroll').scrollWidth")
        assert width == page.evaluate("document.querySelector('.list .scroll').clientWidth"), "does not fit a laptop"
        page.fill("#search", "WALK_03")
        assert texts(page, "#table td.name") == ["walk_030"]
        page.click("text=Clear")
        page.select_option('select[aria-label="Ended by: any"]', "fall (head)")
        assert page.inner_text("#found").endswith("of 50 motions, filtered from 500")
        page.click("text=Clear")
        page.click("#table thead button:has-text('Root')")
        shown = [float(value) for value in texts(page, "#table td:nth-child(7)")]
        assert shown == sorted(shown) and shown[0] == 0.0
        page.click("#table thead button:has-text('Root')")
        shown = [float(value) for value in texts(page, "#table td:nth-child(7)")]
        assert shown == sorted(shown, reverse=True) and shown[0] == 0.2
        page.click("text=Next")
        assert page.inner_text("#found") == "21–40 of 500 motions"
        page.click("#endings button")
        assert page.inner_text("#found").endswith("of 50 motions, filtered from 500")


def test_a_motion_plays(large, browser):
    """The picture moves, stops, and stands where the slider is; the reference can be taken away."""
    with browser.page(large.path / "report.html") as page:
        page.click("#table tbody tr:nth-child(3)")
        assert page.inner_text("#opened") == "walk_002"
        until(page, "parseFloat(document.getElementById('clock').textContent) > 0.3")
        page.click("#play")
        stopped = page.inner_text("#clock")
        scrub(page, 0)
        first = page.locator("#drawing").screenshot()
        scrub(page, 1000)
        assert page.inner_text("#clock") != stopped
        assert page.inner_text("#clock").startswith("3.00 / 3.00 s · root 15 cm off"), "it drifts by 5 cm/s"
        last = page.locator("#drawing").screenshot()
        assert first != last and len(last) > 5000
        page.uncheck("text=Reference")
        assert page.locator("#drawing").screenshot() != last


def test_the_page_can_be_used_by_keys_alone(large, browser):
    with browser.page(large.path / "report.html") as page:
        page.keyboard.press("/")
        page.keyboard.type("walk_01")
        assert page.evaluate("document.activeElement.id") == "search"
        page.focus("#table tbody tr")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        opened = page.inner_text("#opened")
        assert opened == page.inner_text('#table tr[aria-selected="true"] td.name')
        assert page.evaluate("document.activeElement.dataset.motion") == str(int(opened[-3:]))
        until(page, "document.getElementById('play').textContent === 'Pause'")
        page.keyboard.press(" ")
        assert page.inner_text("#play") == "Play"
        page.focus("#drawing")
        before = page.locator("#drawing").screenshot()
        page.keyboard.press("ArrowLeft")
        assert page.locator("#drawing").screenshot() != before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(large, browser, scheme):
    with browser.page(large.path / "report.html", scheme, width=700) as page:
        brightness = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
        assert (page.evaluate(brightness) > 128) == (scheme == "light")
        page.click("#theme")
        assert (page.evaluate(brightness) > 128) == (scheme == "dark")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            "nothing is wider than a narrow page"
        )


def test_drawings_have_words(large, browser):
    """Every drawing says what it shows, and has a table of the same figures."""
    with browser.page(large.path / "report.html") as page:
        figures = page.locator("figure")
        assert figures.count() == 13
        for figure in figures.all():
            assert len(figure.locator('[role="img"]').first.get_attribute("aria-label")) > 20
            assert figure.locator("details table tbody tr").count() > 0
        nameless = "(e) => !(e.textContent || e.labels?.length || e.ariaLabel || e.title)"
        assert page.evaluate(f"[...document.querySelectorAll('button, input, select')].filter({nameless}).length") == 0


def test_evil_names_are_only_names(made, browser):
    evil_run(made)
    made.event("end", exit_code=0)
    write_report(made.path)
    with browser.page(made.path / "report.html") as page:
        for row in page.locator("#table tbody tr").all():
            row.click()
        assert page.evaluate("window.hacked") is None
        assert page.inner_text("#opened") == EVIL[2]
        assert page.locator("img").count() == 0


def test_no_motion_at_all_is_a_page_too(made, browser):
    made.begin(1)
    made.planned("motion")
    write_report(made.path)
    with browser.page(made.path / "report.html") as page:
        assert texts(page, ".tile b") == ["1", "0", "0", "0", "0", "1"]
        assert not page.is_visible("#diagnosis")
        assert "had not ended" in page.inner_text("#notes")


def test_why_so_little_was_recorded_is_said_on_top(made, browser):
    made.begin(1)
    made.planned("lost", 10.0)
    made.attempt("lost", seconds=0.4)
    made.final("lost", "rejected", "failed")
    write_report(made.path)
    with browser.page(made.path / "report.html") as page:
        told = page.inner_text("#overview #diagnosis")
        assert "0 of 1 motions were recorded" in told and "within 1 s" in told


def test_poses_are_those_of_the_skeleton(made, walk, skeleton, browser, tmp_path):
    """The page's own unpacking and kinematics, against the motion and the skeleton in Python."""
    made.begin(1)
    made.motion_file(walk, "walk")
    run = read_run(made.path)
    ((preview, _),) = pack_batch(run, run.motions[:1], skeleton)
    shapes = character_shapes(HUMANOID.read_text(), "humanoid", skeleton)
    script = (PAGE / "dom.js").read_text() + (PAGE / "preview.js").read_text()
    content = json.dumps({"preview": vars(preview), "character": shapes})
    blank = tmp_path / "blank.html"
    blank.write_text(f"<html data-ready><script>{script}\nconst content = {content};</script>")
    times = [k * 4 / 30 for k in range(round(walk.length * 30 / 4) + 1)]
    with browser.page(blank) as page:
        places = page.evaluate(
            """async (times) => {
                const { clips } = await unpack(content.preview, content.character.bodies.length);
                const bodies = (time) => kinematics(content.character, clips.reference.pose(time));
                return times.map((time) => bodies(time).map(([place]) => place));
            }""",
            times,
        )
    frames = torch.arange(0, walk.num_frames, 4)[: len(times)]
    pick = [torch.tensor(array)[frames] for array in (walk.root_pos, walk.root_rot, walk.joint_rot)]
    expected, _ = skeleton.forward_kinematics(*pick)
    assert np.abs(np.array(places)[: len(frames)] - expected.numpy()).max() < 0.004


FOLLOWING = """async (fps) => {
    let next;
    requestAnimationFrame = (tick) => { next = tick; };
    const player = new Player({}), view = { target: [0, 0, 0] };
    const reference = { pose: (time) => ({ root: [3 * time, 0, 1.1] }) };
    Object.assign(player, { motion: { clips: { reference } }, end: 4, drawing: { view, draw() {} } });
    player.seek(0);
    player.toggle();
    const seen = [];
    for (let frame = 0, before = 0; player.time >= before; frame++) {
        before = player.time;
        next(frame * 1000 / fps);
        seen.push([player.time, 3 * Math.min(player.time, 4) - view.target[0]]);
    }
    return seen;
}"""


@pytest.mark.parametrize("fps", [4, 60])
def test_the_camera_follows_by_time_not_by_frames(browser, tmp_path, fps):
    """Of a character at 3 m/s it is 0.1 s, or 0.3 m, behind at most; when the motion starts again, it is there."""
    blank = tmp_path / "blank.html"
    script = (PAGE / "dom.js").read_text() + (PAGE / "preview.js").read_text()
    blank.write_text(f"<html data-ready><script>{script}</script>")
    with browser.page(blank) as page:
        *seen, (again, lag) = page.evaluate(FOLLOWING, fps)
    assert len(seen) >= 4 * fps and max(time for time, _ in seen) > 4
    assert all(-1e-9 <= behind <= 0.3 for _, behind in seen)
    assert again == 0 and lag == pytest.approx(0, abs=1e-9)


def test_the_scripts_stay_small():
    """A page is sent by mail: what is the same in every one must not be most of it."""
    assert sum(path.stat().st_size for path in Path(PAGE).iterdir()) < 100_000
