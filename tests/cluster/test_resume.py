"""The same command on the same output directory: what is finished stays, what is missing is added, nothing else."""

from __future__ import annotations

import json
import shutil
import signal

import pytest
import yaml

from parc_ray.cluster import driver
from parc_ray.errors import InputError
from parc_ray.planning import preparation
from tests.cluster.chaos import journalled_files
from tests.cluster.command import Command
from tests.cluster.conftest import SPECS
from tests.cluster.runs import (
    CHECKPOINT,
    DEMO,
    assert_accounted_for,
    assert_nothing_beside,
    assert_same_recordings,
    fingerprints,
    record_run,
    write_config,
)
from tests.cluster.simulated import simulated_actor

FREQUENT_REPORTS = "from parc_ray.cluster import driver; driver.REPORT_SECONDS = 0.2"


@pytest.fixture
def copy_of(tmp_path):
    """A copy of a run in tmp_path, to be gone on with."""

    def copy(run):
        shutil.copytree(run.output, tmp_path / "out")
        return tmp_path / "out"

    return copy


@pytest.fixture
def resume(many_motions, address, tmp_path, monkeypatch):
    """Record many_motions in tmp_path once more, with simulated recorders."""
    monkeypatch.setattr(driver, "ShardActor", simulated_actor(0.0))

    def record(folder=many_motions, **settings):
        run = record_run(tmp_path, folder, address, **settings)
        assert_accounted_for(run)
        return run

    return record


# ------------------------------------------------------------------------------------------- real recordings


def test_a_killed_run_goes_on_with_other_resources(undisturbed, motions, address, tmp_path):
    """SIGKILL in mid-run; then with other numbers of actors, shards and envs, which change nothing."""
    config = write_config(tmp_path, [motions], address, max_envs_per_actor=2)
    with Command(config, FREQUENT_REPORTS) as command:
        command.wait_for("motion", 4)  # two of them are the invalid ones
        command.kill()
        killed = command.finish()
    assert killed.code == -signal.SIGKILL
    finished, kept = set(killed.final_states()), journalled_files(killed)
    assert 0 < len(finished) < len(SPECS)
    run = record_run(tmp_path, motions, address, ray={"num_actors": 2, "num_shards": 3}, num_envs=5)
    assert run.code == 0, run.console
    assert_accounted_for(run)
    assert_same_recordings(run, undisturbed)
    assert_nothing_beside(run)
    assert kept.items() <= journalled_files(run).items()
    later = run.events("shard")[len(killed.events("shard")) :]
    assert not finished & {motion for line in later for motion in line["motions"]}


# ------------------------------------------------------------------------------------------- finished runs


def test_a_finished_run_stays_as_it_is(calm, resume, copy_of):
    copy_of(calm)
    before = fingerprints(resume().output)
    run = resume()
    assert run.code == 0 and "nothing is left to do" in run.console
    assert_same_recordings(run, calm)
    assert len(run.events("attempt")) == len(calm.events("attempt"))
    assert run.events("shard") == calm.events("shard")
    after = fingerprints(run.output)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {"journal.jsonl"}
    counts = [{key: value for key, value in one.summary.items() if key in COUNTS} for one in (run, calm)]
    assert counts[0] == counts[1]


COUNTS = (
    "motions", "recorded", "rejected", "invalid", "crashed", "unfinished", "attempted", "attempts",
    "recorded_from", "rejected_by_reason", "recorded_seconds", "dataset_seconds", "env_steps",
)  # fmt: skip


def test_overwrite_begins_anew(calm, many_motions, address, tmp_path, monkeypatch, copy_of):
    output = copy_of(calm)
    stray = output / "recorded_motions" / "stray.pkl"
    stray.write_bytes(b"of another dataset")
    monkeypatch.setattr(driver, "ShardActor", simulated_actor(0.0))
    run = record_run(tmp_path, many_motions, address, overwrite=True)
    assert run.code == 0 and len(run.events("run")) == 1
    assert_accounted_for(run)
    assert_same_recordings(run, calm)


def test_a_run_that_came_and_went_while_inputs_were_read_is_kept(calm, resume, copy_of, monkeypatch):
    read_inputs = preparation.read_inputs

    def reading(*arguments):
        monkeypatch.setattr(preparation, "read_inputs", read_inputs)
        copy_of(calm)
        return read_inputs(*arguments)

    monkeypatch.setattr(preparation, "read_inputs", reading)
    with pytest.raises(InputError, match="another run was at work"):
        resume()
    run = resume()
    assert run.code == 0 and "nothing is left to do" in run.console
    assert_same_recordings(run, calm)


# ------------------------------------------------------------------------------------------- damage


def damage_recording_lost(output):
    first, second = sorted((output / "recorded_motions").rglob("*.pkl"))[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])


def damage_byte_flipped(output):
    first, *_ = sorted((output / "recorded_motions").rglob("*.pkl"))
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(content)


def damage_all_recordings_lost(output):
    shutil.rmtree(output / "recorded_motions")


def damage_half_files(output):
    (output / "recorded_motions" / "empty").mkdir()
    for folder in (output, output / "recorded_motions", output / "recorded_motions" / "empty"):
        (folder / ".0123456789abcdef.tmp").write_bytes(b"half a fi")


def damage_unjournalled(output):
    """As if the driver had been killed between a recording and its line: the journal ends before the fifth."""
    lines = (output / "journal.jsonl").read_text().splitlines(keepends=True)
    cut = [number for number, line in enumerate(lines) if json.loads(line).get("outcome") == "recorded"][4]
    (output / "journal.jsonl").write_text("".join(lines[:cut]))


def damage_attempt_without_state(output):
    """As if it had been killed between an attempt's line and its motion's."""
    lines = (output / "journal.jsonl").read_text().splitlines(keepends=True)
    cut = [number for number, line in enumerate(lines) if json.loads(line).get("outcome") == "recorded"][7]
    (output / "journal.jsonl").write_text("".join(lines[: cut + 1]))


def damage_torn_line(output):
    damage_unjournalled(output)
    with (output / "journal.jsonl").open("a") as file:
        file.write('{"event": "attempt", "mot')


def damage_no_summary(output):
    for name in ("summary.json", "recorded_motions.yaml", "accepted_motions.yaml", "success.csv", "terrain.pkl"):
        (output / name).unlink()


def damage_no_inputs(output):
    for name in ("motions.yaml", "record_env.yaml", "record_args.txt"):
        (output / name).unlink()
    shutil.rmtree(output / "logs")


DAMAGES = {name[7:]: act for name, act in globals().items() if name.startswith("damage_")}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_put_right(calm, resume, copy_of, damage):
    output = copy_of(calm)
    DAMAGES[damage](output)
    run = resume()
    assert run.code == 0, run.console
    assert_same_recordings(run, calm)
    files, before = ({n for n in fingerprints(o) if not n.startswith("logs/")} for o in (output, calm.output))
    assert files == before
    assert all(any(folder.iterdir()) for folder in (output / "recorded_motions").iterdir()), "PARC fails at them"
    lost = {"recording_lost": 2, "byte_flipped": 1, "all_recordings_lost": len(run.files)}.get(damage, 0)
    assert len(run.events("lost")) == lost
    again = resume()
    assert again.code == 0 and not again.events("lost")[lost:]
    assert_same_recordings(again, calm)


@pytest.mark.parametrize("cut", [1, 3, 100, 1000, 3000])
def test_wherever_the_journal_ends(calm, resume, copy_of, cut):
    """A machine that loses its power may lose any number of bytes at the end of a file."""
    journal = copy_of(calm) / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    run = resume()
    assert run.code == 0, run.console
    assert_same_recordings(run, calm)


def test_a_crashed_motion_is_tried_again(many_motions, address, tmp_path, monkeypatch):
    """The machine may have been to blame. Every run ends with code 3 until the motion no longer kills its actors."""
    folder = tmp_path / "motions"
    folder.mkdir()
    for name in ("killer_000", "motion_001", "motion_002"):
        shutil.copy(many_motions / "motion_000.pkl", folder / f"{name}.pkl")
    monkeypatch.setattr(driver, "ShardActor", simulated_actor(0.0))
    for _ in range(2):
        run = record_run(tmp_path, folder, address)
        assert run.code == 3
        assert_accounted_for(run)
        assert set(run.summary["crashed_motions"]) == {"killer_000"}
    monkeypatch.setattr(driver, "ShardActor", simulated_actor(0.0, killer="nobody"))
    run = record_run(tmp_path, folder, address)
    assert run.code == 0
    assert_accounted_for(run)


# ------------------------------------------------------------------------------------------- other inputs


def another_checkpoint(folder):
    import torch

    content = torch.load(CHECKPOINT, weights_only=True)
    torch.save(content, folder / "other.pt")
    return {"model_file": str(folder / "other.pt")}


def another_environment(folder):
    content = yaml.safe_load((DEMO / "dm_env.yaml").read_text())
    content["env"]["pose_termination_dist"] = 0.9
    content["env"]["char_file"] = str(DEMO / "humanoid.xml")
    (folder / "dm_env.yaml").write_text(yaml.safe_dump(content))
    return {"env_file": str(folder / "dm_env.yaml")}


CHANGES = {
    "model_file": another_checkpoint,
    "env.pose_termination_dist": another_environment,
    "retry.max_retries": lambda _: {"retry": {"min_segment_seconds": 1.0, "max_retries": 1}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_inputs_are_refused(calm, resume, copy_of, tmp_path, change):
    """The message names what has changed, and the way out; nothing is written."""
    output = copy_of(calm)
    before = fingerprints(output)
    with pytest.raises(InputError, match="--overwrite") as refusal:
        resume(**CHANGES[change](tmp_path))
    assert change in str(refusal.value)
    assert fingerprints(output) == before


def test_another_dataset_is_refused(calm, resume, copy_of, many_motions, tmp_path):
    output = copy_of(calm)
    before = fingerprints(output)
    folder = tmp_path / "changed"
    shutil.copytree(many_motions, folder)
    (folder / "motion_007.pkl").unlink()
    shutil.copy(folder / "motion_008.pkl", folder / "motion_new.pkl")
    with pytest.raises(InputError, match="--overwrite") as refusal:
        resume(folder)
    assert "motion_007" in str(refusal.value) and "motion_new" in str(refusal.value)
    assert fingerprints(output) == before
