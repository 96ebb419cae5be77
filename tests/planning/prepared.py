"""Runs prepared for made-up machines."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from rich.console import Console

from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig
from parc_ray.planning.placement import Placement
from parc_ray.planning.preparation import PreparedRun, prepare
from parc_ray.planning.resources import Resources
from parc_ray.runs.output import OutputDirectory
from parc_ray.simulators.engine import Engine, EngineCheck

TryOut = Callable[[Engine, Placement], EngineCheck]


class MadeUpHost:
    """A made-up parc_ray.planning.host.Host. Installed engines work, unless `try_out` reports a problem."""

    def __init__(self, resources: Resources, try_out: TryOut):
        self._resources, self.try_out = resources, try_out
        self.asked = 0

    def resources(self) -> Resources:
        self.asked += 1
        return self._resources


def prepared(
    source: Path | RecordConfig,
    resources: Resources = Resources(((2, 0),)),
    try_out: TryOut = lambda engine, placement: EngineCheck(),
    overwrite: bool = False,
) -> PreparedRun:
    """Return the prepared run of a configuration or a phys_record.yaml."""
    config = load_config(source, RecordConfig, None) if isinstance(source, Path) else source
    output = OutputDirectory(config.output_dir, config.output)
    return prepare(config, None, overwrite, output, MadeUpHost(resources, try_out), Console(quiet=True))
