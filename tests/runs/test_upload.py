"""Copies at an address, read there by other means than those that made them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from parc_ray.config.record import OutputConfig
from parc_ray.errors import InputError, UploadError
from parc_ray.runs import upload as uploading
from parc_ray.runs.address import Address
from parc_ray.runs.output import OutputDirectory
from parc_ray.runs.upload import Upload
from tests.reference import ROOT
from tests.s3 import s3_files, s3_server

RECORDED, MEMORY = "recorded_motions.yaml", "uploads.jsonl"
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(uploading, "PAUSES", (0.0, 0.001, 0.001))
    monkeypatch.setattr(uploading, "LOOK_SECONDS", 0.01)


@pytest.fixture
def output(tmp_path):
    return made_output(tmp_path / "out")


@pytest.fixture(params=["memory", "file"])
def place(request, tmp_path):
    """An address, and what reads all files there without fsspec's own functions."""
    if request.param == "file":
        return f"file://{tmp_path}/copies", lambda: files_in(tmp_path / "copies")
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem
    root = f"/{tmp_path.name}/copies"
    return f"memory:/{root}", lambda: {
        path[len(root) + 1 :]: file.getvalue() for path, file in memory.store.items() if path.startswith(f"{root}/")
    }


@pytest.fixture
def writes(monkeypatch):
    """Names of all files that are written at addresses."""
    names, write = [], Address.write

    def noted(self, name, content):
        if not name.endswith(".tmp"):
            names.append(name)
        write(self, name, content)

    monkeypatch.setattr(Address, "write", noted)
    return names


def made_output(path, motions=20):
    """What a run of so many motions leaves."""
    output = OutputDirectory(path, OutputConfig(name_suffix="_dm"))
    output.prepare()
    names = [f"walk *?[{index}] #ü_{index}" for index in range(motions)]
    output.write_motion_files({output.recording_path(name): name.encode() * 100 for name in names})
    output.write_motion_files({output.failure_path("fall", 0): b"fallen"})
    for name in ("motions.yaml", "record_env.yaml", "record_args.txt", "journal.jsonl", "summary.json", "report.html"):
        output.write_text(name, f"content of {name}")
    output.log("one line", shard=0)
    output.write_recorded_dataset([(output.recording_path(name), 2.0) for name in names], 30)
    return output


def begun(url, output, overwrite=False):
    upload = Upload(url, output)
    upload.require_usable(overwrite)
    if overwrite:
        upload.clear()
    upload.begin()
    output.listener = upload.add
    return upload


def finished(upload):
    list(upload.finish())
    upload.require_complete()


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_same(copies, output):
    """Everything is there, bit for bit, but for the dataset of recordings, which names them from its own folder."""
    originals = files_in(output.path)
    del originals[MEMORY]
    assert copies.keys() == originals.keys()
    assert all(copies[name] == content for name, content in originals.items() if name != RECORDED)
    before, after = (yaml.safe_load(content[RECORDED])["motions"] for content in (originals, copies))
    assert len(after) > 10 and {motion["file"] for motion in after} <= copies.keys()
    assert [motion["weight"] for motion in after] == [motion["weight"] for motion in before]
    assert [output.path / motion["file"] for motion in after] == [Path(motion["file"]) for motion in before]


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# ------------------------------------------------------------------------------------------- copies


def test_recordings_are_there_before_the_run_has_ended(tmp_path, place):
    url, copies = place
    output = OutputDirectory(tmp_path / "out", OutputConfig())
    output.prepare()
    upload = begun(url, output)
    output.write_motion_files({output.recording_path("walk_7"): b"walk", output.failure_path("run_1", 0): b"fallen"})
    expected = {"recorded_motions/walk_0_49/walk_7.pkl": b"walk", "failed_attempts/run_1/attempt_0.pkl": b"fallen"}
    wait_until(lambda: copies() == expected)
    made_output(output.path)
    output.write_recorded_dataset([(path, 2.0) for path in output.sizes()], 30)
    upload.add(output.recording_path("walk_7"))
    for path in output.motion_files():
        upload.add(path)
    finished(upload)
    assert_same(copies(), output)


def test_a_relative_output_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = made_output(Path("out"))
    finished(begun(f"file://{tmp_path}/copies", output))
    assert_same(files_in(tmp_path / "copies"), output)


def test_what_is_missing_or_differs_is_copied_and_nothing_twice(tmp_path, output, writes):
    url, copies = f"file://{tmp_path}/copies", tmp_path / "copies"
    finished(begun(url, output))
    assert sorted(writes) == sorted(files_in(output.path).keys() - {MEMORY})
    writes.clear()
    finished(begun(url, output))
    assert not writes
    recordings = sorted((copies / "recorded_motions").rglob("*.pkl"))
    recordings[3].unlink()
    recordings[5].write_bytes(b"torn")
    output.write_text("summary.json", "another")
    finished(begun(url, output))
    changed = {path.relative_to(copies).as_posix() for path in (recordings[3], recordings[5])}
    assert sorted(writes) == sorted({*changed, "summary.json"})
    assert_same(files_in(copies), output)


def test_copies_that_nobody_remembers_are_read_instead_of_made_again(tmp_path, output, writes):
    """As after a power failure, which may take the last lines with it: one of these files is not as it should be."""
    url = f"file://{tmp_path}/copies"
    finished(begun(url, output))
    writes.clear()
    memory = output.path / MEMORY
    memory.write_bytes(memory.read_bytes()[: len(url) + 20] + b'\n{"file": "recorded_mo')
    (tmp_path / "copies" / "summary.json").write_text("CONTENT of summary.json")
    finished(begun(url, output))
    assert writes == ["summary.json"]
    assert_same(files_in(tmp_path / "copies"), output)


def test_a_second_address_gets_everything_and_the_first_is_still_known(tmp_path, output, writes):
    for name in ("one", "other", "one"):
        finished(begun(f"file://{tmp_path}/{name}", output))
        assert_same(files_in(tmp_path / name), output)
    assert len(writes) == 2 * len(files_in(tmp_path / "one"))


def test_what_the_run_has_no_longer_goes_there_too(tmp_path, place, output):
    """A recording was lost, and its motion fails when it is attempted again."""
    url, copies = place
    finished(begun(url, output))
    lost = output.recording_path("walk *?[3] #ü_3")
    lost.unlink()
    output.write_recorded_dataset([(path, 2.0) for path in output.sizes()], 30)
    finished(begun(url, output))
    assert lost.relative_to(output.path).as_posix() not in copies()
    assert_same(copies(), output)


def test_a_lost_recording_may_be_made_again_while_its_copy_is_deleted(tmp_path, output, monkeypatch):
    url, lost = f"file://{tmp_path}/copies", output.recording_path("walk *?[3] #ü_3")
    finished(begun(url, output))
    lost.unlink()
    upload = Upload(url, output)
    upload.require_usable(False)
    remove, deleting, made = Address.remove, threading.Event(), threading.Event()

    def slowly(self, name):
        deleting.set()
        assert made.wait(PATIENCE)
        remove(self, name)

    monkeypatch.setattr(Address, "remove", slowly)
    upload.begin()
    assert deleting.wait(PATIENCE)
    output.write_motion_files({lost: b"made again"})
    upload.add(lost)
    made.set()
    finished(upload)
    assert_same(files_in(tmp_path / "copies"), output)


KILLED = """
import os, signal, sys
from pathlib import Path
from parc_ray.config.record import OutputConfig
from parc_ray.runs.address import Address
from parc_ray.runs.output import OutputDirectory
from parc_ray.runs.upload import Upload

count, write = [], Address.write

def torn(self, name, content):
    count.append(name)
    if len(count) < 10:
        return write(self, name, content)
    write(self, name, content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

upload = Upload(sys.argv[1], OutputDirectory(Path(sys.argv[2]), OutputConfig(name_suffix="_dm")))
upload.require_usable(False)
Address.write = torn
upload.begin()
for _ in upload.finish():
    pass
"""


def test_a_killed_upload_goes_on(tmp_path, output, writes):
    """Whatever the kill has torn, a copy or a line of uploads.jsonl."""
    url = f"file://{tmp_path}/copies"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", KILLED, url, output.path], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    there = files_in(tmp_path / "copies")
    assert 5 < len(there) < 20
    whole = {name for name, content in there.items() if content == (output.path / name).read_bytes()}
    finished(begun(url, output))
    assert_same(files_in(tmp_path / "copies"), output)
    assert not whole & set(writes) and len(whole) < len(there)


# ------------------------------------------------------------------------------------------- trouble


def test_a_copy_that_arrives_damaged_is_made_again(tmp_path, place, output, monkeypatch):
    url, copies = place
    upload, write, damaged = begun(url, output), Address.write, set()

    def damage(self, name, content):
        write(self, name, content if name in damaged else bytes([content[0] ^ 1]) + content[1:])
        damaged.add(name)

    monkeypatch.setattr(Address, "write", damage)
    finished(upload)
    assert_same(copies(), output)


def test_a_flaky_network_delays_copies(tmp_path, place, output, monkeypatch):
    url, copies = place
    chance = random.Random(0)
    upload = begun(url, output)
    for name in ("read", "write", "remove"):
        monkeypatch.setattr(Address, name, flaky(getattr(Address, name), chance))
    finished(upload)
    assert_same(copies(), output)


def flaky(method, chance):
    def one_in_four_fails(self, *arguments):
        if chance.random() < 0.25:
            raise OSError("connection reset")
        return method(self, *arguments)

    return one_in_four_fails


def test_a_copy_that_never_arrives_whole_is_told(tmp_path, output, monkeypatch):
    upload, write = begun(f"file://{tmp_path}/copies", output), Address.write
    monkeypatch.setattr(
        Address, "write", lambda self, name, content: write(self, name, content.replace(b"summary", b""))
    )
    list(upload.finish())
    with pytest.raises(UploadError, match=r"1 files .*\(summary\.json: the copy differs from the file\)"):
        upload.require_complete()


def test_a_network_that_is_down_at_the_end_is_not_tried_for_every_file(tmp_path, monkeypatch):
    """The message says what is missing, and why; the same command goes on when it is up again."""
    output, url = made_output(tmp_path / "out", 300), f"file://{tmp_path}/copies"
    upload, tried = Upload(url, output), []
    upload.require_usable(False)
    with monkeypatch.context() as patch:
        patch.setattr(Address, "write", lambda self, name, content: tried.append(name) or unreachable())
        upload.begin()
        wait_until(lambda: not upload._waiting)
        tried.clear()
        list(upload.finish())
        with pytest.raises(UploadError, match=r"3\d\d files .*no route to host\).*run the same command") as told:
            upload.require_complete()
    assert told.value.exit_code == 7
    assert len(set(tried)) < 20
    finished(begun(url, output))
    assert_same(files_in(tmp_path / "copies"), output)


def test_one_file_that_cannot_be_copied_is_no_reason_to_give_up_others(tmp_path, output, monkeypatch):
    """Even if it is given up before any other one has arrived."""
    upload, write = Upload(f"file://{tmp_path}/copies", output), Address.write
    upload.require_usable(False)

    def slow(self, name, content):
        if name == "motions.yaml":
            unreachable()
        wait_until(lambda: "motions.yaml" in upload._missing)
        write(self, name, content)

    upload._ending = True
    monkeypatch.setattr(Address, "write", slow)
    upload.begin()
    wait_until(lambda: not upload._waiting)
    assert files_in(tmp_path / "copies").keys() == {
        path.relative_to(output.path).as_posix()
        for path in (*output.motion_files(), *(output.path / name for name in ("record_env.yaml", "record_args.txt")))
    }
    list(upload.finish())
    with pytest.raises(UploadError, match=r"1 files .*\(motions\.yaml: no route"):
        upload.require_complete()


def unreachable():
    raise OSError("no route to host\nand more")


def test_what_failed_during_the_run_is_tried_again_at_its_end(tmp_path, output, monkeypatch):
    with monkeypatch.context() as patch:
        upload = Upload(f"file://{tmp_path}/copies", output)
        upload.require_usable(False)
        patch.setattr(Address, "write", lambda *_: unreachable())
        upload.begin()
        wait_until(lambda: not upload._waiting)
        assert not files_in(tmp_path / "copies")
    finished(upload)
    assert_same(files_in(tmp_path / "copies"), output)


def test_somebody_in_a_hurry_waits_for_nothing(tmp_path, output, monkeypatch):
    monkeypatch.setattr(uploading, "HURRY_SECONDS", 0.05)
    url, hanging = f"file://{tmp_path}/copies", threading.Event()
    upload = Upload(url, output)
    upload.require_usable(False)
    with monkeypatch.context() as patch:
        patch.setattr(Address, "write", lambda *_: hanging.wait(PATIENCE))
        upload.begin()
        upload.hurry()
        for _ in upload.finish():
            assert upload.hurried
        with pytest.raises(UploadError, match="not copied yet"):
            upload.require_complete()
        hanging.set()
    finished(begun(url, output))
    assert_same(files_in(tmp_path / "copies"), output)


# ------------------------------------------------------------------------------------------- addresses


def test_an_address_with_another_runs_files_is_refused_unless_they_may_go(tmp_path, place, output):
    """Whatever else is there stays."""
    url, copies = place
    for name in ("mine.txt", "logs/mine.log", "more/summary.json", "more/recorded_motions/mine.pkl"):
        Address(url).write(name, b"mine")
    before = copies()
    finished(begun(url, output))
    another = made_output(tmp_path / "another", 15)
    with pytest.raises(InputError, match=r"another run's files \(failed_attempts, journal\.jsonl.*--overwrite"):
        begun(url, another)
    finished(begun(url, another, overwrite=True))
    after = copies()
    assert {name: after.pop(name) for name in before} == before
    assert_same(after, another)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nowhere://bucket/run", "Protocol not known: nowhere. Check the address"),
        ("file://{}/out", "is output_dir itself"),
        ("file://{}/out/summary.json", "cannot be written to"),
        ("ftp://me:secret@host/run", "neither a password nor parameters"),
        ("abfs://files/run?sig=secret", "neither a password nor parameters"),
        ("s3://secret@bucket/run", "neither a password nor parameters"),
        ("GS://secret@bucket", "neither a password nor parameters"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(tmp_path, output, url, message):
    before = files_in(tmp_path)
    with pytest.raises(InputError, match=message) as told:
        Upload(url.format(tmp_path), output).require_usable(True)
    assert "'output.upload'" in str(told.value) and "secret" not in str(told.value) and "\n" not in str(told.value)
    assert files_in(tmp_path) == before


def test_a_missing_package_is_named(output, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(pytest.importorskip("fsspec.registry")._registry, "s3", raising=False)
    with pytest.raises(InputError, match=r'Install s3fs.*pip install "parc-ray\[upload\]"'):
        Upload("s3://bucket/run", output).require_usable(False)


# ------------------------------------------------------------------------------------------- S3


@pytest.fixture
def s3(monkeypatch):
    with s3_server(monkeypatch) as client:
        yield client


@pytest.mark.slow
def test_on_s3(tmp_path, s3, writes):
    """Buckets are never made, and those of somebody else never written to; boto3 reads what is there."""
    output = made_output(tmp_path / "out")
    with pytest.raises(InputError, match=r"bucket does not exist.*Check the address"):
        begun("s3://nobodys/run", output)
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["bucket"]
    finished(begun("s3://bucket/deep/run", output))
    assert_same(s3_files(s3, "deep/run/"), output)
    writes.clear()
    s3.delete_object(Bucket="bucket", Key="deep/run/summary.json")
    s3.put_object(Bucket="bucket", Key="deep/run/journal.jsonl", Body=b"torn")
    finished(begun("s3://bucket/deep/run", output))
    assert sorted(writes) == ["journal.jsonl", "summary.json"]
    another = made_output(tmp_path / "another", 15)
    with pytest.raises(InputError, match="another run's files"):
        begun("s3://bucket/deep/run/", another)
    finished(begun("s3://bucket/deep/run/", another, overwrite=True))
    assert_same(s3_files(s3, "deep/run/"), another)
