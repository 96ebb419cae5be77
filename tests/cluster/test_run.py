"""Whole runs on a real Ray cluster: what a dataset becomes, and that nothing but the dataset matters."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from parc_ray.motions.motion_file import read_misc, read_motion
from parc_ray.runs.journal_reader import read_journal
from tests.cluster.command import default_signals
from tests.cluster.conftest import SPECS, TWICE, UNREADABLE
from tests.cluster.runs import (
    CHECKPOINT,
    DEMO,
    Run,
    assert_accounted_for,
    assert_same_recordings,
    fingerprints,
    record_run,
    write_config,
)
from tests.reference import ROOT

# ------------------------------------------------------------------------------------------- one run


def test_every_motion_is_accounted_for(undisturbed):
    assert undisturbed.code == 0, undisturbed.console
    assert_accounted_for(undisturbed)
    assert set(undisturbed.final_states()) == set(SPECS)
    assert undisturbed.summary["motions"] == len(SPECS) + 2
    assert undisturbed.summary["attempted"] == len(SPECS)


def test_motions_are_recorded_retried_and_rejected(undisturbed):
    """A feasible one from the start, an impossible one never, one that begins impossibly from later on."""
    states = undisturbed.final_states()
    assert states["idle_000"][0] == "recorded" and states["idle_000"][2] == 0.0
    assert states["late_idle_105"][0] == "recorded" and states["late_idle_105"][2] > 0.0
    for name in ("fly_003", "tumble_004"):
        assert states[name][0] == "rejected"
        assert states[name][1].startswith("not tracked: ")
    attempts = [line for line in undisturbed.events("attempt") if line["motion"] == "fly_003"]
    assert [(line["number"], line["start_fraction"]) for line in attempts] == [(0, 0.0), (1, 0.25), (2, 0.5)]


def test_invalid_files_are_named_with_reasons(undisturbed, motions):
    twice = str(motions / "more" / "deep" / f"{TWICE}.pkl")
    invalid = undisturbed.summary["invalid_motions"]
    assert set(invalid) == {str(motions / f"{UNREADABLE}.pkl"), twice}
    assert "not a readable pickle" in invalid[str(motions / f"{UNREADABLE}.pkl")]
    assert str(motions / f"{TWICE}.pkl") in invalid[twice]
    journalled = [line["motion"] for line in undisturbed.events("motion") if line["state"] == "invalid"]
    assert sorted(journalled) == [UNREADABLE, TWICE]
    assert f"invalid: {twice}" in undisturbed.console


def test_the_log_of_a_shard_ends_when_it_is_done(undisturbed):
    lines = (undisturbed.output / "logs" / "shard_0000.log").read_text().splitlines()
    assert "done: " in lines[-1] and sum(": attempt " in line for line in lines) == len(undisturbed.events("attempt"))
    whole = [line.split(" ", 2)[2] for line in undisturbed.log.splitlines() if " shard 0: " in line]
    assert whole[-1].startswith("shard 0: done: ")


def test_summary_says_how_it_went(undisturbed):
    summary = undisturbed.summary
    recordings = [read for read in undisturbed.final_states().values() if read[0] == "recorded"]
    assert summary["recorded"] == len(recordings) == sum(summary["recorded_from"].values())
    assert summary["recorded_seconds"] == pytest.approx(sum(state[3] for state in recordings), abs=1e-3)
    assert summary["dataset_seconds"] == pytest.approx(sum(spec.seconds for spec in SPECS.values()), abs=0.05)
    assert summary["env_steps"] == round(sum(line["seconds"] for line in undisturbed.events("attempt")) * 30)
    assert summary["exit_code"] == 0 and summary["shards"] == 1 and summary["actors"] == 1
    assert "recorded from the start" in undisturbed.console and "invalid" in undisturbed.console


def test_a_recording_is_a_motion_of_its_own(undisturbed, skeleton):
    for path in undisturbed.files:
        motion = read_motion(path, skeleton)
        state = undisturbed.final_states()[path.stem]
        assert motion.fps == 30 and motion.loop_mode == "CLAMP"
        assert motion.length == pytest.approx(state[3], abs=1e-6)
        np.testing.assert_allclose(motion.root_pos[0, :2], 0.0, atol=1e-6)
        origin = read_misc(path.read_bytes())["recording"]
        assert origin["source_motion"] == path.stem
        assert origin["start_fraction"] == state[2]
        assert origin["simulator"] == "mujoco"


def test_the_output_tree_is_that_of_parc(undisturbed, motions, skeleton):
    output = undisturbed.output
    assert {path.name for path in output.iterdir()} == {
        "recorded_motions", "recorded_motions.yaml", "accepted_motions.yaml", "success.csv",
        "motions.yaml", "record_env.yaml", "record_args.txt",
        "record_character.xml", "terrain.pkl", "journal.jsonl", "summary.json", "report.html", "logs",
    }  # fmt: skip
    dataset = yaml.safe_load((output / "motions.yaml").read_text())["motions"]
    assert {line["file"] for line in dataset} == {str(path) for path in motions.rglob("*.pkl")} - set(
        undisturbed.summary["invalid_motions"]
    )
    assert (output.parent / "dataset.yaml").read_bytes() == (output / "motions.yaml").read_bytes()

    environment = yaml.safe_load((output / "record_env.yaml").read_text())
    original = yaml.safe_load((DEMO / "dm_env.yaml").read_text())
    assert environment["env"]["dm"]["motion_file"] == str(output / "motions.yaml")
    assert environment["env"]["dm"]["terrain_save_path"] == str(output / "terrain.pkl")
    assert environment["env"]["output_motion_dir"] == str(output / "recorded_motions")
    for key in ("motion_file", "terrain_save_path"):
        del environment["env"]["dm"][key], original["env"]["dm"][key]
    del environment["env"]["output_motion_dir"]
    assert Path(environment["env"].pop("char_file")).samefile(ROOT / original["env"].pop("char_file"))
    assert (environment["env"], environment["sim"]) == (original["env"], original["sim"])

    arguments = dict(line.split(" ", 1) for line in (output / "record_args.txt").read_text().splitlines())
    assert arguments["--env_config"] == str(output / "record_env.yaml")
    assert arguments["--model_file"] == str(CHECKPOINT)
    assert (arguments["--mode"], arguments["--num_envs"]) == ("record", str(len(SPECS)))

    offsets = pickle.loads(pickle.loads((output / "terrain.pkl").read_bytes())["misc_data"])["motion_offsets"]
    assert offsets.shape == (len(SPECS), 1, 2)


# --------------------------------------------------------------------------------- the same however it is run


def test_two_actors_and_five_shards_record_the_same(undisturbed, motions, address, tmp_path):
    """More shards than processes, and a flat folder instead of PARC's."""
    before = fingerprints(DEMO)
    actors = {"num_actors": 2, "num_shards": 5}
    run = record_run(tmp_path, motions, address, ray=actors, output={"layout": "flat"})
    assert run.code == 0
    assert run.summary["actors"] == 2
    assert run.summary["shards"] == 5 <= len(run.events("shard"))  # motions that are handed over make a shard
    assert_accounted_for(run)
    assert_same_recordings(run, undisturbed)
    assert {path.parent.name for path in run.files} == {"recorded_motions"}
    assert {path.parent.name for path in undisturbed.files} >= {"idle_0_49", "late_idle_100_149"}
    assert "PARC's dataset step passes over" in run.console and "PARC's dataset" not in undisturbed.console
    assert fingerprints(DEMO) == before


def test_three_envs_record_the_same(undisturbed, motions, address, tmp_path):
    run = record_run(tmp_path, motions, address, max_envs_per_actor=3)
    assert run.code == 0
    assert "8 motions in 3 envs" in run.log
    assert_accounted_for(run)
    assert_same_recordings(run, undisturbed)


# ------------------------------------------------------------------------------------------- several nodes


@pytest.mark.parametrize("device, actors", [("cuda", 4), (["cuda:0", "cuda:1"], 2)])
def test_one_actor_per_gpu_of_all_nodes(undisturbed, motions, address, tmp_path, device, actors):
    settings = {"num_actors": None, "cpus_per_actor": None}
    run = record_run(tmp_path, motions, address, device=device, ray=settings)
    assert run.code == 0, run.console
    assert run.summary["actors"] == run.summary["shards"] == actors
    assert run.log.count("(cuda:0 was given, but torch sees no CUDA device)") == actors
    assert_accounted_for(run)
    assert_same_recordings(run, undisturbed)


# ------------------------------------------------------------------------------------------- the next iteration


def parc_dataset(folder_paths):
    """File and weight of every motion that PARC's create_dataset_yaml finds: a class per folder in a listed one."""
    classes = [folder.name for listed in folder_paths for folder in sorted(listed.iterdir()) if folder.is_dir()]
    folders = [folder for listed in folder_paths for folder in listed.rglob("*") if folder.is_dir()]
    found = {name: {} for name in classes}
    for path in (path for folder in folders for path in sorted(folder.glob("*.pkl"))):
        motion = pickle.loads(pickle.loads(path.read_bytes())["motion_data"])
        name = next(name for name in classes if f"/{name}/" in str(path))
        found[name][str(path)] = len(motion["root_pos"]) / motion["fps"]
    total = sum(sum(lengths.values()) for lengths in found.values())
    assert all(found.values()), "PARC ends with an error at a class without motions"
    return {
        path: length * total / sum(lengths.values()) / len(found)
        for lengths in found.values() for path, length in lengths.items()
    }  # fmt: skip


def test_parc_finds_every_recording(undisturbed, tmp_path):
    """Of a default run, alone or beside other folders, as recorded_motions.yaml lists them; of flat ones it finds none,
    and says nothing."""
    recordings = undisturbed.output / "recorded_motions"
    found = parc_dataset([recordings])
    assert sorted(found) == [str(path) for path in undisturbed.files]
    listed = yaml.safe_load((undisturbed.output / "recorded_motions.yaml").read_text())["motions"]
    assert {line["file"]: line["weight"] for line in listed} == pytest.approx(found)
    flat, other = tmp_path / "flat", tmp_path / "other"
    flat.mkdir()
    shutil.copytree(recordings, other)
    for path in undisturbed.files:
        shutil.copy(path, flat)
    assert parc_dataset([other, flat]).keys() == {str(path) for path in other.rglob("*.pkl")}
    assert parc_dataset([flat]) == {}


def test_recordings_can_be_recorded_again(undisturbed, address, tmp_path):
    """recorded_motions/ is a folder_path of the next create_dataset_config, flat or in PARC's folders."""
    recordings = tmp_path / "recorded_motions"
    (recordings / "late_idle_100_149").mkdir(parents=True)
    names = [f"{path.stem}.pkl" for path in undisturbed.files][:4]
    for path in undisturbed.files[:4]:
        folder = recordings / "late_idle_100_149" if path.stem == "late_idle_105" else recordings
        shutil.copy(path, folder / path.name)
    before = fingerprints(recordings)
    run = record_run(tmp_path / "again", recordings, address, output={"name_suffix": "_dm"})
    assert run.code == 0
    assert {f"{name}.pkl" for name in run.final_states()} == set(names)
    assert run.summary["motions"] == run.summary["attempted"] == len(names)
    assert run.summary["recorded"] == len(run.files) > 0
    assert {path.stem[-3:] for path in run.files} == {"_dm"}
    assert fingerprints(recordings) == before


# ------------------------------------------------------------------------------------------- interruptions


@pytest.mark.slow
def test_a_run_that_is_interrupted_as_it_starts_ends_cleanly(motions, tmp_path):
    """Ctrl-C in a terminal: exit code 130 with nothing attempted, a summary that counts what was unfinished."""
    many = 40
    (tmp_path / "many").mkdir()
    for index in range(many):
        shutil.copy(motions / "idle_000.pkl", tmp_path / "many" / f"idle_{index:03d}.pkl")
    config = write_config(tmp_path, [tmp_path / "many"], None, num_envs=1, max_envs_per_actor=1)
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "parc_4_phys_record.py"), "--config", str(config)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True,
        preexec_fn=default_signals,
    )  # fmt: skip
    try:
        wait_for_event(tmp_path / "out" / "journal.jsonl", "shard", process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to Ray's processes too
        console, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, console
    run = Run(process.returncode, tmp_path / "out", console)
    assert_accounted_for(run)
    assert run.summary["exit_code"] == 130
    assert run.summary["motions"] == run.summary["unfinished"] == many
    assert run.events("end")[-1]["exit_code"] == 130
    assert "interrupted" in console and "Traceback" not in console


def wait_for_event(journal, kind, process):
    deadline = time.monotonic() + 60
    while not (journal.exists() and any(line["event"] == kind for line in read_journal(journal))):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_record_env_and_the_journal_tell_the_same(motions, address, tmp_path):
    """Both are what PARC's users look at to know what was recorded with what."""
    run = record_run(tmp_path, motions, address, max_envs_per_actor=3, retry={"max_retries": 1})
    (begun,) = run.events("run")
    own = yaml.safe_load((run.output / "record_env.yaml").read_text())["parc_ray"]
    journalled = {**begun["config"], "acceptance": begun["config"]["acceptance"] or "none"}
    assert own == {key: journalled[key] for key in own}
    assert own["max_envs_per_actor"] == 3 and own["simulator"] == "mujoco"
    assert begun["fingerprint"]["simulator"] == run.summary["simulator"]
