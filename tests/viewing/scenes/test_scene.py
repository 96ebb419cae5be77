"""Where and when the clips of a scene are, against the motions that they were made of."""

from __future__ import annotations

import numpy as np
import pytest

from parc_ray.errors import InputError
from parc_ray.runs.history import read_run
from parc_ray.viewing.scenes.scene import MARGIN, scene_of_file, scene_of_run
from tests.report.made_run import recording_of
from tests.viewing.runs import EVIL, look_at_me


@pytest.fixture()
def run(tmp_path, walk):
    look_at_me(tmp_path / "out", walk)
    return read_run(tmp_path / "out")


def scene_of(run, name, skeleton, attempts=True):
    (motion,) = [motion for motion in run.motions if motion.name == name]
    return scene_of_run(run, motion, skeleton, attempts)


def test_a_recording_begins_where_its_reference_is_at_that_time(run, walk, skeleton):
    """Recordings have an origin of their own; this one has followed the reference exactly."""
    reference, recording = scene_of(run, "later", skeleton).clips
    assert (recording.start, recording.end) == (0.8, pytest.approx(walk.length))
    np.testing.assert_allclose(recording.path(), walk.root_pos[24:], atol=2e-6)
    np.testing.assert_allclose(reference.path(), walk.root_pos, atol=2e-6)
    assert np.abs(recording.motion.root_pos[0, :2]).max() < 1e-6, "its own first frame is at the origin"


def test_kept_attempts_and_where_they_ended(run, walk, skeleton):
    _, first, second = scene_of(run, EVIL, skeleton).clips
    assert (first.start, second.start) == (0.0, 0.8)
    assert (first.end, second.end) == (pytest.approx(1.5), pytest.approx(1.8))
    drifted = walk.root_pos[45] + np.array([0.2 * 1.5, 0, 0])
    np.testing.assert_allclose(first.path()[-1], drifted, atol=1e-5)
    np.testing.assert_allclose(second.path()[-1], walk.root_pos[54], atol=1e-5)
    assert first.ending == f"{EVIL} after 1.50 s" and second.ending == "max_penetration"
    assert [clip.kind for clip in scene_of(run, EVIL, skeleton, attempts=False).clips] == ["reference"]


def test_the_scene_lasts_as_long_as_its_clips_and_has_the_ground_below_them(run, walk, skeleton):
    scene = scene_of(run, "walk", skeleton)
    assert scene.seconds == pytest.approx(walk.length)
    for clip in scene.clips:
        points = clip.path()[:, :2].astype(np.float32)
        np.testing.assert_array_equal(scene.terrain.height_at(points), walk.terrain.height_at(points))
    assert scene.terrain.hf.size < walk.terrain.hf.size or np.ptp(walk.root_pos[:, 0]) + 2 * MARGIN > 3


def test_what_is_missing_is_said(run, walk, skeleton):
    (run.path / "recorded_motions" / "walk.pkl").write_bytes(b"junk")
    scene = scene_of(run, "walk", skeleton)
    assert [clip.kind for clip in scene.clips] == ["reference"] and "no recording: " in scene.notes[0]
    (run.path / "later.in").write_bytes(recording_of(walk))
    scene = scene_of(run, "later", skeleton)
    assert [clip.kind for clip in scene.clips] == ["recording"] and "has changed since" in scene.notes[0]
    (run.path / f"{EVIL}.in").unlink()
    scene = scene_of(run, EVIL, skeleton)
    assert [(clip.kind, clip.number) for clip in scene.clips] == [("attempt", 0)]
    assert "attempt 1 is left out" in scene.notes[-1]
    with pytest.raises(InputError, match=r"no reference: .*gone.pkl"):
        scene_of(run, "gone", skeleton)


def test_a_motion_by_itself(walk):
    scene = scene_of_file(walk)
    assert [(clip.kind, clip.start, clip.offset) for clip in scene.clips] == [("motion", 0.0, (0.0, 0.0, 0.0))]
    assert scene.seconds == pytest.approx(walk.length) and scene.name == "walk"
