"""What is exported from where to where, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from parc_ray.character.skeleton import load_skeleton
from parc_ray.cli import app
from parc_ray.errors import InputError
from parc_ray.exporting import plan_export
from parc_ray.exporting.recording import read_recording
from parc_ray.motions import importers
from parc_ray.motions.importers.clip import ReadOptions
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes
from tests.cluster.runs import fingerprints
from tests.reference import HUMANOID
from tests.report.made_run import MadeRun, recording_of


def export(*arguments: Any) -> Result:
    """Without the message that `run_command` makes of an error: the error."""
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture()
def run(made: MadeRun, walk: Motion) -> Path:
    """A motion recorded at the second attempt, another one rejected; failed attempts were kept."""
    made.begin(2)
    made.motion_file(walk, "walk")
    made.motion_file(walk, "fall")
    made.attempt("walk", again=0.25, trajectory=recording_of(walk))
    made.attempt("walk", 1, "recorded", 2.0, 0.5, 0.25, recording=recording_of(walk, 0.5))
    made.final("walk", "recorded", start_fraction=0.25, seconds=2.0)
    made.attempt("fall", trajectory=recording_of(walk, drift=0.5))
    made.final("fall", "rejected", "root position")
    return made.path


def exported(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_of_a_run_what_was_recorded(run: Path, tmp_path: Path) -> None:
    before = fingerprints(run)
    done = export(run, "--to", "csv", "-o", tmp_path / "csv")
    assert done.exit_code == 0 and "1 motion\n" in done.output
    assert exported(tmp_path / "csv") == {"walk.csv"}
    assert fingerprints(run) == before


def test_of_a_run_its_failures_too(run: Path, tmp_path: Path) -> None:
    assert export(run, "--to", "bvh", "-o", tmp_path / "bvh", "--failures").exit_code == 0
    failed = {"failed_attempts/walk/attempt_0.bvh", "failed_attempts/fall/attempt_0.bvh"}
    assert exported(tmp_path / "bvh") == {"walk.bvh", *failed}


def test_a_run_without_any(made: MadeRun, walk: Motion) -> None:
    made.begin(1)
    made.motion_file(walk, "walk")
    made.attempt("walk")
    made.final("walk", "rejected")
    with pytest.raises(InputError, match="recorded nothing"):
        plan_export(made.path, "csv", made.path)
    with pytest.raises(InputError, match=r"record\.keep_failures"):
        plan_export(made.path, "csv", made.path, failures=True)


def test_a_folder_with_folders(tmp_path: Path, walk: Motion) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    (source / "a" / "b").mkdir(parents=True)
    (source / "walk.pkl").write_bytes(motion_file_bytes(walk))
    (source / "a" / "b" / "walk.v2.pkl").write_bytes(motion_file_bytes(walk, {"obs": np.zeros(3)}))
    (source / "broken.pkl").write_bytes(b"nothing")
    done = export(source, "--to", "npz", "-o", target)
    assert done.exit_code == 0 and "left out:" in done.output and "broken.pkl" in done.output
    assert exported(target) == {"walk.npz", "a/b/walk.v2.npz"}


def test_nothing_that_is_there_is_replaced_unasked(run: Path, tmp_path: Path) -> None:
    motion, target = run / "recorded_motions" / "walk.pkl", tmp_path / "walk.csv"
    target.write_text("mine")
    refused = export(motion, "--to", "csv", "-o", tmp_path)
    assert isinstance(refused.exception, InputError) and "--overwrite" in str(refused.exception)
    assert target.read_text() == "mine"
    assert export(motion, "--to", "csv", "-o", tmp_path, "--overwrite").exit_code == 0
    assert target.read_text().startswith("time,root_pos.x")


def test_a_motion_is_not_replaced_by_its_own_export(run: Path) -> None:
    before = fingerprints(run)
    with pytest.raises(InputError, match="its own export"):
        plan_export(run / "recorded_motions", "mimickit", run / "recorded_motions", overwrite=True)
    assert fingerprints(run) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "fbx"}, "there are: bvh, glb, csv, npz, mimickit"),
        ({"failures": True}, "needs the output_dir of a run"),
        ({"path": "gone"}, "no such file or folder"),
        ({"character": Path("gone.xml")}, "gone.xml"),
    ],
)
def test_what_cannot_be(tmp_path: Path, walk: Motion, options: dict[str, Any], message: str) -> None:
    (tmp_path / "walk.pkl").write_bytes(motion_file_bytes(walk))
    path, name = tmp_path / options.pop("path", "walk.pkl"), options.pop("name", "csv")
    with pytest.raises(InputError, match=message):
        plan_export(path, name, tmp_path / "out", **options)
    assert exported(tmp_path) == {"walk.pkl"}


def test_a_file_that_is_no_motion_ends_it(tmp_path: Path) -> None:
    (tmp_path / "walk.pkl").write_bytes(b"nothing")
    done = export(tmp_path / "walk.pkl", "--to", "csv", "-o", tmp_path / "out")
    assert isinstance(done.exception, InputError) and not (tmp_path / "out").exists()


def test_a_recording_knows_where_it_came_from(run: Path, walk: Motion) -> None:
    recording = read_recording(run / "recorded_motions" / "walk.pkl")
    assert recording.source == str(HUMANOID) and recording.origin == {"seed": 0}
    assert recording.motion.num_frames == walk.num_frames - 15
    assert read_recording(str(run / "walk.in"), str(HUMANOID)).origin == {}


def test_a_data_frame(run: Path) -> None:
    pandas = pytest.importorskip("pandas")
    recording = read_recording(run / "recorded_motions" / "walk.pkl")
    frame = recording.frame()
    assert isinstance(frame, pandas.DataFrame) and len(frame) == recording.motion.num_frames
    np.testing.assert_array_equal(frame["root_pos.z"], recording.motion.root_pos[:, 2])


@pytest.mark.parametrize("to", ["robot-csv", "tracking-npz", "tracking-npz-isaaclab"])
def test_robots_motions_come_back(tmp_path: Path, walk: Motion, to: str) -> None:
    """Joints in another order come back by their names."""
    motion, folder = tmp_path / "walk.pkl", tmp_path / to
    motion.write_bytes(motion_file_bytes(walk))
    assert export(motion, "--to", to, "-o", folder).exit_code == 0
    assert (folder / "joints.txt").exists() == (to == "robot-csv")
    order = str(folder / "joints.txt") if to == "robot-csv" else "mjcf"
    (file,) = folder.glob("walk.*")
    form, content = importers.open_clips(file, None)
    options = ReadOptions(load_skeleton(HUMANOID), fps=walk.fps, joint_order=order)
    (clip,) = form.clips(content, file, options).values()
    np.testing.assert_allclose(clip.root_pos, walk.root_pos, atol=1e-5)
    assert np.abs((clip.joint_rot.numpy() * walk.joint_rot).sum(-1)).min() > 1 - 1e-5


def test_a_file_of_names_is_not_replaced_unasked(tmp_path: Path, walk: Motion) -> None:
    (tmp_path / "walk.pkl").write_bytes(motion_file_bytes(walk))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "joints.txt").write_text("mine")
    arguments = (tmp_path / "walk.pkl", "--to", "robot-csv", "-o", tmp_path / "out")
    assert "joints.txt: exists" in str(export(*arguments).exception)
    assert exported(tmp_path / "out") == {"joints.txt"}
    assert export(*arguments, "--overwrite").exit_code == 0
