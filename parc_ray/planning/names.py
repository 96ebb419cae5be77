"""Checks the names in a configuration before anything is loaded: files, the engine, the family of trackers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Sequence

from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError, quote
from parc_ray.files.reading import no_such_file
from parc_ray.simulators.engines import AUTO, ENGINES
from parc_ray.trackers.families import FAMILIES, family


def require_names(config: RecordConfig, source: str, data_dir: str | None) -> None:
    """Raise InputError with a line for each invalid name; `source` names the configuration.

    If only the dataset is missing, an unsupported tracker is reported first: no dataset would help it.
    """
    dataset = "dataset_file" if config.create_dataset_config is None else "create_dataset_config"
    keys = (dataset, "env_file", "agent_file", "model_file", *(["engine_file"] if config.engine_file else []))
    found = {key: _problem(getattr(config, key)) for key in keys}
    problems = [f"{_key(source, key, str(getattr(config, key)))}: {text}" for key, text in found.items() if text]
    problems += _unknown_name(source, "simulator", config.simulator, [AUTO, *(engine.name for engine in ENGINES)])
    problems += _unknown_name(source, "tracker", config.tracker, [known.name for known in FAMILIES])
    if found[dataset] and len(problems) == 1:
        family(config.tracker).read(config, data_dir)
    if problems:
        raise InputError("\n".join(problems))


def _problem(path: Path) -> str:
    if os.path.isdir(path):  # noqa: PTH112
        return "is a folder; give a file in it"
    return "" if os.path.exists(path) else f"{no_such_file(path)}; check its path"  # noqa: PTH110


def _unknown_name(source: str, key: str, name: str, known: Sequence[str]) -> list[str]:
    return [] if name in known else [f"{_key(source, key, name)}: unknown; use one of: {', '.join(known)}"]


def _key(source: str, key: str, value: str) -> str:
    return f"{source}: key {key!r} = {quote(value)}"
