"""Files of joblib: written by joblib where it is installed, and by its format's definition everywhere."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from parc_ray.errors import InputError
from parc_ray.files import joblib_file
from tests.reference import DATA

VALUES = {
    "walk": {
        "root_trans_offset": np.arange(12.0).reshape(4, 3),
        "dof": np.asfortranarray(np.arange(8, dtype=np.float32).reshape(4, 2)),
        "flags": np.array([True, False]),
        "nothing": np.zeros((0, 3)),
        "scalar": np.float64(0.5),
        "fps": 30,
        "names": ["left", "right"],
    }
}


class NumpyArrayWrapper:
    """Stands for joblib's class while a pickle is written."""


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., bytes]]:
    """A writer made from the definition of joblib's format: an array is a wrapper, then padding, then its bytes."""
    for name in ("joblib", "joblib.numpy_pickle"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    NumpyArrayWrapper.__module__ = "joblib.numpy_pickle"
    sys.modules["joblib.numpy_pickle"].NumpyArrayWrapper = NumpyArrayWrapper  # type: ignore[attr-defined]

    def write(value: Any, aligned: bool = True, cut: int = 0) -> bytes:
        file = io.BytesIO()

        class Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
            def save(self, item: Any, save_persistent_id: bool = True) -> None:
                if type(item) is not np.ndarray:
                    super().save(item, save_persistent_id)
                    return
                fortran = item.flags.f_contiguous and not item.flags.c_contiguous
                wrapper = NumpyArrayWrapper()
                wrapper.__dict__ = {
                    "subclass": np.ndarray,
                    "shape": item.shape,
                    "order": "F" if fortran else "C",
                    "dtype": item.dtype,
                    "allow_mmap": True,
                    **({"numpy_array_alignment_bytes": 16} if aligned else {}),
                }
                super().save(wrapper)
                self.framer.commit_frame(force=True)
                if aligned:
                    padding = 16 - (file.tell() + 1) % 16
                    file.write(struct.pack("B", padding) + b"\xff" * padding)
                content = item.tobytes("F" if fortran else "C")
                file.write(content[: len(content) - cut])

        Pickler(file, 4).dump(value)
        return file.getvalue()

    yield write


def assert_same(read: Any, expected: Any) -> None:
    assert set(read) == set(expected)
    for key, value in expected.items():
        if isinstance(value, dict):
            assert_same(read[key], value)
        elif isinstance(value, np.ndarray):
            assert read[key].dtype == value.dtype
            np.testing.assert_array_equal(read[key], value)
        else:
            assert read[key] == value


@pytest.mark.parametrize("aligned", [True, False])
def test_arrays_lie_raw_in_the_pickle(written: Callable[..., bytes], aligned: bool) -> None:
    assert_same(joblib_file.loads(written(VALUES, aligned), "walk.pkl"), VALUES)


@pytest.mark.parametrize("name", ["joblib.pkl", "joblib_zlib.pkl"])
def test_files_that_joblib_has_written(name: str) -> None:
    assert_same(joblib_file.loads((DATA / name).read_bytes(), name), VALUES)


@pytest.mark.parametrize("compress", [0, True, ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)])
def test_files_of_joblib_itself(tmp_path: Path, compress: Any) -> None:
    joblib = pytest.importorskip("joblib")
    joblib.dump(VALUES, tmp_path / "walk.pkl", compress=compress)
    assert_same(joblib_file.loads((tmp_path / "walk.pkl").read_bytes(), "walk.pkl"), VALUES)


@pytest.mark.parametrize(
    "compress",
    [zlib.compress, gzip.compress, bz2.compress, lzma.compress, lambda b: lzma.compress(b, lzma.FORMAT_ALONE)],
)
def test_compressed_files(written: Callable[..., bytes], compress: Callable[[bytes], bytes]) -> None:
    content = compress(written(VALUES))
    assert_same(joblib_file.loads(content, "walk.pkl"), VALUES)
    with pytest.raises(InputError, match=r"^walk\.pkl: "):
        joblib_file.loads(content[: len(content) // 2], "walk.pkl")


def test_ordinary_pickles_are_read_too() -> None:
    assert_same(joblib_file.loads(pickle.dumps(VALUES), "walk.pkl"), VALUES)


def test_a_file_that_grows_beyond_all_bounds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblib_file, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="larger than 1000 bytes when decompressed"):
        joblib_file.loads(zlib.compress(bytes(100_000)), "walk.pkl")


def test_an_array_whose_bytes_are_missing_is_refused(written: Callable[..., bytes]) -> None:
    with pytest.raises(InputError, match="claims 96 bytes and has"):
        joblib_file.loads(written(np.arange(12.0), cut=90), "walk.pkl")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([{"a": 1}], dtype=object), "numpy type 'O8'"),
        (os.getcwd, r"asks for posix\.getcwd"),
    ],
)
def test_nothing_is_executed(written: Callable[..., bytes], value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        joblib_file.loads(written({"a": value}), "walk.pkl")
