"""Number of envs in which a shard is recorded."""

from __future__ import annotations

from parc_ray.config.record import RecordConfig
from parc_ray.recording.run_files import RunFiles


def envs_of_shard(run: RunFiles, motions: int, bound: int | None = None) -> int:
    """Return the number of envs for a shard: num_envs, or one per motion; at most motions, max_envs_per_actor, bound.

    With recovery, there is room for its largest population, regardless of the number of motions. A bound above one env
    per motion is then used fully: idle envs cost a CUDA device little. bound: the plan's limit, for the device and its
    memory.
    """
    bounds = [most for most in (bound, run.config.max_envs_per_actor) if most is not None]
    largest = largest_population(run.config)
    if not largest:
        return max(1, min(run.config.num_envs or motions, motions, *bounds))
    default = max(motions, largest) if run.config.devices == ["cpu"] else max(motions, largest, *bounds)
    return max(1, min([run.config.num_envs or default, *bounds]))


def largest_population(config: RecordConfig) -> int:
    """Return the size of the largest population of recovery; 0 without recovery."""
    return config.recovery.copies[-1] if config.recovery else 0
