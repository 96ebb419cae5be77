"""Runs as a user makes them, from two YAML files to an output directory."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import yaml
from rich.console import Console

from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig
from parc_ray.runs.journal_reader import read_journal
from parc_ray.session import record_and_report
from parc_ray.terminal.screen import Screen
from tests.reference import DEMO, HUMANOID

CHECKPOINT = DEMO / "model.pt"


@dataclass(frozen=True)
class Run:
    """The files of a run."""

    code: int
    output: Path
    console: str

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.output / "summary.json").read_text())

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in read_journal(self.output / "journal.jsonl") if line["event"] == kind]

    @property
    def log(self) -> str:
        return (self.output / "logs" / "run.log").read_text()

    @property
    def files(self) -> list[Path]:
        return sorted((self.output / "recorded_motions").rglob("*.pkl"))

    def recordings(self) -> dict[str, Any]:
        """Return the pickled bytes of motion, terrain and misc data, by motion."""
        return {path.stem: pickle.loads(path.read_bytes()) for path in self.files}

    def final_states(self) -> dict[str, Any]:
        """Return the final state of each motion. Fails if a motion has two states.

        A state ends only with an event in the journal: its recording was lost, or a crashed motion is attempted again.
        """
        states: dict[str, Any] = {}
        for line in read_journal(self.output / "journal.jsonl"):
            if line["event"] == "run":
                states = {motion: state for motion, state in states.items() if state[0] != "crashed"}
            elif line["event"] == "lost":
                # Its line may be missing: the driver was killed before it could write it, and then the file was lost.
                assert states.pop(line["motion"], ("recorded",))[0] == "recorded"
            elif line["event"] == "motion" and line["state"] != "invalid":
                assert line["motion"] not in states, f"{line['motion']} has two final states"
                states[line["motion"]] = tuple(line[key] for key in ("state", "reason", "start_fraction", "seconds"))
        return states

    def attempts(self) -> dict[str, list[tuple[int, str]]]:
        """Return number and outcome of the attempts at each motion. Fails if one is duplicated or missing."""
        made: dict[str, list[tuple[int, str]]] = {}
        for line in read_journal(self.output / "journal.jsonl"):
            if line["event"] == "lost":
                made[line["motion"]].pop()
            elif line["event"] == "attempt":
                attempts = made.setdefault(line["motion"], [])
                assert line["number"] == len(attempts), f"{line['motion']}: attempt {line['number']} after {attempts}"
                attempts.append((line["number"], line["outcome"]))
        return made


def write_config(folder: Path, inputs: Sequence[Path], address: str | None, **settings: Any) -> Path:
    """Write phys_record.yaml for a dataset of folders; `settings` replace its keys, those of `ray` singly."""
    folder.mkdir(exist_ok=True)
    dataset = {
        "folder_paths": [str(path) for path in inputs],
        "save_path": str(folder / "dataset.yaml"),
        "char_filepath": str(HUMANOID),
    }
    (folder / "create_dataset_config.yaml").write_text(yaml.safe_dump(dataset))
    ray = {"num_actors": 1, "cpus_per_actor": 1, **settings.pop("ray", {})}
    content = {
        "output_dir": str(folder / "out"),
        "device": "cpu",
        "create_dataset_config": str(folder / "create_dataset_config.yaml"),
        "model_file": str(CHECKPOINT),
        "env_file": str(DEMO / "dm_env.yaml"),
        "agent_file": str(DEMO / "agent_config.yaml"),
        "simulator": "mujoco",
        "retry": {"min_segment_seconds": 1.0},
        "ray": {**ray, "address": address} if address else ray,
        **settings,
    }
    path = folder / "phys_record.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def unprejudiced_environment(folder: Path) -> Path:
    """Write the demo's dm_env.yaml without the engine of its training, which auto would choose."""
    content = yaml.safe_load((DEMO / "dm_env.yaml").read_text())
    del content["trained_with"]
    (folder / "dm_env.yaml").write_text(yaml.safe_dump(content))
    return folder / "dm_env.yaml"


def record_run(folder: Path, motions: Path, address: str | None, overwrite: bool = False, **settings: Any) -> Run:
    """Record a folder of motions in this process."""
    config = load_config(write_config(folder, [motions], address, **settings), RecordConfig, None)
    console = Console(file=io.StringIO(), width=200)
    code = record_and_report(config, None, overwrite, Screen(console, console)).exit_code
    return Run(code, config.output_dir, console.file.getvalue())


def fingerprints(folder: Path) -> dict[str, str]:
    """Return the checksum of every file in a folder, by relative path."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def temporary_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp") or path.name.startswith(".")]


def assert_nothing_beside(run: Run) -> None:
    """Assert that a run wrote only to its output_dir, beside the files of write_config."""
    configs = {"phys_record.yaml", "create_dataset_config.yaml", "dataset.yaml", "console.txt"}
    assert {path.name for path in run.output.parent.iterdir() if path.is_file()} <= configs


def assert_accounted_for(run: Run) -> None:
    """Assert that every motion has exactly one final state and at most one recording, and that counts add up."""
    summary = run.summary
    counts = {key: summary[key] for key in ("recorded", "rejected", "invalid", "crashed", "unfinished")}
    assert sum(counts.values()) == summary["motions"]
    states = run.final_states()
    assert {name for name, state in states.items() if state[0] == "recorded"} == {path.stem for path in run.files}
    assert sum(state[0] == "rejected" for state in states.values()) == counts["rejected"]
    assert sum(state[0] == "crashed" for state in states.values()) == counts["crashed"]
    assert len(states) + counts["unfinished"] + counts["invalid"] == summary["motions"]
    attempts = run.attempts()
    assert summary["attempts"] == len(run.events("attempt"))
    for motion, state in states.items():
        made = [outcome for _, outcome in attempts.get(motion, [])]
        assert made.count("recorded") == (state[0] == "recorded") and (made or state[0] == "crashed")
    assert not temporary_files(run.output)


def assert_same_recordings(run: Run, other: Run) -> None:
    """Assert that motion, terrain and metadata agree to the last bit."""
    mine, theirs = run.recordings(), other.recordings()
    assert mine.keys() == theirs.keys()
    for name, parts in mine.items():
        for part in ("motion_data", "terrain_data", "misc_data"):
            assert parts[part] == theirs[name][part], f"{part} of {name} differs"
    assert run.final_states() == other.final_states()
