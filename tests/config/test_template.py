"""Commented configuration files: what they set, and that every default in them is the model's."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from parc_ray.config.dataset import DatasetConfig
from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig
from parc_ray.config.template import commented_yaml

REQUIRED = {"output_dir": "/runs/7", "model_file": "m.pt", "env_file": "e.yaml", "agent_file": "a.yaml"}


def uncommented(text: str) -> str:
    """Return the text with every commented key put to use."""
    return re.sub(r"^#(?=\w|  )", "", text, flags=re.MULTILINE)


def test_only_what_was_given_is_set(tmp_path: Path) -> None:
    values = {**REQUIRED, "dataset_file": "motions.yaml"}
    path = tmp_path / "run.yaml"
    path.write_text(commented_yaml(RecordConfig, values, "A run."))
    assert yaml.safe_load(path.read_text()) == values
    assert path.read_text().startswith("# A run.\n")
    assert load_config(path, RecordConfig, None) == RecordConfig(**values)


def test_every_other_key_is_there_with_its_default(tmp_path: Path) -> None:
    values = {**REQUIRED, "dataset_file": "motions.yaml"}
    path = tmp_path / "run.yaml"
    path.write_text(uncommented(commented_yaml(RecordConfig, values, "A run.")))
    content = yaml.safe_load(path.read_text())
    assert content.keys() == RecordConfig.model_fields.keys()
    assert content["retry"].keys() == type(RecordConfig(**values).retry).model_fields.keys()
    assert load_config(path, RecordConfig, None) == RecordConfig(**values)


def test_paths_may_have_any_name(tmp_path: Path) -> None:
    values = {"folder_paths": ["a: b #c", "[d]", "e, f", "ü"], "save_path": "'x'.yaml"}
    path = tmp_path / "dataset.yaml"
    path.write_text(commented_yaml(DatasetConfig, values, "A dataset."), encoding="utf-8")
    loaded = load_config(path, DatasetConfig, None)
    assert [str(folder) for folder in loaded.folder_paths] == values["folder_paths"]
    assert loaded == DatasetConfig(**values)


def test_every_key_has_a_comment_above_it() -> None:
    text = commented_yaml(RecordConfig, {**REQUIRED, "dataset_file": "motions.yaml"}, "A run.")
    lines = text.splitlines()
    keys = [index for index, line in enumerate(lines) if re.match(r"#?\s*\w+:( |$)", line)]
    assert len(keys) > 40
    assert all(re.match(r"#? *# ", lines[index - 1]) for index in keys)
    assert max(map(len, lines)) < 110
