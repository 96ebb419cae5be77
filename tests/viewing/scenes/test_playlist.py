"""What can be opened, and what is found in it."""

from __future__ import annotations

import os

import numpy as np
import pytest

from parc_ray.errors import InputError
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.viewing.scenes import playlist as playlist_module
from parc_ray.viewing.scenes.playlist import open_playlist
from tests.motions.samples import legacy_bytes, legacy_terrain, random_motion
from tests.reference import HUMANOID
from tests.viewing.runs import EVIL, look_at_me, motion_file


def kinds(item):
    return [(clip.kind, clip.number) for clip in item.read().clips]


def names(playlist):
    return [item.name for item in playlist.items]


@pytest.fixture()
def run(tmp_path, walk):
    return look_at_me(tmp_path / "out", walk)


def test_a_run(run):
    playlist = open_playlist(run.path)
    states = {item.name: item.state for item in playlist.items}
    assert states == {"walk": "recorded", "later": "recorded", EVIL: "rejected", "gone": "unfinished"}
    by_name = {item.name: item for item in playlist.items}
    assert kinds(by_name["walk"]) == [("reference", 0), ("recording", 0)]
    assert kinds(by_name["later"]) == [("reference", 0), ("recording", 1)]
    assert kinds(by_name[EVIL]) == [("reference", 0), ("attempt", 0), ("attempt", 1)]
    with pytest.raises(InputError, match=r"gone.pkl: no such file"):
        by_name["gone"].read()


def test_a_run_at_work_and_invalid_motions(made, walk):
    """The last line is half written; what is no motion is not there to be seen."""
    made.begin(1)
    made.motion_file(walk, "walk")
    made.final("bad", "invalid", "is empty", path="bad.pkl")
    made.event("shard", shard=0, motions=["walk"], envs=1, deaths=0)
    with (made.path / "journal.jsonl").open("a") as file:
        file.write('{"event": "attempt", "motion": "wal')
    (item,) = open_playlist(made.path).items
    assert (item.name, item.state, kinds(item)) == ("walk", "unfinished", [("reference", 0)])


def test_a_file_of_a_run_is_shown_as_its_motion(run):
    for file in (run.path / "recorded_motions" / "later.pkl", run.path / "failed_attempts" / EVIL / "attempt_1.pkl"):
        (item,) = open_playlist(file).items
        assert item.motion is not None and ("reference", 0) in kinds(item)


def test_a_folder_of_runs_and_files(run, walk):
    """A run's motion is there once, however many files it has; its map of terrains is no motion."""
    motion_file(run.path.parent / "more" / "own.pkl", walk)
    (run.path / "terrain.pkl").write_bytes(b"a map")
    assert sorted(names(open_playlist(run.path.parent))) == sorted(["walk", "later", EVIL, "more/own"])


def test_a_broken_file_among_good_ones(tmp_path, walk):
    motion_file(tmp_path / "a.pkl", walk)
    (tmp_path / "b.pkl").write_bytes(b"junk")
    motion_file(tmp_path / "c" / "d.pkl", walk)
    first, broken, last = open_playlist(tmp_path).items
    assert kinds(first) == kinds(last) == [("motion", 0)] and last.name == "c/d"
    with pytest.raises(InputError, match=r"b.pkl: .*"):
        broken.read()


def test_a_motion_of_the_older_generation(tmp_path):
    motion = random_motion()
    terrain = legacy_terrain(
        motion.terrain.hf, motion.terrain.hf_maxmin, motion.terrain.min_point, np.array([0.4, 0.4])
    )
    frames = np.random.default_rng(0).normal(size=(motion.num_frames, 34)).astype(np.float32)
    content = {"frames": frames, "contacts": motion.contacts, "terrain": terrain, "fps": 30, "loop_mode": "CLAMP"}
    (tmp_path / "old.pkl").write_bytes(legacy_bytes(content))
    scene = open_playlist(tmp_path / "old.pkl").items[0].read()
    assert scene.clips[0].motion.num_frames == motion.num_frames and scene.name == "old"


def test_nothing_to_see(tmp_path):
    with pytest.raises(InputError, match="no such file or folder; give a motion file"):
        open_playlist(tmp_path / "none")
    with pytest.raises(InputError, match="holds no motions; give a motion file"):
        open_playlist(tmp_path)


def test_another_character(tmp_path, walk):
    """The one that is asked for, and motions that are not its."""
    motion_file(tmp_path / "walk.pkl", walk)
    text = HUMANOID.read_text(encoding="utf-8")
    more = text.replace('<body name="head"', '<body name="hat" pos="0 0 .1"/><body name="head"', 1)
    assert more != text
    (tmp_path / "other.xml").write_text(more, encoding="utf-8")
    playlist = open_playlist(tmp_path / "walk.pkl", tmp_path / "other.xml")
    assert playlist.skeleton.num_bodies == 16
    with pytest.raises(InputError, match=r"joint_rot has shape .* the motion is for this character"):
        playlist.items[0].read()
    with pytest.raises(InputError, match=r"missing.xml: no such file"):
        open_playlist(tmp_path / "walk.pkl", tmp_path / "missing.xml")


@pytest.mark.slow
def test_ten_thousand_files_are_not_read_before_they_are_looked_at(tmp_path, walk, monkeypatch):
    content = motion_file_bytes(walk)
    (tmp_path / "m0.pkl").write_bytes(content)
    for k in range(1, 10_000):
        os.link(tmp_path / "m0.pkl", tmp_path / f"m{k}.pkl")
    monkeypatch.setattr(playlist_module, "read_motion", lambda *_: pytest.fail("a motion is read"))
    assert len(open_playlist(tmp_path).items) == 10_000
