"""RunPlan: everything about a run that can be known, and checked, before anything is simulated or written."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Tuple

import torch

from parc_ray.character.skeleton import Skeleton, load_skeleton
from parc_ray.config.dataset import DatasetConfig
from parc_ray.config.environment import TrackerEnvironmentFile
from parc_ray.config.loading import check_config, expand, load_config, load_yaml
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError
from parc_ray.files.reading import read_bytes, read_text
from parc_ray.motions.dataset import Dataset, InvalidMotion, MotionEntry
from parc_ray.motions.scanning import Progress, Unfit, create_dataset, load_dataset
from parc_ray.planning.sharding import count_shards, plan_shards
from parc_ray.recording.shard import RunFiles, envs_of_shard, max_envs, simulator_config, tile_of
from parc_ray.runs.output import OutputDirectory
from parc_ray.simulators.engine import Engine, Trial
from parc_ray.simulators.engines import AUTO, choose_engine
from parc_ray.trackers.parc.network import load_checkpoint
from parc_ray.trackers.parc.observations import Observer
from parc_ray.tracking.quality import surface_points
from parc_ray.tracking.termination import Termination

MAX_CPU_ACTORS = 8
"""CPU actors by default, if there are as many CPUs: more processes would cost memory and bring little"""
MOTIONS_PER_ENV = 32
"""A shard holds at most so many motions per env of its actor"""
SHARD_BYTES = 1 << 30
"""and at most so many bytes of motion files"""
MOTIONS_PER_WORLD = 1024
"""and at most so many where their terrains share a world: it is 400 m wide then, and float32 is coarse far out"""


@dataclass(frozen=True)
class Resources:
    """What a Ray cluster, or this machine, has."""

    nodes: Tuple[Tuple[int, int], ...]
    """CPUs and GPUs of each node: an actor runs on one of them and cannot use the others'"""
    memory: int = 0
    """bytes that actors may use on the smallest node; 0: unknown"""
    dashboard: str = ""
    """host:port of Ray's dashboard, if there is one"""

    @property
    def cpus(self) -> int:
        """CPUs of all nodes."""
        return sum(cpus for cpus, _ in self.nodes)

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(gpus for _, gpus in self.nodes)

    def fit(self, cpus: int, gpus: float) -> int:
        """How many actors of so many CPUs and GPUs run at a time."""
        return sum(min(own // cpus, int(own_gpus / gpus) if gpus else own) for own, own_gpus in self.nodes)


@dataclass(frozen=True)
class Placement:
    """How many actors run at a time, and what each of them gets."""

    actors: int
    cpus: int
    gpus: float
    device: str
    notice: str = ""
    """what is done differently from what the configuration asks for, and why"""


@dataclass(frozen=True)
class Inputs:
    """The files of a run, read and checked."""

    files: RunFiles
    wanted: str
    """The engine asked for, by the configuration or the run that goes on, or "auto"."""
    skeleton: Skeleton
    observer: Observer
    """The tracker's, on the CPU."""
    environment_content: Mapping[str, Any]
    """dm_env.yaml as it is, expanded"""
    dataset: Dataset
    dataset_config: Optional[DatasetConfig]
    finished: FrozenSet[str] = frozenset()
    """motions that need no more attempts, because an earlier run has dealt with them"""

    @property
    def remaining(self) -> Tuple[MotionEntry, ...]:
        """The motions to work on."""
        return tuple(entry for entry in self.dataset.entries if entry.name not in self.finished)


@dataclass(frozen=True)
class RunPlan:
    """Inputs, dealt to shards."""

    inputs: Inputs
    placement: Placement
    shards: Tuple[Tuple[MotionEntry, ...], ...]

    @property
    def seconds(self) -> float:
        """Seconds of motion in all shards."""
        return sum(entry.length for shard in self.shards for entry in shard)

    @property
    def envs(self) -> List[int]:
        """Number of envs of each shard."""
        return [envs_of_shard(self.inputs.files, len(shard)) for shard in self.shards]

    @property
    def actor_bytes(self) -> int:
        """Estimated memory of the largest actor."""
        per_env = bytes_per_env(self.inputs)
        return max(
            self.inputs.files.engine.actor_bytes + envs * per_env + 4 * sum(entry.size for entry in shard)
            for envs, shard in zip(self.envs, self.shards)
        )


def read_inputs(
    config: RecordConfig,
    data_dir: Optional[str],
    progress: Optional[Progress] = None,
    known: Optional[Mapping[str, MotionEntry]] = None,
    simulator: str = AUTO,
) -> Inputs:
    """Read and check every input of a run. Raises InputError; writes nothing.

    known: entries of the same character by the fingerprint of their content; simulator: the engine of a run that goes
    on, which "auto" stands for then.
    """
    environment_content = expand(load_yaml(config.env_file), data_dir, str(config.env_file))
    environment = check_config(environment_content, TrackerEnvironmentFile, str(config.env_file))
    agent = load_config(config.agent_file, AgentConfig, data_dir)
    wanted = simulator if config.simulator == AUTO else config.simulator
    engine = choose_engine(wanted, config.device, "cpu" if config.device == "cpu" else "cuda:0").engine
    _require_control_mode(engine, environment, config.env_file)
    character_path = _find_character(environment.env.char_file, config.env_file)
    # What is found beside dm_env.yaml would not be found beside record_env.yaml.
    content = {**content, "env": {**content["env"], "char_file": str(character_path)}}
    skeleton = load_skeleton(character_path)
    try:
        Termination(environment.env, skeleton, torch.device("cpu"))
    except InputError as error:
        raise InputError(f"{config.env_file}: {error}") from None
    files = RunFiles(
        config=config,
        simulator=engine.name,
        environment=environment,
        agent=agent,
        agent_source=str(config.agent_file),
        character=read_text(character_path),
        character_source=str(character_path),
    )
    observer = files.build_tracker(skeleton, torch.device("cpu")).observer
    require_simulable(files, skeleton)
    unfit: Unfit = lambda motion: engine.unfit(tile_of(motion, environment.env))  # noqa: E731
    dataset_config = None
    if config.create_dataset_config is not None:
        dataset_config = load_config(config.create_dataset_config, DatasetConfig, data_dir)
        for path in (config.create_dataset_config, config.env_file, config.agent_file):
            if dataset_config.save_path.resolve() == path.resolve():
                raise InputError(
                    f"{config.create_dataset_config}: key 'save_path' = {str(dataset_config.save_path)!r} would "
                    "overwrite an input of this run; give another name"
                )
        dataset = create_dataset(dataset_config, skeleton, progress, unfit, known)
    else:
        assert config.dataset_file is not None, "RecordConfig requires one of the two"
        source = str(config.dataset_file)
        expanded: Callable[[str], str] = lambda name: str(expand(name, data_dir, source, "motions.file"))  # noqa: E731
        dataset = load_dataset(config.dataset_file, skeleton, expanded, progress, unfit, known)
    return Inputs(files, wanted, skeleton, environment_content, _writable(dataset, config), dataset_config)


def make_plan(inputs: Inputs, resources: Resources) -> RunPlan:
    """Deal the motions of checked inputs to shards and actors."""
    placement = place(inputs.files.config, resources)
    entries = inputs.remaining
    inputs, notice = _bounded_by_memory(inputs, placement, resources)
    config = inputs.files.config
    largest = MOTIONS_PER_ENV * envs_of_shard(inputs.files, len(entries))
    if inputs.files.engine.shares_world:
        largest = min(largest, MOTIONS_PER_WORLD)
    count = count_shards(entries, placement.actors, config.ray.num_shards, largest, SHARD_BYTES)
    shards = tuple(tuple(shard) for shard in plan_shards(entries, count))
    notice = "; ".join(filter(None, (placement.notice, notice)))
    return RunPlan(inputs, replace(placement, actors=min(placement.actors, len(shards)), notice=notice), shards)


def with_working_engine(
    plan: RunPlan, resources: Resources, try_out: Callable[[Engine, Placement], Trial]
) -> Tuple[RunPlan, Trial]:
    """The plan for the best engine that works when it is tried out, and what that one says of itself.

    Raises InputError, with the reason, if the engine that was asked for by name does not work.
    """
    inputs, placement = plan.inputs, plan.placement
    choice = choose_engine(
        inputs.wanted, inputs.files.config.device, placement.device, lambda engine: try_out(engine, placement)
    )
    if choice.engine.name != inputs.files.simulator:
        _require_control_mode(choice.engine, inputs.files.environment, inputs.files.config.env_file)
        files = replace(inputs.files, simulator=choice.engine.name)
        plan = make_plan(replace(inputs, files=files), resources)
    notice = "; ".join(filter(None, (plan.placement.notice, choice.notice)))
    return replace(plan, placement=replace(plan.placement, notice=notice)), choice.trial


def _require_control_mode(engine: Engine, environment: TrackerEnvironmentFile, env_file: Path) -> None:
    mode, known = environment.env.control_mode, engine.control_modes
    if mode not in known:
        raise InputError(
            f"{env_file}: key 'env.control_mode' = {mode!r} is not supported by the {engine.name} simulator; "
            f"supported: {', '.join(map(repr, known))}"
        )


def _bounded_by_memory(inputs: Inputs, placement: Placement, resources: Resources) -> Tuple[Inputs, str]:
    """The same inputs with max_envs_per_actor low enough for a node's memory, and a notice if that changed it.

    One long motion makes every env's buffers long: 256 envs of ten minutes would take 6 GB.
    """
    if not resources.memory:
        return inputs, ""
    neighbours = -(-placement.actors // len(resources.nodes))
    files = inputs.files
    fit = int((resources.memory / neighbours - files.engine.actor_bytes) / bytes_per_env(inputs))
    if fit >= envs_of_shard(files, len(inputs.dataset.entries)):
        return inputs, ""
    config = files.config.model_copy(update={"max_envs_per_actor": max(1, fit)})
    notice = f"max_envs_per_actor lowered from {max_envs(files)} to {max(1, fit)} to fit the memory"
    return replace(inputs, files=replace(files, config=config)), notice


def place(config: RecordConfig, resources: Resources) -> Placement:
    """Actors for a configuration: one per CUDA device that it asks for, or CPU actors where there is none.

    Raises InputError if not even one actor fits the resources.
    """
    ray, notice = config.ray, ""
    devices = config.device if isinstance(config.device, list) else [config.device]
    gpus = ray.gpus_per_actor if ray.gpus_per_actor is not None else float(devices != ["cpu"])
    if devices == ["cpu"]:
        gpus = 0.0
    elif resources.gpus == 0:
        notice = f"device: {config.device}, but Ray has no CUDA device: recording on CPUs"
        gpus = 0.0
    elif len(devices) > resources.gpus:
        raise InputError(f"device: {devices} are {len(devices)} devices, but Ray has {resources.gpus}; list fewer")
    if gpus:
        actors = len(devices) if devices != ["cuda"] else sum(int(own / gpus) for _, own in resources.nodes)
        actors = ray.num_actors or max(1, actors)
    else:
        actors = ray.num_actors or min(resources.cpus, MAX_CPU_ACTORS)
    share = range(max(own for own, _ in resources.nodes), 1, -1)
    cpus = ray.cpus_per_actor or next((count for count in share if resources.fit(count, gpus) >= actors), 1)
    fit = resources.fit(cpus, gpus)
    if fit == 0:
        nodes = ", ".join(f"{own} and {own_gpus}" for own, own_gpus in sorted(set(resources.nodes)))
        raise InputError(
            f"ray: an actor needs {cpus} CPUs and {gpus:g} GPUs, the nodes of Ray have {nodes}; "
            "lower cpus_per_actor or gpus_per_actor"
        )
    if fit < actors:
        notice = f"{notice}; " if notice else ""
        notice += f"{actors} actors of {cpus} CPUs and {gpus:g} GPUs do not fit Ray at once: {fit} at a time"
    return Placement(min(actors, fit), cpus, gpus, "cuda:0" if gpus else "cpu", notice)


def local_resources() -> Resources:
    """What this machine has."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Resources(((cpus, torch.cuda.device_count()),), int(0.7 * memory))


def bytes_per_env(inputs: Inputs) -> int:
    """Estimated memory of one env: buffers for its reference and its trajectory, and its physics."""
    observer, skeleton = inputs.observer, inputs.skeleton
    longest = max(entry.length for entry in inputs.dataset.entries)
    frames = int(longest * inputs.files.environment.env.control_freq) + 2 + lookahead(observer)
    numbers = observer.features.size + reference_layout(skeleton).size + frame_layout(skeleton).size
    if inputs.files.config.record.observations:
        recorded += Observer(environment, skeleton, torch.device("cpu")).size
    return inputs.files.engine.env_bytes + 4 * frames * (target + reference + recorded)


def _writable(dataset: Dataset, config: RecordConfig) -> Dataset:
    """The dataset without motions whose recording could not be written at the end of their simulation."""
    output = OutputDirectory(config.output_dir, config.output)
    too_long = [entry for entry in dataset.entries if output.name_too_long(entry.name)]
    if not too_long:
        return dataset
    reason = "its name is too long for the name of a recording. Rename it"
    invalid = (*dataset.invalid, *(InvalidMotion(entry.name, entry.path, reason) for entry in too_long))
    names = {entry.name for entry in too_long}
    entries = tuple(entry for entry in dataset.entries if entry.name not in names)
    if not entries:
        raise InputError(f"no motion is left: {too_long[0].path}: {reason}")
    return replace(dataset, entries=entries, invalid=invalid)


def require_simulable(files: RunFiles, skeleton: Skeleton) -> None:
    """Raises InputError for a character that the engine cannot load: better now than in every actor."""
    cpu = torch.device("cpu")
    files.engine.require_simulable(simulator_config(files, (), 1, cpu, 1), skeleton)
    surface_points(files.character, files.character_source, cpu)


def _find_character(name: str, env_file: Path) -> Path:
    """char_file is relative to the working directory, as in PARC; beside dm_env.yaml it is found too."""
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
