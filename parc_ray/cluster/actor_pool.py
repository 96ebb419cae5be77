"""ActorPool: the actors of a run on Ray, from the request on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

import ray

from parc_ray.cluster.crash_output import Printout
from parc_ray.cluster.failure_policy import Assignment, Device
from parc_ray.motions.dataset import MotionEntry
from parc_ray.planning.balance import Load

PACE = 0.3
"""Weight of the last report in an actor's measured speed."""


@dataclass(eq=False)
class RunningActor:
    """An actor with its assignment, from the request on."""

    handle: Any
    cpus: int
    assignment: Optional[Assignment] = None
    envs: int = 0
    attempts: int = 0
    """Attempts at its motions that were made before it began."""
    device: Optional[Device] = None
    """Where it runs; None while Ray has not started it."""
    printouts: Tuple[Printout, ...] = ()
    """Files that it prints into."""
    ready: bool = False
    """Whether the setup of its assignment has worked."""
    setups: int = 0
    """Setups that have worked in its process."""
    busy_envs: float = 0.0
    """Envs at work, on average since its last report."""
    asked: Optional[float] = None
    """When it was last given something to do (monotonic s)."""
    speed: Optional[float] = None
    """Seconds of motion per second, with all envs busy; None until measured."""
    untouched: float = 0.0
    """Seconds of motion that no attempt has begun, at its last report."""
    gifts: List[Gift] = field(default_factory=list)
    """Motions that it will be asked to hand over."""
    asked_gifts: List[Gift] = field(default_factory=list)
    """Motions that it has been asked to hand over."""

    @property
    def requested(self) -> bool:
        """Whether Ray has not started it yet."""
        return self.device is None

    def measure(self, seconds_of_motion: float, seconds: float) -> None:
        """Take what it did in some time into account."""
        speed = seconds_of_motion / max(seconds, 1e-3)
        self.speed = speed if self.speed is None else (1 - PACE) * self.speed + PACE * speed

    def load(self, seconds_left: float, speed: float) -> Load:
        """Return its work.

        seconds_left: seconds of motion without a final state. speed: an estimate, used until it is measured.
        """
        if not self.ready:
            return Load(seconds_left, 0.0, speed)
        # Running attempts are half done on average.
        left = self.untouched + (seconds_left - self.untouched) / 2
        given = sum(gift.seconds for gift in (*self.gifts, *self.asked_gifts))
        return Load(max(0.0, left - given), max(0.0, self.untouched - given), self.speed or speed)


@dataclass(eq=False)
class Handover:
    """Motions on their way to an actor that has nothing to do."""

    receiver: RunningActor
    givers: int
    """Actors that have not answered yet."""
    motions: List[MotionEntry] = field(default_factory=list)


@dataclass(frozen=True)
class Gift:
    """Part of a handover from one actor."""

    handover: Handover
    seconds: float
    """Seconds of motion."""


class ActorPool:
    """Actors by what each was last asked for.

    pool = ActorPool(lambda cpus: ray.remote(ShardActor).options(num_cpus=cpus).remote())
    pool.request(cpus=4)
    for actor, reference in pool.answers(patience=0.5):
        report = ray.get(reference)
        pool.ask(actor, actor.handle.work.remote(1.0))
    """

    def __init__(self, start: Callable[[int], Any]):
        """start: requests an actor with some CPUs from Ray, and returns its handle."""
        self._start = start
        self._asked: Dict[Any, RunningActor] = {}
        self._resting: List[RunningActor] = []
        """Actors that wait for motions of others."""
        self._placeholders: Dict[Any, Device] = {}
        """Idle actors that keep unusable devices busy: Ray would start the next actor there again."""

    @property
    def actors(self) -> List[RunningActor]:
        """All actors but placeholders."""
        return [*self._asked.values(), *self._resting]

    @property
    def requested(self) -> List[RunningActor]:
        """Actors that Ray has not started."""
        return [actor for actor in self._asked.values() if actor.requested]

    @property
    def started(self) -> List[RunningActor]:
        """Actors that Ray has started."""
        return [actor for actor in self.actors if not actor.requested]

    @property
    def placeholders(self) -> List[Device]:
        """Devices that idle actors keep busy."""
        return list(self._placeholders.values())

    def request(self, cpus: int) -> None:
        """Request an actor from Ray."""
        handle = self._start(cpus)
        self._asked[handle.hello.remote()] = RunningActor(handle, cpus)

    def ask(self, actor: RunningActor, reference: Any) -> None:
        """Wait for an answer, given by its reference, from now on."""
        self._asked[reference] = actor
        actor.asked = time.monotonic()

    def rest(self, actor: RunningActor) -> None:
        """Keep an actor that has nothing to do yet."""
        self._resting.append(actor)

    def wake(self, actor: RunningActor) -> None:
        """End the rest of an actor."""
        self._resting.remove(actor)

    def answers(self, patience: float) -> List[Tuple[RunningActor, Any]]:
        """Return actors that have answered, with the references of their answers, after at most `patience` s.

        At most one of them has just been started: its motions have yet to be read, and the others do not wait for it.
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

    def silent(self, seconds: float) -> List[RunningActor]:
        """Remove and return started actors that have not answered for some time. Ray never notices a hung actor."""
        now = time.monotonic()
        late = [
            reference
            for reference, actor in self._asked.items()
            if actor.asked is not None and now - actor.asked > seconds
        ]
        return [self._asked.pop(reference) for reference in late]

    def withdraw(self, actors: Iterable[RunningActor]) -> None:
        """Take back requests."""
        handles = [actor.handle for actor in actors]
        self._asked = {reference: actor for reference, actor in self._asked.items() if actor.handle not in handles}
        for handle in handles:
            ray.kill(handle)

    def hold(self, actor: RunningActor) -> None:
        """Keep an actor idle, so that Ray starts no other one on its device."""
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
