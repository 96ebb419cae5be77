from __future__ import annotations

import os
import pickle
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.character.skeleton import load_skeleton
from parc_ray.errors import InputError, OutputError
from parc_ray.files.writing import write_file_atomic
from parc_ray.motions.motion_file import motion_file_bytes, parse_motion, read_misc, read_motion
from tests.motions.samples import legacy_bytes, legacy_terrain, parc_package, random_motion
from tests.reference import HUMANOID, max_error, vectors

RECORDER = vectors("recorder")
SKELETON = load_skeleton(HUMANOID)
ARRAYS = ("root_pos", "root_rot", "joint_rot", "contacts")
TERRAIN_ARRAYS = ("hf", "hf_maxmin", "min_point")
CURRENT = motion_file_bytes(random_motion(), {"note": "kept", "obs": np.zeros((5, 3), dtype=np.float32)})


def parse(content: bytes):
    return parse_motion(content, "sample", SKELETON, "some/file.pkl")


def assert_same(actual, expected):
    for name in ARRAYS:
        assert getattr(actual, name).dtype == np.float32
        assert getattr(actual, name).flags.writeable
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name))
    for name in TERRAIN_ARRAYS:
        assert getattr(actual.terrain, name).dtype == np.float32
        np.testing.assert_array_equal(getattr(actual.terrain, name), getattr(expected.terrain, name))
    for name in ("name", "fps", "loop_mode", "num_frames", "length"):
        assert getattr(actual, name) == getattr(expected, name)
    assert actual.terrain.dx == expected.terrain.dx


def parts_of(content: bytes) -> dict:
    return {key: pickle.loads(part) for key, part in pickle.loads(content).items()}


def bytes_of(parts: dict, protocol: int = 4) -> bytes:
    return pickle.dumps({key: pickle.dumps(part, protocol) for key, part in parts.items()}, protocol)


def legacy_parts(i: int = 1) -> dict:
    terrain = legacy_terrain(
        RECORDER[f"file{i}_terrain_hf"],
        RECORDER[f"file{i}_terrain_hf_maxmin"],
        RECORDER[f"file{i}_terrain_min_point"],
        RECORDER["terrain_dxdy"],
    )
    return {
        "fps": int(RECORDER[f"file{i}_fps"]),
        "loop_mode": str(RECORDER[f"file{i}_loop_mode"]),
        "frames": RECORDER[f"file{i}_frames"],
        "contacts": RECORDER[f"file{i}_contacts"],
        "obs": RECORDER[f"file{i}_obs_last"],
        "terrain": terrain,
    }


# Round trips


@given(
    num_frames=st.integers(2, 20),
    fps=st.integers(1, 240) | st.floats(0.5, 240),
    terrain_shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**32 - 1),
    loop_mode=st.sampled_from(["CLAMP", "WRAP"]),
    dx=st.floats(0.01, 10),
)
def test_round_trip(num_frames, fps, terrain_shape, seed, loop_mode, dx):
    motion = random_motion(num_frames, fps, terrain_shape, seed, loop_mode, dx)
    assert_same(parse(motion_file_bytes(motion)), motion)


def test_length():
    motion = parse(motion_file_bytes(random_motion(num_frames=61, fps=30)))
    assert motion.num_frames == 61
    assert motion.length == 2.0


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("numpy_name", [b"numpy.core", b"numpy._core"])
def test_reads_what_other_programs_write(numpy_name, protocol):
    parts = parts_of(CURRENT)
    parts["terrain_data"]["dx"] = np.float32(0.4)
    parts["motion_data"]["fps"] = np.int64(30)
    parts["motion_data"]["root_pos"] = np.asfortranarray(parts["motion_data"]["root_pos"], dtype=np.float64)
    expected = random_motion(dx=float(np.float32(0.4)))
    if protocol == 3:
        written = {key: pickle.dumps(part, protocol).replace(b"numpy._core", numpy_name) for key, part in parts.items()}
        assert_same(parse(pickle.dumps(written, protocol)), expected)
    else:
        assert_same(parse(bytes_of(parts, protocol)), expected)


def test_is_readable_as_parc_reads_it_with_numpy_1():
    assert b"numpy._core" not in CURRENT
    expected = random_motion()
    parts = parts_of(CURRENT)
    motion, terrain = parts["motion_data"], parts["terrain_data"]
    assert set(motion) == {"root_pos", "root_rot", "joint_rot", "body_contacts", "fps", "loop_mode"}
    assert set(terrain) == {"hf", "hf_maxmin", "min_point", "dx"}
    assert (type(motion["fps"]), type(terrain["dx"])) == (int, float)
    assert motion["root_pos"].flags.writeable, "torch.from_numpy warns of read-only arrays"
    np.testing.assert_array_equal(motion["joint_rot"], expected.joint_rot)
    np.testing.assert_array_equal(terrain["hf"], expected.terrain.hf)
    assert type(parts_of(motion_file_bytes(random_motion(fps=29.97), {}))["motion_data"]["fps"]) is float
    assert pickle.loads(motion_file_bytes(expected))["misc_data"] is None


# The older generation


@pytest.mark.parametrize("i", [0, 1, 2])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_legacy_motions(i, protocol):
    motion = parse(legacy_bytes(legacy_parts(i), protocol))
    assert max_error(motion.root_pos, RECORDER[f"file{i}_ms_root_pos"]) == 0
    assert max_error(motion.root_rot, RECORDER[f"file{i}_ms_root_rot"]) <= 2e-6
    assert max_error(motion.joint_rot, RECORDER[f"file{i}_ms_joint_rot"]) <= 2e-6
    assert max_error(motion.contacts, RECORDER[f"file{i}_ms_contacts"]) == 0
    assert min(motion.root_rot[..., 3].min(), motion.joint_rot[..., 3].min()) >= 0
    assert (motion.fps, motion.loop_mode) == (30, "CLAMP")
    assert max_error(motion.terrain.hf, RECORDER[f"file{i}_terrain_hf"]) == 0
    assert max_error(motion.terrain.hf_maxmin, RECORDER[f"file{i}_terrain_hf_maxmin"]) == 0
    assert max_error(motion.terrain.min_point, RECORDER[f"file{i}_terrain_min_point"]) == 0
    assert motion.terrain.dx == float(RECORDER["terrain_dxdy"][0])


def test_legacy_variants():
    plain = parse(legacy_bytes(legacy_parts()))
    batched, exported, older = legacy_parts(), legacy_parts(), legacy_parts()
    batched.update(frames=batched["frames"][None], contacts=batched["contacts"][None])
    exported.update(fps=1 / 0.0333, hf_mask_inds=[torch.zeros(2)])
    del exported["loop_mode"]
    del older["contacts"], older["fps"], older["terrain"].hf_maxmin
    assert_same(parse(legacy_bytes(batched)), plain)
    assert_same(parse(legacy_bytes(exported)), plain)
    motion = parse(legacy_bytes(older))
    assert motion.fps == 30
    assert not motion.contacts.any()
    assert max_error(motion.terrain.hf_maxmin[..., 0], motion.terrain.hf) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"frames": np.zeros((5, 33), dtype=np.float32)},
            r"frames has shape \[5, 33\] instead of \[any, 34\]",
        ),
        ({"frames": np.full((5, 34), np.nan, dtype=np.float32)}, "key 'frames': the root position is not finite"),
        ({"frames": torch.zeros(5, 34, dtype=torch.bfloat16)}, r"torch\.BFloat16Storage"),
        ({"terrain": None}, "has no terrain"),
        ({"terrain": {"hf": 1}}, "has no terrain"),
        ({"contacts": np.zeros((4, 15), dtype=np.float32)}, "body_contacts has shape"),
    ],
)
def test_unusable_legacy_motions(change, message):
    with pytest.raises(InputError, match=message):
        parse(legacy_bytes({**legacy_parts(), **change}))


def test_tensors_and_unset_joints_of_either_generation():
    legacy = legacy_parts()
    frames = torch.from_numpy(legacy["frames"]).clone()
    frames[:, 9:12] = np.nan
    head = SKELETON.body_index("head") - 1
    motion, plain = parse(legacy_bytes({**legacy, "frames": frames})), parse(legacy_bytes(legacy))
    assert max_error(motion.root_pos, plain.root_pos) == 0
    assert max_error(motion.joint_rot[:, head], np.tile([0.0, 0.0, 0.0, 1.0], (len(frames), 1))) == 0
    assert "joint neck" in motion.notes[0] and plain.notes == ()
    parts = parts_of(CURRENT)
    rotations = torch.from_numpy(parts["motion_data"]["joint_rot"].copy())
    rotations[:, head] = np.nan
    parts["motion_data"] = {**parts["motion_data"], "joint_rot": rotations, "notes": ["not ours"]}
    assert parse(bytes_of(parts)).notes == motion.notes
    parts["motion_data"]["joint_rot"][1, head] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    with pytest.raises(InputError, match="the joint neck is not finite in 4 frames, first in frame 0"):
        parse(bytes_of(parts))


def test_legacy_terrain_needs_square_cells():
    parts = legacy_parts()
    parts["terrain"].dxdy = np.array([0.4, 0.5], dtype=np.float32)
    with pytest.raises(InputError, match="not square"):
        parse(legacy_bytes(parts))


# Extras


def test_misc():
    misc = read_misc(CURRENT)
    assert misc["note"] == "kept"
    assert misc["obs"].shape == (5, 3)
    assert read_misc(motion_file_bytes(random_motion())) == {}
    assert list(read_misc(legacy_bytes(legacy_parts()))) == ["obs"]


@dataclass
class Constraint:
    """As PARC's optimisation leaves them in a file."""

    point: torch.Tensor
    loop: object = None


def test_what_is_not_plain_in_misc_is_left_out():
    """PARC's preprocessing writes lists of tensors into the files of a dataset, and its classes may be among them."""
    parts = parts_of(CURRENT)
    constraint = Constraint(torch.zeros(3))
    constraint.loop = constraint
    parts["misc_data"].update(
        hf_mask_inds=[torch.zeros((4, 2), dtype=torch.int64), torch.ones(1)], body_constraints=[[constraint]],
        places={"here": Path("x")}, kinds=defaultdict(list, a=[1]),
    )  # fmt: skip
    content = bytes_of(parts)
    assert_same(parse(content), random_motion())
    misc = read_misc(content, "some.pkl")
    assert misc.keys() == parts_of(CURRENT)["misc_data"].keys()


def test_only_plain_misc_can_be_written():
    with pytest.raises(InputError, match="torch"):
        motion_file_bytes(random_motion(), {"tensor": torch.zeros(3)})


# Unusable files


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("motion_data", "root_pos", None, "root_pos is missing"),
        ("motion_data", "root_pos", [[0.0] * 3] * 5, "root_pos is a list instead of an array of numbers"),
        ("motion_data", "root_pos", np.zeros((5, 3), dtype="U4"), "root_pos is an array of"),
        ("motion_data", "root_pos", np.zeros((4, 3)), r"root_rot has shape \[5, 4\] instead of \[4, 4\]"),
        ("motion_data", "root_pos", np.zeros((1, 3)), r"1 frame\(s\), but a motion needs at least 2"),
        ("motion_data", "root_pos", np.full((5, 3), np.inf), "root_pos is not finite, first in row 0"),
        ("motion_data", "root_pos", np.full((5, 3), 1e300), "root_pos is not finite"),
        ("motion_data", "root_rot", np.zeros((5, 4)), "root_rot is not a unit quaternion, first in row 0"),
        ("motion_data", "joint_rot", np.ones((5, 13, 4)) / 2, r"\[5, 13, 4\] instead of \[5, 14, 4\]"),
        ("motion_data", "joint_rot", np.ones((5, 14, 4)), "joint_rot is not a unit quaternion"),
        ("motion_data", "body_contacts", np.zeros((5, 14)), "body_contacts has shape"),
        ("motion_data", "body_contacts", np.full((5, 15), np.nan), "body_contacts is not finite"),
        ("motion_data", "fps", 0, "fps is"),
        ("motion_data", "fps", float("nan"), "fps is nan instead of a positive number"),
        ("motion_data", "fps", 10**400, "fps is"),
        ("motion_data", "fps", True, "fps is True"),
        ("motion_data", "fps", "30", "fps is '30'"),
        ("motion_data", "loop_mode", "PINGPONG", "'PINGPONG'. Known are CLAMP and WRAP"),
        ("motion_data", "loop_mode", 1, "loop_mode is 1"),
        ("terrain_data", "hf", np.zeros(5), r"terrain hf has shape \[5\]"),
        ("terrain_data", "hf", np.zeros((0, 3)), "0 cells"),
        ("terrain_data", "hf", np.full((4, 3), np.nan), "terrain hf is not finite"),
        ("terrain_data", "hf_maxmin", np.zeros((4, 2, 2)), "terrain hf_maxmin has shape"),
        ("terrain_data", "min_point", np.zeros(3), "terrain min_point has shape"),
        ("terrain_data", "dx", 0.0, "terrain dx is"),
        ("terrain_data", "dx", None, "terrain dx is missing"),
    ],
)
def test_unusable_motions_are_named(part, key, value, message):
    parts = parts_of(CURRENT)
    parts[part][key] = value
    with pytest.raises(InputError, match=message) as caught:
        parse(bytes_of(parts))
    assert str(caught.value).startswith("some/file.pkl: ")


def sound(num_frames=2, **changes):
    """The parts of a motion at rest, with other values."""
    rotations = np.zeros((num_frames, 15, 4), dtype=np.uint8)
    rotations[..., 3] = 1
    hf = np.zeros((2, 2), dtype=np.float32)
    parts = {
        "motion_data": {"root_pos": np.zeros((num_frames, 3), dtype=np.uint8), "root_rot": rotations[:, 0],
                        "joint_rot": rotations[:, 1:], "body_contacts": None, "fps": 30, "loop_mode": "CLAMP"},
        "terrain_data": {"hf": hf, "min_point": np.zeros(2), "dx": 0.4},
    }  # fmt: skip
    for key, value in changes.items():
        parts["motion_data" if key in parts["motion_data"] else "terrain_data"][key] = value
    return bytes_of(parts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (sound(fps=1e-6), "lasts 1e\\+06 s with its fps of 1e-06, but at most 3600 s"),
        (sound(fps=1e-300), "fps is 1e-300 instead of a positive number"),
        (sound(fps=1e308), "fps is 1e\\+308 instead of a positive number"),
        (sound(3602, fps=1), "lasts 3601 s"),
        (sound(1_000_001, fps=1000), "has 1000001 frames, but at most 1000000"),
        (sound(root_pos=np.full((2, 3), 1e30)), "root_pos reaches 1e\\+30 m from the origin, but at most 100000 m"),
        (sound(root_pos=np.full((2, 3), -2e5)), "root_pos reaches 200000 m"),
        (sound(hf=np.full((2, 2), 1e30)), "terrain hf reaches 1e\\+30 m"),
        (sound(min_point=np.array([1e30, 0])), "terrain min_point reaches 1e\\+30 m"),
        (sound(hf=np.zeros((200, 1)), dx=999.0), "the far end of its terrain reaches 199800 m"),
        (sound(dx=1e-6), "terrain dx is 1e-06 instead of a positive number \\(0.001 to 1000\\)"),
        (sound(dx=1e30), "terrain dx is 1e\\+30 instead"),
        (sound(hf=np.zeros((3163, 3163), dtype=bool)), "its terrain has 10004569 cells"),
        (sound(hf=np.zeros((2**30, 0))), "its terrain has 0 cells"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_absurd_numbers(content, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(content)
    assert str(caught.value).startswith("some/file.pkl: ")


def test_the_bounds_themselves_are_possible():
    assert parse(sound(3601, fps=1)).length == 3600.0
    assert parse(sound(root_pos=np.full((2, 3), 1e5))).num_frames == 2
    assert parse(sound(10_000, fps=1e6)).length == pytest.approx(0.009999)


def test_terrain_must_not_be_absurdly_large(monkeypatch):
    monkeypatch.setattr("parc_ray.motions.motion_file.MAX_TERRAIN_CELLS", 11)
    with pytest.raises(InputError, match="12 cells"):
        parse(CURRENT)


def test_optional_values():
    parts = parts_of(CURRENT)
    parts["motion_data"]["body_contacts"] = None
    del parts["terrain_data"]["hf_maxmin"]
    expected = random_motion()
    hf = expected.terrain.hf
    terrain = replace(expected.terrain, hf_maxmin=np.stack([hf, hf], axis=-1))
    zeros = np.zeros((5, 15), dtype=np.float32)
    assert_same(parse(bytes_of(parts)), replace(expected, contacts=zeros, terrain=terrain))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 a torch checkpoint", "not a readable pickle"),
        (pickle.dumps([1]), "is not a motion file"),
        (pickle.dumps({"model": 1}), "is not a motion file"),
        (pickle.dumps({"motion_data": None, "terrain_data": None, "misc_data": None}), "has no motion_data"),
        (pickle.dumps({"motion_data": {}, "terrain_data": b""}), "motion_data is a dict instead of a pickle"),
        (pickle.dumps({"motion_data": pickle.dumps([1])}), "motion_data is a list instead of a dict"),
        (pickle.dumps({"motion_data": pickle.dumps({})}), "has no terrain_data"),
        (pickle.dumps({**pickle.loads(CURRENT), "terrain_data": None}), "has no terrain_data"),
    ],
)
def test_other_files_are_refused(content, message):
    with pytest.raises(InputError, match=message):
        parse(content)


class Evil:
    """Makes a directory when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("place", ["container", "motion_data", "terrain_data", "misc_data", "legacy", "terrain"])
def test_no_code_from_a_motion_file_runs(tmp_path, place):
    evil = Evil(tmp_path / "ran")
    parts, legacy = parts_of(CURRENT), legacy_parts()
    if place == "container":
        content = pickle.dumps({**pickle.loads(CURRENT), "more": evil})
    elif place == "legacy":
        content = legacy_bytes({**legacy, "frames": evil})
    elif place == "terrain":
        legacy["terrain"].hf = evil
        content = legacy_bytes(legacy)
    else:
        parts[place]["more"] = evil
        content = bytes_of(parts)
    if place == "misc_data":
        assert "more" not in read_misc(content)
    else:
        with pytest.raises(InputError, match=r"asks for \w+\.mkdir"):
            parse(content)
    assert not evil.proof.exists()
    with parc_package():
        for part in pickle.loads(content).values():
            if isinstance(part, bytes):
                pickle.loads(part)
    assert evil.proof.exists(), "the attack does not work, so it proves nothing"


LEGACY = legacy_bytes(legacy_parts())


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@settings(max_examples=200)
@given(
    content=st.sampled_from([CURRENT, LEGACY]),
    flips=st.lists(st.tuples(st.integers(0), st.integers(0, 7)), max_size=4),
    near_start=st.booleans(),
    cut=st.none() | st.integers(0),
)
def test_damaged_files_are_refused_or_plain(content, flips, near_start, cut):
    damaged = bytearray(content)
    for position, bit in flips:
        # Most of a file is numbers; its structure lies in the first bytes of it and of its parts.
        damaged[position % (400 if near_start else len(damaged))] ^= 1 << bit
    if cut is not None:
        del damaged[cut % len(damaged) :]
    for read in (parse, read_misc):
        with suppress(InputError):
            read(bytes(damaged))


# Files


def test_read_motion(tmp_path):
    path = tmp_path / "jump_001.pkl"
    path.write_bytes(CURRENT)
    assert_same(read_motion(path, SKELETON), replace(random_motion(), name="jump_001"))
    with pytest.raises(InputError, match=r"none.pkl: no such file"):
        read_motion(tmp_path / "none.pkl", SKELETON)
    with pytest.raises(InputError, match="cannot be read"):
        read_motion(tmp_path, SKELETON)


def test_write_file_atomic(tmp_path):
    path = tmp_path / "file.pkl"
    umask = os.umask(0o027)
    try:
        write_file_atomic(path, b"first")
        write_file_atomic(path, b"second")
    finally:
        os.umask(umask)
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, error):
    path = tmp_path / "file.pkl"
    path.write_bytes(b"old")

    def fail(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        write_file_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_into_a_missing_directory(tmp_path):
    with pytest.raises(OutputError, match=r"none.file.pkl: cannot be written"):
        write_file_atomic(tmp_path / "none" / "file.pkl", b"")
