"""Driver: the run. Places actors, feeds them shards, replaces dead ones, and alone writes the output directory."""

from __future__ import annotations

import hashlib
import socket
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Deque, Dict, List, Optional, Tuple

import ray
from ray.exceptions import ObjectStoreFullError, OutOfDiskError, OutOfMemoryError, RayActorError, RayError

from parc_ray.cluster.actor import ShardActor, WorkReport
from parc_ray.cluster.connection import devices_by_node, last_line, read_resources
from parc_ray.cluster.crash_output import Printout, last_words
from parc_ray.cluster.failure_policy import (
    Assignment,
    Cause,
    Decision,
    Device,
    Loss,
    Setups,
    State,
    before_start,
    decide,
    store_is_full,
    waited_in_vain,
)
from parc_ray.cluster.monitoring import RunMetrics
from parc_ray.errors import InputError, LostRayError
from parc_ray.files.reading import read_bytes
from parc_ray.planning.placement import Placement
from parc_ray.planning.plan import RunPlan
from parc_ray.recording.shard import Shard, ShardMotion
from parc_ray.runs.events import (
    ActorDied,
    ActorIdle,
    ActorReady,
    AttemptEnded,
    DeviceSetAside,
    Event,
    MotionEnded,
    ShardStarted,
)
from parc_ray.runs.journal import Journal
from parc_ray.runs.ledger import Ledger
from parc_ray.runs.motion_state import MotionState
from parc_ray.runs.output import LOG, OutputDirectory
from parc_ray.simulators.engine import Engine
from parc_ray.terminal.progress import Activity, RunProgress

REPORT_SECONDS = 1.0
"""How long an actor works before it reports."""
POLL_SECONDS = 0.5
NODE_DIED = "node has died"
"""What Ray says of an actor whose node is gone."""
PATIENCE_SECONDS = 60.0
"""How long Ray may start no actor before the run says that it waits."""


@dataclass
class RunningActor:
    """An actor with its assignment, from the moment that Ray is asked for it."""

    handle: Any
    assignment: Assignment
    shard: Any
    """Reference to its shard in the object store, until it has been sent."""
    envs: int
    attempts: int
    """Attempts at its motions that were made before it began."""
    device: Optional[Device] = None
    """Where it runs; None while Ray has not started it."""
    printouts: Tuple[Printout, ...] = ()
    """Where it prints."""
    ready: bool = False
    """Whether its setup has worked."""
    busy: float = 0.0
    """Envs at work, on average since its last report."""
    asked: Optional[float] = None
    """When it was last given something to do (monotonic s); None while Ray has not started it."""


class Driver:
    """One run on a connected Ray.

    Driver(plan, output, journal, ledger, progress, metrics).run()
    """

    def __init__(
        self,
        plan: RunPlan,
        output: OutputDirectory,
        journal: Journal,
        ledger: Ledger,
        progress: RunProgress,
        metrics: RunMetrics,
    ):
        self.plan, self.output, self.journal = plan, output, journal
        self.ledger, self.progress, self.metrics = ledger, progress, metrics
        self.timeout = plan.inputs.files.config.ray.timeout_seconds
        self._stopping = False
        self._queue: Deque[Assignment] = deque(Assignment(i, shard) for i, shard in enumerate(plan.shards))
        self._actors: Dict[Any, RunningActor] = {}
        """By the reference of what each was last asked for."""
        self._placeholders: Dict[Any, Device] = {}
        """Idle actors that keep devices busy which get no more work: Ray would start the next actor there again."""
        self._state = State(next_shard=len(plan.shards), max_envs=plan.max_envs, actors=plan.placement.actors)
        self._last_seen = time.monotonic()
        self._files = ray.put(plan.inputs.files)
        self._actor_class = actor_class(plan.inputs.files.engine, plan.placement)

    def stop(self) -> None:
        """Have run() return within a second, also from a signal handler. What is in flight is given up."""
        self._stopping = True

    def run(self) -> bool:
        """Work until every motion has its final state; whether it came to that. Kills the actors however it ends.

        Raises LostRayError if the node that the driver is connected to is gone.
        """
        try:
            while (self._queue or self._actors) and not self._stopping:
                room = self._queue and len(self._actors) < self._most_actors()
                more = bool(room) and self._launch(self._queue.popleft())
                if not self._actors:
                    continue
                # To read a shard takes a while: actors that are there already do not wait for all others.
                at_once, patience = (len(self._actors), 0.0) if more else (1, POLL_SECONDS)
                ready, _ = ray.wait(list(self._actors), num_returns=at_once, timeout=patience)
                for reference in ready:
                    self._receive(reference)
                self._kill_the_silent()
                self._say_if_waiting()
                self._show()
            return not self._stopping
        finally:
            for handle in [*(actor.handle for actor in self._actors.values()), *self._placeholders]:
                ray.kill(handle)
            self.metrics.close()

    def _show(self) -> None:
        """Say how far the run is."""
        ready = [actor for actor in self._actors.values() if actor.ready]
        activity = Activity(
            actors=len(ready),
            starting=len(self._actors) - len(ready),
            envs=sum(actor.envs for actor in ready),
            busy_envs=round(sum(actor.busy for actor in ready), 1),
            shards_waiting=len(self._queue),
        )
        self.progress.update(activity)
        self.metrics.update(self.ledger, activity)

    def _most_actors(self) -> int:
        """Maximum number of actors at a time; placeholders leave room for fewer."""
        placement = self.plan.placement
        if not self._placeholders:
            return placement.actors
        room = read_resources().fit(placement.cpus, placement.gpus) - len(self._placeholders)
        return max(1, min(placement.actors, room))

    def _launch(self, assignment: Assignment) -> bool:
        """Start an actor on an assignment; whether there may be room for another one.

        The motions' contents are read only now.
        """
        instead = before_start(self._state, assignment)
        if instead:
            self._carry_out(instead)
            return True
        motions = self._read(assignment)
        if not motions:
            return True
        shard = Shard(assignment.shard, tuple(motions), self._state.max_envs)
        try:
            reference = ray.put(shard)
        except (ObjectStoreFullError, OutOfDiskError) as error:
            self._tell(last_line(error), shard.index)
            self._carry_out(store_is_full(self._state, assignment, last_line(error), bool(self._actors)))
            return False  # Only when actors have been listened to can the store become emptier.
        except RayError as error:
            raise LostRayError(f"Ray cannot be reached from {socket.gethostname()}: {last_line(error)}") from error
        handle: Any = self._actor_class.remote()
        envs = shard.num_envs(self.plan.inputs.files)
        # On a busy cluster Ray may start the actor much later: only then does its time begin to count.
        self._actors[handle.hello.remote()] = RunningActor(
            handle, assignment, reference, envs, self._attempts(assignment)
        )
        names = [motion.name for motion in motions]
        self._write(ShardStarted(shard.index, names, envs, assignment.deaths))
        self.output.log(f"Ray is asked for an actor for {len(names)} motions, {envs} at a time", shard.index)
        self.metrics.assigned(shard.index, names)
        return True

    def _read(self, assignment: Assignment) -> List[ShardMotion]:
        """The motions of an assignment with their contents. Those whose files are not as they were are given up."""
        motions: List[ShardMotion] = []
        for entry in assignment.motions:
            try:
                content = read_bytes(Path(entry.path))
            except InputError as error:
                self._crash(entry.name, f"its file has gone since the run began: {error}")
                continue
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                self._crash(entry.name, f"its file has changed since the run began: {entry.path}")
                continue
            motions.append(ShardMotion(entry.name, entry.path, content, self.ledger.next_attempt.get(entry.name, 0)))
        return motions

    def _receive(self, reference: Any) -> None:
        """Take an actor's report, or its death, and give it more to do."""
        actor = self._actors.pop(reference)
        self._last_seen = time.monotonic()
        try:
            report: WorkReport = ray.get(reference, timeout=self.timeout)
        except RayError as error:
            self._lose(actor, *self._why_lost(actor, error))
            return
        self._account(actor.assignment.shard, report)
        if actor.asked is not None:
            actor.busy = report.busy_envs
            seconds = time.monotonic() - actor.asked
            self.metrics.report(actor.assignment.shard, actor.envs, report, seconds)
        if report.too_large:
            self._lose(actor, Cause.TOO_LARGE, str(report.error), report.too_large)
        elif report.error is not None:
            self._lose(actor, Cause.REPORTED, report.error)
        elif report.done:
            ray.kill(actor.handle)
            self.metrics.ended(actor.assignment.shard)
        elif actor.asked is None and self._is_set_aside(actor, report):
            self._keep_idle(actor)
        else:
            self._actors[self._ask(actor)] = actor

    def _is_set_aside(self, actor: RunningActor, hello: WorkReport) -> bool:
        """Whether an actor runs where nothing is done any longer. hello: its first report, which says where it runs."""
        assert hello.device is not None, "an actor did not say where it runs"
        actor.device, actor.printouts = hello.device, hello.printouts
        self._state = self._state.met(actor.device)
        return self._state.devices[actor.device].aside

    def _keep_idle(self, actor: RunningActor) -> None:
        """Have an actor do nothing, and another one its assignment."""
        assert actor.device is not None
        shard = actor.assignment.shard
        self._placeholders[actor.handle] = actor.device
        self._queue.appendleft(actor.assignment)
        self.output.log(f"Ray has started the actor on {actor.device}, which gets no more work: it stays idle", shard)
        self._write(ActorIdle(shard, actor.device.node, actor.device.name))
        self.metrics.ended(shard)

    def _ask(self, actor: RunningActor) -> Any:
        """Give an actor that has answered the next thing to do; returns the reference of its answer."""
        if actor.asked is None:
            placement = self.plan.placement
            asked = actor.handle.setup.remote(self._files, actor.shard, placement.cpus, placement.device)
            actor.shard = None
        else:
            if not actor.ready:
                assert actor.device is not None
                self._write(ActorReady(actor.assignment.shard))
                self._state = self._state.ready(actor.device)
                self._release_placeholders()
            actor.ready = True
            asked = actor.handle.work.remote(REPORT_SECONDS)
        actor.asked = time.monotonic()
        return asked

    def _why_lost(self, actor: RunningActor, error: RayError) -> Tuple[Cause, str]:
        """What Ray's error says of how an actor was lost."""
        if isinstance(error, OutOfMemoryError):
            return Cause.TOO_LARGE, "Ray has killed the actor because its node ran out of memory"
        if isinstance(error, RayActorError):
            reason = f"actor died ({type(error).__name__})"
            if NODE_DIED in str(error):
                return Cause.NODE_DIED, f"{reason}: its node has died"
            return Cause.DIED, f"{reason}{self._keep_last_words(actor)}"
        self.output.logs.write([(0.0, line) for line in str(error).splitlines()], actor.assignment.shard)
        return Cause.RAISED, f"actor raised: {last_line(error)}"

    def _keep_last_words(self, actor: RunningActor) -> str:
        """Write what a lost actor has printed last into the logs; returns what to say of it."""
        lines = last_words(actor.printouts, actor.device.node_id) if actor.device else []
        self.output.logs.write([(0.0, f"printed: {line}") for line in lines], actor.assignment.shard)
        return f"; its last words are in {LOG}" if lines else ""

    def _account(self, shard: int, report: WorkReport) -> None:
        """Write what a report brings: recordings first, then the journal, so that a journal line never lies."""
        self.ledger.env_steps += report.env_steps
        self.ledger.busy += report.busy
        self.ledger.slots += report.slots
        self.output.logs.write(report.log, shard)
        files: Dict[Path, bytes] = {}
        events: List[Event] = []
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
            event = AttemptEnded(shard, len(result.recording or b""), attempt, len(files.get(kept, b"")) if kept else 0)
            events.append(event)
            ended = self.ledger.take(event)
            if ended is not None:
                events.append(self.output.with_path(ended))
                self.ledger.take(events[-1])
            self.metrics.attempt(shard, attempt.outcome)
        self.output.write_motion_files(files)
        if events:
            self.journal.write(*events)
            self.journal.sync()

    def _lose(self, actor: RunningActor, cause: Cause, reason: str, envs: int = 0) -> None:
        """Kill an actor if it is not dead yet, say why, and do what follows. envs: too many, if not all that it had."""
        ray.kill(actor.handle)
        assignment = actor.assignment
        shard, total = assignment.shard, len(assignment.motions)
        self.metrics.death(shard)
        self.metrics.ended(shard)
        names = set(self.ledger.unfinished([entry.name for entry in assignment.motions]))
        device = actor.device
        place = (device.node, device.name) if device else ("", "")
        self._write(ActorDied(shard, reason, sorted(names), *place))
        self._tell(f"{reason}; {len(names)} of {total} motions were not finished", shard)
        unfinished = tuple(entry for entry in assignment.motions if entry.name in names)
        attempts = self._attempts(assignment) - actor.attempts
        placement = self.plan.placement
        loss = Loss(
            cause, reason, assignment, unfinished, actor.ready, attempts, envs or actor.envs, device,
            nodes=devices_by_node(placement.cpus, placement.gpus),
        )  # fmt: skip
        self._carry_out(decide(self._state, loss))

    def _carry_out(self, decision: Decision) -> None:
        """Do what follows from a loss."""
        self._state = decision.state
        for line in decision.notices:
            self._tell(line)
        for line in decision.alerts:
            self._alert(line)
        self._queue.extendleft(reversed(decision.first))
        self._queue.extend(decision.last)
        if decision.given_up:
            motion, reason = decision.given_up
            self._crash(motion.name, reason)
        if decision.all_given_up:
            for entry in (entry for assignment in self._queue for entry in assignment.motions):
                self._crash(entry.name, decision.all_given_up)
            self._queue.clear()
        if decision.set_aside:
            device, reason = decision.set_aside
            self._write(DeviceSetAside(device.node, device.name, reason))
        self._release_placeholders()

    def _release_placeholders(self) -> None:
        """Kill those on devices that get work again, or are gone."""
        for handle, device in list(self._placeholders.items()):
            if not self._state.devices.get(device, Setups()).aside:
                del self._placeholders[handle]
                ray.kill(handle)

    def _attempts(self, assignment: Assignment) -> int:
        """Attempts made so far at the motions of an assignment."""
        return sum(self.ledger.next_attempt.get(entry.name, 0) for entry in assignment.motions)

    def _crash(self, motion: str, reason: str) -> None:
        self.output.log(f"{motion}: crashed: {reason}")
        self._write(MotionEnded(motion, MotionState.CRASHED, reason))

    def _write(self, event: Event) -> None:
        """Write an event, and have the ledger take it."""
        self.journal.write(event)
        self.ledger.take(event)

    def _kill_the_silent(self) -> None:
        """Ray never notices an actor that hangs."""
        now = time.monotonic()
        for reference, actor in list(self._actors.items()):
            if actor.asked is not None and now - actor.asked > self.timeout:
                del self._actors[reference]
                reason = f"actor was silent for {self.timeout:g} s (ray.timeout_seconds)"
                self._lose(actor, Cause.SILENT, f"{reason}{self._keep_last_words(actor)}")

    def _say_if_waiting(self) -> None:
        """Ray waits in silence for resources that a cluster has lost."""
        starting = all(actor.asked is None for actor in self._actors.values())
        if starting and time.monotonic() - self._last_seen > PATIENCE_SECONDS:
            self._last_seen = time.monotonic()
            cpus, gpus = self.plan.placement.cpus, self.plan.placement.gpus
            line = f"waiting until Ray has {cpus} CPUs and {gpus:g} GPUs free on a node for an actor"
            self._alert(line)
            self._carry_out(waited_in_vain(self._state))

    def _tell(self, line: str, shard: Optional[int] = None) -> None:
        """Say it on the screen, and in the log."""
        self.output.log(line, shard)
        self.progress.note(line if shard is None else f"shard {shard}: {line}")

    def _alert(self, line: str) -> None:
        """The same for people who do not look on."""
        self.output.log(line)
        self.progress.screen.alert(line)


def actor_class(engine: Engine, placement: Placement) -> Any:
    """The class of actors with an engine, with the resources and the environment that they need."""
    options: Dict[str, Any] = {"num_cpus": placement.cpus, "num_gpus": placement.gpus}
    variables = engine.variables()
    if variables:
        # The loader reads some of them when a process starts: later is too late.
        options["runtime_env"] = {"env_vars": variables}
    return ray.remote(ShardActor).options(**options, max_restarts=0, max_task_retries=0)
