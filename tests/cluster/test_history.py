"""Going on where a run has ended: what has changed since, and what was done."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.config.record import OutputConfig
from parc_ray.errors import InputError
from parc_ray.motions.dataset import Dataset, ExcludedMotion, InvalidMotion, MotionEntry
from parc_ray.runs.history import dataset_events, fingerprint, read_history
from parc_ray.runs.journal import Journal
from parc_ray.runs.ledger import Ledger, Outcome
from parc_ray.runs.output import OutputDirectory
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


def write_journal(path, files, entries=ENTRIES, events=()):
    journal = Journal(path)
    journal.write("run", fingerprint=fingerprint(files), motions=len(entries))
    journal.write_all(dataset_events(Dataset(tuple(entries), INVALID, EXCLUDED)))
    journal.write_all(list(events))
    journal.close()


# ------------------------------------------------------------------------------------------- what has changed


def test_the_same_inputs_go_on(tmp_path, files):
    write_journal(tmp_path / "journal.jsonl", files)
    history = read_history(tmp_path / "journal.jsonl")
    assert history.differences(files, ENTRIES) == []
    told = [event for event in history.events if event["event"] in ("motion", "excluded")]
    assert [(event["event"], event["motion"], event["path"], event["reason"]) for event in told] == [
        ("excluded", "short", "/short.pkl", "it has 3 frames"),
        ("motion", "broken", "/broken.pkl", "is empty"),
    ]
    assert history.known == {entry.sha256: entry for entry in ENTRIES}
    assert (history.simulator, history.runs) == ("mujoco", 1)
    history.require_same(files, ENTRIES[::-1])


@pytest.mark.parametrize(
    "changes",
    [
        {"num_envs": 2},
        {"max_envs_per_actor": 7},
        {"device": "cuda"},
        {"ray": {"num_actors": 7, "cpus_per_actor": 2, "num_shards": 3, "timeout_seconds": 5.0}},
        {"output": {"terrain_file": False}},
        {"record": {"keep_failures": True}},
    ],
)
def test_what_changes_no_recording_does_not_matter(tmp_path, files, motions, changes):
    write_journal(tmp_path / "journal.jsonl", files)
    other = inputs_with(tmp_path / "other", motions, **changes).files
    assert read_history(tmp_path / "journal.jsonl").differences(other, ENTRIES) == []


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"retry": {"min_segment_seconds": 1.0, "max_retries": 1}}, "retry.max_retries is 1, was 3"),
        ({"acceptance": {"max_penetration": 0.5}}, "acceptance.max_penetration is 0.5, was 0.1"),
        ({"record": {"observations": True}}, "record.observations is True, was False"),
        ({"output": {"name_suffix": "_dm"}}, "output.name_suffix is _dm, was "),
        ({"seed": 3}, "seed is 3, was 0"),
    ],
)
def test_what_changes_recordings_is_named(tmp_path, files, motions, changes, line):
    write_journal(tmp_path / "journal.jsonl", files)
    other = inputs_with(tmp_path / "other", motions, **changes).files
    history = read_history(tmp_path / "journal.jsonl")
    assert history.differences(other, ENTRIES) == [line]
    with pytest.raises(InputError, match=rf"{line}.*--overwrite"):
        history.require_same(other, ENTRIES)


def test_no_acceptance_is_another_one(tmp_path, files, motions):
    write_journal(tmp_path / "journal.jsonl", files)
    other = inputs_with(tmp_path / "other", motions, acceptance="none").files
    assert "acceptance is none, was not set" in read_history(tmp_path / "journal.jsonl").differences(other, ENTRIES)


def test_tracker_character_and_simulator_matter(tmp_path, files):
    write_journal(tmp_path / "journal.jsonl", files)
    environment = files.environment.model_copy(deep=True)
    environment = environment.model_copy(update={"env": environment.env.model_copy(update={"sim_freq": 240})})
    tracker = replace(files.tracker, checkpoint=b"another", environment=environment)
    changed = replace(files, tracker=tracker, character=files.character + " ", simulator="isaacgym")
    lines = read_history(tmp_path / "journal.jsonl").differences(changed, ENTRIES)
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
    lines = read_history(tmp_path / "journal.jsonl").differences(files, (moved, edited, new, ENTRIES[3]))
    assert lines == ["motion m9 is new in the dataset", "motion m2 is no longer in the dataset", "motion m1 is changed"]


def test_many_differences_are_counted(tmp_path, files):
    write_journal(tmp_path / "journal.jsonl", files)
    many = [replace(ENTRIES[0], name=f"x{k}") for k in range(100)]
    with pytest.raises(InputError, match="and 99 more") as caught:
        read_history(tmp_path / "journal.jsonl").require_same(files, many)
    assert len(str(caught.value)) < 600


# ------------------------------------------------------------------------------------------- no history


def test_a_run_that_had_not_begun_is_no_history(tmp_path, files):
    path = tmp_path / "journal.jsonl"
    assert read_history(path) is None
    write_journal(path, files)
    lines = path.read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        path.write_bytes(b"".join(lines[:count]))
        assert read_history(path) is None
    path.write_bytes(b"".join(lines))
    assert read_history(path) is not None


def test_the_journal_of_another_version_is_refused(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("run", motions=0, checkpoint_sha256="")
    with pytest.raises(InputError, match="another version"):
        read_history(tmp_path / "journal.jsonl")


# ------------------------------------------------------------------------------------------- what was done

moves = st.lists(
    st.tuples(st.integers(0, len(ENTRIES) - 1), st.sampled_from(["failed", "recorded", "crashed", "lost", "run"])),
    max_size=40,
)


@settings(deadline=None)
@given(moves)
def test_replaying_a_journal_gives_the_ledger_that_wrote_it(tmp_path_factory, files, moves):
    """Whatever happened in however many runs."""
    folder = tmp_path_factory.mktemp("replay")
    output, dataset = OutputDirectory(folder, OutputConfig()), Dataset(ENTRIES)
    outcomes, numbers, attempts, events = {}, dict.fromkeys((e.name for e in ENTRIES), 0), 0, []
    for index, move in moves:
        name = ENTRIES[index].name
        state = outcomes.get(name, ("open",))[0]
        if move == "run":
            events.append({"event": "run"})
            outcomes = {key: value for key, value in outcomes.items() if value[0] != "crashed"}
        elif move == "lost" and state == "recorded":
            events.append({"event": "lost", "motion": name})
            numbers[name] -= 1
            del outcomes[name]
        elif move == "crashed" and state == "open":
            events.append({"event": "motion", "motion": name, "state": "crashed", "reason": "actor died"})
            outcomes[name] = ("crashed", "actor died", 0.0, 0.0, None, 0)
        elif move in ("failed", "recorded") and state == "open":
            attempts += 1
            last = move == "failed" and numbers[name] == 3
            events.append(
                {
                    "event": "attempt",
                    "motion": name,
                    "number": numbers[name],
                    "start_fraction": 0.25 * numbers[name],
                    "start_time": 0.0,
                    "seconds": 0.5,
                    "outcome": move,
                    "reason": "fall",
                    "quality": {},
                    "shard": 0,
                    "next_fraction": 0.5 if move == "failed" and not last else None,
                    "recorded_seconds": 0.5 if move == "recorded" else 0.0,
                    "recording_bytes": 77 if move == "recorded" else 0,
                }
            )
            fraction = 0.25 * numbers[name]
            numbers[name] += 1
            if move == "recorded":
                outcomes[name] = ("recorded", "", fraction, 0.5, output.recording_path(name), 77)
            elif last:
                outcomes[name] = ("rejected", "not tracked: fall", fraction, 0.0, None, 0)
    path = folder / "journal.jsonl"
    write_journal(path, files, events=events)
    ledger = Ledger(dataset)
    read_history(path).replay(ledger, output, 30)
    assert ledger.outcomes == {name: Outcome(*values) for name, values in outcomes.items()}
    assert {name: ledger.next_attempt.get(name, 0) for name in numbers} == numbers
    assert (ledger.attempts, ledger.env_steps) == (attempts, 15 * attempts)
