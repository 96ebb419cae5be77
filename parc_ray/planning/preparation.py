"""Preparation of a run: its inputs, the results of earlier sessions, its engine, and its plan.

`parc-ray record` prepares a run on Ray; `parc-ray check` on this machine, or on the cluster that the run would join.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError, quote
from parc_ray.motions.dataset import MotionEntry
from parc_ray.planning.fingerprint import fingerprint
from parc_ray.planning.host import Host
from parc_ray.planning.inputs import Inputs, TrackerInputs, read_dataset_config, read_inputs, read_tracker, run_files
from parc_ray.planning.placement import Placement, place
from parc_ray.planning.plan import RunPlan, make_plan
from parc_ray.planning.resources import Resources
from parc_ray.runs.events import MotionsReopened, RecordingLost
from parc_ray.runs.ledger import Ledger, read_ledger
from parc_ray.runs.logger import require_logger
from parc_ray.runs.output import OutputDirectory
from parc_ray.runs.resumption import require_same, require_same_recovery
from parc_ray.runs.upload import Upload
from parc_ray.runs.verification import WrittenFile, verify
from parc_ray.simulators.engine import Engine, EngineCheck
from parc_ray.simulators.engines import AUTO, ENGINES, Choice, choose_engine

BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@dataclass(frozen=True)
class Site:
    """Resources and engine of a run."""

    resources: Resources
    placement: Placement
    choice: Choice


@dataclass
class PreparedRun:
    """A run before its first step."""

    inputs: Inputs
    output: OutputDirectory
    ledger: Ledger
    """States of its motions so far."""
    goes_on: bool
    """True if the command resumes an earlier run."""
    lost: list[str]
    """Motions whose recordings were written, but are missing."""
    reopened: list[str] = field(default_factory=list)
    """Motions with a final state that will be recovered."""
    plan: RunPlan | None = None
    """None if nothing is left to do."""
    engine_check: EngineCheck = field(default_factory=EngineCheck)
    """Result of the engine check."""
    dashboard: str = ""
    """host:port of Ray's dashboard; empty if there is none."""
    upload: Upload | None = None
    """Upload of its files; None if they are not copied."""

    @property
    def remaining_motions(self) -> tuple[MotionEntry, ...]:
        """Unfinished motions."""
        return tuple(entry for entry in self.inputs.dataset.entries if self.ledger.is_open(entry.name))


def prepare(
    config: RecordConfig,
    data_dir: str | None,
    overwrite: bool,
    output: OutputDirectory,
    host: Host,
    console: Console,
) -> PreparedRun:
    """Read and check all inputs and the results of earlier sessions, then plan. Writes nothing.

    Raises InputError. Quick checks come first. The engine is chosen before the motions are read, because it decides
    which of them are accepted. A resumed run keeps its engine, and asks the host only if work is left.
    """
    output.require_usable()
    output.require_unlinked()
    require_logger(config.output.logger)
    earlier = None if overwrite else read_ledger(output.journal)
    if earlier is None and not overwrite:
        output.require_free()
    tracker = read_tracker(config, data_dir, earlier.character_sha256 if earlier else "")
    dataset_config = read_dataset_config(config, data_dir)
    if dataset_config is not None:
        output.require_outside(dataset_config.folder_paths, str(config.create_dataset_config))
    wanted = earlier.simulator if earlier and config.simulator == AUTO else config.simulator
    device = "cpu" if config.devices == ["cpu"] else "cuda:0"
    named = None if wanted == AUTO else choose_engine(wanted, config.devices, device).engine
    trained_with = _engine_of_training(tracker, config)
    site = None if earlier else _find_site(config, wanted, trained_with, host, console)
    engine = site.choice.engine if site else named
    assert engine is not None, "an earlier run names its engine"
    upload = Upload(config.output.upload, output) if config.output.upload else None
    if upload:
        with console.status(Text(f"looking at {upload.url}")):
            upload.require_usable(overwrite)
    files = run_files(config, tracker, engine)
    known = earlier.planned.values() if earlier else ()
    with Progress(*BAR, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading motions", total=None)
        inputs = read_inputs(
            files,
            tracker,
            dataset_config,
            data_dir,
            lambda done, total: bar.update(task, completed=done, total=total),
            known,
        )
    output.require_apart(entry.path for entry in inputs.dataset.entries)
    run = _after(earlier, inputs, output)
    run.upload = upload
    if run.remaining_motions:
        site = site or _find_site(config, wanted, trained_with, host, console)
        lack = output.lack_of_room(sum(entry.file_bytes for entry in run.remaining_motions))
        placement = replace(site.placement, notices=(*site.placement.notices, *filter(None, [lack])))
        run.plan = make_plan(inputs, run.remaining_motions, placement, site.resources)
        run.engine_check, run.dashboard = site.choice.engine_check, site.resources.dashboard
    return run


def plan_anew(run: PreparedRun, host: Host, console: Console) -> RunPlan:
    """Return the plan of a finished run as with --overwrite, and check its engine. Raises InputError."""
    files = run.inputs.files
    site = _find_site(files.config, files.simulator, "", host, console)
    run.engine_check = site.choice.engine_check
    return make_plan(run.inputs, run.inputs.dataset.entries, site.placement, site.resources)


def _engine_of_training(tracker: TrackerInputs, config: RecordConfig) -> str:
    """Return the engine of the tracker's training; empty if unknown. Raises InputError for a wrong key."""
    name = tracker.files.trained_with
    known = next((engine.name for engine in ENGINES if name == engine.name or name in engine.also_called), "")
    if not known and tracker.files.environment.trained_with:
        names = ", ".join(engine.name for engine in ENGINES)
        raise InputError(f"{config.env_file}: key 'trained_with' = {quote(name)} is unknown; use one of: {names}")
    return known


def _find_site(config: RecordConfig, wanted: str, trained_with: str, host: Host, console: Console) -> Site:
    """Return the resources, the placement of actors, and the engine. Raises InputError if none works."""
    resources = host.resources()
    placement = place(config, resources)
    if not placement.shares:
        line = f"waiting for a node with {placement.needs}, up to {config.ray.wait_seconds:g} s (ray.wait_seconds)"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
        # The engine is chosen where actors will run, so a node is required.
        resources = host.wait_for_node(placement)
        placement = place(config, resources)

    def try_out(engine: Engine) -> EngineCheck:
        news = engine.first_start(placement.device)
        if news:
            console.print(news, highlight=False, markup=False, soft_wrap=True)
        return host.try_out(engine, placement)

    with console.status("starting the simulator"):
        choice = choose_engine(wanted, config.devices, placement.device, try_out, trained_with)
    notices = (*placement.notices, *filter(None, [choice.notice]))
    return Site(resources, replace(placement, notices=notices), choice)


def _after(earlier: Ledger | None, inputs: Inputs, output: OutputDirectory) -> PreparedRun:
    """Return the run after its earlier sessions. Raises InputError if they had other inputs."""
    if earlier is None:
        return PreparedRun(inputs, output, Ledger(), False, [])
    require_same(earlier, fingerprint(inputs.files), inputs.dataset.entries, output.path)
    recovery = inputs.files.config.recovery
    require_same_recovery(earlier, recovery.model_dump(mode="json") if recovery else {}, output.path)
    earlier.reopen_crashed()
    sizes = output.sizes()
    paths = {name: output.recording_path(name) for name in earlier.recorded_outcomes}
    lost = [name for name, path in paths.items() if sizes.get(path) != earlier.outcomes[name].bytes]
    if not lost and len(earlier.outcomes) == len(earlier.planned):
        lost = _damaged_motions(earlier, paths)
    for name in lost:
        earlier.take(RecordingLost(name))
    reopened = earlier.recoverable(len(recovery.copies)) if recovery else []
    earlier.take(MotionsReopened(reopened))
    return PreparedRun(inputs, output, earlier, True, lost, reopened)


def _damaged_motions(earlier: Ledger, paths: Mapping[str, Path]) -> list[str]:
    """Return the motions whose recordings have changed since a finished run wrote them."""
    outcomes = earlier.outcomes
    files = [WrittenFile(path, outcomes[name].bytes, outcomes[name].sha256) for name, path in paths.items()]
    found = verify(files)
    changed = {*found.damaged, *found.missing}
    return [name for name, path in paths.items() if path in changed]
