"""One run, from checked inputs to summary.json."""

from __future__ import annotations

import os
import platform
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Sequence

import ray
import torch
import yaml

import parc_ray
from parc_ray.cluster.connection import ray_session
from parc_ray.cluster.driver import Driver
from parc_ray.cluster.host import RayHost
from parc_ray.cluster.monitoring import Monitoring
from parc_ray.config.record import RecordConfig
from parc_ray.config.record_args import format_args, record_environment
from parc_ray.errors import InputError, LostRayError, OutputError, ParcRayError
from parc_ray.files.writing import make_folder
from parc_ray.motions.dataset import write_dataset, write_dataset_file
from parc_ray.motions.motion_file import read_motion
from parc_ray.planning.fingerprint import fingerprint
from parc_ray.planning.preparation import PreparedRun, prepare
from parc_ray.runs.audit import contradictions
from parc_ray.runs.events import MotionsReopened, RecordingLost, RunEnded, RunStarted
from parc_ray.runs.exit_codes import DONE, INCONSISTENT, INTERRUPTED, NOT_ALL_ATTEMPTED
from parc_ray.runs.history import read_run
from parc_ray.runs.journal import Journal
from parc_ray.runs.listener import RunListener
from parc_ray.runs.logger import RunLogger
from parc_ray.runs.motion_state import MotionState
from parc_ray.runs.output import (
    ACCEPTED_DATASET,
    CHARACTER,
    DATASET,
    RECORDED_DATASET,
    REPORT,
    SUCCESS,
    SUMMARY,
    OutputDirectory,
)
from parc_ray.runs.trackable import accepted_motions, success_table
from parc_ray.runs.upload import Upload
from parc_ray.terminal.interruption import Interruption
from parc_ray.terminal.notices import handle_notices
from parc_ray.terminal.progress import ProgressDisplay, ProgressEvents
from parc_ray.terminal.recovery_hint import recovery_hint
from parc_ray.terminal.screen import Screen
from parc_ray.terminal.table import print_summary


@dataclass(frozen=True)
class EndedRun:
    """Result of a run."""

    exit_code: int
    summary: dict[str, Any] | None = None
    """Content of summary.json; None if the run ended before writing it."""
    wants_report: bool = False
    error: ParcRayError | None = None
    """Error that stopped it."""
    upload: Upload | None = None
    """Upload of its files, still to be awaited."""


def record(
    config: RecordConfig, data_dir: str | None, overwrite: bool, screen: Screen, interruption: Interruption
) -> EndedRun:
    """Record a dataset, or resume the run in its output directory.

    Raises InputError, before anything is written, on bad input. The interruption must be listening. A Ray that this
    process was already using is kept.
    """
    output = OutputDirectory(config.output_dir, config.output)
    output.require_unlinked()
    journal = Journal(output.journal) if output.journal.exists() else None
    try:
        with ray_session():
            host = RayHost(config, interruption.listen)
            run = prepare(config, data_dir, overwrite, output, host, screen.console)
            output.prepare()
            if journal is None:
                journal = Journal(output.journal)
                journal.require_empty()
            journal.listener = screen.events.send if screen.events else None
            return replace(_record(run, journal, overwrite, interruption, screen), upload=run.upload)
    except KeyboardInterrupt:
        screen.alert("interrupted")
        screen.fail("interrupted", INTERRUPTED)
        return EndedRun(INTERRUPTED)
    finally:
        if journal:
            journal.close()


def _record(
    run: PreparedRun, journal: Journal, overwrite: bool, interruption: Interruption, screen: Screen
) -> EndedRun:
    """Run the part that writes files."""
    logger: RunLogger | None = None
    try:
        _begin(run, journal, overwrite)
        logger = _logger(run)
        with handle_notices(screen, run.output.logs), ProgressDisplay(screen) as display:
            _open(run, journal, screen)
            listeners = [journal, display, ProgressEvents(journal), *([logger] if logger else [])]
            code = _work(run, listeners, interruption)
        recorded = run.ledger.recorded_outcomes
        recordings = [(run.output.recording_path(name), outcome.seconds) for name, outcome in recorded.items()]
        run.output.write_recorded_dataset(recordings, run.inputs.files.environment.env.control_freq)
        accepted = accepted_motions(run.inputs.dataset.entries, run.ledger.outcomes)
        write_dataset_file(accepted, run.output.path / ACCEPTED_DATASET)
        run.output.write_text(SUCCESS, success_table(read_run(run.output.path)))
        problems = contradictions(run.ledger, run.output)
        if problems:
            code = INCONSISTENT
        journal.write(RunEnded(code))
        journal.sync()
        summary = _summary(run, run.ledger.seconds + journal.seconds, code)
        if run.plan or not run.output.summary.exists():
            run.output.write_json(SUMMARY, summary)
        if logger:
            logger.log(run.ledger.env_steps, summary, "summary")
        if run.plan:
            run.output.log(f"the run has ended with exit code {code}")
    except OutputError as error:
        return _stopped_run(error, screen)
    except LostRayError as error:
        journal.write(RunEnded(error.exit_code))
        summary = _summary(run, run.ledger.seconds + journal.seconds, error.exit_code)
        run.output.write_json(SUMMARY, summary)
        return replace(_stopped_run(error, screen), summary=summary)
    finally:
        if logger:
            logger.close()
        # The next run writes it if this one cannot.
        with suppress(OutputError):
            run.output.logs.merge()
    print_summary(summary, str(run.output.path), screen)
    screen.say(*recovery_hint(run.inputs.files.config, run.ledger, summary["control_steps_per_second"]))
    for problem in problems:
        screen.alert(f"error: {problem}. This must not happen: please report it, with logs/ and journal.jsonl")
    if code == INTERRUPTED:
        screen.alert("interrupted; run the same command to resume")
    elif recorded and (run.output.config.layout, run.output.config.format) == ("flat", "parc"):
        screen.alert(
            f"output.layout is flat: PARC's dataset step passes over files directly in a listed folder. Give its next "
            f"tracker {run.output.path / RECORDED_DATASET} as the dataset, or move the recordings into a folder in "
            f"{run.output.recordings}"
        )
    if code != INTERRUPTED:
        try:
            _write_terrain(run, screen)
        except OutputError as error:
            return _stopped_run(error, screen)
    return EndedRun(code, summary, run.plan is not None or not run.output.report.exists())


def _stopped_run(error: ParcRayError, screen: Screen) -> EndedRun:
    """Return the result of a run that could not finish."""
    told = "The run has stopped, and its recordings are kept. Run the same command to resume."
    screen.alert(f"error: {error}", told)
    screen.fail(str(error), error.exit_code)
    return EndedRun(error.exit_code, error=error)


def _begin(run: PreparedRun, journal: Journal, overwrite: bool) -> None:
    """Clear or tidy the output directory, and write the run's inputs."""
    output = run.output
    output.logs.merge()
    if not run.goes_on:
        # An earlier run is deleted only now: every check that could refuse this run has passed.
        if overwrite:
            if run.upload:
                run.upload.clear()
            output.clear()
        journal.clear()
    files = run.inputs.files
    started = RunStarted(
        host=socket.gethostname(),
        pid=os.getpid(),
        folder=str(Path.cwd()),
        character=files.character_source,
        versions=_versions(),
        fingerprint=fingerprint(files),
        config=files.config.model_dump(mode="json"),
        motions=len(run.inputs.dataset.entries),
    )
    unwritten = [output.with_path(ended) for ended in run.ledger.unwritten.values()]
    for events in ([started], run.ledger.missing_events(run.inputs.dataset), unwritten):
        journal.write(*events)
        for event in events:
            run.ledger.take(event)
    journal.write(*map(RecordingLost, run.lost))
    if run.reopened:
        # The ledger closed them again when the session began.
        reopened = MotionsReopened(run.reopened)
        journal.write(reopened)
        run.ledger.take(reopened)
    journal.sync()
    recorded = run.ledger.recorded_outcomes
    names = [entry.name for entry in run.inputs.dataset.entries if run.goes_on and entry.name not in recorded]
    half_done = [output.recording_path(name) for name in names]
    most = len(files.config.retry.start_fractions) + 1
    missing_events = ((name, number) for name in names for number in range(run.ledger.next_attempt.get(name, 0), most))
    half_done += filter(None, (output.failure_path(*attempt) for attempt in missing_events))
    stale = (SUMMARY, REPORT) if run.plan else ()
    for path in output.tidy(half_done, stale):
        output.log(f"deleted {path}: left half done by a run that was killed")
    for name in run.lost:
        output.log(f"{name}: its recording is missing or damaged, and is made again")
    _write_inputs(run)
    if run.upload:
        run.upload.begin()
        output.listener = run.upload.add


def _logger(run: PreparedRun) -> RunLogger | None:
    """Return the run's logger; None if it has none, or nothing is left to do."""
    config = run.inputs.files.config
    if config.output.logger == "none" or not run.plan:
        return None
    return RunLogger(config.output.logger, run.output.path, config.model_dump(mode="json"), run.output.log)


def _work(run: PreparedRun, listeners: Sequence[RunListener], interruption: Interruption) -> int:
    """Record the remaining motions and return the exit code."""
    if run.plan:
        monitoring = Monitoring(str(run.output.path), run.output.log)
        driver = Driver(run.plan, run.output, run.ledger, [*listeners, monitoring])
        interruption.gently = driver.stop
        try:
            finished = driver.run()
        finally:
            monitoring.close()
        interruption.gently = None
        if not finished:
            return INTERRUPTED
    return NOT_ALL_ATTEMPTED if run.ledger.count(MotionState.CRASHED) else DONE


def _write_inputs(run: PreparedRun) -> None:
    """Write the dataset, the character, record_env.yaml and record_args.txt."""
    inputs, output = run.inputs, run.output
    config = inputs.files.config
    dataset_file = output.path / DATASET
    written = {dataset_file.resolve()}
    if inputs.dataset_config is not None:
        written.add(inputs.dataset_config.save_path.resolve())
    elif config.dataset_file is not None:
        # A run repeated from its record_args.txt reads the motions.yaml in its own output_dir: inputs are never
        # overwritten.
        written.discard(config.dataset_file.resolve())
    for path in written:
        make_folder(path.parent)
        write_dataset(inputs.dataset, path)
    content = record_environment(inputs.environment_content, config, dataset_file, output.path)
    output.write_text("record_env.yaml", yaml.safe_dump(content))
    output.write_text(CHARACTER, inputs.character.text)
    entries = inputs.dataset.entries
    output.write_text("record_args.txt", format_args(config, output.path / "record_env.yaml", len(entries)))


def _write_terrain(run: PreparedRun, screen: Screen) -> None:
    """Write terrain.pkl, unless an earlier run of the same dataset has. Its speed is uncritical: the run has ended."""
    inputs, output = run.inputs, run.output
    if not inputs.files.config.output.terrain_file or (run.goes_on and output.terrain.exists()):
        return
    entries, heightmap = inputs.dataset.entries, inputs.files.environment.env.dm.heightmap
    problem = output.terrain_problem(
        [entry.terrain_shape for entry in entries], heightmap.padding, heightmap.horizontal_scale
    )
    if not problem:
        try:
            terrains = [read_motion(Path(entry.path), inputs.skeleton).terrain for entry in entries]
            output.write_terrain(terrains, heightmap.padding, heightmap.horizontal_scale)
        except InputError as error:
            problem = str(error)
    if problem:
        screen.alert(f"terrain.pkl left out: {problem}")


def _open(run: PreparedRun, journal: Journal, screen: Screen) -> None:
    """Print what the run will do."""
    dataset, plan = run.inputs.dataset, run.plan
    notices = plan.placement.notices if plan else ()
    lines: list[str] = []
    alerts: list[str] = []
    if run.goes_on:
        done = len(dataset.entries) - len(run.remaining_motions)
        lines.append(f"going on with an earlier run: {done} of {len(dataset.entries)} motions are done")
    if plan:
        placement = plan.placement
        lines.append(
            f"{len(run.remaining_motions)} motions, {plan.seconds:.0f} s, in {len(plan.shards)} shards on "
            f"{placement.actors} actors ({placement.description}), "
            f"simulator {run.inputs.files.simulator}"
        )
        if run.dashboard:
            lines.append(f"Ray's dashboard: http://{run.dashboard}")
    else:
        lines.append("nothing is left to do; --overwrite would delete these recordings and begin anew")
    if not journal.locked:
        alerts.append(f"{journal.path}: its file system knows no locks: do not start a second run on this output_dir")
    alerts += [f"invalid: {motion.path}: {motion.reason}" for motion in dataset.invalid]
    if plan:
        run.output.logs.write([(0.0, line) for line in [*notices, *lines, *alerts]])
    screen.alert(*notices)
    screen.say(*lines)
    screen.alert(*alerts)


def _versions() -> dict[str, str]:
    return {
        "parc_ray": parc_ray.__version__,
        "python": platform.python_version(),
        "ray": ray.__version__,
        "torch": torch.__version__,
    }


def _summary(run: PreparedRun, seconds: float, code: int) -> dict[str, Any]:
    """Return the content of summary.json. seconds: working time of all sessions, in which all attempts were made."""
    return {
        **run.ledger.summary(),
        "control_steps_per_second": round(run.ledger.control_steps / seconds, 1) if seconds else 0.0,
        "wall_seconds": round(seconds, 3),
        "exit_code": code,
        "simulator": run.inputs.files.simulator,
        "actors": run.plan.placement.actors if run.plan else 0,
        "shards": len(run.plan.shards) if run.plan else 0,
        "runs": run.ledger.sessions,
        "versions": _versions(),
        "command": sys.argv,
    }
