"""ActorPool: the actors of a run on Ray, including requested ones."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable

import ray

from parc_ray.cluster.assignment import Assignment
from parc_ray.cluster.crash_output import Printout
from parc_ray.cluster.device import Device
from parc_ray.motions.dataset import MotionEntry
from parc_ray.planning.balance import Load

PACE = 0.3
"""Weight of the last report in an actor's measured speed."""


@dataclass(eq=False)
class RunningActor:
    """An actor with its assignment, once requested."""

    handle: Any
    cpus: int
    assignment: Assignment | None = None
    envs: int = 0
    attempts: int = 0
    """Attempts made at its motions before it started."""
    device: Device | None = None
    """Device of the actor; None until Ray has started it."""
    printouts: tuple[Printout, ...] = ()
    """Files that it prints to."""
    ready: bool = False
    """True if its assignment has been set up."""
    setups: int = 0
    """Successful setups in its process."""
    busy_envs: float = 0.0
    """Mean number of busy envs since its last report."""
    asked: float | None = None
    """Time of its last request (monotonic s)."""
    speed: float | None = None
    """Seconds of motion per second, with all envs busy; None until measured."""
    untouched: float = 0.0
    """Seconds of motion without an attempt, at its last report."""
    gifts: list[Gift] = field(default_factory=list)
    """Handovers to request from it."""
    asked_gifts: list[Gift] = field(default_factory=list)
    """Handovers requested from it."""

    @property
    def requested(self) -> bool:
        """True if Ray has not started it yet."""
        return self.device is None

    def measure(self, seconds_of_motion: float, seconds: float) -> None:
        """Update the speed with recent work."""
        speed = seconds_of_motion / max(seconds, 1e-3)
        self.speed = speed if self.speed is None else (1 - PACE) * self.speed + PACE * speed

    def load(self, seconds_left: float, speed: float) -> Load:
        """Return its load.

        seconds_left: seconds of motion without a final state. speed: estimate, used until it is measured.
        """
        if not self.ready:
            return Load(seconds_left, 0.0, speed)
        # Running attempts are half done on average.
        left = self.untouched + (seconds_left - self.untouched) / 2
        given = sum(gift.seconds for gift in (*self.gifts, *self.asked_gifts))
        return Load(max(0.0, left - given), max(0.0, self.untouched - given), self.speed or speed)


@dataclass(eq=False)
class Handover:
    """Motions on their way to an idle actor."""

    receiver: RunningActor
    givers: int
    """Actors that have not answered yet."""
    motions: list[MotionEntry] = field(default_factory=list)


@dataclass(frozen=True)
class Gift:
    """One actor's part of a handover."""

    handover: Handover
    seconds: float
    """Seconds of motion."""


class ActorPool:
    """Actors by their pending request.

    pool = ActorPool(lambda cpus: ray.remote(ShardActor).options(num_cpus=cpus).remote())
    pool.request(cpus=4)
    for actor, reference in pool.answers(patience=0.5):
        report = ray.get(reference)
        pool.ask(actor, actor.handle.work.remote(1.0))
    """

    def __init__(self, start: Callable[[int], Any]):
        """start: requests an actor with a number of CPUs from Ray and returns its handle."""
        self._start = start
        self._asked: dict[Any, RunningActor] = {}
        self._resting: list[RunningActor] = []
        """Idle actors that wait for motions of others."""
        self._placeholders: dict[Any, Device] = {}
        """Idle actors that occupy unusable devices; otherwise Ray would start the next actor there."""

    @property
    def actors(self) -> list[RunningActor]:
        """All actors except placeholders."""
        return [*self._asked.values(), *self._resting]

    @property
    def requested(self) -> list[RunningActor]:
        """Actors that Ray has not started."""
        return [actor for actor in self._asked.values() if actor.requested]

    @property
    def started(self) -> list[RunningActor]:
        """Actors that Ray has started."""
        return [actor for actor in self.actors if not actor.requested]

    @property
    def placeholders(self) -> list[Device]:
        """Devices occupied by idle actors."""
        return list(self._placeholders.values())

    def request(self, cpus: int) -> None:
        """Request an actor from Ray."""
        handle = self._start(cpus)
        self._asked[handle.hello.remote()] = RunningActor(handle, cpus)

    def ask(self, actor: RunningActor, reference: Any) -> None:
        """Wait for the answer behind a reference."""
        self._asked[reference] = actor
        actor.asked = time.monotonic()

    def rest(self, actor: RunningActor) -> None:
        """Keep an idle actor for later."""
        self._resting.append(actor)

    def wake(self, actor: RunningActor) -> None:
        """Remove an actor from the idle ones."""
        self._resting.remove(actor)

    def answers(self, patience: float) -> list[tuple[RunningActor, Any]]:
        """Return actors that have answered, with the references of their answers, after at most `patience` s.

        At most one of them has just started: its motions must still be read, and the others should not wait for that.
        """
        if not self._asked:
            time.sleep(patience)
            return []
        ready, _ = ray.wait(list(self._asked), num_returns=1, timeout=patience)
        if ready and len(self._asked) > 1:
            ready, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0.0)
        new = [reference for reference in ready if self._asked[reference].requested]
        old = [reference for reference in ready if reference not in new]
        return [(self._asked.pop(reference), reference) for reference in [*old, *new[:1]]]

    def silent(self, seconds: float) -> list[RunningActor]:
        """Remove and return started actors that have been silent for `seconds`. Ray never detects a hung actor."""
        now = time.monotonic()
        late = [
            reference
            for reference, actor in self._asked.items()
            if actor.asked is not None and now - actor.asked > seconds
        ]
        return [self._asked.pop(reference) for reference in late]

    def withdraw(self, actors: Iterable[RunningActor]) -> None:
        """Cancel requests."""
        handles = [actor.handle for actor in actors]
        self._asked = {reference: actor for reference, actor in self._asked.items() if actor.handle not in handles}
        for handle in handles:
            ray.kill(handle)

    def hold(self, actor: RunningActor) -> None:
        """Keep an actor idle, so that Ray starts no other actor on its device."""
        assert actor.device is not None
        self._placeholders[actor.handle] = actor.device

    def release(self, usable: Callable[[Device], bool]) -> None:
        """Kill the placeholders on devices that are usable again, or gone."""
        for handle, device in list(self._placeholders.items()):
            if usable(device):
                del self._placeholders[handle]
                ray.kill(handle)

    def close(self) -> None:
        """Kill all actors."""
        for handle in [*(actor.handle for actor in self.actors), *self._placeholders]:
            ray.kill(handle)
