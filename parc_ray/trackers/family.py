"""Family: one kind of tracker, defined by how its files are read and it is built. Does not load torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping

from parc_ray.config.environment import EnvironmentFile
from parc_ray.config.record import RecordConfig

if TYPE_CHECKING:
    import torch

    from parc_ray.character.skeleton import Skeleton
    from parc_ray.trackers.tracker import Tracker


@dataclass(frozen=True)
class TrackerFiles:
    """Content of a tracker's files, read without torch. Plain values, so that it can be sent to actors."""

    environment: EnvironmentFile
    """Simulation settings and failure criteria."""
    environment_content: Mapping[str, Any]
    """The environment file's content as section `env`, with $DATA_DIR expanded: the basis of record_env.yaml.

    `read` also accepts that file as env_file.
    """
    settings: Any
    """Settings in the family's own type."""
    checkpoint: bytes
    trained_with: str = ""
    """Training engine, by our name or its project's; empty if the files do not state it."""

    @property
    def checkpoint_sha256(self) -> str:
        """SHA-256 of the checkpoint."""
        return hashlib.sha256(self.checkpoint).hexdigest()


@dataclass(frozen=True)
class Family:
    """A kind of tracker."""

    name: str
    """Its name in the configuration (`tracker`)."""
    read: Callable[[RecordConfig, str | None], TrackerFiles]
    """Reads and checks the files that a configuration names, with $DATA_DIR; raises InputError."""
    fingerprint: Callable[[TrackerFiles], dict[str, Any]]
    """Everything in the files that recordings depend on, as plain values.

    "env_file" holds the environment's values by their names in EnvironmentFile.
    """
    build: Callable[[RecordConfig, TrackerFiles, Skeleton, torch.device, int], Tracker]
    """Builds a tracker from files for a character, device and number of CPU threads. Raises InputError if the files do
    not fit each other or the character."""
