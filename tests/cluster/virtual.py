"""A virtual Ray: the real driver, its queue and its blame policy, on as many pretended GPUs as one likes.

Its clock goes on by what the pretended recorders would take, and by what the driver computes if that is to be charged,
but nothing waits: hours on 64 GPUs take seconds.
"""

from __future__ import annotations

import heapq
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ray.exceptions import RayActorError

from parc_ray.cluster import connection, driver
from parc_ray.cluster.actor import WorkReport
from parc_ray.cluster.failure_policy import Device
from parc_ray.config.record import RecordConfig
from parc_ray.files.bundled import DEMO
from parc_ray.motions.dataset import Dataset, MotionEntry
from parc_ray.planning.inputs import read_inputs, read_tracker
from parc_ray.planning.placement import Placement, Resources
from parc_ray.planning.plan import make_plan
from parc_ray.recording.attempt import Attempt
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.retry_policy import RetryPolicy
from parc_ray.recording.retry_queue import RetryQueue
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.runs.journal import Journal
from parc_ray.runs.ledger import Ledger
from parc_ray.runs.output import OutputDirectory
from parc_ray.simulators.engines import engine

FREQUENCY = 30
GPUS_PER_NODE = 8


@dataclass(frozen=True)
class Machine:
    """What the pretended GPUs can do."""

    gpus: int = 64
    steps_per_second: float = 5000.0
    """Control steps of all envs of one GPU."""
    shortest_step: float = 0.005
    """s, however few envs are at work."""
    setup: float = 0.0
    """s"""
    deaths: float = 0.0
    """Chance that an actor dies within a report."""


class VirtualRay:
    """What the driver calls of Ray, and of the clock."""

    def __init__(self, machine: Machine, charged: bool) -> None:
        """charged: whether the driver's CPU time passes on the clock."""
        self.machine, self._charged = machine, charged
        self.now = self.driver_seconds = 0.0
        self._cpu = time.process_time()
        self._free = list(range(machine.gpus))[::-1]
        self._due: Dict[Any, Tuple[float, Any]] = {}
        """When each reference is ready, and what it then holds."""
        self.chance = random.Random(0)

    def monotonic(self) -> float:
        return self.now

    def nodes(self) -> List[Dict[str, Any]]:
        resources = {"CPU": float(2 * GPUS_PER_NODE), "GPU": float(min(GPUS_PER_NODE, self.machine.gpus))}
        count = -(-self.machine.gpus // GPUS_PER_NODE)
        return [{"Alive": True, "NodeID": f"node{k}", "Resources": resources} for k in range(count)]

    def put(self, value: Any) -> Any:
        return value

    def remote(self, _: Any) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda: Handle(self, self._free.pop())))

    def promise(self, seconds: float, value: Any) -> Any:
        reference = object()
        self._due[reference] = (self.now + seconds, value)
        return reference

    def wait(self, references: List[Any], num_returns: int, timeout: float) -> Tuple[List[Any], List[Any]]:
        self._charge()
        in_order = sorted(references, key=lambda reference: self._due[reference][0])
        self.now = max(self.now, min(self._due[in_order[0]][0], self.now + timeout))
        ready = [reference for reference in in_order if self._due[reference][0] <= self.now][:num_returns]
        return ready, [reference for reference in references if reference not in ready]

    def get(self, reference: Any, timeout: float) -> Any:
        self._charge()
        value = self._due.pop(reference)[1]
        if isinstance(value, Exception):
            raise value
        return value

    def kill(self, handle: Handle) -> None:
        if handle.gpu is not None:
            self._free.append(handle.gpu)
        handle.gpu = None

    @contextmanager
    def free_of_charge(self) -> Iterator[None]:
        """What recorders compute is not the driver's."""
        self._charge()
        yield
        self._cpu = time.process_time()

    def _charge(self) -> None:
        cpu = time.process_time()
        self.driver_seconds += cpu - self._cpu
        if self._charged:
            self.now += cpu - self._cpu
        self._cpu = cpu


class Handle:
    """An actor: each of its methods has `remote`, as in Ray."""

    def __init__(self, ray: VirtualRay, gpu: int) -> None:
        self.gpu = gpu
        recorder = PretendedRecorder(ray.machine)
        node, place = divmod(gpu, GPUS_PER_NODE)
        device = Device(f"host{node}", f"node{node}", str(place))

        def work(seconds: float) -> Any:
            with ray.free_of_charge():
                spent, report = recorder.work(seconds)
                if ray.chance.random() < ray.machine.deaths:
                    return ray.promise(spent, RayActorError())
                return ray.promise(spent, report)

        self.hello = SimpleNamespace(remote=lambda: ray.promise(0.0, WorkReport(device=device)))
        self.setup = SimpleNamespace(
            remote=lambda run, shard, *_: recorder.setup(run, shard) or ray.promise(ray.machine.setup, WorkReport())
        )
        self.work = SimpleNamespace(remote=work)


class PretendedRecorder:
    """The real queue of attempts, in envs that only count."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._queue = RetryQueue()
        self._running: List[Tuple[int, int, Attempt]] = []
        """When each attempt ends, in control steps."""
        self._step = 0

    def setup(self, run: Any, shard: Any) -> None:
        self._motions, self._slots = shard.motions, shard.num_envs(run)
        self._policy = RetryPolicy(run.config.retry)
        for index, motion in enumerate(shard.motions):
            self._enqueue_next(index, motion.first_attempt)

    def work(self, duration: float) -> Tuple[float, WorkReport]:
        """What happens within a duration: how much of it was needed, and the report."""
        spent, env_steps, steps, results = 0.0, 0, 0, []
        while self._queue or self._running:
            while self._queue and len(self._running) < self._slots:
                attempt = self._queue.pop()
                end = self._step + self._fate(attempt)[1]
                heapq.heappush(self._running, (end, attempt.motion, attempt))
            each = max(self._machine.shortest_step, len(self._running) / self._machine.steps_per_second)
            count = min(self._running[0][0] - self._step, int((duration - spent) / each) + 1)
            self._step, spent = self._step + count, spent + count * each
            env_steps, steps = env_steps + count * len(self._running), steps + count
            while self._running and self._running[0][0] <= self._step:
                results.append(self._finish(heapq.heappop(self._running)[-1]))
            if spent >= duration:
                break
        done = not self._queue and not self._running
        return spent, WorkReport(results=tuple(results), done=done, steps=steps, env_steps=env_steps)

    def _enqueue_next(self, motion: int, attempts: int) -> Optional[Attempt]:
        length = length_of(self._motions[motion].name)
        attempt = self._policy.next(motion, length, attempts)
        if attempt is not None:
            self._queue.add(attempt, (1.0 - attempt.start_fraction) * length)
        return attempt

    def _length(self, attempt: Attempt) -> float:
        return length_of(self._motions[attempt.motion].name)

    def _fate(self, attempt: Attempt) -> Tuple[bool, int]:
        """Whether an attempt succeeds, and after how many steps it ends: a matter of its motion and number alone."""
        chance = random.Random(f"{self._motions[attempt.motion].name} {attempt.number}")
        steps = round((1.0 - attempt.start_fraction) * self._length(attempt) * FREQUENCY)
        succeeds = chance.random() < 0.7
        return succeeds, steps if succeeds else max(1, round(chance.random() * steps))

    def _finish(self, attempt: Attempt) -> AttemptResult:
        succeeds, steps = self._fate(attempt)
        motion = self._motions[attempt.motion]
        following = None if succeeds else self._enqueue_next(attempt.motion, attempt.number + 1)
        summary = RunAttempt(
            motion=motion.name, number=attempt.number, start_fraction=attempt.start_fraction, start_time=0.0,
            seconds=steps / FREQUENCY, outcome=Outcome.RECORDED if succeeds else Outcome.FAILED,
            reason="" if succeeds else "fall", next_fraction=following.start_fraction if following else None,
            recorded_seconds=steps / FREQUENCY if succeeds else 0.0,
        )  # fmt: skip
        return AttemptResult(summary, b"recorded" if succeeds else None)


def length_of(name: str) -> float:
    """Seconds of a motion: 2 to 10."""
    return random.Random(name).uniform(2.0, 10.0)


@dataclass(frozen=True)
class VirtualRun:
    """What a run would have come to."""

    seconds: float
    """By the virtual clock."""
    driver_seconds: float
    """CPU time of the driver."""
    ledger: Ledger


def virtual_run(folder: Path, motion: Path, count: int, machine: Machine, charged: bool = False) -> VirtualRun:
    """Have the driver record so many copies of a motion file on pretended GPUs.

    charged: the driver's CPU time passes, too, and it writes recordings into the folder; else only the journal.
    """
    config = RecordConfig(
        output_dir=folder / "out", device="cuda", dataset_file=motion, simulator="mujoco", model_file=DEMO / "model.pt",
        env_file=DEMO / "dm_env.yaml", agent_file=DEMO / "agent_config.yaml", max_envs_per_actor=1024,
    )  # fmt: skip
    inputs = read_inputs(config, None, read_tracker(config, None), None, engine("mujoco"))
    (one,) = inputs.dataset.entries
    entries = tuple(_renamed(one, f"walk_{index:06d}") for index in range(count))
    inputs = replace(inputs, dataset=Dataset(entries))
    ray = VirtualRay(machine, charged)
    nodes = -(-machine.gpus // GPUS_PER_NODE)
    resources = Resources(((2 * GPUS_PER_NODE, min(GPUS_PER_NODE, machine.gpus)),) * nodes)
    plan = make_plan(inputs, entries, Placement(machine.gpus, 2, 1.0, "cuda:0"), resources)
    output = OutputDirectory(config.output_dir, config.output)
    output.prepare()
    if not charged:
        output.write_motion_files = _nothing  # type: ignore[method-assign]
    ledger = Ledger(planned={entry.name: entry for entry in entries})
    journal = Journal(output.journal)
    with replaced_by(ray):
        assert driver.Driver(plan, output, journal, ledger, Silence(), Silence()).run()
    journal.close()
    return VirtualRun(ray.now, ray.driver_seconds, ledger)


def _renamed(entry: MotionEntry, name: str) -> MotionEntry:
    return replace(entry, name=name, length=length_of(name))


@contextmanager
def replaced_by(ray: VirtualRay) -> Iterator[None]:
    """The driver talks to the virtual Ray, and looks at its clock."""
    real = driver.ray, driver.time, connection.ray
    driver.ray, driver.time, connection.ray = ray, ray, ray  # type: ignore[assignment]
    try:
        yield
    finally:
        driver.ray, driver.time, connection.ray = real  # type: ignore[misc]


class Silence:
    """Nobody looks on."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return self.__dict__.setdefault(name, _nothing) if name != "screen" else self


def _nothing(*_: Any, **__: Any) -> None:
    pass
