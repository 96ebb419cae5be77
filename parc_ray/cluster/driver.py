"""Driver: the run. Places actors, feeds them shards, replaces dead ones, and alone writes the output directory."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Deque, Dict, List, Optional, Sequence, Tuple

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from parc_ray.cluster.actor import ShardActor, WorkReport
from parc_ray.cluster.journal import Journal
from parc_ray.cluster.ledger import Ledger, Outcome
from parc_ray.cluster.output import OutputDirectory
from parc_ray.cluster.plan import Resources, RunPlan
from parc_ray.cluster.progress import RunProgress
from parc_ray.errors import InputError
from parc_ray.files import read_bytes
from parc_ray.motions.dataset import MotionEntry
from parc_ray.recording.shard import Shard, ShardMotion
from parc_ray.simulators.isaacgym_process import library_path

REPORT_SECONDS = 1.0
"""How long an actor works before it reports"""
POLL_SECONDS = 0.5
HOPELESS_SETUPS = 3
"""So many failed setups before any has worked: it is not the motions"""
DEATHS_BEFORE_SPLIT = 2
"""A shard that has lost so many actors is split in two: one of its motions may be what kills them"""


@dataclass(frozen=True)
class Task:
    """Motions for one actor, and how many actors they have cost so far."""

    index: int
    motions: Tuple[MotionEntry, ...]
    deaths: int = 0


@dataclass
class Worker:
    """An actor at work on a task."""

    actor: Any
    task: Task
    shard: Any
    """reference to its shard in the object store, until it has been sent"""
    asked: Optional[float] = None
    """when it was last given something to do (monotonic s); None while Ray has not started it"""


class Driver:
    """One run on a connected Ray.

    Driver(plan, output, journal, ledger, progress).run()
    """

    def __init__(self, plan: RunPlan, output: OutputDirectory, journal: Journal, ledger: Ledger, progress: RunProgress):
        self.plan, self.output, self.journal = plan, output, journal
        self.ledger, self.progress = ledger, progress
        self.timeout = plan.inputs.files.config.ray.timeout_seconds
        self.frames: Dict[Path, int] = {}
        self._pending: Deque[Task] = deque(Task(i, shard) for i, shard in enumerate(plan.shards))
        self._next_index = len(plan.shards)
        self._workers: Dict[Any, Worker] = {}
        self._failed_setups = 0
        self._ever_ready = False
        self._max_envs: Optional[int] = None
        self._files = ray.put(plan.inputs.files)
        self._actor_class = actor_class(plan)

    def run(self) -> None:
        """Work until every motion has its final state. Kills the actors however it ends."""
        try:
            while self._pending or self._workers:
                while self._pending and len(self._workers) < self.plan.placement.actors:
                    self._launch(self._pending.popleft())
                if not self._workers:
                    continue
                ready, _ = ray.wait(list(self._workers), num_returns=1, timeout=POLL_SECONDS)
                for reference in ready:
                    self._receive(reference)
                self._kill_the_silent()
                self.progress.update()
        finally:
            for worker in self._workers.values():
                ray.kill(worker.actor)

    def _launch(self, task: Task) -> None:
        """Start an actor on a task. The motions' contents are read only now."""
        motions: List[ShardMotion] = []
        for entry in task.motions:
            try:
                content = read_bytes(Path(entry.path))
            except InputError as error:
                self._crash(entry.name, f"its file has gone since the run began: {error}")
                continue
            motions.append(ShardMotion(entry.name, entry.path, content, self.ledger.next_attempt.get(entry.name, 0)))
        if not motions:
            return
        actor: Any = self._actor_class.remote()
        shard = ray.put(Shard(task.index, tuple(motions), self._max_envs))
        # On a busy cluster Ray may start the actor much later: only then does its time begin to count.
        self._workers[actor.hello.remote()] = Worker(actor, task, shard)
        self.journal.write("shard", shard=task.index, motions=[motion.name for motion in motions], deaths=task.deaths)

    def _receive(self, reference: Any) -> None:
        """Take an actor's report, or its death, and give it more to do."""
        worker = self._workers.pop(reference)
        try:
            report: WorkReport = ray.get(reference, timeout=self.timeout)
        except RayActorError as error:
            self._bury(worker, f"actor died ({type(error).__name__})")
            return
        except RayError as error:
            self._bury(worker, f"actor raised: {_last_line(error)}")
            return
        self._account(worker.task, report)
        if report.too_large:
            self._shrink(worker, report)
            return
        if report.error is not None:
            self._bury(worker, report.error)
            return
        if report.done:
            ray.kill(worker.actor)
            return
        if worker.asked is None:
            placement = self.plan.placement
            asked = worker.actor.setup.remote(self._files, worker.shard, placement.cpus, placement.device)
            worker.shard = None
        else:
            self._ever_ready = True
            asked = worker.actor.work.remote(REPORT_SECONDS)
        self._workers[asked] = worker
        worker.asked = time.monotonic()

    def _account(self, task: Task, report: WorkReport) -> None:
        """Write what a report brings: recordings first, then the journal, so that a journal line never lies."""
        self.ledger.env_steps += report.env_steps
        self.ledger.busy += report.busy
        self.ledger.slots += report.slots
        for line in report.log:
            self.log(line)
        for result in report.results:
            if not self.ledger.expects(result):
                self.log(f"dropped a late result: {result}")
                continue
            path = None
            if result.recording is not None:
                path = self.output.write_recording(result.motion, result.recording)
                frequency = self.plan.inputs.files.environment.env.control_freq
                self.frames[path] = round(result.recorded_seconds * frequency) + 1
            values = {key: value for key, value in vars(result).items() if key != "recording"}
            self.journal.write("attempt", shard=task.index, **values)
            outcome = self.ledger.add(result, path)
            self.log(
                f"{result.motion}: attempt {result.number} from {result.start_fraction:.0%}: {result.outcome}"
                + (f" ({result.reason})" if result.reason else "")
            )
            if outcome is not None:
                self._journal_outcome(result.motion, outcome)

    def _shrink(self, worker: Worker, report: WorkReport) -> None:
        """An actor had more envs than its device can hold: try again with half, for all shards from now on."""
        reason = str(report.error)
        if report.too_large == 1:
            self._bury(worker, reason)
            return
        motions = self._end(worker, reason)
        fewer = report.too_large // 2
        self._max_envs = fewer if self._max_envs is None else min(fewer, self._max_envs)
        line = f"going on with at most {self._max_envs} envs per actor (max_envs_per_actor)"
        self.log(line)
        self.progress.note(line)
        self._halve(motions, worker.task.deaths)

    def _bury(self, worker: Worker, reason: str) -> None:
        """An actor is lost: give what it had not finished to another one, alone or in halves."""
        task, motions = worker.task, self._end(worker, reason)
        deaths = task.deaths + 1
        self._failed_setups += not self._ever_ready
        if not motions:
            return
        if self._failed_setups >= HOPELESS_SETUPS:
            for entry in (*motions, *(entry for waiting in self._pending for entry in waiting.motions)):
                self._crash(entry.name, f"no actor could be set up: {reason}")
            self._pending.clear()
        # Before any setup has worked, a shard is split at once: if a motion is to blame, the other half shows it.
        elif deaths < DEATHS_BEFORE_SPLIT and (self._ever_ready or len(motions) == 1):
            self._pending.append(Task(task.index, motions, deaths))
        elif len(motions) == 1:
            self._crash(motions[0].name, reason)
        else:
            self._halve(motions, deaths - 1)

    def _end(self, worker: Worker, reason: str) -> Tuple[MotionEntry, ...]:
        """Kill an actor, say why, and return what it had not finished."""
        ray.kill(worker.actor)
        task = worker.task
        names = set(self.ledger.unfinished([entry.name for entry in task.motions]))
        motions = tuple(entry for entry in task.motions if entry.name in names)
        self.journal.write("death", shard=task.index, reason=reason, unfinished=sorted(names))
        self.log(f"shard {task.index}: {reason}; {len(motions)} of {len(task.motions)} motions were not finished")
        self.progress.note(f"shard {task.index}: {reason}; {len(motions)} motions were not finished")
        return motions

    def _halve(self, motions: Tuple[MotionEntry, ...], deaths: int) -> None:
        """Queue motions in two shards."""
        middle = len(motions) // 2
        for half in filter(None, (motions[:middle], motions[middle:])):
            self._pending.append(Task(self._next_index, half, deaths))
            self._next_index += 1

    def _crash(self, motion: str, reason: str) -> None:
        self._journal_outcome(motion, self.ledger.finish(motion, Outcome("crashed", reason)))

    def _journal_outcome(self, motion: str, outcome: Outcome) -> None:
        path = str(outcome.path.relative_to(self.output.path)) if outcome.path else None
        self.journal.write("motion", motion=motion, **{**vars(outcome), "path": path})

    def _kill_the_silent(self) -> None:
        """Ray never notices an actor that hangs."""
        now = time.monotonic()
        for reference, worker in list(self._workers.items()):
            if worker.asked is not None and now - worker.asked > self.timeout:
                del self._workers[reference]
                self._bury(worker, f"actor was silent for {self.timeout:g} s (ray.timeout_seconds)")

    def log(self, line: str) -> None:
        """Append to logs/run.log."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with (self.output.path / "logs" / "run.log").open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {line}\n")


def actor_class(plan: RunPlan) -> Any:
    """The class of a plan's actors, with the resources and the environment that they need."""
    placement = plan.placement
    options: Dict[str, Any] = {"num_cpus": placement.cpus, "num_gpus": placement.gpus}
    if plan.inputs.files.simulator == "isaacgym":
        # The loader reads this when a process starts: later is too late.
        options["runtime_env"] = {"env_vars": {"LD_LIBRARY_PATH": library_path()}}
    return ray.remote(ShardActor).options(**options, max_restarts=0, max_task_retries=0)


def probe_isaacgym(plan: RunPlan) -> Dict[str, str]:
    """What Isaac Gym says of itself in an actor of a plan. Raises InputError if it does not work there."""
    actor = actor_class(plan).remote()
    try:
        timeout = plan.inputs.files.config.ray.timeout_seconds
        answer: Dict[str, str] = ray.get(actor.probe.remote(plan.placement.device), timeout=timeout)
    except GetTimeoutError:
        raise InputError(f"simulator: Isaac Gym did not start within {timeout:g} s (ray.timeout_seconds)") from None
    except RayError as error:
        raise InputError(
            f"simulator: a process that only imports Isaac Gym has died ({type(error).__name__}); do Isaac Gym's own "
            "examples run in this environment? Ray's logs have its last words; or set simulator: mujoco"
        ) from None
    finally:
        ray.kill(actor)
    if "error" in answer:
        raise InputError(answer["error"])
    return answer


def connect(address: Optional[str], devices: Sequence[str]) -> Resources:
    """Join a Ray cluster, or start Ray on this machine; returns what it has.

    devices such as ["cuda:2"] limit a Ray that is started here to these GPUs.
    """
    chosen = [name.split(":")[1] for name in devices if name.startswith("cuda:")]
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        address = "local"  # None would join whatever cluster happens to run on this machine
        if chosen and "CUDA_VISIBLE_DEVICES" not in os.environ:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    if not ray.is_initialized():
        _require_listener(address)
        try:
            ray.init(
                address=address, log_to_driver=False, include_dashboard=False if address == "local" else None,
                logging_level=logging.ERROR,
            )  # fmt: skip
        except (ConnectionError, ValueError) as error:
            raise InputError(f"ray.address = {address!r}: cannot be reached: {_last_line(error)}") from None
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    nodes: List[Dict[str, float]] = [node["Resources"] for node in alive]
    memory = min((int(node["memory"]) for node in nodes if node.get("memory")), default=0)
    return Resources(tuple((int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes), memory)


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
