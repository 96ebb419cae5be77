from __future__ import annotations

import json
import os
import pickle
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from parc_ray.config.record import OutputConfig
from parc_ray.errors import InputError, OutputError
from parc_ray.motions.height_field import HeightField
from parc_ray.runs.output import OutputDirectory, group_of
from tests.cluster.runs import fingerprints, temporary_files
from tests.reference import vectors

ODD_NAMES = (
    "two words", "..", ".", ".hidden", "...", "-rf", "Übung_ñ_12", "走る_150_dm", "a\nb_7", "tab\t_3", "$HOME", "*",
    "~", "name.with.dots_60", "_12", "x_", "C:", "%s{}",
)  # fmt: skip
file_names = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="/\0"), min_size=1, max_size=40)


def directory(path, **settings):
    return OutputDirectory(path, OutputConfig(**settings))


# ------------------------------------------------------------------------------------------- names


def write_recording(output, motion, content):
    path = output.recording_path(motion)
    output.write_motion_files({path: content})
    return path


def write_failure(output, motion, number, content):
    path = output.failure_path(motion, number)
    output.write_motion_files({path: content} if path else {})


def assert_stays_inside(output, motion):
    path = output.recording_path(motion)
    parts = path.relative_to(output.recordings).parts
    assert ".." not in parts
    assert len(parts) == (2 if output.config.layout == "grouped" else 1)


@pytest.mark.parametrize("layout", ["flat", "grouped"])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_recordings_of_odd_names_stay_in_their_folder(tmp_path, name, layout):
    output = directory(tmp_path, layout=layout, name_suffix="_dm")
    output.prepare()
    assert_stays_inside(output, name)
    path = write_recording(output, name, b"content")
    assert path == output.recording_path(name)
    assert path.read_bytes() == b"content"
    assert [p.resolve() for p in tmp_path.rglob("*.pkl")] == [path.resolve()]


@given(file_names, st.sampled_from(["flat", "grouped"]), st.sampled_from(["", "_dm", "..", " "]))
def test_no_name_leaves_the_directory(name, layout, suffix):
    assert_stays_inside(directory(Path("/output"), layout=layout, name_suffix=suffix), name)


@pytest.mark.parametrize("name", [*ODD_NAMES, "attempt_0.pkl", ".0123456789abcdef.tmp"])
def test_failed_attempts_of_odd_names_stay_in_their_folder(tmp_path, name):
    """Each motion has a folder; where none can have that name, nothing is kept."""
    output = directory(tmp_path, name_suffix="_dm")
    output.prepare()
    for number in (0, 12):
        write_failure(output, name, number, b"content")
    found = [path.relative_to(tmp_path).parts for path in tmp_path.rglob("*") if path.is_file()]
    if name in (".", ".."):
        assert found == []
    else:
        assert sorted(found) == [("failed_attempts", name, f"attempt_{number}.pkl") for number in (0, 12)]
    assert output.tidy([]) == [] and output.sizes() == {}


@given(st.sets(st.tuples(file_names, st.integers(0, 20)), max_size=20))
def test_different_attempts_have_different_files(attempts):
    output = directory(Path("/output"))
    paths = {output.failure_path(*attempt) for attempt in attempts if attempt[0] not in (".", "..")}
    assert len(paths) == sum(name not in (".", "..") for name, _ in attempts)
    assert all(path.parent.parent == output.failures and ".." not in path.parts for path in paths)


@given(st.sets(file_names, max_size=20), st.sampled_from(["flat", "grouped"]))
def test_different_motions_have_different_recordings(names, layout):
    output = directory(Path("/output"), layout=layout, name_suffix="_dm")
    assert len({output.recording_path(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    "name, group",
    [
        ("boxes_123_dm", "boxes_100_149"),
        ("boxes_0", "boxes_0_49"),
        ("boxes_49_dm", "boxes_0_49"),
        ("boxes_50_opt_dm", "boxes_50_99"),
        ("dec2024_teaser_717_1_opt_dm", "dec2024_teaser_700_749"),
        ("running", "ungrouped"),
    ],
)
def test_groups_of_fifty_as_in_parc(name, group):
    assert group_of(name) == group


# ------------------------------------------------------------------------------------------- an earlier run


def test_an_earlier_run_is_noticed(tmp_path):
    output = directory(tmp_path / "out")
    output.require_free()
    output.prepare()
    output.write_json("summary.json", {"motions": 1})
    with pytest.raises(InputError, match=r"out holds an earlier run .*summary\.json.*--overwrite"):
        output.require_free()


def test_only_what_runs_write_is_deleted(tmp_path):
    """Whatever else lies in output_dir stays, and so does motions.yaml: it may be the dataset itself."""
    for name in ("mine.txt", "motions.yaml", "motions/a.pkl", "logs/other.log", "terrain.pkl.bak"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    before = fingerprints(tmp_path)
    output = directory(tmp_path)
    output.prepare()
    write_recording(output, "a", b"old")
    write_failure(output, "a", 0, b"old")
    for name in ("record_args.txt", "record_env.yaml", "recorded_motions.yaml", "terrain.pkl", "logs/run.log"):
        output.write_text(name, "old")
    output.clear()
    assert fingerprints(tmp_path) == before
    assert output.recordings.is_dir() and not list(output.recordings.iterdir())


def test_a_journal_that_tells_of_nothing_is_no_earlier_run(tmp_path):
    """A run that was killed between its preparations and its first attempt leaves no more."""
    output = directory(tmp_path)
    output.prepare()
    for name in ("journal.jsonl", "record_args.txt", "record_env.yaml"):
        output.write_text(name, "")
    output.require_free()
    write_failure(output, "a", 0, b"failed")
    with pytest.raises(InputError, match="failed_attempts"):
        output.require_free()
    write_recording(output, "a", b"recorded")
    with pytest.raises(InputError, match="recorded_motions"):
        output.require_free()


@pytest.mark.parametrize(
    "name",
    [
        "recorded_motions", "logs", "journal.jsonl", "logs/run.log", "recorded_motions/a_0_49", "failed_attempts",
        "failed_attempts/a_1",
    ],
)  # fmt: skip
def test_nothing_is_written_through_a_link(tmp_path, name):
    output, elsewhere = directory(tmp_path / "out", layout="grouped"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).symlink_to(elsewhere / "file" if name.endswith(("jsonl", "log")) else elsewhere)
    with pytest.raises(InputError, match=r"symbolic link.*elsewhere"):
        output.require_unlinked()
        write_failure(output, "a_1", 0, b"failed")
        write_recording(output, "a_1", b"recorded")
    assert fingerprints(elsewhere).keys() == {"file"}
    assert (elsewhere / "file").read_text() == "precious"


@pytest.mark.parametrize("name", ["journal.jsonl", "logs/run.log"])
def test_nothing_is_appended_to_what_is_no_file(tmp_path, name):
    """Opening a pipe would wait for ever."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is not a file"):
        directory(tmp_path).require_unlinked()


def test_a_link_in_a_recordings_place_is_replaced_not_followed(tmp_path):
    output = directory(tmp_path / "out")
    output.prepare()
    (tmp_path / "precious").write_text("precious")
    output.recording_path("a").parent.mkdir()
    output.recording_path("a").symlink_to(tmp_path / "precious")
    assert output.sizes() == {}
    write_recording(output, "a", b"recorded")
    assert (tmp_path / "precious").read_text() == "precious"
    assert output.sizes() == {output.recording_path("a"): 8}


def test_tidying_takes_what_a_kill_has_left_and_nothing_else(tmp_path):
    output = directory(tmp_path, layout="grouped")
    output.prepare()
    stray, kept = write_recording(output, "a_1", b"stray"), write_recording(output, "a_2", b"kept")
    mine = [tmp_path / "notes.tmp", tmp_path / ".hidden.tmp", output.recordings / "mine.pkl"]
    write_failure(output, "a_2", 0, b"failed")
    failures = output.failures / "a_2"
    left = [folder / ".0123456789abcdef.tmp" for folder in (tmp_path, tmp_path / "logs", stray.parent, failures)]
    for path in mine + left:
        path.write_text("x")
    assert set(output.tidy([stray, output.recording_path("never_written")])) == {stray, *left}
    assert kept.exists() and (failures / "attempt_0.pkl").exists() and all(path.exists() for path in mine)
    assert not stray.exists() and not any(path.exists() for path in left)


def test_an_earlier_run_that_is_an_input_is_not_deleted(tmp_path):
    output = directory(tmp_path / "out", layout="grouped")
    output.prepare()
    recording = write_recording(output, "walk_7", b"old")
    (tmp_path / "link").symlink_to(output.recordings)
    for file in (recording, tmp_path / "link" / "walk_0_49" / "walk_7.pkl", tmp_path / "link" / "other.pkl"):
        with pytest.raises(InputError, match="recorded_motions are an input"):
            output.require_apart([str(tmp_path / "motions" / "a.pkl"), str(file)])
    with pytest.raises(InputError, match="failed_attempts are an input"):
        output.require_apart([str(output.failures / "walk_7" / "attempt_0.pkl")])
    output.require_apart([str(tmp_path / "out" / "a.pkl"), str(tmp_path / "recorded_motions" / "a.pkl")])


def test_an_output_directory_that_cannot_be_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        directory(tmp_path / "file" / "out").prepare()


# ------------------------------------------------------------------------------------------- files


def test_writes_leave_no_temporary_files(tmp_path):
    output = directory(tmp_path)
    output.prepare()
    for content in (b"first", b"second, longer"):
        path = write_recording(output, "walk", content)
        assert path.read_bytes() == content
    output.write_json("summary.json", {"größe": 1, "none": None})
    assert json.loads((tmp_path / "summary.json").read_text("utf-8")) == {"größe": 1, "none": None}
    assert not temporary_files(tmp_path)


def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(tmp_path, monkeypatch):
    output = directory(tmp_path)
    output.prepare()
    path = write_recording(output, "walk", b"first")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for write in (
        lambda: write_recording(output, "walk", b"second"),
        lambda: write_failure(output, "walk", 0, b"failed"),
    ):
        with pytest.raises(OutputError, match="No space left"):
            write()
    assert path.read_bytes() == b"first"
    assert not temporary_files(tmp_path)


def test_recorded_dataset_is_weighted_by_length_as_one_class_of_parc(tmp_path):
    output = directory(tmp_path)
    output.prepare()
    output.write_recorded_dataset([(tmp_path / "b.pkl", 89 / 30), (tmp_path / "a.pkl", 44 / 30)], 30)
    content = yaml.safe_load((tmp_path / "recorded_motions.yaml").read_text())
    expected = [(str(tmp_path / "a.pkl"), 1.5), (str(tmp_path / "b.pkl"), 3.0)]
    assert [(line["file"], line["weight"]) for line in content["motions"]] == expected


# ------------------------------------------------------------------------------------------- terrain.pkl


def reference_terrains(count):
    reference = vectors("terrain")
    return [
        HeightField(*(reference[f"layout_terrain{k}_{part}"] for part in ("hf", "hf_maxmin", "min_point")), dx=0.4)
        for k in range(count)
    ]


@pytest.mark.parametrize("case, count", [("n1", 1), ("n5", 5), ("n7", 7), ("n5_pad080", 5)])
def test_terrain_file_is_the_layout_of_parc(tmp_path, case, count):
    reference = {key: value for key, value in vectors("terrain").items() if key.startswith(f"layout_{case}_")}

    def expected(name):
        return reference[f"layout_{case}_{name}"]

    output = directory(tmp_path)
    output.prepare()
    output.write_terrain(reference_terrains(count), float(expected("padding")), 0.4)
    content = pickle.loads((tmp_path / "terrain.pkl").read_bytes())
    assert content["motion_data"] is None
    terrain, misc = pickle.loads(content["terrain_data"]), pickle.loads(content["misc_data"])
    for name in ("hf", "hf_maxmin", "min_point"):
        assert terrain[name].dtype == np.float32
        np.testing.assert_allclose(terrain[name], expected(name), atol=1e-5)
    assert terrain["dx"] == pytest.approx(0.4)
    assert misc["terrains_per_motion"] == 1
    np.testing.assert_allclose(misc["motion_offsets"], expected("motion_offsets"), atol=1e-5)
    # One mesh per terrain of each motion; all in a row they are the original's one mesh.
    vertices = [mesh for (mesh,) in misc["all_terrain_verts"]]
    triangles = [mesh for (mesh,) in misc["all_terrain_tris"]]
    first = np.cumsum([0] + [len(mesh) for mesh in vertices])
    np.testing.assert_allclose(np.concatenate(vertices), expected("vertices"), atol=1e-5)
    joined = np.concatenate([mesh.astype(np.int64) + start for mesh, start in zip(triangles, first)])
    np.testing.assert_array_equal(joined, expected("triangles"))


def test_a_terrain_file_that_cannot_be_is_left_out_with_a_reason(tmp_path):
    output = directory(tmp_path)
    output.prepare()
    with pytest.raises(InputError, match=r"cells of 0\.5 m"):
        output.write_terrain([HeightField.flat(), HeightField.flat(dx=0.5)], 0.4, 0.4)
    assert "64256256 cells" in output.terrain_problem([(1000, 1000)] * 60, 0.4, 0.4)
    assert output.terrain_problem([(18, 15)] * 60, 0.4, 0.4) == ""
    assert not output.terrain.exists()


def test_a_large_terrain_file_has_to_be_asked_for(tmp_path, monkeypatch):
    flat = [HeightField.flat()] * 3
    for setting, refused in (("auto", True), (True, False)):
        output = directory(tmp_path / str(setting), terrain_file=setting)
        output.prepare()
        monkeypatch.setattr("parc_ray.runs.output.MAX_MAP_TERRAINS", 2)
        assert ("terrain_file: true" in output.terrain_problem([(9, 9)] * 3, 0.4, 0.4)) == refused
        monkeypatch.setattr("parc_ray.runs.output.MAX_MAP_BYTES", 1000)
        with pytest.raises(InputError, match="terrain_file: true") if refused else nullcontext():
            output.write_terrain(flat, 0.4, 0.4)
        assert output.terrain.exists() != refused
