"""Scheduler: assigns motions to actors, and decides how many actors to request from Ray."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import replace
from typing import Sequence

from parc_ray.cluster.actor_pool import ActorPool, Gift, Handover, RunningActor
from parc_ray.cluster.assignment import Assignment
from parc_ray.cluster.connection import Node
from parc_ray.cluster.device import Device
from parc_ray.cluster.record_keeper import RecordKeeper
from parc_ray.motions.dataset import MotionEntry
from parc_ray.planning.balance import Load, fair_share, useful_helpers
from parc_ray.planning.balance import handover as share_load
from parc_ray.planning.placement import Placement
from parc_ray.planning.resources import share_nodes

LATENCY_SECONDS = 1.5
"""Delay between deciding on a handover and its receiver getting the motions: givers answer once a second."""
WORTH = 3.0
"""Minimum work of a handover, as a multiple of its receiver's setup time."""
WORTH_RENTED = 6.0
"""The same if a node would have to be rented for it."""
SHORTEST = 1.0
"""Minimum work of a handover, s."""
HELPERS_SECONDS = 3.0
"""Pause in requesting actors for handovers after an unsuccessful one."""
NODE_SECONDS = 60.0
"""Time for a rented node to join."""


class Scheduler:
    """The queue of assignments, and all measurements of actors.

    Actors take assignments from the queue. Once it is empty, actors that finish early take over motions of others.
    """

    def __init__(self, assignments: Sequence[Assignment], placement: Placement, pool: ActorPool, keeper: RecordKeeper):
        self.queue: deque[Assignment] = deque(assignments)
        self._placement, self._pool, self._keeper = placement, pool, keeper
        self._speeds: dict[Device, float] = {}
        self._setup_seconds: dict[bool, float] = {}
        """Mean setup time: of the first in a process (False), and of later ones (True)."""
        self._handovers: list[Handover] = []
        self._no_helpers_until = float("-inf")

    # ------------------------------------------------------------------------------------------- measurements

    def measure_setup(self, actor: RunningActor, seconds: float) -> None:
        """Record the time of a setup."""
        again = actor.setups > 0
        self._setup_seconds[again] = (self._setup_seconds.get(again, seconds) + seconds) / 2

    def measure_speed(self, actor: RunningActor, seconds_of_motion: float, seconds: float) -> None:
        """Record an actor's speed, measured while all its envs were busy."""
        actor.measure(seconds_of_motion, seconds)
        if actor.device is not None and actor.speed:
            self._speeds[actor.device] = actor.speed

    def _speed(self, device: Device | None) -> float | None:
        """Return the speed of a device, or the mean speed of all; None if nothing is measured."""
        if device in self._speeds:
            return self._speeds[device]
        return sum(self._speeds.values()) / len(self._speeds) if self._speeds else None

    def _setup(self, again: bool) -> float:
        """Return the expected time of a setup, the first in a process or a later one."""
        first = self._setup_seconds.get(False, 0.0)
        return self._setup_seconds.get(True, first / 2) if again else first

    def _loads(self) -> list[Load]:
        """Return the loads of all actors with work."""
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
        """Take the next assignment in the queue, or a part of it if the whole would keep the actor busy longer than
        others.

        next_shard: number for the rest, which stays in the queue.
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

    def _share(self, actor: RunningActor, assignment: Assignment) -> float | None:
        """Return the seconds of an assignment that an actor should take; None for all."""
        speed, suspect = self._speed(actor.device), assignment.deaths or assignment.failed_on
        if suspect or not speed or not self._all_measured():
            return None
        own, waiting = _seconds(assignment.motions), sum(_seconds(other.motions) for other in self.queue)
        receivers = 1 + len(self._pool.requested) + len(self._handovers)
        setup = self._setup(actor.setups > 0)
        share = fair_share(self._loads(), own + waiting, speed, setup, receivers)
        return share if speed * max(SHORTEST, WORTH * setup) < share < 0.9 * own else None

    def _all_measured(self) -> bool:
        """Return True if the speed of every working actor is known, or can be estimated from others."""
        return all(a.speed or self._speed(a.device) for a in self._pool.started if a.assignment is not None)

    # ------------------------------------------------------------------------------------------- handovers

    def begin_handover(self, receiver: RunningActor) -> bool:
        """Request handovers to an idle actor; return True if any actor will hand over motions."""
        speed = self._speed(receiver.device)
        givers = [actor for actor in self._pool.started if actor.assignment is not None]
        if not speed or not givers or not self._all_measured():
            return False
        loads = self._loads()
        receivers = 1 + len(self._pool.requested) + len(self._handovers)
        setup = self._setup(receiver.setups > 0)
        given = share_load(loads, speed, LATENCY_SECONDS + setup, max(SHORTEST, WORTH * setup), receivers)
        chosen = [(actor, gift) for actor, gift in zip(givers, given) if gift > 0]
        if not chosen:
            self._no_helpers_until = time.monotonic() + HELPERS_SECONDS
            return False
        handover = Handover(receiver, len(chosen))
        for actor, seconds in chosen:
            actor.gifts.append(Gift(handover, seconds))
        self._handovers.append(handover)
        self._pool.rest(receiver)
        return True

    def take_back(self, giver: RunningActor, names: Sequence[str]) -> list[Handover]:
        """Take motions that an actor has given back, and return the completed handovers."""
        assert giver.assignment is not None
        given, asked = set(names), giver.asked_gifts
        motions = tuple(entry for entry in giver.assignment.motions if entry.name in given)
        kept = tuple(entry for entry in giver.assignment.motions if entry.name not in given)
        giver.assignment, giver.asked_gifts = replace(giver.assignment, motions=kept), []
        for place, gift in enumerate(asked):
            share = gift.seconds / sum(other.seconds for other in asked[place:])
            own, motions = _split(motions, share * _seconds(motions))
            gift.handover.motions += own
        return self._complete(asked)

    def forget(self, actor: RunningActor) -> list[Handover]:
        """Drop a lost or finished actor from all handovers, and return those completed by that."""
        gifts, actor.gifts, actor.asked_gifts = [*actor.gifts, *actor.asked_gifts], [], []
        return self._complete(gifts)

    def _complete(self, gifts: Sequence[Gift]) -> list[Handover]:
        complete = []
        for gift in gifts:
            gift.handover.givers -= 1
            if gift.handover.givers == 0:
                self._handovers.remove(gift.handover)
                self._pool.wake(gift.handover.receiver)
                complete.append(gift.handover)
        return complete

    # ------------------------------------------------------------------------------------------- actors

    def request_actors(self, nodes: Sequence[Node]) -> None:
        """Request actors for the waiting work on the live nodes, and cancel other requests."""
        rooms = self._rooms(nodes)
        wanted = self._actors_to_request(sum(count for count, _ in rooms))
        desired: Counter[int] = Counter()
        for count, cpus in sorted(rooms, key=lambda room: -room[1]):
            count = min(count, wanted - sum(desired.values()))
            if count > 0:
                desired[cpus] += count
        missing = wanted - sum(desired.values())
        if missing > 0 and self._placement.grows:
            desired[self._placement.cpus_per_actor or 1] += missing
        surplus: list[RunningActor] = []
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
        """Return True if an actor that waited for a node has only a small part of the CPUs available to it there."""
        if self._placement.cpus_per_actor is not None:
            return False
        room = [share for node, share in zip(nodes, self._rooms(nodes, but=actor)) if node.id == _node(actor)]
        return any(count and cpus >= 2 * actor.cpus for count, cpus in room)

    def _rooms(self, nodes: Sequence[Node], but: RunningActor | None = None) -> list[tuple[int, int]]:
        """Return the number of further actors per node, and the CPUs of each."""
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

    def _actors_to_request(self, room: int) -> int:
        """Return the number of actors to request. room: how many the nodes can have."""
        started = len(self._pool.started)
        most = len(self.queue) + started + 64 if self._placement.most is None else self._placement.most
        most = max(0, most - started)
        if self.queue:
            return min(most, len(self.queue))
        loads = self._loads()
        speed = self._speed(None)
        if not speed or not self._all_measured() or time.monotonic() < self._no_helpers_until:
            return 0
        resting = len(self._handovers)
        setup = self._setup(again=False)
        delay, least = LATENCY_SECONDS + setup, max(SHORTEST, WORTH * setup)
        helpers = useful_helpers(loads, speed, delay, least, min(most, room) + resting) - resting
        if helpers >= room and self._placement.grows:
            least = WORTH_RENTED * max(setup, LATENCY_SECONDS)
            rented = useful_helpers(loads, speed, delay + NODE_SECONDS, least, most + resting) - resting
            helpers = max(helpers, rented)
        return max(0, helpers)


def _seconds(motions: Sequence[MotionEntry]) -> float:
    return sum(entry.length for entry in motions)


def _split(motions: Sequence[MotionEntry], seconds: float) -> tuple[tuple[MotionEntry, ...], tuple[MotionEntry, ...]]:
    """Return about `seconds` of motions, and the rest. Both mix long and short motions, in dataset order."""
    ratio, due = seconds / max(_seconds(motions), 1e-9), 0.0
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
