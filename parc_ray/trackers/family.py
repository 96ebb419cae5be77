"""Family: one kind of trackers, by what reads its files and builds it. Loads no torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Optional

from parc_ray.config.environment import EnvironmentFile
from parc_ray.config.record import RecordConfig

if TYPE_CHECKING:
    import torch

    from parc_ray.character.skeleton import Skeleton
    from parc_ray.trackers.tracker import Tracker


@dataclass(frozen=True)
class TrackerFiles:
    """What is read of a tracker's files without torch. Plain values: it travels to actors."""

    environment: EnvironmentFile
    """What simulates the character, and when an attempt has failed."""
    environment_content: Mapping[str, Any]
    """The environment as its file has it, as section `env`, with $DATA_DIR expanded: what record_env.yaml starts from.

    `read` takes that file, too, as env_file.
    """
    settings: Any
    """What only the family knows the type of."""
    checkpoint: bytes
    trained_with: str = ""
    """Engine of the training, by our name or its own project's; empty if the files do not say."""

    @property
    def checkpoint_sha256(self) -> str:
        """Fingerprint of the checkpoint."""
        return hashlib.sha256(self.checkpoint).hexdigest()


@dataclass(frozen=True)
class Family:
    """A kind of trackers."""

    name: str
    """Its name in the configuration (`tracker`)."""
    read: Callable[[RecordConfig, Optional[str]], TrackerFiles]
    """Reads and checks the files that a configuration names, with $DATA_DIR; raises InputError."""
    fingerprint: Callable[[TrackerFiles], Dict[str, Any]]
    """Everything of the files that recordings depend on, as plain values.

    Its "env_file" has the environment's values by their names in EnvironmentFile.
    """
    build: Callable[[RecordConfig, TrackerFiles, Skeleton, torch.device, int], Tracker]
    """The tracker of files for a character, on a device, with so many CPU threads; raises InputError if the files do
    not fit each other or the character."""
