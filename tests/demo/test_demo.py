"""parc-ray demo: a whole run in an empty folder, and a configuration that can be copied."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parc_ray.config.dataset import DatasetConfig
from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig
from parc_ray.demo.configuration import write_configuration
from parc_ray.errors import OutputError
from tests.reference import ROOT

pytestmark = pytest.mark.slow
MOTIONS = 4


SHORT_DEMO = f"""
from parc_ray.demo import generator
all_motions = generator.demo_motions
generator.demo_motions = lambda *arguments: (motion for motion, _ in zip(all_motions(*arguments), range({MOTIONS})))
generator.DEMO_MOTIONS = {MOTIONS}
from parc_ray.cli import main
main()
"""
"""The whole demo is one of the checks of .ci/run."""


def parc_ray(*arguments: str, cwd: Path) -> None:
    """Run parc-ray with the demo's first motions in a folder, on a Ray of its own."""
    environment = {key: value for key, value in os.environ.items() if key not in ("DATA_DIR", "RAY_ADDRESS")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", SHORT_DEMO, *arguments], cwd=str(cwd), env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_works_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = write_configuration(Path("motions"), Path("out"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = load_config(written, RecordConfig, None)
    assert config.output_dir == tmp_path / "out"
    assert config.create_dataset_config
    dataset = load_config(config.create_dataset_config, DatasetConfig, None)
    assert dataset.folder_paths == [tmp_path / "motions"]
    inputs = (config.model_file, config.env_file, config.agent_file, dataset.char_filepath)
    assert all(path.is_absolute() and path.is_file() for path in inputs)


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out: cannot be made a folder"):
        write_configuration(tmp_path / "motions", tmp_path / "out")


def test_the_demo_records_in_an_empty_folder(tmp_path: Path) -> None:
    parc_ray("demo", "--output", "here", cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    summary = json.loads((tmp_path / "here" / "demo" / "summary.json").read_text())
    assert summary["motions"] == len(list((tmp_path / "here" / "demo_motions").glob("*.pkl"))) == MOTIONS
    assert summary["recorded"] == len(list((tmp_path / "here" / "demo" / "recorded_motions").rglob("*.pkl"))) > 0
    # The configuration that it leaves is that of its run, which therefore has nothing left to do.
    journal = (tmp_path / "here" / "demo" / "journal.jsonl").read_bytes()
    parc_ray("record", "--config", "demo/phys_record.yaml", cwd=tmp_path / "here")
    events = (tmp_path / "here" / "demo" / "journal.jsonl").read_bytes()[len(journal) :].splitlines()
    assert [json.loads(event)["event"] for event in events] == ["run", "end"]
