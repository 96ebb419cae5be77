"""Recordings against those that the original wrote of the same trajectories."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.character.skeleton import load_skeleton
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import parse_motion, read_misc
from parc_ray.recording.recording import Trajectory, recording_file, terrain_padding
from tests.motions.samples import random_motion
from tests.reference import HUMANOID, max_error, max_rotation_error, tensor, vectors

SKELETON = load_skeleton(HUMANOID)
V = vectors("recorder")
ORIGIN = {"source_motion": "walk", "simulator": "mujoco", "attempt": 1, "quality": {"root_error": 0.1}}


def reference_trajectory(env: int) -> Trajectory:
    """What the original simulated in one env, in the frame of its terrain."""
    frames = slice(0, len(V[f"file{env}_frames"]))
    return Trajectory(
        root_pos=V["traj_root_pos"][frames, env] + V["env_offsets"][env],
        root_rot=V["traj_root_rot"][frames, env],
        joint_rot=SKELETON.dof_to_rot(tensor(V["traj_dof_pos"][frames, env])).numpy(),
        contacts=(np.linalg.norm(V["traj_contact_forces"][frames, env], axis=-1) > 1e-5).astype(np.float32),
        observations=None,
    )


def reference_terrain() -> HeightField:
    return HeightField(V["terrain_hf"], V["terrain_hf_maxmin"], V["terrain_min_point"], float(V["terrain_dxdy"][0]))


def parse(content: bytes, name: str = "walk") -> Motion:
    return parse_motion(content, name, SKELETON, "recording")


def sample_trajectory(seed: int = 0, frames: int = 20, observations=None) -> Trajectory:
    motion = random_motion(frames, seed=seed)
    return Trajectory(motion.root_pos, motion.root_rot, motion.joint_rot, motion.contacts, observations)


def source(terrain: HeightField) -> Motion:
    return replace(random_motion(2), name="walk", terrain=terrain)


@pytest.mark.parametrize("env", [0, 1, 2])
def test_recordings_of_the_original(env):
    motion = parse(recording_file(source(reference_terrain()), reference_trajectory(env), 30, ORIGIN, None))
    assert motion.fps == V[f"file{env}_fps"] and motion.loop_mode == V[f"file{env}_loop_mode"]
    assert max_error(motion.root_pos, V[f"file{env}_ms_root_pos"]) <= 2e-5
    # The original's states, interpolated, are unit quaternions within 5e-5; its files went through rotation vectors.
    assert max_rotation_error(motion.root_rot, V[f"file{env}_ms_root_rot"]) <= 5e-5
    assert max_rotation_error(motion.joint_rot, V[f"file{env}_ms_joint_rot"]) <= 1e-5
    assert max_error(motion.contacts, V[f"file{env}_ms_contacts"]) == 0.0
    ours, original = motion.terrain, V[f"file{env}_terrain_hf"]
    assert max_error(ours.min_point, V[f"file{env}_terrain_min_point"]) <= 2e-5
    missing = np.subtract(original.shape, ours.hf.shape)
    assert ((missing == 0) | (missing == 1)).all()
    common = tuple(slice(0, size) for size in np.minimum(original.shape, ours.hf.shape))
    assert max_error(ours.hf[common], original[common]) <= 1e-5
    assert max_error(ours.hf_maxmin[common], V[f"file{env}_terrain_hf_maxmin"][common]) <= 1e-5


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000),
    x=st.floats(-50, 50),
    y=st.floats(-50, 50),
    dx=st.sampled_from([0.1, 0.25, 0.4]),
)
def test_a_recording_starts_above_the_origin_and_keeps_its_height_above_ground(seed, x, y, dx):
    terrain = random_motion(2, terrain_shape=(30, 20), seed=seed, dx=dx).terrain
    terrain = HeightField(terrain.hf, terrain.hf_maxmin, np.array([x, y]), dx)
    trajectory = sample_trajectory(seed)
    first = terrain.min_point + np.float32(dx) * np.array([10, 8], dtype=np.float32) + 0.2 * np.float32(dx)
    root_pos = 0.3 * (trajectory.root_pos - trajectory.root_pos[0])
    root_pos[:, :2] += first
    motion = parse(recording_file(source(terrain), replace(trajectory, root_pos=root_pos), 30, ORIGIN, None))
    assert motion.root_pos[0, :2].tolist() == [0.0, 0.0]
    assert motion.terrain.height_at(np.zeros(2)) == pytest.approx(0.0, abs=1e-6)
    moved = motion.root_pos - root_pos
    assert np.abs(moved - moved[0]).max() <= 2e-5
    # Ground under the path is the same as before, seen from the body.
    cells = (root_pos[:, :2] - terrain.min_point) / np.float32(dx)
    safe = np.abs(np.abs(cells - np.rint(cells)) - 0.5).min(axis=1) > 1e-3
    before = root_pos[:, 2] - terrain.height_at(root_pos[:, :2])
    after = motion.root_pos[:, 2] - motion.terrain.height_at(motion.root_pos[:, :2])
    assert np.abs(before - after)[safe].max() <= 2e-5


@pytest.mark.parametrize(("dx", "cells"), [(0.4, 2), (0.25, 4), (0.5, 2), (0.35, 2), (0.15, 6), (2.0, 0)])
def test_terrain_around_a_recording(dx, cells):
    assert terrain_padding(dx) == pytest.approx(cells * dx, rel=1e-6)


def test_contents_of_a_recording():
    trajectory = sample_trajectory()
    content = recording_file(source(HeightField.flat((9, 9))), trajectory, 60, ORIGIN, {"char_obs": 3})
    motion = parse(content)
    assert (motion.fps, motion.loop_mode, motion.num_frames) == (60.0, "CLAMP", 20)
    assert (motion.root_rot[:, 3] >= 0).all() and (motion.joint_rot[..., 3] >= 0).all()
    assert max_rotation_error(motion.joint_rot, trajectory.joint_rot) == 0.0
    assert max_error(motion.contacts, trajectory.contacts) == 0.0
    assert set(np.unique(motion.contacts)) == {0.0, 1.0}
    assert read_misc(content) == {"recording": ORIGIN}


def test_observations_are_kept_where_they_are_given():
    observations = np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32)
    layout = {"char_obs": {"shape": (3,), "use_normalizer": True}, "hf": {"shape": (4,), "use_normalizer": False}}
    trajectory = sample_trajectory(observations=observations)
    misc = read_misc(recording_file(source(HeightField.flat((9, 9))), trajectory, 30, ORIGIN, layout))
    assert set(misc) == {"recording", "obs", "obs_shapes"}
    assert max_error(misc["obs"], observations) == 0.0
    assert misc["obs_shapes"] == layout


def test_a_recording_can_be_recorded_again():
    """The second time nothing moves any more."""
    trajectory, terrain = reference_trajectory(1), reference_terrain()
    once = parse(recording_file(source(terrain), trajectory, 30, ORIGIN, None))
    again = Trajectory(once.root_pos, once.root_rot, once.joint_rot, once.contacts, None)
    twice = parse(recording_file(source(once.terrain), again, 30, ORIGIN, None))
    for name in ("root_pos", "root_rot", "joint_rot", "contacts"):
        assert max_error(getattr(twice, name), getattr(once, name)) == 0.0, name
    assert max_error(twice.terrain.min_point, once.terrain.min_point) <= 1e-5
    common = tuple(slice(0, size) for size in np.minimum(twice.terrain.hf.shape, once.terrain.hf.shape))
    assert max_error(twice.terrain.hf[common], once.terrain.hf[common]) == 0.0


def test_the_same_trajectory_gives_the_same_bytes():
    trajectory, terrain = reference_trajectory(2), reference_terrain()
    files = {recording_file(source(terrain), trajectory, 30, ORIGIN, None) for _ in range(2)}
    views = replace(trajectory, joint_rot=torch.from_numpy(trajectory.joint_rot).flip(0).flip(0).numpy())
    files.add(recording_file(source(terrain), views, 30, dict(ORIGIN), None))
    assert len(files) == 1
