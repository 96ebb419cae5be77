from __future__ import annotations

import os
import pickle
import pickletools
import struct
import sys
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.errors import InputError
from parc_ray.files.plain_pickle import dumps, loads

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers(), st.text()), inner, max_size=4)
    ),
    max_leaves=20,
)
arrays = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    np.arange(12, dtype=np.int64).reshape(3, 4)[::2, 1:],
    np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(1, 0, 2),
    np.zeros((0, 3), dtype=np.float32),
    np.array(5, dtype=np.uint8),
    np.array([True, False]),
    np.array([1.0, 2.0], dtype=">f4"),
    np.array(["left", "right_foot"]),
    np.array([1 + 2j]),
]


class Calls:
    """Pickles to a call of `function`."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


@given(plain, st.sampled_from([3, 4, 5]))
def test_plain_values_at_every_protocol(value, protocol):
    assert loads(pickle.dumps(value, protocol), "test") == value


@given(plain)
def test_what_is_written_is_what_any_pickle_reader_gets(value):
    assert pickle.loads(dumps(value)) == value


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("array", arrays, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays(array, protocol):
    for content in (pickle.dumps([array, array], protocol), dumps([array, array])):
        first, second = loads(content, "test")
        assert first is second
        assert first.dtype == array.dtype
        np.testing.assert_array_equal(first, array)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("scalar", [np.float32(0.4), np.int64(-3), np.bool_(True), np.str_("CLAMP")])
def test_numpy_scalars(scalar, protocol):
    for content in (pickle.dumps(scalar, protocol), dumps(scalar)):
        result = loads(content, "test")
        assert type(result) is type(scalar)
        assert result == scalar


def test_other_containers():
    assert loads(pickle.dumps({1, 2}, 4), "test") == {1, 2}
    assert loads(pickle.dumps(frozenset({1, 2}), 4), "test") == frozenset({1, 2})
    ordered = loads(pickle.dumps(OrderedDict(b=1, a=2)), "test")
    assert type(ordered) is OrderedDict
    assert list(ordered.items()) == [("b", 1), ("a", 2)]


def test_reads_the_names_of_numpy_1_and_2():
    old = dumps({"a": np.arange(3), "b": np.float32(2)})
    assert b"numpy.core" in old
    new = old.replace(b"numpy.core", b"numpy._core")
    for content in (old, new):
        result = loads(content, "test")
        assert list(result["a"]) == [0, 1, 2]
        assert result["b"] == 2


def test_writes_the_names_of_numpy_1():
    text = b"cnumpy._core.multiarray\n"
    content = dumps({"array": np.arange(3), "scalar": np.float32(2), "like a name": text})
    assert content.count(b"numpy._core") == 1
    assert pickle.loads(content)["like a name"] == text
    assert all(op.proto <= 3 for op, _, _ in pickletools.genops(content))


@pytest.mark.parametrize(
    "value",
    [
        Path("x"),
        np.array([None], dtype=object),
        np.zeros(2, dtype=[("x", "f4")]),
        np.array(["2024-01-01"], dtype="datetime64[D]"),
        torch.zeros(2),
        sys.exit,
    ],
    ids=str,
)
def test_anything_else_is_refused(value):
    with pytest.raises(InputError, match=r"file.pkl: asks for"):
        loads(pickle.dumps(value), "file.pkl")
    with pytest.raises(InputError):
        dumps(value)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "wrap",
    [
        lambda evil: evil,
        lambda evil: {"root_pos": [evil]},
        lambda evil: np.array([evil], dtype=object),
        lambda evil: Calls(OrderedDict, state=evil),
        lambda evil: {(evil,): 1},
        lambda evil: Calls(np.zeros(1).__reduce__()[0], np.ndarray, (0,), b"b", state=evil),
    ],
)
def test_no_code_runs(tmp_path, wrap, protocol):
    proof = tmp_path / "ran"
    content = pickle.dumps(wrap(Calls(os.mkdir, str(proof))), protocol)
    with pytest.raises(InputError):
        loads(content, "test")
    with pytest.raises(InputError):
        loads(content, "test", inert=lambda name: name == "os.mkdir")
    assert not proof.exists()
    with suppress(Exception):
        pickle.loads(content)
    assert proof.exists(), "the attack does not work, so it proves nothing"


def test_inert_objects_are_not_built(tmp_path):
    proof = tmp_path / "ran"
    content = pickle.dumps([Calls(os.mkdir, str(proof)), 1])
    evil, one = loads(content, "test", inert=lambda name: name.endswith(".mkdir"))
    assert (evil.name.split(".")[1], one) == ("mkdir", 1)
    assert not proof.exists()


RECONSTRUCT = np.zeros(1).__reduce__()[0]


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Calls(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, shape, dtype, False, data)))
        for shape, dtype, data in [
            ((10**13,), np.dtype("f4"), b"1234"),
            ((-1,), np.dtype("f4"), b"1234"),
            ((2, 2**40, 2**40), np.dtype("f4"), b""),
            ((2,), np.dtype("f4"), b"123"),
            ((1,), np.dtype("f4"), "1234"),
            ((1,) * 100, np.dtype("f4"), b"1234"),
            ((1,), np.dtype("U9999"), b"1234"),
            ((1,), None, b"1234"),
        ]
    ]
    + [
        pickle.dumps(Calls(bytearray, 10**13)),
        pickle.dumps(Calls(np.dtype, "V1000000000")),
        pickle.dumps(Calls(RECONSTRUCT, np.ndarray, (0,), b"b")),
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
        b"}" + b")" + b"\x85" * 300_000 + b"Ns.",
        b"Pname\n.",
        b"\x82\x01.",
        b"(((((.",
        b"h\x05.",
        b"N",
        b"",
    ],
)
def test_absurd_pickles_are_refused_without_harm(content):
    with pytest.raises(InputError):
        loads(content, "test")


def colliding(count):
    """Integers whose hashes are equal: a dict of them is built in quadratic time."""
    return [(k + 1) * (2**61 - 1) for k in range(count)]


def one_key_many_times(key, count):
    """A dict into which the same key is put again and again."""
    stored = pickle.dumps(key, 4)[:-1]
    return b"\x80\x04}(" + stored[2:] + b"\x94N" + b"h\x00N" * count + b"u."


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(dict.fromkeys(colliding(3)), 4).replace(b".", b"") + b"(" + b"".join(
            pickle.dumps(value, 4)[2:-1] + b"N" for value in colliding(30_000)) + b"u.",
        b"\x80\x04\x8f(" + b"".join(pickle.dumps(value, 4)[2:-1] for value in colliding(30_000)) + b"\x90.",
        one_key_many_times(tuple(range(100_000)), 30_000),
        one_key_many_times(2**2000, 30_000),
        b"I" + b"9" * 3_000_000 + b"\n.",
        b"L" + b"9" * 3_000_000 + b"L\n.",
        b"\x80\x04\x8b" + struct.pack("<I", 1 << 20) + b"\x7f" * (1 << 20) + b".",
        b"]" * 200_000 + b"\x8c\x01x\x93.",
        b"]" * 10 + b"a" * 9 + b"\x8c\x01x\x93.",
        b"cnumpy\ndtype\n" + b"]" * 200_000 + b"a" * 199_999 + b"\x85R.",
        b"c" + b"x" * 1_000_000 + b"\ny\n.",
        b"\x8c\x02os" + b"X" + struct.pack("<I", 100_000) + b"y" * 100_000 + b"\x93.",
    ],
    ids=["dict of equal hashes", "set of equal hashes", "long key", "large key", "long integer", "long long",
         "large integer", "nested", "nested name", "nested type", "long name", "long attribute"],
)  # fmt: skip
def test_no_pickle_takes_long(content):
    """Each of these would take minutes, or overflow the stack, where it is read as it is meant."""
    with pytest.raises(InputError) as error:
        loads(content, "test")
    assert len(str(error.value)) < 600


def test_operations_are_counted(monkeypatch):
    monkeypatch.setattr("parc_ray.files.plain_pickle._MAX_OPERATIONS", 100)
    assert loads(b"]" * 99 + b".", "test") == []
    with pytest.raises(InputError, match="no end within 100 operations"):
        loads(b"]" * 100 + b".", "test")


def test_what_a_pickle_names_cannot_command_a_terminal():
    with pytest.raises(InputError, match=r"asks for os\\x1b\[2J\.\\x07system") as error:
        loads(b"cos\x1b[2J\n\x07system\n.", "test")
    assert "\x1b" not in str(error.value)


def test_what_lies_outside_of_a_pickle_is_asked_for():
    assert loads(b"\x80\x02X\x01\x00\x00\x00aQ.", "test", persistent=lambda name: [name]) == ["a"]
    with pytest.raises(InputError, match="asks for the pickle operation BINPERSID"):
        loads(b"\x80\x02X\x01\x00\x00\x00aQ.", "test")


def test_a_large_memo_index_allocates_nothing():
    assert loads(b"\x80\x03Nr\xff\xff\xff\xff.", "test") is None


def test_deep_nesting_does_not_recurse():
    depth = 200_000
    value = loads(b"]" * depth + b"a" * (depth - 1) + b".", "test")
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_noise_is_refused_or_plain(content):
    try:
        loads(content, "test")
    except InputError as error:
        assert str(error).startswith("test: ")
