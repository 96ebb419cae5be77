"""Inputs: all inputs of a run, read and checked before anything is simulated or written."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping

import torch

import parc_ray
from parc_ray.character.character import Character, read_character
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.surface import surface_points
from parc_ray.config.dataset import DatasetConfig
from parc_ray.config.environment import EnvironmentConfig, EnvironmentFile
from parc_ray.config.loading import expand, load_config
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError
from parc_ray.files.reading import no_such_file
from parc_ray.motions.dataset import Dataset, InvalidMotion, MotionEntry
from parc_ray.motions.motion import Motion, count_passes
from parc_ray.motions.scan_cache import ScanCache, cache_file
from parc_ray.motions.scanning import ReportProgress, UnsupportedReason, create_dataset, load_dataset, require_folders
from parc_ray.recording.build import simulator_config
from parc_ray.recording.reachable_tile import tile_of
from parc_ray.recording.run_files import RunFiles
from parc_ray.runs.output import CHARACTER, OutputDirectory
from parc_ray.simulators.engine import Engine
from parc_ray.simulators.engines import engine as find_engine
from parc_ray.trackers.families import family
from parc_ray.trackers.family import TrackerFiles
from parc_ray.trackers.tracker import Observer


@dataclass(frozen=True)
class TrackerInputs:
    """The tracker of a run and its character, read and checked. They do not depend on the engine."""

    files: TrackerFiles
    environment_content: Mapping[str, Any]
    """Content of dm_env.yaml, expanded, with the resolved path of the character."""
    character: Character
    observer: Observer
    """On the CPU."""


@dataclass(frozen=True)
class Inputs:
    """All inputs that a run's recordings depend on, read and checked. Immutable."""

    files: RunFiles
    character: Character
    observer: Observer
    """On the CPU."""
    environment_content: Mapping[str, Any]
    """Content of dm_env.yaml, expanded, with the resolved path of the character."""
    dataset: Dataset
    dataset_config: DatasetConfig | None

    @property
    def skeleton(self) -> Skeleton:
        """The character's skeleton."""
        return self.character.skeleton


def read_tracker(config: RecordConfig, data_dir: str | None, earlier_character: str = "") -> TrackerInputs:
    """Read and check the files of the tracker and its character. Raises InputError; writes nothing.

    earlier_character: Digest of the character's text in an earlier run of the same output directory.
    """
    kind, cpu = family(config.tracker), torch.device("cpu")
    files = kind.read(config, data_dir)
    path = _find_character(files.environment.env.char_file, config.env_file)
    # A path relative to dm_env.yaml would not resolve relative to record_env.yaml.
    environment = {**files.environment_content["env"], "char_file": os.path.abspath(path)}  # noqa: PTH100
    character = read_character(path, earlier_character, config.output_dir / CHARACTER)
    built = kind.build(config, files, character.skeleton, cpu, 1)
    if config.recovery and built.explore is None:
        raise InputError(
            f"{config.model_file}: holds no standard deviations of actions (_logstd_net), which recovery explores "
            "with; give the checkpoint as it was trained, or set recovery: false"
        )
    return TrackerInputs(
        files=files,
        environment_content={**files.environment_content, "env": environment},
        character=character,
        observer=built.observer,
    )


def read_dataset_config(config: RecordConfig, data_dir: str | None) -> DatasetConfig | None:
    """Return the configuration of a dataset made from folders, after checking that its sources exist; else None.

    Raises InputError if a source is missing, or if the dataset would overwrite an input.
    """
    if config.create_dataset_config is None:
        if config.dataset_file is not None and not config.dataset_file.exists():
            problem = no_such_file(config.dataset_file)
            raise InputError(f"key 'dataset_file' = {str(config.dataset_file)!r}: {problem}. Check its path")
        return None
    dataset_config = load_config(config.create_dataset_config, DatasetConfig, data_dir)
    for path in (config.create_dataset_config, config.env_file, config.agent_file):
        if dataset_config.save_path.resolve() == path.resolve():
            raise InputError(
                f"{config.create_dataset_config}: key 'save_path' = {str(dataset_config.save_path)!r} would "
                "overwrite an input of this run; give another name"
            )
    require_folders(dataset_config, config.create_dataset_config)
    return dataset_config


def run_files(config: RecordConfig, tracker: TrackerInputs, engine: Engine) -> RunFiles:
    """Return the files of a run. Raises InputError if the engine cannot simulate the tracker's character."""
    _require_control_mode(engine, tracker.files.environment, config.env_file)
    files = RunFiles(
        config=config,
        simulator=engine.name,
        tracker=tracker.files,
        character=tracker.character.text,
        character_source=tracker.character.source,
    )
    require_simulable(files, tracker.character.skeleton)
    return files


def read_inputs(
    files: RunFiles,
    tracker: TrackerInputs,
    dataset_config: DatasetConfig | None,
    data_dir: str | None,
    progress: ReportProgress | None = None,
    known: Iterable[MotionEntry] = (),
) -> Inputs:
    """Read and check the dataset. Raises InputError.

    known: entries of the same character accepted earlier. Results are cached per file; nothing else is written.
    """
    config = files.config
    unsupported_reason: UnsupportedReason = partial(_unsupported_reason, files.simulator, files.environment.env)
    motions = ScanCache(known, _cache(config, tracker, dataset_config, files.engine))
    if dataset_config is not None:
        dataset = create_dataset(dataset_config, tracker.character.skeleton, progress, unsupported_reason, motions)
    else:
        assert config.dataset_file is not None, "RecordConfig requires one of the two"
        source = str(config.dataset_file)
        expanded: Callable[[str], str] = lambda name: str(expand(name, data_dir, source, "motions.file"))  # noqa: E731
        dataset = load_dataset(
            config.dataset_file, tracker.character.skeleton, expanded, progress, unsupported_reason, motions
        )
    return Inputs(
        files=files,
        character=tracker.character,
        observer=tracker.observer,
        environment_content=tracker.environment_content,
        dataset=_with_passes(_writable(dataset, config), config.record.min_loop_seconds),
        dataset_config=dataset_config,
    )


def _with_passes(dataset: Dataset, min_seconds: float) -> Dataset:
    """Return the dataset, with the tracked lengths of looping motions."""
    entries = tuple(
        replace(entry, length=entry.pass_seconds * count_passes(entry.pass_seconds, entry.loops, min_seconds))
        if entry.loops
        else entry
        for entry in dataset.entries
    )
    return replace(dataset, entries=entries)


def _unsupported_reason(simulator: str, environment: EnvironmentConfig, motion: Motion) -> str:
    """See UnsupportedReason; takes the engine's name, since engines do not pickle."""
    return find_engine(simulator).unsupported_reason(tile_of(motion, environment))


def _cache(config: RecordConfig, tracker: TrackerInputs, dataset_config: DatasetConfig | None, engine: Engine) -> Path:
    """Return the cache file of a dataset's motions, keyed by everything that decides which are accepted."""
    source = [config.dataset_file] if dataset_config is None else dataset_config.folder_paths
    checked_by = [parc_ray.__version__, engine.name, engine.version, tracker.character.text]
    return cache_file(*checked_by, dict(tracker.environment_content), [os.path.abspath(str(path)) for path in source])  # noqa: PTH100


def _require_control_mode(engine: Engine, environment: EnvironmentFile, env_file: Path) -> None:
    mode, known = environment.env.control_mode, engine.control_modes
    if mode not in known:
        raise InputError(
            f"{env_file}: key 'env.control_mode' = {mode!r} is not supported by the {engine.name} simulator; "
            f"supported: {', '.join(map(repr, known))}"
        )


def _writable(dataset: Dataset, config: RecordConfig) -> Dataset:
    """Return the dataset without motions whose recordings could not be written later."""
    output = OutputDirectory(config.output_dir, config.output)
    too_long = [entry for entry in dataset.entries if output.name_too_long(entry.name)]
    if not too_long:
        return dataset
    reason = "its name is too long for the name of a recording. Rename it"
    invalid = (*dataset.invalid, *(InvalidMotion(entry.name, entry.path, reason) for entry in too_long))
    names = {entry.name for entry in too_long}
    entries = tuple(entry for entry in dataset.entries if entry.name not in names)
    if not entries:
        raise InputError(f"key 'output.name_suffix': no motion is left: {too_long[0].path}: {reason}")
    return replace(dataset, entries=entries, invalid=invalid)


def require_simulable(files: RunFiles, skeleton: Skeleton) -> None:
    """Raise InputError for a character that the engine cannot load, before every actor fails on it."""
    cpu = torch.device("cpu")
    files.engine.require_simulable(simulator_config(files, (), 1, cpu, 1), skeleton)
    surface_points(files.character, files.character_source, cpu)


def _find_character(name: str, env_file: Path) -> Path:
    """Return the path of char_file, relative to the working directory, as in PARC, or to dm_env.yaml."""
    candidates = [
        Path(os.path.expanduser(os.path.expandvars(name))),  # noqa: PTH111
        env_file.parent / name,
        env_file.parent / Path(name).name,
    ]
    for path in candidates:
        if os.path.isfile(path):  # noqa: PTH113
            return path
    raise InputError(
        f"{env_file}: key 'env.char_file' = {name!r}: no such file, neither from the working directory {Path.cwd()} "
        f"nor beside {env_file.name}. Run from the directory that it is relative to, or give an absolute path"
    )
