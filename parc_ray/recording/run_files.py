"""RunFiles: the inputs that all shards of a run share, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parc_ray.config.environment import EnvironmentFile
from parc_ray.config.record import RecordConfig
from parc_ray.simulators.engine import Engine
from parc_ray.simulators.engines import engine
from parc_ray.trackers.families import family
from parc_ray.trackers.family import TrackerFiles

if TYPE_CHECKING:
    import torch

    from parc_ray.character.skeleton import Skeleton
    from parc_ray.trackers.tracker import Tracker


@dataclass(frozen=True)
class RunFiles:
    """The inputs that all shards of a run share."""

    config: RecordConfig
    simulator: str
    """Name of the engine."""
    tracker: TrackerFiles
    character: str
    """Its MJCF text."""
    character_source: str

    @property
    def engine(self) -> Engine:
        """The engine of the run. Raises InputError if none has its name."""
        return engine(self.simulator)

    @property
    def environment(self) -> EnvironmentFile:
        """Simulation and termination settings."""
        return self.tracker.environment

    def build_tracker(self, skeleton: Skeleton, device: torch.device, threads: int = 1) -> Tracker:
        """Return the tracker on a device. Raises InputError if its files do not fit each other or the character."""
        return family(self.config.tracker).build(self.config, self.tracker, skeleton, device, threads)
