"""RecordKeeper: writes all results of a run, and notifies its listeners. Only the driver has one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Sequence

from parc_ray.cluster.actor_pool import RunningActor
from parc_ray.cluster.assignment import Assignment
from parc_ray.cluster.report import WorkReport
from parc_ray.errors import InputError
from parc_ray.files.reading import read_bytes
from parc_ray.motions.dataset import MotionEntry
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.runs.activity import Activity, ActorWork
from parc_ray.runs.events import Event, MotionEnded, attempt_event
from parc_ray.runs.ledger import Ledger
from parc_ray.runs.listener import RunListener
from parc_ray.runs.motion_state import MotionState
from parc_ray.runs.output import OutputDirectory
from parc_ray.runs.pace import Pace


class RecordKeeper:
    """The ledger, the output directory and the listeners of a running run."""

    def __init__(self, output: OutputDirectory, ledger: Ledger, listeners: Sequence[RunListener]):
        """listeners: the journal first, so that no other one receives an event that could be lost."""
        self.output, self.ledger, self._listeners = output, ledger, listeners
        self._pace = Pace(ledger)

    def write(self, event: Event) -> None:
        """Pass an event to the listeners and the ledger."""
        for listener in self._listeners:
            listener.events([event])
        self.ledger.take(event)

    def crash(self, motion: str, reason: str) -> None:
        """Give up a motion."""
        self.output.log(f"{motion}: crashed: {reason}")
        self.write(MotionEnded(motion, MotionState.CRASHED, reason))

    def show(self, activity: Activity) -> None:
        """Notify the listeners of the run's progress."""
        progress = self._pace.measure(activity)
        for listener in self._listeners:
            listener.progress(progress)

    def shard_over(self, shard: int) -> None:
        """Notify the listeners that no actor works on a shard any more."""
        for listener in self._listeners:
            listener.shard_over(shard)

    def unfinished(self, assignment: Assignment) -> list[MotionEntry]:
        """Return the unfinished motions of an assignment."""
        return [entry for entry in assignment.motions if self.ledger.is_open(entry.name)]

    def read(self, assignment: Assignment) -> list[ShardMotion]:
        """Return the motions of an assignment with their contents. Those whose file has changed are given up."""
        motions: list[ShardMotion] = []
        for entry in assignment.motions:
            try:
                content = read_bytes(Path(entry.path))
            except InputError as error:
                self.crash(entry.name, f"its file has gone since the run began: {error}")
                continue
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                self.crash(entry.name, f"its file has changed since the run began: {entry.path}")
                continue
            motions.append(ShardMotion(entry.name, entry.path, content, *self._tries(entry.name)))
        return motions

    def attempts(self, assignment: Assignment) -> int:
        """Return the number of attempts made so far at the motions of an assignment."""
        return sum(sum(self._tries(entry.name)) for entry in assignment.motions)

    def _tries(self, motion: str) -> tuple[int, int]:
        """Return the number of attempts, and of populations, made so far at a motion."""
        return self.ledger.next_attempt.get(motion, 0), self.ledger.next_population.get(motion, 0)

    def take(self, actor: RunningActor, report: WorkReport, seconds: float) -> None:
        """Write the results of a report: recordings first, then the journal, so that every journal line is true."""
        assert actor.assignment is not None
        shard = actor.assignment.shard
        self.ledger.env_steps += report.env_steps
        self.ledger.busy += report.busy
        self.ledger.slots += report.slots
        self.output.logs.write(report.log, shard)
        files: dict[Path, bytes] = {}
        events: list[Event] = []
        for result in report.results:
            attempt = result.attempt
            if not self.ledger.expects(attempt):
                self.output.log(f"dropped a late result: {result}", shard)
                continue
            if result.recording is not None:
                files[self.output.recording_path(attempt.motion)] = result.recording
            kept = self.output.failure_path(attempt.motion, attempt.number) if result.trajectory is not None else None
            if kept is not None and result.trajectory is not None:
                files[kept] = result.trajectory
            event = attempt_event(shard, result, kept is not None)
            events.append(event)
            ended = self.ledger.take(event)
            if ended is not None:
                events.append(self.output.with_path(ended))
                self.ledger.take(events[-1])
        self.output.write_motion_files(files)
        work = _work_of(actor, report, seconds)
        for listener in self._listeners:
            if events:
                listener.events(events)
            listener.work(work)


def _work_of(actor: RunningActor, report: WorkReport, seconds: float) -> ActorWork:
    assert actor.assignment is not None
    work = ActorWork(actor.assignment.shard, actor.envs, seconds, report.steps, report.env_steps)
    if report.memory is None:
        return work
    return ActorWork(
        **{
            **vars(work),
            "node": report.memory.node,
            "process_bytes": report.memory.process,
            "device": report.memory.device,
            "device_used": report.memory.device_used,
            "device_total": report.memory.device_total,
        }
    )
