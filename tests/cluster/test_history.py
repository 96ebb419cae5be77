"""Going on where a run has ended: what has changed since."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parc_ray.errors import InputError
from parc_ray.motions.dataset import Dataset, ExcludedMotion, InvalidMotion, MotionEntry
from parc_ray.planning.fingerprint import fingerprint
from parc_ray.runs.events import RunStarted, dataset_events
from parc_ray.runs.journal import Journal
from parc_ray.runs.journal_reader import read_journal
from parc_ray.runs.ledger import read_ledger
from parc_ray.runs.resumption import differences, require_same
from tests.cluster.runs import write_config
from tests.planning.prepared import prepared

ENTRIES = tuple(
    MotionEntry(f"m{k}", f"/m{k}.pkl", 1.0, 61, 30.0, 2.0, (3, 3), 100, sha256=f"{k:064x}") for k in range(4)
)

INVALID = (InvalidMotion("broken", "/broken.pkl", "is empty"),)
EXCLUDED = (ExcludedMotion("short", "/short.pkl", "it has 3 frames"),)


@pytest.fixture(scope="module")
def files(tmp_path_factory, motions):
    return inputs_with(tmp_path_factory.mktemp("inputs"), motions).files


def inputs_with(folder, motions, **changes):
    return prepared(write_config(folder, [motions], None, **changes)).inputs


def write_journal(path, files, entries=ENTRIES):
    journal = Journal(path)
    journal.write(RunStarted(fingerprint(files), len(entries)))
    journal.write(*dataset_events(Dataset(tuple(entries), INVALID, EXCLUDED)))
    journal.close()


def changes(path, files, entries=ENTRIES):
    """What has changed since the run in a journal began."""
    return differences(read_ledger(path), fingerprint(files), entries)


# ------------------------------------------------------------------------------------------- what has changed


def test_the_same_inputs_go_on(tmp_path, files):
    write_journal(tmp_path / "journal.jsonl", files)
    assert changes(tmp_path / "journal.jsonl", files) == []
    told = [line for line in read_journal(tmp_path / "journal.jsonl") if line["event"] in ("motion", "excluded")]
    assert [(event["event"], event["motion"], event["path"], event["reason"]) for event in told] == [
        ("excluded", "short", "/short.pkl", "it has 3 frames"),
        ("motion", "broken", "/broken.pkl", "is empty"),
    ]
    ledger = read_ledger(tmp_path / "journal.jsonl")
    assert list(ledger.planned.values()) == list(ENTRIES)
    assert (ledger.simulator, ledger.sessions) == ("mujoco", 1)
    require_same(ledger, fingerprint(files), ENTRIES[::-1], tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_envs": 2},
        {"max_envs_per_actor": 7},
        {"device": "cuda"},
        {"ray": {"num_actors": 7, "cpus_per_actor": 2, "num_shards": 3, "timeout_seconds": 5.0}},
        {"output": {"terrain_file": False}},
        {"record": {"keep_failures": True}},
    ],
)
def test_what_changes_no_recording_does_not_matter(tmp_path, files, motions, settings):
    write_journal(tmp_path / "journal.jsonl", files)
    other = inputs_with(tmp_path / "other", motions, **settings).files
    assert changes(tmp_path / "journal.jsonl", other) == []


@pytest.mark.parametrize(
    "settings, line",
    [
        ({"retry": {"min_segment_seconds": 1.0, "max_retries": 1}}, "retry.max_retries is 1, was 3"),
        ({"acceptance": {"max_penetration": 0.5}}, "acceptance.max_penetration is 0.5, was 0.1"),
        ({"record": {"observations": True}}, "record.observations is True, was False"),
        ({"output": {"name_suffix": "_dm"}}, "output.name_suffix is _dm, was "),
        ({"seed": 3}, "seed is 3, was 0"),
    ],
)
def test_what_changes_recordings_is_named(tmp_path, files, motions, settings, line):
    write_journal(tmp_path / "journal.jsonl", files)
    other = inputs_with(tmp_path / "other", motions, **settings).files
    assert changes(tmp_path / "journal.jsonl", other) == [line]
    with pytest.raises(InputError, match=rf"{line}.*--overwrite"):
        require_same(read_ledger(tmp_path / "journal.jsonl"), fingerprint(other), ENTRIES, tmp_path)


def test_no_acceptance_is_another_one(tmp_path, files, motions):
    write_journal(tmp_path / "journal.jsonl", files)
    other = inputs_with(tmp_path / "other", motions, acceptance="none").files
    assert "acceptance is none, was not set" in changes(tmp_path / "journal.jsonl", other)


def test_tracker_character_and_simulator_matter(tmp_path, files):
    write_journal(tmp_path / "journal.jsonl", files)
    environment = files.environment.model_copy(deep=True)
    environment = environment.model_copy(update={"env": environment.env.model_copy(update={"sim_freq": 240})})
    tracker = replace(files.tracker, checkpoint=b"another", environment=environment)
    changed = replace(files, tracker=tracker, character=files.character + " ", simulator="isaacgym")
    lines = changes(tmp_path / "journal.jsonl", changed)
    for what in (
        "model_file (sha256) is ",
        "char_file (sha256) is ",
        "simulator is isaacgym",
        "env.sim_freq is 240, was 60",
    ):
        assert sum(what in line for line in lines) == 1, (what, lines)


def test_a_dataset_that_has_changed_is_named(tmp_path, files):
    write_journal(tmp_path / "journal.jsonl", files)
    moved = replace(ENTRIES[0], path="/elsewhere/m0.pkl", weight=3.0)
    edited = replace(ENTRIES[1], sha256="f" * 64)
    new = replace(ENTRIES[2], name="m9")
    lines = changes(tmp_path / "journal.jsonl", files, (moved, edited, new, ENTRIES[3]))
    assert lines == ["motion m9 is new in the dataset", "motion m2 is no longer in the dataset", "motion m1 is changed"]


def test_many_differences_are_counted(tmp_path, files):
    write_journal(tmp_path / "journal.jsonl", files)
    many = [replace(ENTRIES[0], name=f"x{k}") for k in range(100)]
    with pytest.raises(InputError, match="and 99 more") as caught:
        require_same(read_ledger(tmp_path / "journal.jsonl"), fingerprint(files), many, tmp_path)
    assert len(str(caught.value)) < 600


# ------------------------------------------------------------------------------------------- no earlier run


def test_a_run_that_had_not_begun_does_not_go_on(tmp_path, files):
    path = tmp_path / "journal.jsonl"
    assert read_ledger(path) is None
    write_journal(path, files)
    lines = path.read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        path.write_bytes(b"".join(lines[:count]))
        assert read_ledger(path) is None
    path.write_bytes(b"".join(lines))
    assert read_ledger(path) is not None
