"""What is known of motion files from before, and when it is not believed."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest

from parc_ray.motions import scan_cache, scanning
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.motions.scan_cache import ScanCache, cache_file
from parc_ray.motions.scanning import load_dataset


@pytest.fixture()
def scan(tmp_path, monkeypatch, skeleton, walk):
    """Scans the motions a.pkl and b.pkl with a cache; returns the dataset, and which files were read and parsed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scan_cache, "SETTLED", 0)
    for name, fps in (("a", 30.0), ("b", 60.0)):
        (tmp_path / f"{name}.pkl").write_bytes(motion_file_bytes(replace(walk, fps=fps)))
    (tmp_path / "motions.yaml").write_text("motions: [{file: a.pkl, weight: 1.0}, {file: b.pkl, weight: 2.0}]")
    calls = []
    for function in ("read_bytes", "parse_motion"):
        real = getattr(scanning, function)
        monkeypatch.setattr(
            scanning, function, lambda *given, f=function, r=real: calls.append((f, str(given[-1]))) or r(*given)
        )

    def scan(file="motions.yaml"):
        calls.clear()
        dataset = load_dataset(tmp_path / file, skeleton, cache=ScanCache(file=tmp_path / "cache" / "motions-1.json"))
        return dataset, calls

    return scan


def test_files_that_have_not_changed_are_not_read_again(scan):
    first, calls = scan()
    assert calls == [("read_bytes", "a.pkl"), ("parse_motion", "a.pkl")] + [
        ("read_bytes", "b.pkl"),
        ("parse_motion", "b.pkl"),
    ]
    again, calls = scan()
    assert (again, calls) == (first, [])


def test_a_changed_file_is_read_again_whatever_its_size_and_time_say(scan, tmp_path):
    first, _ = scan()
    path = tmp_path / "a.pkl"
    status = path.stat()
    path.write_bytes((tmp_path / "b.pkl").read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    again, calls = scan()
    # Its content is known from b.pkl.
    assert calls == [("read_bytes", "a.pkl")]
    assert [entry.sha256 for entry in again.entries] == [first.entries[1].sha256] * 2
    assert [entry.name for entry in again.entries] == ["a", "b"]


def test_what_was_written_a_moment_ago_is_not_believed_yet(scan, monkeypatch):
    """It may be written again before the file system's clock ticks."""
    monkeypatch.setattr(scan_cache, "SETTLED", 10**12)
    scan()
    _, calls = scan()
    assert ("read_bytes", "a.pkl") in calls


def test_a_copy_is_read_but_not_parsed(scan, tmp_path):
    scan()
    for name in "ab":
        shutil.copy(tmp_path / f"{name}.pkl", tmp_path / f"{name}2.pkl")
    (tmp_path / "copies.yaml").write_text("motions: [{file: a2.pkl, weight: 1}, {file: b2.pkl, weight: 1}]")
    dataset, calls = scan("copies.yaml")
    assert [name for name, _ in calls] == ["read_bytes"] * 2
    assert [(entry.name, entry.path) for entry in dataset.entries] == [("a2", "a2.pkl"), ("b2", "b2.pkl")]


@pytest.mark.parametrize("content", [b"", b"[[1,2,3]]", b"{}", b"\xff", b'[["a.pkl", [1,2,3,4], {}]]'])
def test_a_damaged_cache_holds_nothing(scan, tmp_path, content):
    first, _ = scan()
    (tmp_path / "cache" / "motions-1.json").write_bytes(content)
    again, calls = scan()
    assert again == first and len(calls) == 4


def test_a_cache_that_cannot_be_written_harms_nothing(scan, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    dataset, _ = scan()
    assert len(dataset.entries) == 2


def test_the_caches_used_last_are_kept(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(scan_cache, "MAX_CACHES", 2)
    folder = tmp_path / "cache"
    folder.mkdir()
    for age in range(4):
        (folder / f"motions-old{age}.json").touch()
        os.utime(folder / f"motions-old{age}.json", (1000 - age, 1000 - age))
    scan()
    assert {path.name for path in folder.iterdir()} == {"motions-1.json", "motions-old0.json"}


def test_every_way_to_check_has_a_cache_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_file("mujoco", {"a": 1}).parent == tmp_path / "parc_ray"
    assert cache_file("mujoco", {"a": 1}) == cache_file("mujoco", {"a": 1}) != cache_file("physx", {"a": 1})
