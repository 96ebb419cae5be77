"""What `import parc_ray` offers to programs; tests/cluster/test_api.py runs the examples."""

from __future__ import annotations

import ast
import dataclasses
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

import parc_ray
from parc_ray.motions.motion import Motion
from tests.reference import ROOT
from tests.report.made_run import QUALITY, MadeRun, recording_of


@pytest.mark.slow
def test_importing_it_is_cheap() -> None:
    script = """
import sys
import parc_ray
heavy = {"torch", "ray", "numpy", "mujoco", "pydantic", "pandas"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
parc_ray.read_run, parc_ray.Run, parc_ray.InputError
assert not {"torch", "ray", "mujoco", "pandas"} & set(sys.modules)
parc_ray.read_recording
assert not {"ray", "pandas", "pygltflib"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=str(ROOT), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_name_is_there_and_documented() -> None:
    assert set(parc_ray.__all__) <= set(dir(parc_ray))
    for name in parc_ray.__all__:
        thing = getattr(parc_ray, name)
        assert thing.__name__ == name and thing.__doc__
    with pytest.raises(AttributeError, match="no attribute 'recrd'"):
        _ = parc_ray.recrd


def test_the_names_of_type_checkers_are_those_at_run_time() -> None:
    tree = ast.parse(Path(parc_ray.__file__).read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    listed = [alias.name for node in ast.walk(checked) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(listed) == sorted(parc_ray.__all__)


def test_runs_and_recordings_have_short_reprs(made: MadeRun, walk: Motion) -> None:
    made.begin(1)
    made.motion_file(walk, "walk")
    made.attempt("walk", 0, "recorded", 2.0, 0.5, 0.25, recording=recording_of(walk, 0.0))
    made.final("walk", "recorded", start_fraction=0.0, seconds=2.0)
    run = parc_ray.read_run(made.path)
    assert repr(run) == f"<Run {str(made.path)!r}: 1 of 1 motions recorded>"
    (motion,) = run.motions
    recording = parc_ray.read_recording(motion.recording)
    assert re.fullmatch(r"<Recording 'walk': \d+ frames, [\d.]+ s>", repr(recording))


def test_every_exported_name_and_attribute_is_on_the_page() -> None:
    page = (ROOT / "parc_ray" / "api.md").read_text(encoding="utf-8")
    for name in parc_ray.__all__:
        thing = getattr(parc_ray, name)
        assert f"`{name}" in page or f"### {name}\n" in page, name
        if dataclasses.is_dataclass(thing):
            section = page.partition(f"### {name}\n")[2].partition("\n### ")[0]
            public = [own for own in vars(thing) if not own.startswith("_")]
            for own in {*public, *(field.name for field in dataclasses.fields(thing))}:
                assert f"| `{own}`" in section or f"| `{own}(" in section, f"{name}.{own}"


def test_a_motion_without_a_recording_is_told_so() -> None:
    with pytest.raises(parc_ray.InputError, match="was not recorded"):
        parc_ray.read_recording(None)


def test_a_run_as_a_data_frame(made: MadeRun, walk: Motion) -> None:
    pytest.importorskip("pandas")
    made.begin(2)
    made.motion_file(walk, "walk")
    made.planned("later")
    made.final("broken", "invalid", "is empty", path="broken.pkl")
    made.attempt("walk", again=0.25, quality={**QUALITY, "root_error": None})
    made.attempt("walk", 1, "recorded", 2.0, 0.5, 0.25, recording=recording_of(walk, 0.5))
    made.final("walk", "recorded", start_fraction=0.25, seconds=2.0)
    frame = parc_ray.read_run(str(made.path)).frame()
    assert list(frame["motion"]) == ["walk", "walk", "later", "broken"]
    assert list(frame["state"]) == ["recorded", "recorded", "unfinished", "invalid"]
    assert list(frame["outcome"])[:2] == ["failed", "recorded"]
    assert list(frame["start_fraction"])[:2] == [0.0, 0.25] and math.isnan(frame["start_fraction"][2])
    assert math.isnan(frame["root_error"][0]) and frame["root_error"][1] == QUALITY["root_error"]
    assert frame["reason"][3] == "is empty"
    counted = frame.groupby("motion")["attempt"].count()
    assert counted["walk"] == 2 and counted["later"] == 0


def test_bad_input_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(parc_ray.InputError, match=r"config: key 'model_file' is missing"):
        parc_ray.record({"output_dir": "out", "env_file": "a", "agent_file": "b", "dataset_file": "c"})
    with pytest.raises(parc_ray.ParcRayError, match=r"gone\.yaml: no such file"):
        parc_ray.record("gone.yaml")
    assert not list(tmp_path.iterdir())
