"""Shard: the motions that one actor process works through, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from parc_ray.recording.env_count import envs_of_shard
from parc_ray.recording.run_files import RunFiles
from parc_ray.recording.shard_motion import ShardMotion


@dataclass(frozen=True)
class Shard:
    """The motions that one actor process works through."""

    index: int
    motions: tuple[ShardMotion, ...]
    max_envs: int | None = None
    """Maximum number of envs on the device; None if only max_envs_per_actor limits them."""

    def num_envs(self, run: RunFiles) -> int:
        """Return the number of envs in which to record it."""
        return envs_of_shard(run, len(self.motions), self.max_envs)
