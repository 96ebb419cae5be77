"""MotionLibrary against what the original's motion library returned, and against the frames themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.character.skeleton import load_skeleton
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.library import MotionLibrary
from parc_ray.motions.motion import Motion
from tests.motions.samples import random_motion
from tests.reference import HUMANOID, max_error, max_rotation_error, tensor, vectors

CPU = torch.device("cpu")
SKELETON = load_skeleton(HUMANOID)
MOTIONS = vectors("motions")
V = vectors("motion_lib")
POSITIONS = {"root_pos": 2e-5, "contacts": 2e-5}
ROTATIONS = {"root_rot": 2e-4, "joint_rot": 2e-4}
VELOCITIES = {"root_vel": 1e-3, "root_ang_vel": 1e-3, "dof_vel": 1e-3}


def reference_motion(index: int) -> Motion:
    rows = slice(MOTIONS["start_idx"][index], MOTIONS["start_idx"][index] + MOTIONS["num_frames"][index])
    return Motion(
        name=str(MOTIONS["names"][index]),
        fps=float(MOTIONS["fps"][index]),
        loop_mode=str(MOTIONS["loop_mode"][index]),
        terrain=HeightField.flat(),
        **{key: MOTIONS[key][rows] for key in ("root_pos", "root_rot", "joint_rot", "contacts")},
    )


LIBRARY = MotionLibrary([reference_motion(index) for index in range(7)], SKELETON, CPU)


def test_motions():
    assert max_error(LIBRARY.lengths, V["motion_lengths"]) <= 1e-6
    assert (LIBRARY.num_frames.numpy() == V["motion_num_frames"]).all()
    assert (LIBRARY.start.numpy() == V["motion_start_idx"]).all()
    assert (LIBRARY.wraps.numpy() == (V["motion_loop_modes"] == 1)).all()
    assert max_error(LIBRARY.stride, V["motion_root_pos_delta"]) <= 2e-5


@pytest.mark.parametrize("name", sorted(VELOCITIES))
def test_velocities_of_all_frames(name):
    assert max_error(getattr(LIBRARY.frames, name), V[f"frame_{name}"]) <= VELOCITIES[name]


@pytest.mark.parametrize("loop_mode", ["CLAMP", "WRAP"])
@pytest.mark.parametrize("prefix", ["rand", "exact"])
def test_frames_at_any_time(prefix, loop_mode):
    """Random times include negative ones and ones past the end; exact ones are multiples of 1 / fps."""
    ids = V[f"{prefix}_ids"]
    rows = np.flatnonzero(V["motion_loop_modes"][ids] == (loop_mode == "WRAP"))
    assert len(rows) > 20
    frames = LIBRARY.sample(tensor(ids[rows]), tensor(V[f"{prefix}_times"][rows]))
    for name, limit in POSITIONS.items():
        assert max_error(getattr(frames, name), V[f"{prefix}_{name}"][rows]) <= limit, name
    for name, limit in ROTATIONS.items():
        assert max_rotation_error(getattr(frames, name), V[f"{prefix}_{name}"][rows]) <= limit, name
    for name, limit in VELOCITIES.items():
        velocity = getattr(frames, name).numpy()
        expected = V[f"{prefix}_{name}"][rows]
        if prefix == "exact":
            # At a frame's exact time, rounding decides which side of it is the lower frame.
            here = V["exact_frame_idx0"][rows]
            neighbours = V[f"frame_{name}"][np.stack([here, np.maximum(here - 1, 0), here + 1])]
            errors = np.abs(velocity - neighbours).max(axis=-1)
            assert errors.min(axis=0).max() <= limit, name
        else:
            assert max_error(velocity, expected) <= limit, name


@settings(deadline=None, max_examples=60)
@given(
    num_frames=st.integers(2, 400),
    fps=st.sampled_from([24.0, 25.0, 30.0, 50.0, 60.0, 120.0]),
    loop_mode=st.sampled_from(["CLAMP", "WRAP"]),
    seed=st.integers(0, 100),
    data=st.data(),
)
def test_the_time_of_a_frame_gives_that_frame(num_frames, fps, loop_mode, seed, data):
    frame = data.draw(st.integers(0, num_frames - 2))
    motion = random_motion(num_frames, fps, (2, 2), seed, loop_mode)
    library = MotionLibrary([random_motion(3, seed=seed + 1), motion], SKELETON, CPU)
    sampled = library.sample(torch.tensor([1]), torch.tensor([frame / fps], dtype=torch.float32))
    rounding = 1e-6 * num_frames  # of the time, in frames; neighbouring frames are a few units apart
    assert max_error(sampled.root_pos[0], motion.root_pos[frame]) <= 10 * rounding
    assert max_rotation_error(sampled.root_rot[0], motion.root_rot[frame]) <= 10 * rounding + 1e-5
    assert max_rotation_error(sampled.joint_rot[0], motion.joint_rot[frame]) <= 10 * rounding + 1e-5
    assert max_error(sampled.contacts[0], motion.contacts[frame]) <= 10 * rounding


@settings(deadline=None, max_examples=30)
@given(frame=st.integers(1, 18), cycle=st.integers(-3, 3), fps=st.sampled_from([24.0, 30.0, 60.0]))
def test_a_wrapped_motion_goes_on_from_where_it_is(frame, cycle, fps):
    motion = random_motion(20, fps, loop_mode="WRAP")
    library = MotionLibrary([motion], SKELETON, CPU)
    time = frame / fps + cycle * motion.length
    sampled = library.sample(torch.tensor([0]), torch.tensor([time], dtype=torch.float32))
    travelled = cycle * (motion.root_pos[-1] - motion.root_pos[0])
    travelled[2] = 0.0
    assert max_error(sampled.root_pos[0], motion.root_pos[frame] + travelled) <= 1e-3
    assert max_rotation_error(sampled.joint_rot[0], motion.joint_rot[frame]) <= 1e-3


def test_clamped_motions_hold_their_ends():
    motion = random_motion(10, loop_mode="CLAMP")
    library = MotionLibrary([motion], SKELETON, CPU)
    frames = library.sample(torch.zeros(4, dtype=torch.int64), torch.tensor([-5.0, 0.0, motion.length, 99.0]))
    assert max_error(frames.root_pos, motion.root_pos[[0, 0, -1, -1]]) <= 1e-6
    assert max_error(frames.contacts, motion.contacts[[0, 0, -1, -1]]) <= 1e-6


def test_a_query_does_not_depend_on_its_company():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(7, (256,), generator=generator)
    times = 8.0 * torch.rand(256, generator=generator) - 1.0
    order = torch.randperm(256, generator=generator)
    whole, shuffled = LIBRARY.sample(ids, times), LIBRARY.sample(ids[order], times[order])
    for name, value in vars(whole).items():
        assert torch.equal(value[order], getattr(shuffled, name)), name
