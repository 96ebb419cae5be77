"""Driver: assigns the motions of a run to actors, and replaces lost actors."""

from __future__ import annotations

import socket
import time
from typing import Any, Sequence

import ray
from ray.exceptions import ObjectStoreFullError, OutOfDiskError, RayError

from parc_ray.cluster.actor import ShardActor
from parc_ray.cluster.actor_pool import ActorPool, Handover, RunningActor
from parc_ray.cluster.assignment import Assignment
from parc_ray.cluster.connection import devices_by_node, last_line
from parc_ray.cluster.device import Device
from parc_ray.cluster.failure_policy import (
    Decision,
    Setups,
    State,
    before_start,
    decide,
    store_is_full,
    waited_in_vain,
)
from parc_ray.cluster.loss import Cause, Loss
from parc_ray.cluster.node_watch import NodeWatch
from parc_ray.cluster.post_mortem import why_lost, why_silent
from parc_ray.cluster.record_keeper import RecordKeeper
from parc_ray.cluster.report import WorkReport
from parc_ray.cluster.scheduler import Scheduler
from parc_ray.errors import LostRayError
from parc_ray.planning.plan import RunPlan
from parc_ray.recording.shard import Shard
from parc_ray.runs.activity import Activity
from parc_ray.runs.events import ActorDied, ActorIdle, ActorReady, DeviceSetAside, ShardStarted
from parc_ray.runs.ledger import Ledger
from parc_ray.runs.listener import RunListener
from parc_ray.runs.output import OutputDirectory
from parc_ray.simulators.engine import Engine
from parc_ray.terminal.notices import alert, notice

REPORT_SECONDS = 1.0
"""Working time of an actor between reports."""
POLL_SECONDS = 0.5
NODES_SECONDS = 1.0
"""Period at which the run checks for nodes that have joined or left."""
PATIENCE_SECONDS = 60.0
"""Time without a started actor after which the run reports that it waits."""


class Driver:
    """One run on a connected Ray.

    Driver(plan, output, ledger, [journal, display]).run()
    """

    def __init__(self, plan: RunPlan, output: OutputDirectory, ledger: Ledger, listeners: Sequence[RunListener]):
        """listeners: the journal first."""
        self.plan, self.files = plan, plan.inputs.files
        self.keeper = RecordKeeper(output, ledger, listeners)
        self.pool = ActorPool(lambda cpus: actor_class(self.files.engine, cpus, plan.placement.gpus).remote())
        assignments = [Assignment(index, shard) for index, shard in enumerate(plan.shards)]
        self.scheduler = Scheduler(assignments, plan.placement, self.pool, self.keeper)
        self._state = State(next_shard=len(plan.shards), max_envs=plan.max_envs, actors=plan.placement.actors)
        self._stopping = False
        self._last_answer = self._waiting_since = time.monotonic()
        self._nodes_read = float("-inf")
        self._watch = NodeWatch()
        self._run_files = ray.put(self.files)

    def stop(self) -> None:
        """Make run() return within a second; safe in signal handlers. Running attempts are discarded."""
        self._stopping = True

    def run(self) -> bool:
        """Work until every motion has its final state, and return whether all have one. Kills all actors at the end.

        Raises LostRayError if the driver's node is gone, or if no node can have an actor for ray.wait_seconds.
        """
        try:
            while self._has_work() and not self._stopping:
                self._request_actors()
                for actor, reference in self.pool.answers(POLL_SECONDS):
                    self._receive(actor, reference)
                for actor in self.pool.silent(self.files.config.ray.timeout_seconds):
                    self._lose(actor, *why_silent(actor, self.files.config.ray.timeout_seconds, self.keeper.output))
                self._wait_for_ray()
                self.keeper.show(self._activity())
            return not self._stopping
        finally:
            self.pool.close()

    def _has_work(self) -> bool:
        return bool(self.scheduler.queue) or any(actor.assignment for actor in self.pool.started)

    def _activity(self) -> Activity:
        ready = [actor for actor in self.pool.started if actor.ready]
        return Activity(
            actors=len(ready),
            starting=len(self.pool.actors) - len(ready),
            envs=sum(actor.envs for actor in ready),
            busy_envs=round(sum(actor.busy_envs for actor in ready), 1),
            shards_waiting=len(self.scheduler.queue),
        )

    # ------------------------------------------------------------------------------------------- actors

    def _request_actors(self) -> None:
        """Request actors where nodes have room for them."""
        if time.monotonic() - self._nodes_read >= NODES_SECONDS:
            self._nodes_read = time.monotonic()
            self.scheduler.request_actors(self._watch.nodes())

    def _receive(self, actor: RunningActor, reference: Any) -> None:
        """Handle an actor's answer or death, and give it more work."""
        self._last_answer = time.monotonic()
        seconds = 0.0 if actor.asked is None else time.monotonic() - actor.asked
        try:
            report: WorkReport = ray.get(reference, timeout=self.files.config.ray.timeout_seconds)
        except RayError as error:
            self._lose(actor, *why_lost(actor, error, self.keeper.output))
            return
        if actor.requested:
            self._welcome(actor, report)
            return
        self.keeper.take(actor, report, seconds)
        actor.busy_envs = report.env_steps / report.steps if report.steps else 0.0
        if report.too_large:
            self._lose(actor, Cause.TOO_LARGE, str(report.error), report.too_large)
        elif report.error is not None:
            self._lose(actor, Cause.REPORTED, report.error)
        else:
            self._continue(actor, report, seconds)

    def _welcome(self, actor: RunningActor, hello: WorkReport) -> None:
        """Assign work to a started actor, unless its device is unusable."""
        assert hello.device is not None, "an actor did not say where it runs"
        actor.device, actor.printouts = hello.device, hello.printouts
        self._say_if_cpus_differ(actor.device)
        self._state = self._state.met(actor.device)
        if self._state.devices[actor.device].aside:
            self.pool.hold(actor)
            self.keeper.output.log(f"an actor on {actor.device} stays idle: its device gets no more work")
            self.keeper.write(ActorIdle(actor.device.node, actor.device.name))
        elif self.scheduler.is_too_small(actor, self._watch.nodes()):
            self._dismiss(actor)
        else:
            self._employ(actor)

    def _say_if_cpus_differ(self, device: Device) -> None:
        known = {other.cpu for other in self._state.devices}
        if len(known) == 1 and device.cpu not in known:
            notice(
                f"nodes have different CPUs ({', '.join(sorted([*known, device.cpu]))}): the last bits of results may "
                "depend on them; the journal's ready events name the CPU of each shard"
            )

    def _employ(self, actor: RunningActor) -> None:
        """Assign motions to an actor: the next in the queue, or motions of others. Dismiss it if there are none."""
        actor.assignment, actor.ready = None, False
        while self.scheduler.queue:
            before = len(self.scheduler.queue)
            assignment = self.scheduler.next_assignment(actor, self._state.next_shard)
            if len(self.scheduler.queue) == before:  # the rest of it stays in the queue
                self._state = self._state.with_shards(1)
            instead = before_start(self._state, assignment)
            if instead:
                self._carry_out(instead)
            elif self._assign(actor, assignment):
                return
            elif self.scheduler.queue and self.scheduler.queue[-1] is assignment:
                break  # Ray's object store is full until other shards finish.
        if not self.scheduler.begin_handover(actor):
            self._dismiss(actor)

    def _dismiss(self, actor: RunningActor) -> None:
        """Kill an actor. Another one may be requested at once."""
        ray.kill(actor.handle)
        self._nodes_read = float("-inf")

    def _assign(self, actor: RunningActor, assignment: Assignment) -> bool:
        """Send an assignment to an actor; return whether it was sent. Motion files are read only now."""
        motions = self.keeper.read(assignment)
        if not motions:
            return False
        shard = Shard(assignment.shard, tuple(motions), self._state.max_envs)
        try:
            reference = ray.put(shard)
        except (ObjectStoreFullError, OutOfDiskError) as error:
            reason = last_line(error)
            notice(reason, shard.index)
            others = any(other.assignment for other in self.pool.started)
            self._carry_out(store_is_full(self._state, assignment, reason, others))
            return False
        except RayError as error:
            raise LostRayError(f"Ray cannot be reached from {socket.gethostname()}: {last_line(error)}") from error
        actor.assignment, actor.attempts = assignment, self.keeper.attempts(assignment)
        actor.envs, actor.ready = shard.num_envs(self.files), False
        names = [motion.name for motion in motions]
        self.keeper.write(ShardStarted(shard.index, names, actor.envs, assignment.deaths))
        self.keeper.output.log(f"{len(names)} motions go to an actor on {actor.device}", shard.index)
        setup = actor.handle.setup.remote(self._run_files, reference, actor.cpus, self.plan.placement.device)
        self.pool.ask(actor, setup)
        return True

    def _continue(self, actor: RunningActor, report: WorkReport, seconds: float) -> None:
        """Let an actor continue its shard, or assign new work once the shard is done."""
        assert actor.assignment is not None and actor.device is not None
        if not actor.ready:
            self.scheduler.measure_setup(actor, seconds)
            actor.ready, actor.setups = True, actor.setups + 1
            self.keeper.write(ActorReady(actor.assignment.shard, actor.device.node, actor.device.cpu))
            self._state = self._state.ready(actor.device)
            self._release_placeholders()
        elif report.env_steps and (report.untouched or actor.speed is None):
            freq = self.files.environment.env.control_freq
            self.scheduler.measure_speed(actor, report.env_steps / freq, seconds)
        actor.untouched = report.untouched
        if actor.asked_gifts:
            self._finish(self.scheduler.take_back(actor, report.given_back))
        if not report.done:
            self._ask_for_work(actor)
            return
        self.keeper.shard_over(actor.assignment.shard)
        self._finish(self.scheduler.forget(actor))
        if self.files.engine.reusable_process:
            self._employ(actor)
        else:
            self._dismiss(actor)

    def _ask_for_work(self, actor: RunningActor) -> None:
        actor.asked_gifts, actor.gifts = actor.gifts, []
        give_back = [sum(gift.seconds for gift in actor.asked_gifts)] if actor.asked_gifts else []
        self.pool.ask(actor, actor.handle.work.remote(REPORT_SECONDS, *give_back))

    def _finish(self, handovers: Sequence[Handover]) -> None:
        """Assign handed-over motions."""
        for handover in handovers:
            if handover.motions:
                self.scheduler.queue.appendleft(Assignment(self._state.next_shard, tuple(handover.motions)))
                self._state = self._state.with_shards(1)
            self._employ(handover.receiver)

    # ------------------------------------------------------------------------------------------- losses

    def _lose(self, actor: RunningActor, cause: Cause, reason: str, envs: int = 0) -> None:
        """Handle the loss of an actor, and kill it if it is alive. envs: the number that was too large, if not all."""
        self._dismiss(actor)
        self._finish(self.scheduler.forget(actor))
        assignment = actor.assignment
        if assignment is None:
            # It died without an assignment, so the next one counts; a run without actors would never end.
            if not self.scheduler.queue:
                return
            assignment = self.scheduler.queue.popleft()
        self.keeper.shard_over(assignment.shard)
        unfinished, total = tuple(self.keeper.unfinished(assignment)), len(assignment.motions)
        device = actor.device
        place = (device.node, device.name) if device else ("", "")
        self.keeper.write(ActorDied(assignment.shard, reason, sorted(entry.name for entry in unfinished), *place))
        notice(f"{reason}; {len(unfinished)} of {total} motions were not finished", assignment.shard)
        attempts = self.keeper.attempts(assignment) - actor.attempts if actor.assignment else 0
        loss = Loss(
            cause,
            reason,
            assignment,
            unfinished,
            actor.ready,
            attempts,
            envs or actor.envs or 1,
            device,
            self._devices(),
        )
        self._carry_out(decide(self._state, loss))

    def _devices(self) -> dict[str, int]:
        """Return the number of devices per node that fit an actor."""
        placement = self.plan.placement
        return devices_by_node(self._watch.nodes(), placement.cpus_per_actor or 1, placement.gpus)

    def _carry_out(self, decision: Decision) -> None:
        """Apply a decision of the failure policy."""
        self._state = decision.state
        queue = self.scheduler.queue
        for line in decision.notices:
            notice(line)
        for line in decision.alerts:
            alert(line)
        queue.extendleft(reversed(decision.first))
        queue.extend(decision.last)
        if decision.given_up:
            motion, reason = decision.given_up
            self.keeper.crash(motion.name, reason)
        if decision.all_given_up:
            for entry in (entry for assignment in queue for entry in assignment.motions):
                self.keeper.crash(entry.name, decision.all_given_up)
            queue.clear()
        if decision.set_aside:
            device, reason = decision.set_aside
            self.keeper.write(DeviceSetAside(device.node, device.name, reason))
        self._release_placeholders()

    def _release_placeholders(self) -> None:
        self.pool.release(lambda device: not self._state.devices.get(device, Setups()).aside)

    def _wait_for_ray(self) -> None:
        """Report that the run waits: Ray waits silently. Give up after ray.wait_seconds without a suitable node."""
        now, placement = time.monotonic(), self.plan.placement
        if self.pool.started or any(self._devices().values()):
            self._waiting_since = now
        elif now - self._waiting_since > self.files.config.ray.wait_seconds:
            raise LostRayError(
                f"no node with {placement.needs} has joined Ray for {self.files.config.ray.wait_seconds:g} s "
                "(ray.wait_seconds). Run the same command to resume"
            )
        if not self.pool.started and now - self._last_answer > PATIENCE_SECONDS:
            self._last_answer = now
            alert(f"waiting until Ray has {placement.needs} free on a node for an actor")
            self._carry_out(waited_in_vain(self._state))


def actor_class(engine: Engine, cpus: int, gpus: float) -> Any:
    """Return the actor class for an engine, with its resources and environment."""
    options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus}
    variables = engine.variables()
    if variables:
        # The loader reads some of them at process start; later is too late.
        options["runtime_env"] = {"env_vars": variables}
    return ray.remote(ShardActor).options(**options, max_restarts=0, max_task_retries=0)
