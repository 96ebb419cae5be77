from __future__ import annotations

import inspect
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from parc_ray.character.skeleton import load_skeleton
from parc_ray.config.dataset import DatasetConfig
from parc_ray.errors import InputError
from parc_ray.motions import scanning
from parc_ray.motions.dataset import write_dataset
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.motions.scanning import create_dataset, load_dataset
from tests.motions.samples import random_motion
from tests.reference import DATA, HUMANOID

REFERENCE = json.loads((DATA / "dataset_creation.json").read_text())
SKELETON = load_skeleton(HUMANOID)


def write_motion(path: str, num_frames: int = 20, fps: float = 30, terrain_shape=(4, 3)) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(motion_file_bytes(random_motion(num_frames, fps, tuple(terrain_shape))))


def write_files(files) -> None:
    for file in files:
        write_motion(file["path"], file["num_frames"], file["fps"], file["terrain_dims"])


def config(*folders: str, **settings) -> DatasetConfig:
    return DatasetConfig(folder_paths=list(folders), save_path="motions.yaml", **settings)


def create(*folders: str, **settings):
    return create_dataset(config(*folders, **settings), SKELETON)


def weights(dataset) -> dict:
    return {entry.path: entry.weight for entry in dataset.entries}


def reasons(items) -> dict:
    return {item.path: item.reason for item in items}


@pytest.fixture(autouse=True)
def empty_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# Creating


@pytest.mark.parametrize("case", REFERENCE["cases"])
def test_reference(case):
    write_files(file for file in case["files"] if not file["path"].endswith("top_level.pkl"))
    dataset = create(*case["folder_paths"], **case["params"])
    assert weights(dataset) == pytest.approx(case["weights"], rel=1e-9)
    assert dataset.invalid == ()
    write_dataset(dataset, Path("motions.yaml"))
    expected = yaml.safe_load(case["yaml_text"].replace("$ROOT/", ""))
    assert [motion["file"] for motion in yaml.safe_load(Path("motions.yaml").read_text())["motions"]] == [
        motion["file"] for motion in expected["motions"]
    ]


def test_entries_describe_their_files():
    write_motion("set/walking/w.pkl", num_frames=31, fps=60, terrain_shape=(5, 7))
    (entry,) = create("set").entries
    assert (entry.name, entry.path) == ("w", "set/walking/w.pkl")
    assert (entry.num_frames, entry.fps, entry.length) == (31, 60, 0.5)
    assert entry.terrain_shape == (5, 7)
    assert entry.file_bytes == Path(entry.path).stat().st_size


def test_a_class_in_two_folders_is_one_class():
    case = REFERENCE["duplicate_class_case"]
    write_files(case["files"])
    dataset = create(*case["folder_paths"])
    # PARC lists such motions twice, and its weights are larger by a factor that cancels in sampling.
    expected = {path.replace("$ROOT/", ""): weight for path, weight in case["yaml_entries"]}
    scale = expected["two/stairs/s.pkl"] / weights(dataset)["two/stairs/s.pkl"]
    assert {path: weight * scale for path, weight in weights(dataset).items()} == pytest.approx(expected)
    assert len(dataset.entries) == 3


def test_files_directly_in_a_listed_folder_are_a_class_of_that_name():
    write_motion("recorded/a.pkl", 60)
    write_motion("recorded/climbing/b.pkl", 30)
    write_motion("more/recorded/c.pkl", 60)
    found = weights(create("recorded", "more/recorded"))
    assert found["recorded/a.pkl"] == found["more/recorded/c.pkl"]
    assert found["recorded/a.pkl"] * 2 == pytest.approx(found["recorded/climbing/b.pkl"])


def test_the_current_directory_can_be_listed():
    write_motion("a.pkl")
    assert [entry.name for entry in create(".").entries] == ["a"]


def test_order_does_not_depend_on_the_file_system():
    for name in ("b/2", "b/1", "a/sub/4", "a/3", "c/0"):
        write_motion(f"z/{name}.pkl")
        write_motion(f"y/{name}{name[-1]}.pkl")
    names = [entry.name for entry in create("z", "y").entries]
    assert names == ["3", "4", "1", "2", "0", "33", "44", "11", "22", "00"]


def test_limits_exclude_with_a_reason():
    write_motion("set/a/short.pkl", 14)
    write_motion("set/a/wide.pkl", terrain_shape=(9, 3))
    write_motion("set/a/deep.pkl", terrain_shape=(3, 9))
    write_motion("set/a/good.pkl", 15, terrain_shape=(8, 8))
    dataset = create("set", max_terrain_dim_x=8, max_terrain_dim_y=8)
    assert list(weights(dataset)) == ["set/a/good.pkl"]
    assert reasons(dataset.excluded) == {
        "set/a/deep.pkl": "9 terrain cells along y are more than max_terrain_dim_y 8",
        "set/a/short.pkl": "14 frames are fewer than min_num_frames 15",
        "set/a/wide.pkl": "9 terrain cells along x are more than max_terrain_dim_x 8",
    }
    assert dataset.invalid == ()


def test_bad_files_are_set_aside():
    write_motion("set/a/good.pkl")
    broken = random_motion(20)
    broken.root_pos[3] = np.nan
    Path("set/a/nan.pkl").write_bytes(motion_file_bytes(broken))
    Path("set/a/empty.pkl").write_bytes(b"")
    Path("set/a/text.pkl").write_text("no motion")
    Path("set/a/cut.pkl").write_bytes(Path("set/a/good.pkl").read_bytes()[:-100])
    Path("set/a/link.pkl").symlink_to("nowhere.pkl")
    Path("set/a/folder.pkl").mkdir()
    dataset = create("set")
    assert list(weights(dataset)) == ["set/a/good.pkl"]
    found = reasons(dataset.invalid)
    assert {path[6:]: reason.split(" (")[0].split(",")[0] for path, reason in found.items()} == {
        "cut.pkl": "is not a readable pickle",
        "empty.pkl": "is empty. Generate the motion again",
        "link.pkl": f"no such file in {Path.cwd()}. Check its path",
        "nan.pkl": "root_pos is not finite",
        "text.pkl": "is not a readable pickle",
    }


def test_a_class_without_a_usable_motion_has_no_share():
    write_motion("set/a/good.pkl", 30)
    write_motion("set/b/good2.pkl", 60)
    write_motion("set/c/short.pkl", 3)
    Path("set/d").mkdir()
    assert weights(create("set")) == pytest.approx({"set/a/good.pkl": 1.5, "set/b/good2.pkl": 1.5})


def test_a_repeated_name_is_set_aside():
    Path("set/a").mkdir(parents=True)
    Path("set/a/jump.pkl").write_bytes(b"")
    write_motion("set/b/jump.pkl")
    write_motion("set/c/jump.pkl")
    dataset = create("set")
    assert list(weights(dataset)) == ["set/b/jump.pkl"]
    assert "same name as set/b/jump.pkl" in reasons(dataset.invalid)["set/c/jump.pkl"]


def test_links_to_folders_are_followed_once():
    write_motion("elsewhere/a/good.pkl")
    Path("set").mkdir()
    Path("set/linked").symlink_to(Path("elsewhere/a").resolve())
    Path("elsewhere/a/loop").symlink_to(Path("set").resolve())
    dataset = create("set")
    assert list(weights(dataset)) == ["set/linked/good.pkl"]
    assert dataset.invalid == ()


def test_ignore_in_the_path_to_a_listed_folder_does_not_matter():
    write_motion("ignored_by_git/set/a/good.pkl")
    write_motion("ignored_by_git/set/a/do_ignore/other.pkl")
    assert list(weights(create("ignored_by_git/set"))) == ["ignored_by_git/set/a/good.pkl"]


def test_folders_without_motions():
    with pytest.raises(InputError, match="key 'folder_paths': nowhere cannot be listed"):
        create("nowhere")
    Path("set/a").mkdir(parents=True)
    with pytest.raises(InputError, match=r"set.*no usable motion. There are no motion files"):
        create("set")
    Path("set/a/empty.pkl").write_bytes(b"")
    with pytest.raises(InputError, match=r"1 file\(s\) were set aside, for instance set/a/empty.pkl: is empty"):
        create("set")


def test_progress():
    for name in "abc":
        write_motion(f"set/{name}.pkl")
    calls = []
    create_dataset(config("set"), SKELETON, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_input_files_are_never_touched():
    write_motion("set/a/good.pkl")
    before = Path("set/a/good.pkl").stat()
    create("set", compute_preprocessing_data=True, override_old_hf_mask_inds=True)
    after = Path("set/a/good.pkl").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_config_refuses_unknown_keys():
    with pytest.raises(ValidationError, match="min_frames"):
        config("set", min_frames=3)


@pytest.mark.timeout(60)
def test_odd_files_do_not_stop_or_delay_a_scan():
    write_motion("set/a/good.pkl")
    os.mkfifo("set/a/pipe.pkl")
    Path("set/a/device.pkl").symlink_to("/dev/zero")
    Path("set/a/circle.pkl").symlink_to("circle.pkl")
    with Path("set/a/sparse.pkl").open("wb") as file:
        file.truncate(50 << 30)
    dataset = create("set")
    assert list(weights(dataset)) == ["set/a/good.pkl"]
    assert {
        path[6:]: reason.split(":")[-1].split(" bytes")[0] for path, reason in reasons(dataset.invalid).items()
    } == {
        "pipe.pkl": " it is a pipe, not a file. Give a regular file",
        "device.pkl": " it is a device, not a file. Give a regular file",
        "circle.pkl": " Too many levels of symbolic links. Check its name and permissions",
        "sparse.pkl": " 53687091200",
    }


ODD_NAMES = ["..pkl", "...pkl", ".pkl", " .pkl", "a .pkl", "a..pkl", "-rf.pkl", "$HOME.pkl",
             "~.pkl", "*.pkl", "%s{}.pkl",
             "a\\b.pkl", "[red]a[/red].pkl", "[/].pkl", "Walk.pkl", "walk.pkl", "caf\u00e9.pkl", "cafe\u0301.pkl",
             "\U0001f469\u200d\U0001f52c.pkl", "x" * 251 + ".pkl"]  # fmt: skip
"""Unusual, and no reason to leave a motion out: names are compared as Linux compares them"""
BAD_NAMES = [
    "a\nb.pkl",
    "a\x1b[2Jb.pkl",
    "a\rb.pkl",
    "a\tb.pkl",
    "a\x7f.pkl",
    "a\u202eb.pkl",
    "a\x85.pkl",
    os.fsdecode(b"\xff.pkl"),
]


def test_odd_names_are_names():
    write_motion("one.pkl")
    (Path("set") / "[red]a[").mkdir(parents=True)
    (Path("set") / "[").mkdir()
    for name in ODD_NAMES:
        shutil.copy("one.pkl", Path("set") / name)
    dataset = create("set")
    assert {os.path.relpath(entry.path, "set") for entry in dataset.entries} == set(ODD_NAMES)
    assert dataset.invalid == ()
    write_dataset(dataset, Path("motions.yaml"))
    assert load_dataset(Path("motions.yaml"), SKELETON) == dataset


@pytest.mark.parametrize("place", ["file", "folder"])
def test_names_that_are_no_text_are_invalid_and_shown_safely(place):
    write_motion("set/good.pkl")
    for index, name in enumerate(BAD_NAMES):
        path = Path("set") / name if place == "file" else Path("set") / name[:-4] / f"{index}.pkl"
        path.parent.mkdir(exist_ok=True)
        shutil.copy("set/good.pkl", path)
    dataset = create("set")
    assert [entry.name for entry in dataset.entries] == ["good"]
    assert len(dataset.invalid) == len(BAD_NAMES)
    for motion in dataset.invalid:
        assert motion.reason == "its path has characters that are not text. Rename it"
        assert motion.path.isascii() and motion.path.isprintable() and motion.name.isprintable()


@pytest.mark.parametrize(
    "file", ["~/a.pkl", "../a.pkl", "", ".", "..", "/", "x" * 5000, "\\0", "a/" * 3000, "/dev/stdin", "/proc/self/mem"]
)
def test_listed_names_that_are_no_motions(file):
    write_motion("good.pkl")
    Path("motions.yaml").write_text(f'motions: [{{file: good.pkl, weight: 1}}, {{file: "{file}", weight: 1}}]')
    dataset = load_dataset(Path("motions.yaml"), SKELETON)
    assert [entry.name for entry in dataset.entries] == ["good"]
    (invalid,) = dataset.invalid
    assert invalid.reason


def test_deep_folders_are_searched():
    folder = Path("set", *"d" * 300)
    folder.mkdir(parents=True)
    write_motion(f"{folder}/deep.pkl")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        (entry,) = create("set").entries
    finally:
        sys.setrecursionlimit(limit)
    assert entry.name == "deep"


def test_a_file_that_does_not_fit_the_memory(monkeypatch):
    def exhausted(*_):
        raise MemoryError

    write_motion("set/good.pkl")
    write_motion("set/large.pkl")
    parse = scanning.parse_motion
    monkeypatch.setattr(scanning, "parse_motion", lambda *given: exhausted() if given[1] == "large" else parse(*given))
    (invalid,) = create("set").invalid
    assert invalid.reason == "does not fit into the memory of this machine"


def test_a_run_may_have_something_against_a_motion():
    write_motion("set/good.pkl", 20)
    write_motion("set/other.pkl", 21)
    dataset = create_dataset(
        config("set"), SKELETON, unsupported_reason=lambda motion: "odd" if motion.num_frames % 2 else ""
    )
    assert reasons(dataset.invalid) == {"set/other.pkl": "odd"}


# Writing and loading


def test_what_is_written_can_be_loaded():
    for index, name in enumerate(["a/one", "b/two with a space", "b/drei_ä", f"c/{'long ' * 30}"]):
        write_motion(f"set/{name}.pkl", 20 + index)
    dataset = create("set")
    write_dataset(dataset, Path("motions.yaml"))
    assert load_dataset(Path("motions.yaml"), SKELETON) == dataset
    assert yaml.safe_load(Path("motions.yaml").read_text(encoding="ascii")) == {
        "motions": [{"file": path, "weight": weight} for path, weight in weights(dataset).items()]
    }


def test_load_a_single_motion():
    write_motion("jump.pkl")
    (entry,) = load_dataset(Path("jump.pkl"), SKELETON).entries
    assert (entry.name, entry.weight) == ("jump", 1.0)
    with pytest.raises(InputError, match=r"none.pkl: no usable motion.*no such file"):
        load_dataset(Path("none.pkl"), SKELETON)


def test_load_sets_bad_motions_aside():
    write_motion("data/good.pkl")
    write_motion("other/good.pkl")
    Path("data/empty.pkl").write_bytes(b"")
    Path("motions.yaml").write_text(
        """
        terrain: {file: terrain.pkl}
        motions:
        - {file: $DATA_DIR/good.pkl, weight: 2}
        - {file: $DATA_DIR/good.pkl, weight: 2}
        - {file: other/good.pkl, weight: 1.0}
        - {file: $DATA_DIR/empty.pkl, weight: 1.0}
        - {file: $DATA_DIR/none.pkl, weight: 1.0}
        - {file: "null\\0byte.pkl", weight: 1.0}
        """
    )
    calls = []
    dataset = load_dataset(
        Path("motions.yaml"),
        SKELETON,
        expand=lambda text: text.replace("$DATA_DIR", "data"),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert weights(dataset) == {"data/good.pkl": 2.0}
    assert [(motion.path, motion.reason.split(".")[0]) for motion in dataset.invalid[:4]] == [
        ("data/good.pkl", "has the same name as data/good"),
        ("other/good.pkl", "has the same name as data/good"),
        ("data/empty.pkl", "is empty"),
        ("data/none.pkl", f"no such file in {Path.cwd()}"),
    ]
    assert calls[-1] == (5, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"motions.yaml: has no list `motions`"),
        ("motions: 3", r"motions.yaml: has no list `motions`"),
        ("motions:\n- file: a.pkl\n  weight: @1\n- file: b.pkl", r"motions.yaml: not valid YAML, line 3: "),
        ("motions: \xff\x00", r"motions.yaml: cannot be read: line 1 is not UTF-8"),
        ("when: 2024-99-99", r"motions.yaml: not valid YAML: a value is malformed"),
        ("motions: [a.pkl]", r"motions.yaml: motions\[0\]: has no `file`"),
        ("motions: [{file: 3, weight: 1}]", r"motions\[0\]: has no `file`"),
        ("motions: [{file: a.pkl}]", r"motions\[0\]: `weight` is None"),
        ("motions: [{file: a.pkl, weight: -1}]", r"motions\[0\]: `weight` is -1"),
        ("motions: [{file: a.pkl, weight: .nan}]", r"motions\[0\]: `weight` is nan"),
        ("motions: [{file: a.pkl, weight: .inf}]", r"motions\[0\]: `weight` is inf"),
        ("motions: []", r"motions.yaml: its list `motions` is empty"),
        ("motions: [{file: a.pkl, weight: 1}]", r"no usable motion. 1 file\(s\).*a.pkl: no such file"),
    ],
)
def test_malformed_dataset_files(text, message):
    Path("motions.yaml").write_bytes(text.encode("latin1"))
    with pytest.raises(InputError, match=message):
        load_dataset(Path("motions.yaml"), SKELETON)


def test_missing_dataset_file():
    with pytest.raises(InputError, match=r"none.yaml: no such file"):
        load_dataset(Path("none.yaml"), SKELETON)


def test_file_names_that_are_no_text():
    write_motion("set/good.pkl")
    Path(os.fsdecode(b"set/\xff.pkl")).write_bytes(Path("set/good.pkl").read_bytes())
    (invalid,) = create("set").invalid
    assert invalid.reason == "its path has characters that are not text. Rename it"
    assert invalid.path.isascii()
