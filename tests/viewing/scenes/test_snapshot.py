"""Motions between their frames and beyond their ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from parc_ray.viewing.scenes.snapshot import Snapshots


def test_between_frames_and_beyond_the_ends(walk, skeleton):
    snapshots = Snapshots([walk, replace(walk, loop_mode="WRAP")], skeleton)
    early = snapshots.at([-1.0, 0.0])
    np.testing.assert_allclose(early.position[0], early.position[1], atol=1e-6)
    np.testing.assert_allclose(early.position[0, 0], walk.root_pos[0], atol=1e-6)
    late = snapshots.at([walk.length, walk.length + 5])
    for clip in range(2):
        np.testing.assert_allclose(late.position[clip, 0], walk.root_pos[-1], atol=1e-6)
    half = snapshots.at([10.5 / walk.fps, 10 / walk.fps])
    np.testing.assert_allclose(half.position[0, 0], walk.root_pos[10:12].mean(axis=0), atol=1e-5)
    np.testing.assert_array_equal(half.contact[1], walk.contacts[10] > 0.5)
    frame = [torch.from_numpy(getattr(walk, name)[10]) for name in ("root_pos", "root_rot", "joint_rot")]
    position, rotation = skeleton.forward_kinematics(*frame)
    np.testing.assert_allclose(half.position[1], position.numpy(), atol=5e-4)
    assert np.abs((half.rotation[1] * rotation.numpy()).sum(axis=-1)).min() > 0.9999
