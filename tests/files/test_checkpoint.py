"""Checkpoints are read as torch.load reads them, and nothing in them is run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.errors import InputError
from parc_ray.files.checkpoint import Checkpoint, StoredTensor
from tests.reference import DATA, DEMO

FILES = (DEMO / "model.pt", DATA / "policy_small_state_dict.pt")
MODULE = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def save(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def tensors(content: bytes) -> dict[str, torch.Tensor]:
    checkpoint = Checkpoint(content, "model.pt")
    return {name: checkpoint.read(value) for name, value in checkpoint.state.items() if isinstance(value, StoredTensor)}


def rebuilt(content: bytes, change: Callable[[str, bytes], Any], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The same archive with changed members."""
    source, buffer = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in source.namelist():
            member = change(name, source.read(name))
            if member is not None:
                archive.writestr(name, member)
    return buffer.getvalue()


def assert_equal(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        assert mine[name].dtype == value.dtype
        assert torch.equal(mine[name], value.detach()), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_tensors_of_torch_load(path: Path) -> None:
    content = path.read_bytes()
    assert_equal(tensors(content), torch.load(io.BytesIO(content), weights_only=True))


@pytest.mark.parametrize(
    "state",
    [
        MODULE.state_dict(),
        OrderedDict(MODULE.named_parameters()),
        {"all": torch.arange(24.0).reshape(4, 6), "empty": torch.zeros(0, 3), "one": torch.tensor(3.5)},
        {name: torch.arange(6).to(getattr(torch, name)) for name in
         ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")},
    ],
    ids=["module", "parameters", "shapes", "dtypes"],
)  # fmt: skip
def test_whatever_tensors_a_state_dict_holds(state: dict[str, torch.Tensor]) -> None:
    assert_equal(tensors(save(state)), state)


def test_views_of_one_storage() -> None:
    whole = torch.arange(60.0).reshape(3, 4, 5)
    state = {
        "whole": whole,
        "part": whole[1:, 2],
        "turned": whole.permute(2, 0, 1),
        "spread": whole[:1, :, :1].expand(3, 4, 5),
    }
    assert_equal(tensors(save(state)), state)


def test_what_is_beside_the_tensors_is_passed_over() -> None:
    state = {
        "model": MODULE.state_dict(),
        "adam": {"state": {0: {"step": torch.tensor(1.0)}}, "lr": 0.1},
        "iteration": 3,
        "dtype": torch.float32,
        "size": torch.Size([1]),
        "device": torch.device("cpu"),
        "weight": torch.ones(2),
    }
    checkpoint = Checkpoint(save(state), "model.pt")
    assert checkpoint.state["iteration"] == 3
    assert torch.equal(checkpoint.read(checkpoint.state["weight"]), torch.ones(2))


class Evil:
    """Makes a directory when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.proof),)


def _with_evil_pickle(content: bytes, evil: Evil) -> bytes:
    return rebuilt(content, lambda name, member: pickle.dumps(evil, 2) if name.endswith("data.pkl") else member)


@pytest.mark.parametrize(
    "attack",
    [
        lambda evil: save({"_obs_norm._mean": evil}),
        lambda evil: save(OrderedDict(evil=[evil], x=torch.zeros(2))),
        lambda evil: save({"x": evil}, _use_new_zipfile_serialization=False),
        lambda evil: _with_evil_pickle(save({"x": torch.zeros(2)}), evil),
        lambda evil: pickle.dumps(evil),
    ],
    ids=["in a state dict", "deeper", "before zip", "as data.pkl", "bare pickle"],
)
def test_nothing_is_run(tmp_path: Path, attack: Callable[[Evil], bytes]) -> None:
    evil = Evil(tmp_path / "ran")
    content = attack(evil)
    with pytest.raises(InputError, match=r"model\.pt: not a checkpoint"):
        Checkpoint(content, "model.pt")
    assert not evil.proof.exists()
    with suppress(Exception):
        torch.load(io.BytesIO(content), weights_only=False)
    assert evil.proof.exists(), "the attack does not work, so it proves nothing"


def test_torch_is_not_asked_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", None)
    monkeypatch.setattr(pickle, "Unpickler", None)
    assert tensors(FILES[1].read_bytes())


SMALL = save({"x": torch.arange(1000.0), "y": torch.ones(3, 4)})


def renumbered(content: bytes, old: bytes, new: bytes) -> bytes:
    def change(name: str, member: bytes) -> bytes:
        if name.endswith("data.pkl"):
            assert old in member
            return member.replace(old, new)
        return member

    return rebuilt(content, change)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (save({"x": torch.ones(2)}, _use_new_zipfile_serialization=False), "format of torch before 1.6"),
        (rebuilt(SMALL, lambda name, member: member, zipfile.ZIP_DEFLATED), "is compressed"),
        (rebuilt(SMALL, lambda name, member: None if "data/0" in name else member), "data/0 is missing"),
        (rebuilt(SMALL, lambda name, member: member[:100] if "data/0" in name else member), "fewer than"),
        (rebuilt(SMALL, lambda name, member: member * 2 if "data/0" in name else member), "larger than its tensors"),
        (rebuilt(SMALL, lambda name, member: None if "data.pkl" in name else member), "has no data.pkl"),
        (rebuilt(SMALL, lambda name, member: b"big" if "byteorder" in name else member), "big-endian|byteorder"),
        (renumbered(SMALL, b"M\xe8\x03\x85", b"J\xff\xff\xff\x7f\x85"), "fewer than"),
        (renumbered(SMALL, b"M\xe8\x03\x85", b"J\xff\xff\xff\xff\x85"), "without proper parts"),
        (SMALL.replace(b"\0\0\x80?\0\0\0@", b"\0\0\x80?\0\0\1@", 1), "damaged"),
        (SMALL[:-30], "cut off"),
        (b"", "cut off"),
        (b"PK\x05\x06" + b"\0" * 18, "has no data.pkl"),
        (b"PK\1\2" * 200_000, "more than 100000 members"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else value,
)  # fmt: skip
def test_damaged_files_are_refused(content: bytes, problem: str) -> None:
    if "big-endian" in problem and not any("byteorder" in n for n in zipfile.ZipFile(io.BytesIO(content)).namelist()):
        pytest.skip("this torch does not write the order of bytes")
    with pytest.raises(InputError, match=problem) as error:
        tensors(content)
    assert str(error.value).startswith("model.pt: not a checkpoint")


def test_a_bomb_in_a_zip_is_not_unpacked() -> None:
    bomb = rebuilt(SMALL, lambda name, member: bytes(60 << 20) if "data.pkl" in name else member, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    with pytest.raises(InputError, match="is compressed"):
        Checkpoint(bomb, "model.pt")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6),
    st.sampled_from([0, 2000]),
    st.none() | st.integers(0),
)
def test_noise_is_refused_or_read(changes: Any, part: int, cut: Any) -> None:
    damaged = bytearray(SMALL)
    for place, byte in changes:
        damaged[-(place % part + 1) if part else place % len(damaged)] = byte
    if cut is not None:
        del damaged[cut % len(damaged) :]
    try:
        tensors(bytes(damaged))
    except InputError as error:
        assert str(error).startswith("model.pt: ")
