"""Previews, unpacked by other means and compared with the motions that they were made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc_ray.motions.motion_file import parse_motion
from parc_ray.report.previews import pack_batch, pack_integers, pack_previews
from parc_ray.runs.history import read_run
from tests.report.embedded import _numbers, unpacked
from tests.report.made_run import recording_of

START = 0.8


@pytest.fixture()
def packed(made, walk, skeleton):
    """A motion that was recorded from 0.8 s on, and its preview."""
    made.begin(1)
    made.motion_file(walk, "walk")
    recording = recording_of(walk, START, drift=0.1)
    made.attempt("walk", outcome="recorded", start=START, fraction=0.25, recording=recording)
    run = read_run(made.path)
    ((preview, why_not),) = pack_batch(run, run.motions, skeleton)
    assert why_not == "" and preview.note == ""
    return preview, parse_motion(recording, "walk", skeleton, "recording")


@given(st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=30), st.integers(1, 2))
def test_integers_come_back(values, order):
    numbers = np.array(_numbers(pack_integers(np.array([values, values[::-1]]), order))).reshape(2, -1)
    for _ in range(order):
        numbers = numbers.cumsum(axis=1)
    assert numbers.tolist() == [values, values[::-1]]


def test_a_recording_plays_where_its_reference_is(packed, walk, skeleton):
    preview, recording = packed
    found = unpacked(vars(preview), skeleton.num_bodies)
    reference, recorded = (clip for clip in preview.clips)
    assert (reference["kind"], reference["start"], recorded["kind"], recorded["start"]) == (
        "reference",
        0.0,
        "recording",
        START,
    )
    assert recorded["seconds"] == pytest.approx(recording.length, abs=1e-3)
    # 15 frames a second of 30: every other frame is packed as it is.
    np.testing.assert_allclose(found["reference"][:3].T / 1000, walk.root_pos[::2], atol=6e-4)
    expected = walk.root_pos[round(START * 30) :: 2].copy()
    expected[:, 0] += 0.1 * np.arange(len(expected)) / 15
    np.testing.assert_allclose(found["recording"][:3].T / 1000, expected, atol=6e-4)


def test_rotations_and_contacts(packed, walk, skeleton):
    preview, recording = packed
    found = unpacked(vars(preview), skeleton.num_bodies)
    for kind, motion in (("reference", walk), ("recording", recording)):
        channels = found[kind]
        root = channels[3:7].T / 1000
        assert np.abs((root * motion.root_rot[::2]).sum(axis=1)).min() > 0.99999
        joints = channels[7 : 7 + 3 * 14].T.reshape(-1, 14, 3) / 1000
        w = np.sqrt(np.clip(1 - (joints**2).sum(axis=-1, keepdims=True), 0, None))
        agreement = np.abs((np.concatenate([joints, w], axis=-1) * motion.joint_rot[::2]).sum(axis=-1))
        assert agreement.min() > 0.9999
        np.testing.assert_array_equal(channels[-15:].T, motion.contacts[::2] > 0.5)


def test_the_ground_is_that_under_the_path(packed, walk, skeleton):
    preview, _ = packed
    heights = unpacked(vars(preview), skeleton.num_bodies)["heights"]
    _, _, x, y, dx = preview.terrain
    for i, j in np.ndindex(heights.shape):
        point = np.array([x + i * dx, y + j * dx], dtype=np.float32)
        assert heights[i, j] == pytest.approx(float(walk.terrain.height_at(point)), abs=6e-4)
    assert x <= walk.root_pos[:, 0].min() and walk.root_pos[:, 0].max() <= x + dx * (heights.shape[0] - 1)


def test_files_that_are_gone_or_others_now(made, walk, skeleton):
    made.begin(4)
    for name in ("both", "changed", "alone", "nothing"):
        made.motion_file(walk, name)
        made.attempt(name, outcome="recorded", recording=recording_of(walk))
    (made.path / "changed.in").write_bytes(recording_of(walk))
    (made.path / "alone.in").unlink()
    (made.path / "nothing.in").unlink()
    for name in ("both", "nothing"):
        (made.path / "recorded_motions" / f"{name}.pkl").write_bytes(b"not a motion")
    run = read_run(made.path)
    previews = pack_previews(run, skeleton, 10**7)
    kinds = {run.motions[k].name: [clip["kind"] for clip in p.clips] for k, p in previews.by_motion.items()}
    assert kinds == {"both": ["reference"], "changed": ["recording"], "alone": ["recording"]}
    notes = {run.motions[k].name: p.note for k, p in previews.by_motion.items()}
    assert (
        "no recording: " in notes["both"]
        and "has changed since" in notes["changed"]
        and "no such file" in notes["alone"]
    )
    assert list(previews.missing) == [3] and "no such file" in previews.missing[3]


def test_what_there_is_no_room_for_is_counted(made, walk, skeleton):
    made.begin(6)
    for k in range(6):
        made.motion_file(walk, f"m{k}")
        if k < 4:
            made.attempt(f"m{k}", outcome="recorded", recording=recording_of(walk))
        else:
            made.attempt(f"m{k}")
    run = read_run(made.path)
    everything = pack_previews(run, skeleton, 10**7)
    assert len(everything.by_motion) == 6 and everything.left_out == 0
    sizes = [preview.size for preview in everything.by_motion.values()]
    few = pack_previews(run, skeleton, sizes[4] + sizes[5] + sizes[0] + 10)
    assert sorted(few.by_motion) == [0, 4, 5], "first those that were not recorded"
    assert few.left_out == 3 and not few.missing
