"""RunPlan: the motions of a run, assigned to shards and actors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Iterator, Sequence

from parc_ray.character.decisions import warnings
from parc_ray.motions.dataset import MotionEntry
from parc_ray.planning.inputs import Inputs
from parc_ray.planning.placement import Placement
from parc_ray.planning.resources import Resources
from parc_ray.planning.sharding import count_shards, plan_shards
from parc_ray.recording.env_count import envs_of_shard, largest_population
from parc_ray.recording.recorder import trajectory_bytes
from parc_ray.tracking.environment import reference_bytes

SHORT_SECONDS = 2.0
"""Length below which a looping motion should be tracked for several passes, s."""
MOTIONS_PER_ENV = 32
"""Maximum number of motions in a shard per env of its actor."""
SHARD_BYTES = 1 << 30
"""Maximum size of a shard's motion files."""
MOTIONS_PER_WORLD = 1024
"""Maximum number of motions whose terrains share a world: such a world is 400 m wide, and float32 is coarse far out."""


@dataclass(frozen=True)
class RunPlan:
    """The work of a run."""

    inputs: Inputs
    placement: Placement
    shards: tuple[tuple[MotionEntry, ...], ...]
    max_envs: int
    """Maximum number of envs per actor: configured, or the engine's default for the device, or limited by memory."""

    @property
    def seconds(self) -> float:
        """Seconds of motion in all shards."""
        return sum(entry.length for shard in self.shards for entry in shard)

    @property
    def envs(self) -> list[int]:
        """Number of envs of each shard."""
        return [envs_of_shard(self.inputs.files, len(shard), self.max_envs) for shard in self.shards]

    @property
    def actor_bytes(self) -> int:
        """Estimated memory of the largest actor."""
        per_env = bytes_per_env(self.inputs)
        return max(
            self.inputs.files.engine.actor_bytes + envs * per_env + 4 * sum(entry.size for entry in shard)
            for envs, shard in zip(self.envs, self.shards)
        )


def make_plan(inputs: Inputs, remaining: Sequence[MotionEntry], placement: Placement, resources: Resources) -> RunPlan:
    """Assign the remaining motions to shards, one per actor at a time."""
    bound, notices = _max_envs(inputs, placement, resources)
    largest = MOTIONS_PER_ENV * envs_of_shard(inputs.files, len(remaining), bound)
    if inputs.files.engine.shares_world:
        largest = min(largest, MOTIONS_PER_WORLD)
    wanted = inputs.files.config.ray.num_shards
    count = count_shards(remaining, placement.actors, wanted, largest, SHARD_BYTES)
    shards = tuple(tuple(shard) for shard in plan_shards(remaining, count))
    notices = (*placement.notices, *notices, *_unlabelled_motions(inputs), *_unused_dataset(inputs))
    notices = (*notices, *_short_loops(inputs), *_repairs(inputs))
    notices = (*notices, *warnings(inputs.character.decisions, inputs.character.source))
    return RunPlan(inputs, replace(placement, shares=placement.shares[: len(shards)], notices=notices), shards, bound)


def _unlabelled_motions(inputs: Inputs) -> Iterator[str]:
    """Yield a notice about motions without contact labels, if acceptance requires contacts."""
    entries, acceptance = inputs.dataset.entries, inputs.files.config.acceptance
    count = sum(not entry.labelled for entry in entries)
    if count and acceptance is not None and acceptance.min_contact_agreement:
        yield (
            f"acceptance: {count} of {len(entries)} motions have no contact labels, so min_contact_agreement does not "
            "apply to them; the other limits do"
        )


def _unused_dataset(inputs: Inputs) -> Iterator[str]:
    """Yield a notice about a dataset that is configured but not used."""
    config = inputs.files.config
    if config.create_dataset_config is not None and config.dataset_file is not None:
        yield f"dataset_file {config.dataset_file}: not used, because create_dataset_config makes the dataset"


def _short_loops(inputs: Inputs) -> Iterator[str]:
    """Yield a notice about short looping motions, if they are tracked once."""
    if inputs.files.config.record.min_loop_seconds:
        return
    short = [entry.name for entry in inputs.dataset.entries if entry.loops and entry.length < SHORT_SECONDS]
    if short:
        others = f" and {len(short) - 1} others" if len(short) > 1 else ""
        yield (
            f"motions: {short[0]}{others}: shorter than {SHORT_SECONDS:g} s, and loop; record.min_loop_seconds tracks "
            "them several times in a row"
        )


def _repairs(inputs: Inputs) -> Iterator[str]:
    """Yield a notice for each kind of repair, with an example motion."""
    repaired: dict[str, list[str]] = {}
    for entry in inputs.dataset.entries:
        for note in entry.notes:
            repaired.setdefault(note, []).append(entry.name)
    for note, names in repaired.items():
        others = f" and {len(names) - 1} other motions" if len(names) > 1 else ""
        yield f"motions: {names[0]}{others}: {note}"


def _max_envs(inputs: Inputs, placement: Placement, resources: Resources) -> tuple[int, tuple[str, ...]]:
    """Return the maximum number of envs per actor, and a notice if a node's memory lowers it.

    One long motion makes every env's buffers long: 256 envs of ten minutes would take 6 GB.
    """
    kind = "cpu" if placement.device == "cpu" else "cuda"
    largest = largest_population(inputs.files.config)
    most = inputs.files.config.max_envs_per_actor or max(inputs.files.engine.max_envs[kind], largest)
    if not resources.memory:
        return most, ()
    neighbours = -(-placement.actors // max(1, len(resources.nodes)))
    files = inputs.files
    fit = int((resources.memory / neighbours - files.engine.actor_bytes) / bytes_per_env(inputs))
    if fit >= envs_of_shard(files, len(inputs.dataset.entries), most):
        return most, ()
    fit = max(1, fit)
    notices = [f"max_envs_per_actor lowered from {most} to {fit} to fit the memory"]
    if fit < largest:
        notices.append(f"recovery: populations of more than {fit} copies do not fit the memory and are left out")
    return fit, tuple(notices)


def bytes_per_env(inputs: Inputs) -> int:
    """Return the estimated memory of one env, in bytes: its reference, its trajectory, and its physics."""
    observer, files = inputs.observer, inputs.files
    steps = int(max(entry.length for entry in inputs.dataset.entries) * files.environment.env.control_freq) + 1
    observation_size = observer.layout.size if files.config.record.observations else 0
    return (
        files.engine.env_bytes
        + reference_bytes(inputs.skeleton, observer, steps)
        + trajectory_bytes(inputs.skeleton, observation_size, steps)
    )
