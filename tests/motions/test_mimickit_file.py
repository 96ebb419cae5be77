"""MimicKit's motion files as motions, and back."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

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
        ({"frames": [[0.0] * 34, [float("nan")] * 34]}, "not finite, first in row 1"),
        ({"frames": [[0.0] * 34, [9e4, 9e4] + [0.0] * 32]}, "cells of ground. Check its units"),
        ({"frames": "many"}, "no table of numbers"),
    ],
)
def test_what_is_no_motion_is_refused(changes, says):
    with pytest.raises(InputError, match=says) as error:
        parse(**changes)
    assert str(error.value).startswith("clip.pkl: ")
