"""The policy of losses, without Ray: single decisions, and whole runs of a pretended cluster."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.cluster.assignment import Assignment
from parc_ray.cluster.device import Device
from parc_ray.cluster.failure_policy import (
    DEATHS_ALONE,
    DEATHS_IN_TROUBLE,
    FAILED_SETUPS,
    HOPELESS_MOTIONS,
    UNLUCKY_DEVICES,
    Decision,
    Setups,
    State,
    before_start,
    decide,
    store_is_full,
    waited_in_vain,
)
from parc_ray.cluster.loss import Cause, Loss


@dataclass(frozen=True)
class Entry:
    """All that the policy looks at of a motion."""

    name: str
    length: float = 2.0


def entries(names: str) -> tuple[Any, ...]:
    """One motion per letter."""
    return tuple(Entry(name) for name in names)


def names(*assignments: Assignment) -> list[str]:
    return ["".join(entry.name for entry in assignment.motions) for assignment in assignments]


ONE, TWO, THREE = (Device(f"node{i}", f"id{i}") for i in range(3))
GPU_0, GPU_1 = Device("box", "id", "0"), Device("box", "id", "1")
WORKING = State(next_shard=10, ever_ready=True, actors=2, devices={ONE: Setups(worked=True)})
NEW = State(next_shard=10, actors=2, devices={ONE: Setups()})


def cluster(*devices: Device) -> dict[str, int]:
    return dict(Counter(device.node_id for device in devices))


def lost(motions: str, cause: Cause = Cause.DIED, shard: int = 0, deaths: int = 0, **values: Any) -> Loss:
    """A loss of all motions of an assignment, at work on ONE if nothing else is said."""
    unfinished = entries(values.pop("unfinished", motions))
    failed_on = frozenset(values.pop("failed_on", ()))
    defaults: dict[str, Any] = {"ready": True, "device": ONE, "envs": len(motions), "nodes": cluster(ONE, TWO)}
    return Loss(
        cause, "reason", Assignment(shard, entries(motions), deaths, failed_on), unfinished, **{**defaults, **values}
    )


# ------------------------------------------------------------------------------------------- motions


@pytest.mark.parametrize(
    "loss, queued, deaths",
    [
        (lost("abcd"), ["abcd"], [1]),
        (lost("abcd", deaths=1), ["ab", "cd"], [1, 1]),
        (lost("abc", deaths=1), ["a", "bc"], [1, 1]),
        (lost("abcd", Cause.RAISED, deaths=1), ["ab", "cd"], [1, 1]),
        (lost("abcd", Cause.SILENT, deaths=1), ["ab", "cd"], [1, 1]),
        (lost("abcd", Cause.REPORTED), ["abcd"], [1]),
        # Setups that say what is wrong would say so again.
        (lost("abcd", Cause.REPORTED, ready=False), ["ab", "cd"], [1, 1]),
        (lost("abcd", Cause.RAISED, ready=False), ["abcd"], [1]),
        # One of eight is finished: the actor made progress.
        (lost("abcdefgh", deaths=1, unfinished="bcdefgh"), ["bcdefgh"], [1]),
        (lost("abcdefghi", deaths=1, unfinished="bcdefghi"), ["bcde", "fghi"], [1, 1]),
        (lost("abcd", Cause.NODE_DIED), ["abcd"], [0]),
        (lost("abcd", Cause.NODE_DIED, deaths=2), ["abcd"], [2]),
        (lost("a", Cause.NODE_DIED, deaths=5), ["a"], [5]),
        (lost("a"), ["a"], [1]),
        (lost("a", deaths=1), ["a"], [2]),
        (lost("a", deaths=2, attempts=1), ["a"], [1]),
        (lost("ab", unfinished=""), [], []),
    ],
)
def test_what_is_queued_again(loss, queued, deaths):
    decision = decide(WORKING, loss)
    assert names(*decision.last) == queued
    assert [assignment.deaths for assignment in decision.last] == deaths
    assert decision.first == () and decision.given_up is None and not decision.all_given_up


def test_halves_have_numbers_of_their_own():
    first = decide(WORKING, lost("abcd", deaths=1))
    second = decide(first.state, lost("efgh", shard=1, deaths=1))
    assert [half.shard for half in (*first.last, *second.last)] == [10, 11, 12, 13]


@pytest.mark.parametrize("cause, deaths", [(Cause.DIED, DEATHS_ALONE - 1), (Cause.SILENT, DEATHS_ALONE - 1)])
def test_a_motion_that_kills_alone_is_given_up(cause, deaths):
    decision = decide(WORKING, lost("a", cause, deaths=deaths))
    assert decision.given_up == (Entry("a"), "reason")
    assert decision.last == () and not decision.all_given_up


def test_where_others_die_too_a_motion_gets_more_chances():
    """It may be no motion at all that kills them."""
    state, assignment, tries = WORKING, Assignment(0, entries("a")), 0
    while True:
        for other in (1, 2):
            state = decide(state, lost("xyz", shard=other)).state
        decision = decide(state, replace(lost("a"), assignment=assignment))
        state, tries = decision.state, tries + 1
        if decision.given_up:
            break
        (assignment,) = decision.last
    assert tries == DEATHS_IN_TROUBLE


def test_before_any_setup_has_worked_the_shortest_motion_is_tried_alone():
    motions = (Entry("a", 3.0), Entry("b", 1.0), Entry("c", 2.0))
    loss = Loss(Cause.RAISED, "reason", Assignment(4, motions), motions, ready=False, device=ONE, nodes=cluster(ONE))
    decision = decide(NEW, loss)
    assert names(*decision.first) == ["b"] and names(*decision.last) == ["ac"]
    assert (decision.first[0].shard, decision.last[0].shard) == (10, 4)
    assert before_start(NEW, Assignment(4, motions)) is None
    hopeless = replace(NEW, given_up=1)
    instead = before_start(hopeless, Assignment(4, motions))
    assert instead and names(*instead.first) == ["b"] and names(*instead.last) == ["ac"]
    assert before_start(hopeless, Assignment(4, motions[:1])) is None
    assert before_start(replace(hopeless, ever_ready=True), Assignment(4, motions)) is None


def test_all_are_given_up_if_no_setup_ever_works():
    state, given_up = NEW, []
    for name in "abc":
        decision = decide(state, lost(name, Cause.REPORTED, ready=False, nodes=cluster(ONE)))
        state = decision.state
        given_up.append(bool(decision.all_given_up))
        assert decision.given_up == (Entry(name), "reason")
    assert given_up == [False] * (HOPELESS_MOTIONS - 1) + [True]
    assert decision.all_given_up == "no actor could be set up: reason"


def test_too_many_envs_become_half_as_many_everywhere():
    decision = decide(WORKING, lost("abcdef", Cause.TOO_LARGE, deaths=1, envs=6))
    assert decision.state.max_envs == 3
    assert names(*decision.last) == ["abc", "def"] and [half.deaths for half in decision.last] == [1, 1]
    assert decision.notices == ("going on with at most 3 envs per actor (max_envs_per_actor)",)
    later = decide(decision.state, lost("ghij", Cause.TOO_LARGE, envs=64))
    assert later.state.max_envs == 3
    one = decide(later.state, lost("a", Cause.TOO_LARGE, envs=1))
    assert names(*one.last) == ["a"] and one.last[0].deaths == 1


def test_a_shard_that_the_object_store_cannot_hold():
    assignment = Assignment(3, entries("abcd"), deaths=1)
    assert store_is_full(WORKING, assignment, "full", others_at_work=True).last == (assignment,)
    alone = store_is_full(WORKING, assignment, "full", others_at_work=False)
    assert names(*alone.last) == ["ab", "cd"] and [half.deaths for half in alone.last] == [1, 1]
    single = store_is_full(WORKING, Assignment(3, entries("a")), "full", others_at_work=False)
    assert single.given_up == (Entry("a"), "full") and single.last == ()


# ------------------------------------------------------------------------------------------- devices


def failed_setup(motions: str, device: Device = TWO, **values: Any) -> Loss:
    return lost(motions, Cause.REPORTED, ready=False, device=device, **values)


BOTH = replace(WORKING, devices={ONE: Setups(worked=True), TWO: Setups()})


def test_a_device_whose_setups_fail_while_others_work_is_set_aside():
    state = BOTH
    for number, motions in enumerate(("ab", "c", "de"), 1):
        decision = decide(state, failed_setup(motions, deaths=1))
        state = decision.state
        assert names(*decision.last) == [motions] and decision.last[0].deaths == 1, "no motion is to blame"
        assert decision.given_up is None and state.deaths == ()
        assert bool(decision.set_aside) == state.devices[TWO].aside == (number == FAILED_SETUPS)
    assert decision.set_aside == (TWO, "reason")
    assert decision.alerts == (
        "node node1: 3 setups have failed there while others work: it gets no more work: reason",
    )


@pytest.mark.parametrize("cause", [Cause.DIED, Cause.RAISED, Cause.SILENT, Cause.REPORTED, Cause.TOO_LARGE])
def test_setups_may_fail_in_any_way(cause):
    decision = decide(BOTH, replace(failed_setup("a"), cause=cause, envs=1))
    assert decision.state.devices[TWO].failed == 1 and decision.last[0].deaths == 0


def test_the_names_of_devices():
    assert (str(ONE), ONE.name) == ("node node0", "cpu")
    assert (str(GPU_1), GPU_1.name) == ("node box cuda:1", "cuda:1")


def test_a_setup_that_works_makes_good_for_those_that_have_failed():
    state = BOTH
    for _ in range(FAILED_SETUPS - 1):
        state = decide(state, failed_setup("a")).state
    state = state.ready(TWO)
    assert state.devices[TWO] == Setups(worked=True)


@pytest.mark.parametrize(
    "state, loss",
    [
        (replace(BOTH, devices={TWO: Setups()}), failed_setup("a", nodes=cluster(TWO))),
        (replace(BOTH, devices={TWO: Setups(), ONE: Setups(failed=1)}), failed_setup("a")),
        (replace(BOTH, devices={TWO: Setups(), ONE: Setups(failed=FAILED_SETUPS, aside=True)}), failed_setup("a")),
        (replace(BOTH, others_failed_to_come=True), failed_setup("a")),
        (replace(NEW, excused=FAILED_SETUPS * (NEW.actors + UNLUCKY_DEVICES)), failed_setup("a")),
    ],
    ids=["it is alone", "others fail", "others are set aside", "others do not come", "too many fail at first"],
)
def test_without_a_better_device_the_motions_are_to_blame(state, loss):
    decision = decide(state, loss)
    assert decision.given_up == (Entry("a"), "reason")
    assert not any(setups.aside for setups in decision.state.devices.values())


@pytest.mark.parametrize(
    "state, loss",
    [(BOTH, failed_setup("a")), (replace(NEW, devices={ONE: Setups(), TWO: Setups()}), failed_setup("a"))],
    ids=["another works", "another is set up"],
)
def test_with_a_better_device_they_are_not(state, loss):
    assert names(*decide(state, loss).last) == ["a"]
    without = replace(state, devices={TWO: Setups()})
    assert names(*decide(without, loss).last) == ["a"], "a device that no actor has run on may be better"


def test_a_device_that_has_worked_is_better_even_if_set_aside():
    state = replace(BOTH, devices={TWO: Setups(), ONE: Setups(worked=True, failed=FAILED_SETUPS, aside=True)})
    decision = decide(state, failed_setup("a"))
    assert names(*decision.last) == ["a"] and not decision.state.devices[ONE].aside
    assert decision.alerts == ("node node0 gets work again: no other device works",)


def test_several_motions_are_split_at_once_where_the_last_setup_worked():
    state = replace(BOTH, devices={ONE: Setups(worked=True), TWO: Setups(worked=True)})
    decision = decide(state, failed_setup("abcd"))
    assert names(*decision.last) == ["ab", "cd"] and decision.state.devices[TWO].failed == 1
    again = decide(decision.state, failed_setup("ab"))
    assert names(*again.last) == ["ab"], "now the device is in doubt"


def test_a_motion_that_fails_again_where_others_have_worked_in_between_is_to_blame():
    state = replace(BOTH, devices={ONE: Setups(worked=True), TWO: Setups(worked=True)})
    first = decide(state, failed_setup("a"))
    assert first.given_up is None and first.last[0].failed_on == {TWO}
    second = decide(first.state.ready(TWO), failed_setup("a", failed_on={TWO}))
    assert second.given_up == (Entry("a"), "reason") and second.state.devices[TWO] == Setups(worked=True)


def test_a_motion_that_fails_on_another_device_too_is_to_blame_and_the_first_one_gets_work_again():
    state = replace(BOTH, devices={ONE: Setups(worked=True), TWO: Setups(worked=True, failed=2), THREE: Setups(True)})
    aside = decide(state, failed_setup("a", nodes=cluster(ONE, TWO, THREE)))
    assert aside.set_aside
    decision = decide(aside.state, failed_setup("a", ONE, nodes=cluster(ONE, TWO, THREE), failed_on={TWO}))
    assert decision.given_up == (Entry("a"), "reason")
    assert decision.state.devices[TWO] == Setups(worked=True, failed=1)
    assert decision.alerts == ("node node1 gets work again: what has failed there fails elsewhere",)


def test_two_devices_of_one_node_do_not_confirm_each_other_if_there_are_other_nodes():
    """They may have broken together."""
    here = {GPU_0: Setups(worked=True, failed=1), GPU_1: Setups(worked=True)}
    loss = failed_setup("a", GPU_1, nodes=cluster(GPU_0, GPU_1, ONE), failed_on={GPU_0})
    assert decide(replace(BOTH, devices={**here, ONE: Setups(worked=True)}), loss).given_up is None
    assert decide(replace(BOTH, devices=here), loss).given_up


def test_a_device_is_used_again_when_the_others_are_gone():
    state = replace(BOTH, devices={ONE: Setups(worked=True), TWO: Setups(failed=3, aside=True)})
    decision = decide(state, lost("ab", Cause.NODE_DIED, nodes=cluster(TWO)))
    assert decision.state.devices == {TWO: Setups(failed=3)}
    assert decision.alerts == ("node node1 gets work again: no other device works",)
    assert names(*decision.last) == ["ab"]
    joined = decide(state, lost("ab", Cause.NODE_DIED, nodes=cluster(TWO, THREE)))
    assert joined.alerts == () and joined.state.devices[TWO].aside
    assert waited_in_vain(state).alerts == decision.alerts
    assert waited_in_vain(WORKING) == Decision(WORKING)


# ------------------------------------------------------------------------------------------- whole runs


class PretendedRun:
    """A run as the driver makes it, on a cluster where only what the tests want goes wrong.

    broken: motions that no setup works with; killers: motions that kill every actor that works on them; bad: nodes
    where no setup works; breaking: a node where none works after so many; capacity: envs that fit.
    """

    def __init__(self, random: Random, shards: list[list[Entry]], **faults: Any) -> None:
        self.random, self.story = random, [f"{shards} {faults}"]
        self.all = [entry.name for shard in shards for entry in shard]
        self.broken: set[str] = faults.pop("broken", set())
        self.killers: set[str] = faults.pop("killers", set())
        self.bad: set[str] = faults.pop("bad", set())
        self.breaking: dict[str, int] = faults.pop("breaking", {})
        self.capacity: int = faults.pop("capacity", 99)
        self.chances: dict[str, int] = {"node": faults.pop("node_deaths", 0), "actor": faults.pop("deaths", 0)}
        self.slots: dict[Device, int] = {Device(name, name): faults["slots"] for name in faults.pop("nodes")}
        self.queue: deque[Assignment] = deque(Assignment(i, tuple(s)) for i, s in enumerate(shards))  # type: ignore
        self.state = State(next_shard=len(shards), actors=faults["actors"])
        self.running: list[dict[str, Any]] = []
        self.idle: list[Device] = []
        self.finished: list[str] = []
        self.crashed: list[str] = []
        self.setups: Counter = Counter()
        self.steps = 0

    def __repr__(self) -> str:
        return "\n".join(self.story)

    def run(self, most: int = 20_000) -> PretendedRun:
        while self.queue or self.running:
            self.step()
            self.steps += 1
            self.assert_nothing_is_lost_or_doubled()
            assert self.steps < most, "it does not end"
        return self

    def assert_nothing_is_lost_or_doubled(self) -> None:
        done = self.finished + self.crashed
        at_work = [e.name for a in self.running for e in a["assignment"].motions if e.name not in done]
        queued = [e.name for a in self.queue for e in a.motions]
        assert sorted(done + at_work + queued) == sorted(self.all)

    def step(self) -> None:
        """One thing happens: an actor is started, or one gets on."""
        free = [d for d, slots in self.slots.items() for _ in range(slots - self.idle.count(d) - self.used(d))]
        room = sum(self.slots.values()) - len(self.idle)
        most = max(1, min(self.state.actors, room))
        if self.queue and len(self.running) < most and (not self.running or self.random.random() < 0.7):
            if free:
                self.start(self.random.choice(free))
            else:
                self.carry_out(waited_in_vain(self.state))
        elif self.chances["node"] and self.random.random() < 0.1:
            self.chances["node"] -= 1
            self.kill_node(self.random.choice(list(self.slots)))
        else:
            self.proceed(self.running.pop(self.random.randrange(len(self.running))))

    def used(self, device: Device) -> int:
        return sum(actor["device"] == device for actor in self.running)

    def start(self, device: Device) -> None:
        assignment = self.queue.popleft()
        instead = before_start(self.state, assignment)
        if instead:
            self.carry_out(instead)
            return
        self.state = self.state.met(device)
        if self.state.devices[device].aside:
            self.idle.append(device)
            self.queue.appendleft(assignment)
            return
        envs = min(len(assignment.motions), self.state.max_envs or 99)
        self.running.append({"assignment": assignment, "device": device, "envs": envs, "ready": False, "attempts": 0})

    def proceed(self, actor: dict[str, Any]) -> None:
        """Set it up, or let it finish a motion."""
        motions = [e for e in actor["assignment"].motions if e.name not in self.finished]
        device: Device = actor["device"]
        if not actor["ready"]:
            self.setups[device] += 1
            worn = self.setups[device] > self.breaking.get(device.node, 10**9)
            if actor["envs"] > self.capacity:
                self.lose(actor, Cause.TOO_LARGE)
            elif device.node in self.bad or worn or self.broken & {entry.name for entry in motions}:
                self.lose(actor, self.random.choice((Cause.REPORTED, Cause.REPORTED, Cause.DIED, Cause.SILENT)))
            else:
                actor["ready"] = True
                self.state = self.state.ready(device)
                self.forget_idle()
                self.running.append(actor)
            return
        motion = self.random.choice(motions)
        if motion.name in self.killers or (self.chances["actor"] and self.random.random() < 0.2):
            self.chances["actor"] -= motion.name not in self.killers
            self.lose(actor, Cause.DIED)
            return
        self.finished.append(motion.name)
        actor["attempts"] += 1
        if len(motions) > 1:
            self.running.append(actor)

    def lose(self, actor: dict[str, Any], cause: Cause) -> None:
        assignment = actor["assignment"]
        unfinished = tuple(entry for entry in assignment.motions if entry.name not in self.finished)
        rest = {key: actor[key] for key in ("ready", "attempts", "envs", "device")}
        loss = Loss(cause, "reason", assignment, unfinished, **rest, nodes=cluster(*self.slots))
        self.story.append(str(loss))
        self.carry_out(decide(self.state, loss))

    def kill_node(self, device: Device) -> None:
        """Another one takes its place, which is as good or bad."""
        self.slots[Device(device.node, f"{device.node_id}'")] = self.slots.pop(device)
        dying = [actor for actor in self.running if actor["device"] == device]
        self.running = [actor for actor in self.running if actor["device"] != device]
        for actor in dying:
            self.lose(actor, Cause.NODE_DIED)
        self.idle = [other for other in self.idle if other != device]

    def carry_out(self, decision: Decision) -> None:
        self.story.append(f"-> {decision}")
        self.state = decision.state
        self.queue.extendleft(reversed(decision.first))
        self.queue.extend(decision.last)
        if decision.given_up:
            self.crashed.append(decision.given_up[0].name)
        if decision.all_given_up:
            self.crashed += [entry.name for assignment in self.queue for entry in assignment.motions]
            self.queue.clear()
        self.forget_idle()

    def forget_idle(self) -> None:
        self.idle = [device for device in self.idle if self.state.devices.get(device, Setups()).aside]


def make_shards(count: int, motions: int, lengths: Random) -> list[list[Entry]]:
    made = [Entry(f"m{index}", round(lengths.uniform(1, 9), 1)) for index in range(motions)]
    return [made[index::count] for index in range(min(count, motions))]


def motion_names(motions: int, most: int) -> Any:
    return st.sets(st.sampled_from([f"m{index}" for index in range(motions)]), max_size=most)


@st.composite
def runs(draw: Any, harmful: int, broken: int) -> PretendedRun:
    """A pretended run with up to so many motions that kill or cannot be set up, and perhaps bad nodes, but the first.

    Not all at once: beside broken motions nodes do not break, and where nodes are bad the first one has worked before,
    and none dies.
    """
    motions = draw(st.integers(1, 16))
    nodes = [f"n{index}" for index in range(draw(st.integers(1, 4)))]
    faults: dict[str, Any] = {
        "broken": draw(motion_names(motions, broken)),
        "killers": draw(motion_names(motions, harmful)),
        "capacity": draw(st.integers(1, 16)),
        "node_deaths": draw(st.integers(0, 2)),
        "deaths": draw(st.integers(0, 1)),
        "actors": draw(st.integers(1, 5)),
        "slots": draw(st.integers(1, 2)),
        "nodes": nodes,
    }
    if draw(st.booleans()) and len(nodes) > 1:
        faults["bad"] = draw(st.sets(st.sampled_from(nodes[1:])))
        if faults["bad"] and faults["broken"]:
            faults["node_deaths"] = 0
        left = [name for name in nodes[1:] if name not in faults["bad"]]
        if left and not faults["broken"]:
            faults["breaking"] = {left[0]: draw(st.integers(0, 5))}
    random = Random(draw(st.integers(0, 2**32)))
    run = PretendedRun(random, make_shards(draw(st.integers(1, 6)), motions, random), **faults)
    if run.bad and run.broken:
        run.state = run.state.ready(next(iter(run.slots)))
    return run


@settings(max_examples=200)
@given(runs(harmful=3, broken=HOPELESS_MOTIONS - 1))
def test_only_harmful_motions_are_given_up_whatever_devices_do(run):
    """The first node is fine; others are bad from the first, or break, or are fine too. Any node may die."""
    run.run()
    assert set(run.crashed) == run.broken | run.killers
    assert set(run.finished) == set(run.all) - run.broken - run.killers


@settings(max_examples=100)
@given(runs(harmful=16, broken=16), st.booleans())
def test_every_run_ends_and_loses_nothing(run, nothing_works):
    if nothing_works:
        run.bad = {device.node for device in run.slots}
    run.run()
    assert sorted(run.finished + run.crashed) == sorted(run.all)
    if nothing_works:
        assert not run.finished


@pytest.mark.parametrize("slots, actors", [(1, 2), (2, 4)])
def test_a_bad_node_does_not_drain_the_queue(slots, actors):
    """Its setups fail at once, while those of the other take long; each shard is one motion."""
    for seed in range(50):
        nodes = ("good", "bad")
        shards = make_shards(30, 30, Random(seed))
        run = PretendedRun(Random(seed), shards, nodes=nodes, slots=slots, actors=actors, bad={"bad"}).run()
        assert len(run.finished) == 30 and not run.crashed
        assert run.setups[Device("bad", "bad")] <= FAILED_SETUPS + slots


def test_several_motions_that_no_actor_can_load_are_found_whichever_shards_they_are_in():
    """Although no setup has worked before."""
    for seed in range(50):
        motions = [Entry(f"m{index}", 5.0 if index % 3 == 0 else 2.0) for index in range(8)]
        shards = [motions[index::3] for index in Random(seed).sample(range(3), 3)]
        broken = {"m0", "m3", "m6"} if seed % 2 else {"m0", "m3"}
        run = PretendedRun(Random(seed), shards, nodes=["n0", "n1"], slots=2, actors=2, broken=broken).run()
        assert set(run.crashed) == broken


def test_a_motion_is_not_given_up_for_a_device_that_never_worked():
    """The only good node is set aside for two motions that no setup works with: it is still better than the others."""
    for seed in range(300):
        shards = [[Entry("m0"), Entry("m4")], [Entry("m1", 1.0)], [Entry("m2")], [Entry("m3")]]
        nodes, broken = ["n0", "n1", "n2"], {"m0", "m1"}
        run = PretendedRun(Random(seed), shards, nodes=nodes, slots=1, actors=1, broken=broken, bad={"n1", "n2"})
        run.state = run.state.ready(Device("n0", "n0"))
        assert set(run.run().crashed) == broken


def test_where_nothing_works_the_run_ends_soon():
    for nodes in (1, 2, 8, 64):
        for actors in {1, min(nodes, 4), nodes}:
            faults: dict[str, Any] = {"nodes": [f"n{i}" for i in range(nodes)], "slots": 1, "actors": actors}
            run = PretendedRun(Random(0), make_shards(100, 1000, Random(1)), **faults, bad=set(faults["nodes"])).run()
            assert len(run.crashed) == 1000
            most = FAILED_SETUPS * (actors + UNLUCKY_DEVICES) + actors + HOPELESS_MOTIONS * DEATHS_ALONE
            assert sum(run.setups.values()) <= most
