"""A virtual cluster: the real driver, retry queue and failure policy on any number of pretended GPUs.

Its clock advances by the time that the pretended recorders would take and, if charged, by the driver's CPU time.
Nothing waits: hours on 64 GPUs take seconds.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Iterator
from unittest import mock

from ray.exceptions import RayActorError

from parc_ray.cluster import actor_pool, connection, driver, node_watch, scheduler
from parc_ray.cluster.device import Device
from parc_ray.cluster.report import WorkReport
from parc_ray.config.record import RecordConfig
from parc_ray.files.bundled import DEMO
from parc_ray.motions.dataset import Dataset, MotionEntry
from parc_ray.planning.inputs import read_inputs, read_tracker, run_files
from parc_ray.planning.placement import Placement
from parc_ray.planning.plan import make_plan
from parc_ray.planning.resources import Resources
from parc_ray.recording.attempt import Attempt
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.retry_policy import RetryPolicy
from parc_ray.recording.retry_queue import RetryQueue
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.runs import pace
from parc_ray.runs.journal import Journal
from parc_ray.runs.ledger import Ledger
from parc_ray.runs.output import OutputDirectory
from parc_ray.simulators import engines
from parc_ray.simulators.engines import engine

FREQUENCY = 30
GPUS_PER_NODE = 8


@dataclass(frozen=True)
class Machine:
    """Abilities of the pretended GPUs."""

    gpus: int = 64
    steps_per_second: float = 5000.0
    """Control steps per second of all envs of a GPU of speed 1."""
    shortest_step: float = 0.005
    """Minimum time of a step, s."""
    slot_seconds: float = 0.0
    """Time of a step per env slot, busy or not, s."""
    setup: float = 0.0
    """Time of the first setup in a process, s; later ones take a tenth."""
    deaths: float = 0.0
    """Probability that an actor dies before it reports."""
    speeds: tuple[float, ...] = ()
    """Speed of each GPU; empty: 1."""
    joins: tuple[float, ...] = ()
    """Time at which the node of each GPU joins, s, with one GPU per node; empty: all nodes are there from the start."""
    slots: int = 1024
    """Maximum number of envs per actor."""
    reusable_process: bool = True
    """True if a process can hold one simulation after another."""

    @property
    def gpus_per_node(self) -> int:
        return 1 if self.joins else min(GPUS_PER_NODE, self.gpus)

    def speed(self, gpu: int) -> float:
        return self.speeds[gpu] if self.speeds else 1.0

    def joined(self, gpu: int) -> float:
        return self.joins[gpu] if self.joins else 0.0

    def ideal(self, env_steps: int) -> float:
        """Return the seconds that the steps take if all GPUs are busy until the end, without setups."""
        speeds = [self.speed(gpu) for gpu in range(self.gpus)]
        late = sum(speed * self.joined(gpu) for gpu, speed in enumerate(speeds))
        rate = self.slots / max(self.slots / self.steps_per_second, self.shortest_step + self.slots * self.slot_seconds)
        return (env_steps / rate + late) / sum(speeds)


class VirtualRay:
    """Ray's functions and the clock's, as far as the driver calls them."""

    def __init__(self, machine: Machine, charged: bool) -> None:
        """charged: True if the driver's CPU time passes on the clock."""
        self.machine, self._charged = machine, charged
        self.now = self.driver_seconds = 0.0
        self._cpu = time.process_time()
        self._free = set(range(machine.gpus))
        self._due: dict[Any, tuple[float, Any]] = {}
        """The time at which each reference is ready, and its value."""
        self._pending: list[Handle] = []
        """Actors without a GPU."""
        self.chance = random.Random(0)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def nodes(self) -> list[dict[str, Any]]:
        own = self.machine.gpus_per_node
        resources = {"CPU": 2.0 * own, "GPU": float(own)}
        firsts = range(0, self.machine.gpus, own)
        return [
            {"Alive": True, "NodeID": f"node{gpu // own}", "Resources": resources}
            for gpu in firsts
            if self.machine.joined(gpu) <= self.now
        ]

    def put(self, value: Any) -> Any:
        return value

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(gcs_address="127.0.0.1:0", get_node_id=lambda: "node0")

    def remote(self, _: Any) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda: Handle(self)))

    def promise(self, seconds: float, value: Any) -> Any:
        reference = object()
        self._due[reference] = (self.now + seconds, value)
        return reference

    def greet(self, handle: Handle) -> Any:
        """Return the reference of an actor's first answer, which comes once a GPU is free."""
        reference = self.promise(math.inf, None)
        handle.greeting = reference
        self._pending.append(handle)
        self._start_pending()
        return reference

    def _start_pending(self) -> None:
        while self._pending and self._free:
            gpu = min(self._free, key=lambda gpu: (max(self.machine.joined(gpu), self.now), gpu))
            handle = self._pending.pop(0)
            self._free.remove(gpu)
            device = handle.start(gpu)
            when = max(self.now, self.machine.joined(gpu))
            self._due[handle.greeting] = (when, WorkReport(device=device))

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
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
        if handle in self._pending:
            self._pending.remove(handle)
        if handle.gpu is not None:
            self._free.add(handle.gpu)
        handle.gpu = None
        self._start_pending()

    @contextmanager
    def free_of_charge(self) -> Iterator[None]:
        """Exclude CPU time, that of recorders, from the driver's."""
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

    def __init__(self, ray: VirtualRay) -> None:
        self.gpu: int | None = None
        self._ray, self._setups = ray, 0
        self.greeting: Any = None
        self.hello = SimpleNamespace(remote=lambda: ray.greet(self))
        self.setup = SimpleNamespace(remote=self._set_up)
        self.work = SimpleNamespace(remote=self._work)

    def start(self, gpu: int) -> Device:
        self.gpu = gpu
        node, place = divmod(gpu, self._ray.machine.gpus_per_node)
        return Device(f"host{node}", f"node{node}", str(place))

    def _set_up(self, run: Any, shard: Any, *_: Any) -> Any:
        assert self.gpu is not None
        machine = self._ray.machine
        self._recorder = PretendedRecorder(machine, machine.speed(self.gpu))
        self._recorder.setup(run, shard)
        seconds = machine.setup / 10 if self._setups else machine.setup
        self._setups += 1
        return self._ray.promise(seconds, WorkReport(untouched=self._recorder.untouched))

    def _work(self, seconds: float, give_back: float = 0.0) -> Any:
        ray = self._ray
        with ray.free_of_charge():
            spent, report = self._recorder.work(seconds, give_back)
            if ray.chance.random() < ray.machine.deaths:
                return ray.promise(spent, RayActorError())
            return ray.promise(spent, report)


class PretendedRecorder:
    """The real queue of attempts, in envs that only count."""

    def __init__(self, machine: Machine, speed: float = 1.0) -> None:
        self._machine, self._speed = machine, speed
        self._queue = RetryQueue()
        self._running: list[tuple[int, int, Attempt]] = []
        """(control step of its end, motion, attempt)."""
        self._step = 0

    def setup(self, run: Any, shard: Any) -> None:
        self._motions, self._slots = shard.motions, shard.num_envs(run)
        self._first = [motion.first_attempt for motion in shard.motions]
        self._policy = RetryPolicy(run.config.retry)
        for index, motion in enumerate(shard.motions):
            self._enqueue_next(index, motion.first_attempt)

    def _is_untouched(self, attempt: Attempt) -> bool:
        return bool(attempt.number == self._first[attempt.motion])

    @property
    def untouched(self) -> float:
        return self._queue.seconds(self._is_untouched)

    def work(self, duration: float, give_back: float) -> tuple[float, WorkReport]:
        """Work for a duration; return the seconds needed, and the report."""
        spent, env_steps, steps, results = 0.0, 0, 0, []
        given = [self._motions[attempt.motion].name for attempt in self._queue.remove(give_back, self._is_untouched)]
        while self._queue or self._running:
            while self._queue and len(self._running) < self._slots:
                attempt = self._queue.pop()
                end = self._step + self._fate(attempt)[1]
                heapq.heappush(self._running, (end, attempt.motion, attempt))
            machine, busy = self._machine, len(self._running)
            idle_cost = machine.shortest_step + self._slots * machine.slot_seconds
            each = max(idle_cost, busy / machine.steps_per_second) / self._speed
            count = min(self._running[0][0] - self._step, int((duration - spent) / each) + 1)
            self._step, spent = self._step + count, spent + count * each
            env_steps, steps = env_steps + count * len(self._running), steps + count
            while self._running and self._running[0][0] <= self._step:
                results.append(self._finish(heapq.heappop(self._running)[-1]))
            if spent >= duration:
                break
        done = not self._queue and not self._running
        return spent, WorkReport(
            results=tuple(results), done=done, steps=steps, env_steps=env_steps, untouched=self.untouched,
            given_back=tuple(given),
        )  # fmt: skip

    def _enqueue_next(self, motion: int, attempts: int) -> Attempt | None:
        length = length_of(self._motions[motion].name)
        attempt = self._policy.next(motion, length, attempts)
        if attempt is not None:
            self._queue.add(attempt, (1.0 - attempt.start_fraction) * length)
        return attempt

    def _length(self, attempt: Attempt) -> float:
        return length_of(self._motions[attempt.motion].name)

    def _fate(self, attempt: Attempt) -> tuple[bool, int]:
        """Return whether an attempt succeeds, and its steps. They depend only on its motion and number."""
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
    """Return the length of a motion, 2 to 10 s."""
    return random.Random(name).uniform(2.0, 10.0)


@dataclass(frozen=True)
class VirtualRun:
    """The result of a virtual run."""

    seconds: float
    """By the virtual clock."""
    driver_seconds: float
    """CPU time of the driver."""
    ledger: Ledger


def virtual_run(folder: Path, motion: Path, count: int, machine: Machine, charged: bool = False) -> VirtualRun:
    """Record `count` copies of a motion file on pretended GPUs.

    charged: the driver's CPU time passes on the clock, and the driver writes recordings; else only the journal.
    """
    config = RecordConfig(
        output_dir=folder / "out", device="cuda", dataset_file=motion, simulator="mujoco", model_file=DEMO / "model.pt",
        env_file=DEMO / "dm_env.yaml", agent_file=DEMO / "agent_config.yaml", max_envs_per_actor=machine.slots,
    )  # fmt: skip
    tracker = read_tracker(config, None)
    inputs = read_inputs(run_files(config, tracker, engine("mujoco")), tracker, None, None)
    (one,) = inputs.dataset.entries
    entries = tuple(_renamed(one, f"walk_{index:06d}") for index in range(count))
    inputs = replace(inputs, dataset=Dataset(entries))
    ray = VirtualRay(machine, charged)
    resources = Resources(tuple((int(n["Resources"]["CPU"]), int(n["Resources"]["GPU"])) for n in ray.nodes()))
    plan = make_plan(inputs, entries, Placement((2,) * resources.gpus, 1.0, "cuda:0"), resources)
    output = OutputDirectory(config.output_dir, config.output)
    output.prepare()
    if not charged:
        output.write_motion_files = _nothing  # type: ignore[method-assign]
    ledger = Ledger(planned={entry.name: entry for entry in entries})
    journal = Journal(output.journal)
    with replaced_by(ray, machine):
        assert driver.Driver(plan, output, ledger, [journal]).run()
    journal.close()
    return VirtualRun(ray.now, ray.driver_seconds, ledger)


def _renamed(entry: MotionEntry, name: str) -> MotionEntry:
    return replace(entry, name=name, length=length_of(name))


@contextmanager
def replaced_by(ray: VirtualRay, machine: Machine) -> Iterator[None]:
    """Replace Ray and the clock in the driver."""
    known = tuple(replace(own, reusable_process=machine.reusable_process) for own in engines.ENGINES)
    with ExitStack() as patches:
        for module in (driver, actor_pool, node_watch, connection):
            patches.enter_context(mock.patch.object(module, "ray", ray))
        for module in (driver, actor_pool, node_watch, pace, scheduler):
            patches.enter_context(mock.patch.object(module, "time", ray))
        patches.enter_context(mock.patch.object(engines, "ENGINES", known))
        patches.enter_context(mock.patch.object(node_watch.NodeWatch, "_head_answers", lambda watch: True))
        yield


def _nothing(*_: Any, **__: Any) -> None:
    pass
