"""A whole run over a folder of broken files: each is invalid with a reason, and does nothing to the good ones."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parc_ray.character.skeleton import Skeleton
from parc_ray.cli import app, run_command
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes
from tests.cluster.runs import Run, write_config

GOOD = ("idle_1", "[red]", "...", "walk é 走る", "-rf", "~", "x" * 249)
"""Good motions, some of them with names that want to be something else"""


class Evil:
    """Makes a directory when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.proof),)


def changed(content: bytes, part: str, **values: Any) -> bytes:
    """A motion file with other values in one of its parts."""
    parts = pickle.loads(content)
    return pickle.dumps({**parts, part: pickle.dumps({**pickle.loads(parts[part]), **values})})


def bestiary(good: Motion, proof: Path) -> dict[str, tuple[bytes, str]]:
    """Broken files, and what is said of each."""
    content = motion_file_bytes(good)
    many = np.zeros((4000, 4000), dtype=bool)
    noise = np.random.default_rng(0).normal(size=(400, 400)).astype(np.float32)
    return {
        "empty": (b"", "is empty"),
        "text": (b"not a motion\n", "is not a readable pickle"),
        "cut": (content[: len(content) // 2], "is not a readable pickle"),
        "list": (pickle.dumps([1, 2]), "is not a motion file"),
        "program": (pickle.dumps(Evil(proof)), "asks for posix.mkdir"),
        "program_in_motion": (changed(content, "motion_data", more=Evil(proof)), "asks for posix.mkdir"),
        "program_in_terrain": (changed(content, "terrain_data", hf=Evil(proof)), "asks for posix.mkdir"),
        "program_before": (b"cos\nsystem\n(S'mkdir %b'\ntR." % str(proof).encode(), "asks for os.system"),
        "nan": (changed(content, "motion_data", root_pos=good.root_pos * np.nan), "root_pos is not finite"),
        "far": (changed(content, "motion_data", root_pos=good.root_pos + 1e30), "root_pos reaches 1e+30 m"),
        "shape": (changed(content, "motion_data", joint_rot=good.joint_rot[:, 1:]), "joint_rot has shape"),
        "kind": (changed(content, "motion_data", root_rot="turned"), "root_rot is 'turned' instead of an array"),
        "zero_fps": (changed(content, "motion_data", fps=0), "fps is 0 instead of a positive number"),
        "slow": (changed(content, "motion_data", fps=1e-5), "at most 3600 s are possible"),
        "no_frames": (changed(content, "motion_data", root_pos=good.root_pos[:0]), "has 0 frame(s)"),
        "one_frame": (changed(content, "motion_data", root_pos=good.root_pos[:1]), "has 1 frame(s)"),
        "high": (changed(content, "terrain_data", hf=good.terrain.hf + 1e30), "terrain hf reaches 1e+30 m"),
        "huge": (changed(content, "terrain_data", hf=many), "its terrain has 16000000 cells"),
        "rough": (
            motion_file_bytes(dataclasses.replace(good, loop_mode="WRAP", terrain=HeightField(
                noise, np.stack([noise, noise], axis=-1), np.zeros(2, dtype=np.float32), 0.05))),
            "its terrain is too rough to be made of boxes",
        ),
        "esc\x1b[2J\nape": (content, "its path has characters that are not text"),
        "x" * 250: (content, "its name is too long for the name of a recording"),
    }  # fmt: skip


@pytest.fixture()
def zoo(tmp_path: Path, skeleton: Skeleton) -> Path:
    folder = tmp_path / "inputs" / "zoo"
    folder.mkdir(parents=True)
    good = generate_motion(MotionSpec("idle", 9, 1.0, difficulty=0.0), skeleton, "good")
    for name in GOOD:
        (folder / f"{name}.pkl").write_bytes(motion_file_bytes(good))
    for name, (content, _) in bestiary(good, tmp_path / "ran").items():
        (folder / f"{name}.pkl").write_bytes(content)
    (folder / "again").mkdir()
    shutil.copy(folder / "idle_1.pkl", folder / "again")
    (folder / "folder.pkl").mkdir()
    os.mkfifo(folder / "pipe.pkl")
    (folder / "circle.pkl").symlink_to("circle.pkl")
    (folder / "device.pkl").symlink_to("/dev/zero")
    with (folder / "sparse.pkl").open("wb") as file:
        file.truncate(50 << 30)
    return folder


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and age of all that lies in a folder outside of `out`."""
    states = {str(path.relative_to(folder)): path.lstat() for path in folder.rglob("*")}
    return {
        name: (state.st_size, state.st_mtime_ns) for name, state in states.items() if name.split("/", 1)[0] != "out"
    }


def checksums(folder: Path) -> dict[str, str]:
    """Of the files that can be read without waiting for ever."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.lstat().st_size < 1 << 20]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_a_run_over_a_bestiary(
    tmp_path: Path,
    zoo: Path,
    skeleton: Skeleton,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = {"layout": "grouped", "name_suffix": ".."}
    config = write_config(tmp_path, [zoo], address, acceptance="none", output=output)
    good = generate_motion(MotionSpec("idle", 9, 1.0, difficulty=0.0), skeleton, "good")
    said = {name: reason for name, (_, reason) in bestiary(good, tmp_path / "ran").items()}
    before, sums = listing(tmp_path), checksums(zoo)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        run_command(app, ["record", "--config", str(config)])
    console = "".join(capfd.readouterr())
    assert (end.value.code or 0) == 0, console
    assert "\x1b" not in console and "Traceback" not in console

    run = Run(0, tmp_path / "out", console)
    invalid = run.summary["invalid_motions"]
    said.update({"again/idle_1": "has the same name as", "pipe": "it is a pipe", "circle": "cannot be read",
                 "device": "it is a device", "sparse": "is too large: 53687091200 bytes"})  # fmt: skip
    said["esc\\x1b[2J\\nape"] = said.pop("esc\x1b[2J\nape")
    assert {path.strip("'")[len(f"{zoo}/") : -len(".pkl")]: True for path in invalid} == dict.fromkeys(said, True)
    for name, reason in said.items():
        (found,) = [text for path, text in invalid.items() if path.strip("'") == f"{zoo}/{name}.pkl"]
        assert reason in found
        assert f"/{name}.pkl" in console, "the message names the file"

    recorded = {name for name, state in run.final_states().items() if state[0] == "recorded"}
    assert recorded == set(GOOD)
    assert {path.name for path in run.files} == {f"{name}...pkl" for name in GOOD}
    assert all(path.resolve().parent.parent == (tmp_path / "out" / "recorded_motions").resolve() for path in run.files)
    assert run.summary["crashed"] == run.summary["unfinished"] == 0

    after = listing(tmp_path)
    after.pop("dataset.yaml")  # the save_path of the dataset's configuration
    assert after == before, "something was written outside of output_dir"
    assert checksums(zoo) == sums
    assert not (tmp_path / "ran").exists()
