"""Scheduler: which actor gets which motions, and how many actors a run asks Ray for."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import Deque, Dict, List, Optional, Sequence, Tuple

from parc_ray.cluster.actor_pool import ActorPool, RunningActor
from parc_ray.cluster.connection import Node
from parc_ray.cluster.failure_policy import Assignment, Device
from parc_ray.cluster.record_keeper import RecordKeeper
from parc_ray.motions.dataset import MotionEntry
from parc_ray.planning.balance import SHORTEST, WORTH, WORTH_RENTED, Load, fair_share, handover, useful_helpers
from parc_ray.planning.placement import Placement
from parc_ray.planning.resources import share_nodes

LATENCY_SECONDS = 2.0
"""From the decision to hand over motions until their receiver gets them: givers answer once a second."""
NODE_SECONDS = 60.0
"""Time that a rented node needs until it has joined."""


@dataclass
class Handover:
    """Motions on their way from some actors to another."""

    receiver: RunningActor
    givers: List[RunningActor]
    motions: List[MotionEntry] = field(default_factory=list)


class Scheduler:
    """The queue of assignments, and everything that has been measured of actors.

    Actors take assignments from the queue. Once it is empty, actors that finish early take over motions of others.
    """

    def __init__(self, assignments: Sequence[Assignment], placement: Placement, pool: ActorPool, keeper: RecordKeeper):
        self.queue: Deque[Assignment] = deque(assignments)
        self._placement, self._pool, self._keeper = placement, pool, keeper
        self._speeds: Dict[Device, float] = {}
        self._setup_seconds: Dict[bool, float] = {}
        """Mean time of setups: of the first in a process (False), and of later ones (True)."""
        self._handovers: List[Handover] = []

    # ------------------------------------------------------------------------------------------- measurements

    def measure_setup(self, actor: RunningActor, seconds: float) -> None:
        """Take the time of a setup into account."""
        again = actor.setups > 0
        self._setup_seconds[again] = (self._setup_seconds.get(again, seconds) + seconds) / 2

    def measure_speed(self, actor: RunningActor, seconds_of_motion: float, seconds: float) -> None:
        """Take an actor's work into account, done while all its envs were busy."""
        actor.measure(seconds_of_motion, seconds)
        if actor.device is not None and actor.speed:
            self._speeds[actor.device] = actor.speed

    def _speed(self, device: Optional[Device]) -> Optional[float]:
        """Return the speed of a device, or the mean speed of all; None if nothing is measured."""
        if device in self._speeds:
            return self._speeds[device]
        return sum(self._speeds.values()) / len(self._speeds) if self._speeds else None

    def _delay(self, again: bool) -> float:
        """Return the time until an actor works on motions that are handed over to it."""
        first = self._setup_seconds.get(False, 0.0)
        return LATENCY_SECONDS + (self._setup_seconds.get(True, first / 2) if again else first)

    def _loads(self) -> List[Load]:
        """Return the work of all actors that have some."""
        loads = []
        for actor in self._pool.started:
            speed = actor.speed or self._speed(actor.device)
            if actor.assignment is not None and speed:
                loads.append(actor.load(self._seconds_left(actor.assignment), speed))
        return loads

    def _seconds_left(self, assignment: Assignment) -> float:
        return _seconds(self._keeper.unfinished(assignment))

    # ------------------------------------------------------------------------------------------- assignments

    def next_assignment(self, actor: RunningActor, next_shard: int) -> Assignment:
        """Take the next assignment of the queue, or a part of it if all of it would keep the actor longer than others.

        next_shard: number of what is left of it, which stays in the queue.
        """
        assignment = self.queue.popleft()
        share = self._share(actor, assignment)
        if share is None:
            return assignment
        taken, rest = _split(assignment.motions, share)
        if not taken or not rest:
            return assignment
        self.queue.appendleft(Assignment(next_shard, rest))
        return replace(assignment, motions=taken)

    def _share(self, actor: RunningActor, assignment: Assignment) -> Optional[float]:
        """Return the seconds of an assignment that an actor should take; None: all."""
        speed, suspect = self._speed(actor.device), assignment.deaths or assignment.failed_on
        if suspect or not speed or not self._all_measured():
            return None
        own, waiting = _seconds(assignment.motions), sum(_seconds(other.motions) for other in self.queue)
        receivers = 1 + len(self._pool.requested) + len(self._handovers)
        delay = self._delay(actor.setups > 0)
        share = fair_share(self._loads(), own + waiting, speed, delay, receivers)
        return share if speed * max(SHORTEST, WORTH * delay) < share < 0.9 * own else None

    def _all_measured(self) -> bool:
        """Whether the speed of every actor at work is known, or can be guessed from others."""
        return all(a.speed or self._speed(a.device) for a in self._pool.started if a.assignment is not None)

    # ------------------------------------------------------------------------------------------- handovers

    def begin_handover(self, receiver: RunningActor) -> bool:
        """Have others hand over motions to an actor that has nothing to do; return whether any will."""
        speed = self._speed(receiver.device)
        givers = [actor for actor in self._pool.started if actor.assignment is not None]
        if not speed or not givers or not self._all_measured():
            return False
        loads = self._loads()
        receivers = 1 + len(self._pool.requested) + len(self._handovers)
        gifts = handover(loads, speed, self._delay(receiver.setups > 0), receivers)
        chosen = [(actor, gift) for actor, gift in zip(givers, gifts) if gift > 0 and actor.receiver is None]
        if not chosen:
            return False
        for actor, gift in chosen:
            actor.to_give, actor.receiver = gift, receiver
        self._handovers.append(Handover(receiver, [actor for actor, _ in chosen]))
        self._pool.rest(receiver)
        return True

    def take_back(self, giver: RunningActor, names: Sequence[str]) -> Optional[Handover]:
        """Take motions that an actor has given back; return the handover if it is complete."""
        assert giver.assignment is not None
        given = set(names)
        motions = [entry for entry in giver.assignment.motions if entry.name in given]
        kept = tuple(entry for entry in giver.assignment.motions if entry.name not in given)
        giver.assignment = replace(giver.assignment, motions=kept)
        return self._complete(giver, motions)

    def forget(self, actor: RunningActor) -> Optional[Handover]:
        """Expect nothing more from a lost actor; return the handover that is complete without it."""
        return self._complete(actor, [])

    def _complete(self, giver: RunningActor, motions: Sequence[MotionEntry]) -> Optional[Handover]:
        giver.to_give, giver.giving, giver.receiver = 0.0, False, None
        for one in self._handovers:
            if giver in one.givers:
                one.givers.remove(giver)
                one.motions += motions
                if not one.givers:
                    self._handovers.remove(one)
                    self._pool.wake(one.receiver)
                    return one
        return None

    # ------------------------------------------------------------------------------------------- actors

    def request_actors(self, nodes: Sequence[Node]) -> None:
        """Request actors for the work that waits, by the nodes that are alive, and take back other requests."""
        rooms = self._rooms(nodes)
        wanted = self._wanted(sum(count for count, _ in rooms))
        desired: Counter[int] = Counter()
        for count, cpus in sorted(rooms, key=lambda room: -room[1]):
            count = min(count, wanted - sum(desired.values()))
            if count > 0:
                desired[cpus] += count
        missing = wanted - sum(desired.values())
        if missing > 0 and self._placement.grows:
            desired[self._placement.cpus_per_actor or 1] += missing
        surplus: List[RunningActor] = []
        for actor in self._pool.requested:
            if desired[actor.cpus] > 0:
                desired[actor.cpus] -= 1
            else:
                surplus.append(actor)
        self._pool.withdraw(surplus)
        for cpus, count in desired.items():
            for _ in range(count):
                self._pool.request(cpus)

    def is_too_small(self, actor: RunningActor, nodes: Sequence[Node]) -> bool:
        """Whether an actor that has waited for a node to join has a small part of the CPUs that it can have there."""
        if self._placement.cpus_per_actor is not None:
            return False
        room = [share for node, share in zip(nodes, self._rooms(nodes, but=actor)) if node.id == _node(actor)]
        return any(count and cpus >= 2 * actor.cpus for count, cpus in room)

    def _rooms(self, nodes: Sequence[Node], but: Optional[RunningActor] = None) -> List[Tuple[int, int]]:
        """Return how many more actors each node can have, and with how many CPUs each."""
        place = self._placement
        shares = share_nodes([(n.cpus, n.gpus) for n in nodes], place.gpus, place.cpus_per_actor, place.most)
        started = [actor for actor in self._pool.started if actor is not but]
        held = Counter(device.node_id for device in self._pool.placeholders)
        rooms = []
        for node, (count, cpus) in zip(nodes, shares):
            own = [actor.cpus for actor in started if _node(actor) == node.id]
            count -= len(own) + held[node.id]
            free = node.cpus - sum(own) - held[node.id] * cpus
            rooms.append((max(0, min(count, free)), max(1, min(cpus, free // max(1, count)))))
        return rooms

    def _wanted(self, room: int) -> int:
        """Return how many actors to request. room: how many the nodes can have."""
        started = len(self._pool.started)
        most = len(self.queue) + started + 64 if self._placement.most is None else self._placement.most
        most = max(0, most - started)
        if self.queue:
            return min(most, len(self.queue))
        loads = self._loads()
        speed = self._speed(None)
        if not speed or not self._all_measured():
            return 0
        resting = len(self._handovers)
        delay = self._delay(again=False)
        helpers = useful_helpers(loads, speed, delay, min(most, room) + resting, WORTH) - resting
        if helpers >= room and self._placement.grows:
            rented = useful_helpers(loads, speed, delay + NODE_SECONDS, most + resting, WORTH_RENTED) - resting
            helpers = max(helpers, rented)
        return max(0, helpers)


def _seconds(motions: Sequence[MotionEntry]) -> float:
    return sum(entry.length for entry in motions)


def _split(motions: Sequence[MotionEntry], seconds: float) -> Tuple[Tuple[MotionEntry, ...], Tuple[MotionEntry, ...]]:
    """Return about `seconds` of motions, and the others. Both have long and short ones, in the order of the dataset."""
    ratio, due = seconds / _seconds(motions), 0.0
    taken = set()
    for place in sorted(range(len(motions)), key=lambda place: -motions[place].length):
        due += ratio * motions[place].length
        if due >= motions[place].length / 2:
            taken.add(place)
            due -= motions[place].length
    mine = tuple(entry for place, entry in enumerate(motions) if place in taken)
    return mine, tuple(entry for place, entry in enumerate(motions) if place not in taken)


def _node(actor: RunningActor) -> str:
    return actor.device.node_id if actor.device else ""
