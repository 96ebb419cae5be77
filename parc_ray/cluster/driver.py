"""Driver: the run. Places actors, feeds them shards, replaces dead ones, and alone writes the output directory."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Deque, Dict, List, Optional, Sequence, Tuple

import ray
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayActorError, RayError

from parc_ray.cluster.actor import ShardActor, WorkReport
from parc_ray.cluster.metrics import RunMetrics
from parc_ray.errors import InputError
from parc_ray.files.reading import read_bytes
from parc_ray.motions.dataset import MotionEntry
from parc_ray.planning.plan import Resources, RunPlan
from parc_ray.recording.shard import Shard, ShardMotion
from parc_ray.runs.history import outcome_event
from parc_ray.runs.journal import Journal
from parc_ray.runs.ledger import Ledger, Outcome
from parc_ray.runs.output import OutputDirectory
from parc_ray.simulators.isaacgym_process import library_path
from parc_ray.simulators.simulator import TITLES
from parc_ray.terminal.progress import Activity, RunProgress

REPORT_SECONDS = 1.0
"""How long an actor works before it reports"""
POLL_SECONDS = 0.5
NODE_DIED = "node has died"
"""What Ray says of an actor whose node is gone"""
DEATHS_BEFORE_SPLIT = 2
"""A shard that has lost so many actors, and got nowhere, is split in two: one of its motions may be what kills them"""
DEATHS_ALONE = 3
"""A motion that has cost so many actors, and got nowhere, while it was alone in its shard is given up"""
DEATHS_IN_TROUBLE = 6
"""as many where other shards lose actors as well: what kills them may be no motion at all"""
HOPELESS_MOTIONS = 3
"""So many motions given up before any setup has worked: it is not the motions"""
PROGRESS = 1 / 8
"""An actor that has finished this share of its motions got somewhere"""
PATIENCE_SECONDS = 60.0
"""A run that waits for longer until Ray starts any actor says so"""


@dataclass(frozen=True)
class Task:
    """Motions for one actor."""

    index: int
    motions: Tuple[MotionEntry, ...]
    deaths: int = 0
    """actors that they have cost since one got somewhere"""


@dataclass
class Worker:
    """An actor at work on a task."""

    actor: Any
    task: Task
    shard: Any
    """reference to its shard in the object store, until it has been sent"""
    envs: int
    attempts: int
    """of its motions that were made before it began"""
    ready: bool = False
    """whether its setup has worked"""
    busy: float = 0.0
    """envs at work, on average since its last report"""
    asked: Optional[float] = None
    """when it was last given something to do (monotonic s); None while Ray has not started it"""


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
        self._pending: Deque[Task] = deque(Task(i, shard) for i, shard in enumerate(plan.shards))
        self._next_index = len(plan.shards)
        self._workers: Dict[Any, Worker] = {}
        self._given_up = 0
        self._deaths: List[int] = []
        """the shards that have lost actors, in order"""
        self._ever_ready = False
        self._last_seen = time.monotonic()
        self._max_envs: Optional[int] = None
        self._files = ray.put(plan.inputs.files)
        self._actor_class = actor_class(plan)

    def stop(self) -> None:
        """Have run() return within a second, also from a signal handler. What is in flight is given up."""
        self._stopping = True

    def run(self) -> bool:
        """Work until every motion has its final state; whether it came to that. Kills the actors however it ends."""
        try:
            while (self._pending or self._workers) and not self._stopping:
                while self._pending and len(self._workers) < self.plan.placement.actors:
                    self._launch(self._pending.popleft())
                if not self._workers:
                    continue
                ready, _ = ray.wait(list(self._workers), num_returns=1, timeout=POLL_SECONDS)
                for reference in ready:
                    self._receive(reference)
                self._kill_the_silent()
                self._say_if_waiting()
                self._show()
            return not self._stopping
        finally:
            for worker in self._workers.values():
                ray.kill(worker.actor)
            self.metrics.close()

    def _show(self) -> None:
        """Say how far the run is."""
        ready = [worker for worker in self._workers.values() if worker.ready]
        activity = Activity(
            actors=len(ready),
            starting=len(self._workers) - len(ready),
            envs=sum(worker.envs for worker in ready),
            busy_envs=round(sum(worker.busy for worker in ready), 1),
            shards_waiting=len(self._pending),
        )
        self.progress.update(activity)
        self.metrics.update(self.ledger, activity)

    def _launch(self, task: Task) -> None:
        """Start an actor on a task. The motions' contents are read only now."""
        if self._given_up and not self._ever_ready and len(task.motions) > 1:
            self._try_one(task.index, task.motions, task.deaths)
            return
        motions: List[ShardMotion] = []
        for entry in task.motions:
            try:
                content = read_bytes(Path(entry.path))
            except InputError as error:
                self._crash(entry.name, f"its file has gone since the run began: {error}")
                continue
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                self._crash(entry.name, f"its file has changed since the run began: {entry.path}")
                continue
            motions.append(ShardMotion(entry.name, entry.path, content, self.ledger.next_attempt.get(entry.name, 0)))
        if not motions:
            return
        shard = Shard(task.index, tuple(motions), self._max_envs)
        try:
            reference = ray.put(shard)
        except RayError as error:
            self._split_for_store(task, _last_line(error))
            return
        actor: Any = self._actor_class.remote()
        envs = shard.num_envs(self.plan.inputs.files)
        # On a busy cluster Ray may start the actor much later: only then does its time begin to count.
        self._workers[actor.hello.remote()] = Worker(actor, task, reference, envs, self._attempts(task))
        names = [motion.name for motion in motions]
        self.journal.write("shard", shard=task.index, motions=names, envs=envs, deaths=task.deaths)
        self.output.log(f"Ray is asked for an actor for {len(names)} motions, {envs} at a time", task.index)
        self.metrics.assigned(task.index, names)

    def _receive(self, reference: Any) -> None:
        """Take an actor's report, or its death, and give it more to do."""
        worker = self._workers.pop(reference)
        self._last_seen = time.monotonic()
        try:
            report: WorkReport = ray.get(reference, timeout=self.timeout)
        except OutOfMemoryError:
            self._shrink(worker, "Ray has killed the actor because its node ran out of memory", worker.envs)
            return
        except RayActorError as error:
            reason = f"actor died ({type(error).__name__})"
            if NODE_DIED in str(error):
                # No motion is to blame, however many nodes come and go.
                self._bury(worker, f"{reason}: its node has died", deaths=0)
            else:
                self._bury(worker, reason)
            return
        except RayError as error:
            self.output.logs.write([(0.0, line) for line in str(error).splitlines()], worker.task.index)
            self._bury(worker, f"actor raised: {_last_line(error)}")
            return
        self._account(worker.task, report)
        if worker.asked is not None:
            worker.busy = report.busy_envs
            self.metrics.report(worker.task.index, worker.envs, report, time.monotonic() - worker.asked)
        if report.too_large:
            self._shrink(worker, str(report.error), report.too_large)
            return
        if report.error is not None:
            # A setup that says what is wrong would say so again.
            self._bury(worker, report.error, deaths=1 if worker.ready else DEATHS_IN_TROUBLE)
            return
        if report.done:
            ray.kill(worker.actor)
            self.metrics.ended(worker.task.index)
            return
        if worker.asked is None:
            placement = self.plan.placement
            asked = worker.actor.setup.remote(self._files, worker.shard, placement.cpus, placement.device)
            worker.shard = None
        else:
            if not worker.ready:
                self.journal.write("ready", shard=worker.task.index)
            self._ever_ready = worker.ready = True
            asked = worker.actor.work.remote(REPORT_SECONDS)
        self._workers[asked] = worker
        worker.asked = time.monotonic()

    def _account(self, task: Task, report: WorkReport) -> None:
        """Write what a report brings: recordings first, then the journal, so that a journal line never lies."""
        self.ledger.env_steps += report.env_steps
        self.ledger.busy += report.busy
        self.ledger.slots += report.slots
        self.output.logs.write(report.log, task.index)
        for result in report.results:
            if not self.ledger.expects(result):
                self.output.log(f"dropped a late result: {result}", task.index)
                continue
            path, size = None, 0
            if result.recording is not None:
                path, size = self.output.write_recording(result.motion, result.recording), len(result.recording)
            kept = self.output.write_failure(result.motion, result.number, result.trajectory)
            values = {key: value for key, value in vars(result).items() if key not in ("recording", "trajectory")}
            self.journal.write("attempt", shard=task.index, recording_bytes=size, trajectory_bytes=kept, **values)
            outcome = self.ledger.add(result, path, size)
            self.metrics.attempt(task.index, result.outcome)
            if outcome is not None:
                self._journal_outcome(result.motion, outcome)
        if report.results:
            self.journal.sync()

    def _shrink(self, worker: Worker, reason: str, envs: int) -> None:
        """An actor had more envs than fit: try again with half as many, in all shards from now on."""
        if envs == 1:
            self._bury(worker, reason)
            return
        motions = self._end(worker, reason)
        self._max_envs = min(envs // 2, self._max_envs or envs)
        self._tell(f"going on with at most {self._max_envs} envs per actor (max_envs_per_actor)")
        self._halve(motions, worker.task.deaths)

    def _split_for_store(self, task: Task, reason: str) -> None:
        """Ray's object store cannot hold a shard: try later if others are at work, in halves if there are none."""
        self._tell(reason, task.index)
        if self._workers:
            self._pending.append(task)
            time.sleep(POLL_SECONDS)
        elif len(task.motions) == 1:
            self._crash(task.motions[0].name, reason)
        else:
            self._halve(task.motions, task.deaths)

    def _bury(self, worker: Worker, reason: str, deaths: int = 1) -> None:
        """An actor is lost, which counts as so many deaths: give what it had not finished to others."""
        task, motions = worker.task, self._end(worker, reason)
        if not motions:
            return
        self._deaths.append(task.index)
        deaths += 0 if self._got_somewhere(worker, len(motions)) else task.deaths
        if len(motions) == 1 and deaths >= (DEATHS_IN_TROUBLE if self._others_die(task.index) else DEATHS_ALONE):
            self._give_up(motions[0], reason)
        elif len(motions) == 1 or (self._ever_ready and deaths < DEATHS_BEFORE_SPLIT):
            self._pending.append(Task(task.index, motions, deaths))
        elif self._ever_ready:
            self._halve(motions, min(deaths, DEATHS_BEFORE_SPLIT) - 1)
        else:
            self._try_one(task.index, motions, deaths)

    def _got_somewhere(self, worker: Worker, unfinished: int) -> bool:
        """Whether a lost actor has brought its motions forward: then it was not one of them that killed it at once."""
        total = len(worker.task.motions)
        if total == 1:
            return self._attempts(worker.task) > worker.attempts
        return total - unfinished >= PROGRESS * total

    def _others_die(self, index: int) -> bool:
        """Whether other shards have lost actors between the last deaths of this one. Before any setup has worked that
        says nothing: then all of them die of the same."""
        last = [place for place, shard in enumerate(self._deaths) if shard == index][-DEATHS_ALONE:]
        return self._ever_ready and last[-1] - last[0] >= len(last)

    def _attempts(self, task: Task) -> int:
        return sum(self.ledger.next_attempt.get(entry.name, 0) for entry in task.motions)

    def _try_one(self, index: int, motions: Tuple[MotionEntry, ...], deaths: int) -> None:
        """Before any setup has worked, the shortest motion alone shows at once whether motions are to blame."""
        shortest = min(motions, key=lambda entry: entry.length)
        self._pending.appendleft(Task(self._next_index, (shortest,)))
        self._next_index += 1
        self._pending.append(Task(index, tuple(entry for entry in motions if entry is not shortest), deaths))

    def _give_up(self, motion: MotionEntry, reason: str) -> None:
        """A motion kills every actor. If no setup has ever worked, so would all others."""
        self._crash(motion.name, reason)
        self._given_up += not self._ever_ready
        if self._given_up >= HOPELESS_MOTIONS and not self._ever_ready:
            for entry in (entry for task in self._pending for entry in task.motions):
                self._crash(entry.name, f"no actor could be set up: {reason}")
            self._pending.clear()

    def _end(self, worker: Worker, reason: str) -> Tuple[MotionEntry, ...]:
        """Kill an actor, say why, and return what it had not finished."""
        ray.kill(worker.actor)
        task = worker.task
        self.metrics.death(task.index)
        self.metrics.ended(task.index)
        names = set(self.ledger.unfinished([entry.name for entry in task.motions]))
        motions = tuple(entry for entry in task.motions if entry.name in names)
        self.journal.write("death", shard=task.index, reason=reason, unfinished=sorted(names))
        self._tell(f"{reason}; {len(motions)} of {len(task.motions)} motions were not finished", task.index)
        return motions

    def _halve(self, motions: Tuple[MotionEntry, ...], deaths: int) -> None:
        """Queue motions in two shards."""
        middle = len(motions) // 2
        for half in filter(None, (motions[:middle], motions[middle:])):
            self._pending.append(Task(self._next_index, half, deaths))
            self._next_index += 1

    def _crash(self, motion: str, reason: str) -> None:
        self.output.log(f"{motion}: crashed: {reason}")
        self._journal_outcome(motion, self.ledger.finish(motion, Outcome("crashed", reason)))

    def _journal_outcome(self, motion: str, outcome: Outcome) -> None:
        self.journal.write(**outcome_event(motion, outcome, self.output))

    def _kill_the_silent(self) -> None:
        """Ray never notices an actor that hangs."""
        now = time.monotonic()
        for reference, worker in list(self._workers.items()):
            if worker.asked is not None and now - worker.asked > self.timeout:
                del self._workers[reference]
                self._bury(worker, f"actor was silent for {self.timeout:g} s (ray.timeout_seconds)")

    def _say_if_waiting(self) -> None:
        """Ray waits in silence for resources that a cluster has lost."""
        starting = all(worker.asked is None for worker in self._workers.values())
        if starting and time.monotonic() - self._last_seen > PATIENCE_SECONDS:
            self._last_seen = time.monotonic()
            cpus, gpus = self.plan.placement.cpus, self.plan.placement.gpus
            line = f"waiting until Ray has {cpus} CPUs and {gpus:g} GPUs free on a node for an actor"
            self.output.log(line)
            self.progress.screen.alert(line)

    def _tell(self, line: str, shard: Optional[int] = None) -> None:
        """Say it on the screen, and in the log."""
        self.output.log(line, shard)
        self.progress.note(line if shard is None else f"shard {shard}: {line}")


def actor_class(plan: RunPlan) -> Any:
    """The class of a plan's actors, with the resources and the environment that they need."""
    placement = plan.placement
    options: Dict[str, Any] = {"num_cpus": placement.cpus, "num_gpus": placement.gpus}
    if plan.inputs.files.simulator == "isaacgym":
        # The loader reads this when a process starts: later is too late.
        options["runtime_env"] = {"env_vars": {"LD_LIBRARY_PATH": library_path()}}
    return ray.remote(ShardActor).options(**options, max_restarts=0, max_task_retries=0)


def probe_simulator(plan: RunPlan) -> Dict[str, str]:
    """What Isaac Gym or PhysX says of itself in an actor of a plan. Raises InputError if it does not work there."""
    actor, simulator = actor_class(plan).remote(), plan.inputs.files.simulator
    try:
        timeout = plan.inputs.files.config.ray.timeout_seconds
        answer: Dict[str, str] = ray.get(actor.probe.remote(simulator, plan.placement.device), timeout=timeout)
    except GetTimeoutError:
        raise InputError(
            f"simulator: {TITLES[simulator]} did not start within {timeout:g} s (ray.timeout_seconds)"
        ) from None
    except RayError as error:
        raise InputError(
            f"simulator: a process that only imports {TITLES[simulator]} has died ({type(error).__name__}); do its "
            "own examples run in this environment? Ray's logs have its last words; or set simulator: mujoco"
        ) from None
    finally:
        ray.kill(actor)
    if "error" in answer:
        raise InputError(answer["error"])
    return answer


def connect(address: Optional[str], devices: Sequence[str], dashboard: bool = False) -> Resources:
    """Join a Ray cluster, or start Ray on this machine; returns what it has.

    devices such as ["cuda:2"] limit a Ray that is started here to these GPUs; dashboard: whether it gets one.
    """
    chosen = [name.split(":")[1] for name in devices if name.startswith("cuda:")]
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        address = "local"  # None would join whatever cluster happens to run on this machine
        if chosen and "CUDA_VISIBLE_DEVICES" not in os.environ:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    url = ""
    if not ray.is_initialized():
        _require_listener(address)
        try:
            context: Any = ray.init(
                address=address, log_to_driver=False, include_dashboard=dashboard if address == "local" else None,
                logging_level=logging.ERROR,
            )  # fmt: skip
            url = getattr(context, "dashboard_url", None) or ""
        except (ConnectionError, ValueError) as error:
            raise InputError(f"ray.address = {address!r}: cannot be reached: {_last_line(error)}") from None
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    nodes: List[Dict[str, float]] = [node["Resources"] for node in alive]
    memory = min((int(node["memory"]) for node in nodes if node.get("memory")), default=0)
    return Resources(tuple((int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes), memory, url)


def _require_listener(address: str) -> None:
    """Raises InputError if nothing listens at host:port: Ray itself would retry for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError, ValueError) as error:
        raise InputError(
            f"ray.address = {address!r}: nothing answers there ({error}); give the address of a running head node, "
            "or leave it out to start Ray on this machine"
        ) from None


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
