"""Playing, without a page."""

from __future__ import annotations

import numpy as np
import pytest

from parc_ray.errors import InputError
from parc_ray.viewing.scenes.playback import REST, Playback
from parc_ray.viewing.scenes.playlist import open_playlist
from tests.viewing.runs import EVIL, look_at_me, motion_file


@pytest.fixture()
def playback(tmp_path, walk):
    return Playback(open_playlist(look_at_me(tmp_path / "out", walk).path))


def go_to(playback, name):
    playback.open([item.name for item in playback.playlist.items].index(name))


def test_time_goes_by_the_clock_and_the_speed(playback, walk):
    playback.advance(1.0)
    assert playback.time == 0.0, "it does not play yet"
    playback.toggle()
    for _ in range(10):
        playback.advance(0.1)
    assert playback.time == pytest.approx(1.0)
    playback.speed = 0.5
    playback.advance(1.0)
    assert playback.time == pytest.approx(1.5)
    playback.toggle()
    playback.advance(1.0)
    assert playback.time == pytest.approx(1.5) and not playback.playing


def test_the_end(playback, walk):
    playback.toggle()
    playback.advance(walk.length + REST / 2)
    assert playback.playing and playback.shown_time == pytest.approx(walk.length), "rests a moment"
    playback.advance(REST)
    assert playback.time == 0.0
    playback.loop = False
    playback.advance(99)
    assert (playback.shown_time, playback.playing) == (pytest.approx(walk.length), False)
    playback.toggle()
    assert (playback.time, playback.playing) == (0.0, True), "once more"
    playback.seek(-3)
    assert (playback.time, playback.playing) == (0.0, False)
    playback.seek(99)
    assert playback.time == pytest.approx(walk.length)


def test_attempts_come_stand_still_and_fail(playback, walk):
    go_to(playback, EVIL)
    reference, first, second = playback.clips
    shown = {}
    for time in (0.0, 0.79, 0.8, 1.49, 1.5, 1.8, 3.0):
        playback.seek(time)
        shown[time] = [(playback.is_visible(clip), playback.has_failed(clip)) for clip in (first, second)]
        assert playback.is_visible(reference) and not playback.has_failed(reference)
    assert shown[0.0] == [(True, False), (False, False)]
    assert shown[0.79] == shown[0.0] and shown[0.8] == shown[1.49] == [(True, False), (True, False)]
    assert shown[1.5] == [(True, True), (True, False)] and shown[1.8] == shown[3.0] == [(True, True), (True, True)]
    snapshot = playback.snapshot()
    np.testing.assert_allclose(snapshot.position[1, 0], walk.root_pos[45] + [0.3, 0, 0], atol=1e-4)
    np.testing.assert_allclose(snapshot.position[2, 0], walk.root_pos[54], atol=1e-4)
    playback.hidden.add(("attempt", 0))
    assert not playback.is_visible(first) and not playback.has_failed(first)
    go_to(playback, "walk")
    go_to(playback, EVIL)
    assert not playback.is_visible(playback.clips[1]), "what is switched off stays off"


def test_the_next_and_those_that_are_searched_for(playback):
    order = [item.name for item in playback.playlist.items]
    assert playback.item.name == order[0] == "walk"
    playback.step(1)
    assert playback.item.name == order[1]
    playback.step(-1)
    playback.step(-1)
    assert playback.item.name == order[-1] == "gone" and "no such file" in playback.problem, "around"
    assert playback.clips == () and playback.seconds == 0.0
    playback.toggle()
    playback.advance(1.0)
    playback.step(1)
    assert playback.item.name == "walk" and playback.problem == "" and playback.playing
    playback.search("", "rejected")
    assert playback.item.name == EVIL
    playback.step(1)
    assert playback.item.name == EVIL, "the only one"
    playback.search("LATE ", "recorded")
    assert [order[k] for k in playback.found] == [playback.item.name] == ["later"]
    playback.search("nothing like it", "")
    playback.step(1)
    assert playback.found == [] and playback.item.name == "later"


def test_the_camera_follows_without_nodding(playback, walk):
    path = walk.root_pos
    places = []
    for time in np.linspace(0, walk.length, 30):
        playback.seek(float(time))
        places.append(playback.focus())
        assert np.abs(places[-1] - path[round(time * walk.fps)]).max() < 0.3
    assert np.ptp(np.diff(places, 2, axis=0)[:, 2]) < np.ptp(np.diff(path[:: len(path) // 30], 2, axis=0)[:, 2]) + 1e-3
    way = path[-1] - path[0]
    assert playback.heading() == pytest.approx(np.arctan2(way[1], way[0]), abs=1e-5)


def test_the_first_that_can_be_read_is_opened(tmp_path, walk):
    (tmp_path / "a.pkl").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"a.pkl: is not a readable pickle"):
        Playback(open_playlist(tmp_path / "a.pkl"))
    (tmp_path / "b.pkl").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"none of its 2 motions can be shown. .*a.pkl"):
        Playback(open_playlist(tmp_path))
    motion_file(tmp_path / "c.pkl", walk)
    assert Playback(open_playlist(tmp_path)).item.name == "c"
