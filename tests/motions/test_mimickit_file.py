"""MimicKit's motion files as motions, and back."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from parc_ray.character.skeleton import load_skeleton
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.errors import InputError
from parc_ray.motions.mimickit_file import mimickit_file_bytes
from parc_ray.motions.motion_file import parse_motion, read_misc
from tests.reference import DATA, HUMANOID, max_error

SKELETON = load_skeleton(HUMANOID)
STAND = (DATA / "mimickit" / "stand.pkl").read_bytes()
CLIP = pickle.loads(STAND)


def parse(**changes):
    return parse_motion(pickle.dumps({**CLIP, **changes}), "clip", SKELETON, "clip.pkl")


def test_a_file_is_a_motion_on_level_ground_without_labels():
    motion = parse_motion(STAND, "stand", SKELETON, "stand.pkl")
    frames = np.array(CLIP["frames"])
    assert max_error(motion.root_pos, frames[:, :3]) <= 1e-6, "it stays where it is"
    assert (motion.fps, motion.loop_mode, motion.labelled) == (30.0, "CLAMP", False)
    assert motion.terrain.is_flat and motion.terrain.hf.max() == 0.0 and not motion.contacts.any()
    low = motion.terrain.min_point
    high = low + motion.terrain.dx * (np.array(motion.terrain.hf.shape) - 1)
    assert (low <= motion.root_pos[:, :2].min(0) - 4.0).all() and (high >= motion.root_pos[:, :2].max(0) + 4.0).all()


def test_both_numbers_of_loop_modes_are_known():
    assert parse(loop_mode=1).loop_mode == "WRAP"
    assert parse(loop_mode=np.int64(0)).loop_mode == "CLAMP"


def unset(columns, rows=slice(None)):
    """Frames of a body that stands still, with NaN in some columns."""
    frames = np.tile(CLIP["frames"][0], (4, 1))
    frames[rows, columns] = np.nan
    return frames


@pytest.mark.parametrize("columns", [slice(9, 12), slice(10, 11)])
def test_a_joint_that_is_never_set_is_the_identity(columns):
    """MimicKit's own humanoid_walk.pkl has NaN for the neck in all frames, and plays it so."""
    motion = parse(frames=unset(columns))
    head = SKELETON.body_index("head") - 1
    assert max_error(motion.joint_rot[:, head], np.tile([0.0, 0.0, 0.0, 1.0], (4, 1))) == 0
    others = np.delete(motion.joint_rot, head, axis=1)
    assert max_error(others, np.delete(parse(frames=unset(slice(0))).joint_rot, head, axis=1)) == 0
    assert motion.notes == ("joint neck has no finite value in any frame; it is taken as the identity",)
    assert parse().notes == ()


@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_are_numbers(protocol):
    """MimicKit's own humanoid_double_kong.pkl has a tensor for its frames per second."""
    changes = {"fps": torch.tensor(60.0), "loop_mode": torch.tensor(1), "frames": torch.tensor(CLIP["frames"])}
    motion = parse_motion(pickle.dumps({**CLIP, **changes}, protocol), "clip", SKELETON, "clip.pkl")
    assert (motion.fps, motion.loop_mode) == (60.0, "WRAP")
    assert max_error(motion.joint_rot, parse().joint_rot) <= 1e-6


@pytest.mark.parametrize("kind", ["walk", "turn"])
def test_written_frames_are_plain_and_give_the_same_motion(kind):
    motion = generate_motion(MotionSpec(kind, 5, 1.0), SKELETON, kind)
    content = mimickit_file_bytes(motion, SKELETON, {"recording": {"seed": 3}})
    plain = pickle.loads(content)
    assert (plain["loop_mode"], plain["fps"], type(plain["frames"]), len(plain["frames"][0])) == (0, 30, list, 34)
    again = parse_motion(content, kind, SKELETON, "file")
    assert max_error(again.root_pos, motion.root_pos) <= 1e-6
    turned = np.abs((again.joint_rot * motion.joint_rot).sum(-1))
    assert turned.min() > 1 - 1e-5 and (again.contacts == motion.contacts).all() and again.labelled
    assert read_misc(content) == {"recording": {"seed": 3}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loop_mode": 2}, "key 'loop_mode' is 2 instead of 0"),
        ({"loop_mode": None}, "key 'loop_mode' is None"),
        ({"fps": 0}, "key 'fps' is 0"),
        ({"fps": [[30]]}, "key 'fps' is a list"),
        ({"frames": [[0.0] * 33] * 4}, r"shape \[4, 33\] instead of \[any, 34\]: is it for this character"),
        ({"frames": [[0.0] * 34]}, "has 1 frame"),
        ({"frames": [[0.0] * 34, [float("nan")] * 34]}, "key 'frames': the root position is not finite in frame 1"),
        ({"frames": unset(slice(3, 6))}, r"the root rotation is not finite in 4 frames, first in frame 0"),
        (
            {"frames": unset(slice(9, 10), rows=slice(2, 4))},
            "the joint neck is not finite in 2 frames, first in frame 2",
        ),
        ({"fps": torch.tensor([30.0, 60.0])}, "key 'fps' is a ndarray"),
        ({"frames": [[0.0] * 34, [9e4, 9e4] + [0.0] * 32]}, "cells of ground. Check its units"),
        ({"frames": "many"}, "no table of numbers"),
    ],
)
def test_what_is_no_motion_is_refused(changes, says):
    with pytest.raises(InputError, match=says) as error:
        parse(**changes)
    assert str(error.value).startswith("clip.pkl: ")
