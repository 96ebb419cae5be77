"""Start of a run: its inputs, read and checked, and where an earlier run has ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import List, Optional

from rich.console import Console

from parc_ray.config.record import RecordConfig
from parc_ray.planning.plan import Inputs, RunPlan, read_inputs
from parc_ray.runs.history import History, read_history
from parc_ray.runs.ledger import Ledger
from parc_ray.runs.output import OutputDirectory


@dataclass
class Run:
    """A run on its way: what is read, what an earlier run has left, what is planned."""

    inputs: Inputs
    output: OutputDirectory
    ledger: Ledger
    history: Optional[History]
    """of an earlier run that this one goes on with"""
    lost: List[str]
    """motions whose recordings are missing, though the earlier run had written them"""
    start: float
    """monotonic s"""
    plan: Optional[RunPlan] = None
    """None: nothing is left to do"""
    earlier_steps: int = 0
    """control steps of earlier runs"""
    dashboard: str = ""
    """host:port of Ray's, if it has one"""


def read_run(
    config: RecordConfig, data_dir: Optional[str], overwrite: bool, output: OutputDirectory, console: Console
) -> Run:
    """Read and check all inputs, and what an earlier run has left. Raises InputError; writes nothing."""
    start = time.monotonic()
    output.require_unlinked()
    history = None if overwrite else read_history(output.journal)
    if history is None and not overwrite:
        output.require_free()
    with console.status("reading motions") as status:
        inputs = read_inputs(
            config,
            data_dir,
            lambda done, total: status.update(f"reading motions: {done}/{total}"),
            history.known if history else None,
            history.simulator if history else "auto",
        )
    output.require_apart(entry.path for entry in inputs.dataset.entries)
    ledger, lost = Ledger(inputs.dataset), []
    if history:
        history.require_same(inputs.files, inputs.dataset.entries)
        history.replay(ledger, output, inputs.files.environment.env.control_freq)
        ledger.reopen_crashed()
        sizes = output.sizes()
        paths = {name: output.recording_path(name) for name in ledger.recorded}
        lost = [name for name, path in paths.items() if sizes.get(path) != ledger.outcomes[name].bytes]
        for name in lost:
            ledger.forget(name)
        inputs = replace(inputs, finished=frozenset(ledger.outcomes))
    return Run(inputs, output, ledger, history, lost, start, earlier_steps=ledger.env_steps)
