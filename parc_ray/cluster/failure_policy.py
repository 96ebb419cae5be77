"""Failure policy: the consequences of each loss of an actor.

Pure functions: the driver reports every loss and applies the decision. Needs no Ray.

A loss counts against the actor's motions. Ever smaller shards are tried until the motion to blame is found. A setup may
also fail because of its device: see _handle_failed_setup.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Mapping

from parc_ray.cluster.assignment import Assignment
from parc_ray.cluster.device import Device
from parc_ray.cluster.loss import Cause, Loss

if TYPE_CHECKING:
    from parc_ray.motions.dataset import MotionEntry

DEATHS_BEFORE_SPLIT = 2
"""Deaths without progress before a shard is split: one of its motions may kill its actors."""
DEATHS_ALONE = 3
"""Deaths without progress before a motion alone in its shard is given up."""
DEATHS_IN_TROUBLE = 6
"""The same while other shards lose actors too: the cause may not be a motion."""
HOPELESS_MOTIONS = 3
"""Motions given up before any successful setup, after which all are given up: the motions are not the cause."""
FAILED_SETUPS = 3
"""Consecutive failed setups held against a device before it is set aside; a single one may be chance."""
UNLUCKY_DEVICES = 4
"""Bad devices that may be met before any successful setup, besides one per actor. Beyond that, the devices are not the
cause.
"""


@dataclass(frozen=True)
class Setups:
    """Results of setups on a device."""

    worked: bool = False
    """True if any setup has succeeded."""
    failed: int = 0
    """Failures since the last success."""
    aside: bool = False
    """True if the device gets no more work."""

    def is_better_than(self, other: Setups) -> bool:
        """Return True if this device may work, and the other one, which has failed, is not as promising.

        A device that has worked is better than one that never has, even if it was set aside meanwhile.
        """
        if self.worked and not other.worked:
            return True
        if self.aside or not self.failed:
            return not self.aside
        return self.worked and self.failed < FAILED_SETUPS


@dataclass(frozen=True)
class State:
    """Losses and devices of a run so far."""

    next_shard: int
    """Number of the next shard split off."""
    ever_ready: bool = False
    """True if any setup has succeeded."""
    given_up: int = 0
    """Motions given up before any successful setup."""
    deaths: tuple[int, ...] = ()
    """Shards that lost actors, in order."""
    max_envs: int | None = None
    """Upper bound of envs per actor, after a larger number did not fit."""
    actors: int = 1
    """Maximum number of actors at a time."""
    devices: Mapping[Device, Setups] = field(default_factory=dict)
    """All devices on which actors have run."""
    excused: int = 0
    """Failed setups held against devices before any setup succeeded."""
    others_failed_to_come: bool = False
    """True if the run waited for devices other than those set aside, but none came."""

    def met(self, device: Device) -> State:
        """Return the state after an actor has reported its device."""
        return self if device in self.devices else self._with(device, Setups())

    def ready(self, device: Device) -> State:
        """Return the state after a successful setup."""
        return replace(self._with(device, Setups(worked=True)), ever_ready=True, others_failed_to_come=False)

    def with_shards(self, count: int) -> State:
        """Return the state after numbering new shards."""
        return replace(self, next_shard=self.next_shard + count)

    def _with(self, device: Device, setups: Setups) -> State:
        return replace(self, devices={**self.devices, device: setups})


@dataclass(frozen=True)
class Decision:
    """Consequences of a loss."""

    state: State
    """New state of the run."""
    first: tuple[Assignment, ...] = ()
    """Assignments for the front of the queue."""
    last: tuple[Assignment, ...] = ()
    """Assignments for the end of the queue."""
    given_up: tuple[MotionEntry, str] | None = None
    """A motion that gets no more attempts, and the reason."""
    all_given_up: str = ""
    """Reason for giving up everything in the queue; empty if nothing is given up."""
    set_aside: tuple[Device, str] | None = None
    """A device that gets no more work, and the reason."""
    notices: tuple[str, ...] = ()
    """Lines for users who watch the run."""
    alerts: tuple[str, ...] = ()
    """Lines for all users, watching or not."""


def decide(state: State, loss: Loss) -> Decision:
    """Return the consequences of an actor's loss."""
    if loss.cause is Cause.TOO_LARGE and loss.envs > 1:
        return _fewer_envs(state, loss)
    state = replace(state, devices={d: setups for d, setups in state.devices.items() if d.node_id in loss.nodes})
    if not loss.unfinished:
        decision = Decision(state)
    elif loss.failed_setup:
        decision = _handle_failed_setup(state, loss)
    else:
        decision = _blame_motions(state, loss)
    return _use_all_if_none_is_better(decision, sum(loss.nodes.values()))


def waited_in_vain(state: State) -> Decision:
    """Return the decision if Ray starts no actor for a long time: use the devices that were set aside."""
    if not any(setups.aside for setups in state.devices.values()):
        return Decision(state)
    state = replace(state, others_failed_to_come=True)
    return _use_all_if_none_is_better(Decision(state), len(state.devices))


def before_start(state: State, assignment: Assignment) -> Decision | None:
    """Return what to do instead of starting an actor on an assignment; None to start it.

    After a motion was given up before any successful setup, motions are tried one at a time.
    """
    if state.given_up and not state.ever_ready and len(assignment.motions) > 1:
        return _try_one(state, assignment)
    return None


def store_is_full(state: State, assignment: Assignment, reason: str, others_at_work: bool) -> Decision:
    """Ray's object store cannot hold a shard: retry later if other actors are at work, else split it in half."""
    if others_at_work:
        return Decision(state, last=(assignment,))
    if len(assignment.motions) == 1:
        return Decision(state, given_up=(assignment.motions[0], reason))
    return _halve(state, assignment.motions, assignment.deaths)


def _handle_failed_setup(state: State, loss: Loss) -> Decision:
    """Hold a failed setup against the motions or the device.

    While another device works, or may work, it counts against the motions in two cases only. Either there are several
    motions and the device's last setup succeeded: splitting them does no harm. Or it confirms an earlier failure of
    theirs, on the same device if a setup succeeded there in between, or on another device if both have worked before.
    That clears the devices.
    """
    device, suspects = loss.device, loss.assignment.failed_on
    assert device is not None
    before = state.devices.get(device, Setups())
    failed = replace(state, devices={**state.devices, device: replace(before, failed=before.failed + 1)})
    was_fine = before.worked and not before.failed
    if before.worked and (_failed_elsewhere(state, device, suspects) or (was_fine and device in suspects)):
        return _clear(_blame_motions(state, loss), suspects | {device})
    if not _elsewhere(failed, device, sum(loss.nodes.values())):
        return _blame_motions(failed, loss)
    if was_fine and len(loss.unfinished) > 1:
        return _blame_motions(failed, loss)
    return _blame_device(failed, loss, device)


def _failed_elsewhere(state: State, device: Device, suspects: frozenset[Device]) -> bool:
    """Return True if the same motions have failed on another device that has worked.

    All devices of a node may break at once, so the other device must be on another node, if there is one.
    """
    one_node = len({known.node_id for known in state.devices}) == 1
    others = [other for other in suspects if state.devices.get(other, Setups()).worked]
    return any(other != device and (one_node or other.node_id != device.node_id) for other in others)


def _blame_device(state: State, loss: Loss, device: Device) -> Decision:
    """Requeue the motions unchanged. Set the device aside if it fails too often."""
    task, setups = loss.assignment, state.devices[device]
    last = (replace(task, motions=loss.unfinished, failed_on=task.failed_on | {device}),)
    state = replace(state, excused=state.excused + (not state.ever_ready))
    if setups.aside or setups.failed < FAILED_SETUPS:
        return Decision(state, last=last)
    state = replace(state, devices={**state.devices, device: replace(setups, aside=True)})
    meanwhile = "while others work" if state.ever_ready else "and others may work"
    alert = f"{device}: {setups.failed} setups have failed there {meanwhile}: it gets no more work: {loss.reason}"
    return Decision(state, last=last, set_aside=(device, loss.reason), alerts=(alert,))


def _elsewhere(state: State, device: Device, devices: int) -> bool:
    """Return True if another device works, or may work. devices: number of devices, known or not."""
    if state.others_failed_to_come:
        return False
    if not state.ever_ready and state.excused >= FAILED_SETUPS * (state.actors + UNLUCKY_DEVICES):
        return False
    if devices > len(state.devices):
        return True
    own = state.devices[device]
    return any(setups.is_better_than(own) for other, setups in state.devices.items() if other != device)


def _clear(decision: Decision, devices: frozenset[Device]) -> Decision:
    """Clear these devices: motions caused the failures. Only the next setup shows whether a device works."""
    known = decision.state.devices
    cleared = {d: replace(known[d], failed=min(known[d].failed, 1), aside=False) for d in devices if d in known}
    back = [device for device in cleared if known[device].aside]
    return replace(
        decision,
        state=replace(decision.state, devices={**known, **cleared}),
        alerts=(*decision.alerts, *(f"{d} gets work again: what has failed there fails elsewhere" for d in back)),
    )


def _use_all_if_none_is_better(decision: Decision, devices: int) -> Decision:
    """Use devices that were set aside again if no other device works or may work."""
    state = decision.state
    back: list[Device] = [d for d, s in state.devices.items() if s.aside and not _elsewhere(state, d, devices)]
    if not back:
        return decision
    used = {device: replace(state.devices[device], aside=False) for device in back}
    alerts = (*decision.alerts, *(f"{device} gets work again: no other device works" for device in back))
    return replace(decision, state=replace(state, devices={**state.devices, **used}), alerts=alerts)


def _blame_motions(state: State, loss: Loss) -> Decision:
    """Try again, in smaller shards, until the motion to blame is found."""
    task = loss.assignment
    state = replace(state, deaths=(*state.deaths, task.shard))
    deaths = _weight(loss) + (0 if loss.made_progress else task.deaths)
    again = replace(task, motions=loss.unfinished, deaths=deaths)
    if loss.cause is Cause.NODE_DIED:
        return Decision(state, last=(again,))  # Losing a node is never a motion's fault, however often it happens.
    if len(loss.unfinished) == 1:
        if deaths >= (DEATHS_IN_TROUBLE if _others_die(state, task.shard) else DEATHS_ALONE):
            return _give_up(state, loss.unfinished[0], loss.reason)
        return Decision(state, last=(again,))
    if not state.ever_ready:
        return _try_one(state, again)
    if deaths < DEATHS_BEFORE_SPLIT:
        return Decision(state, last=(again,))
    return _halve(state, loss.unfinished, DEATHS_BEFORE_SPLIT - 1)


def _weight(loss: Loss) -> int:
    """Return the number of deaths that a loss counts as."""
    if loss.cause is Cause.NODE_DIED:
        return 0
    if loss.cause is Cause.REPORTED and not loss.ready:
        return DEATHS_IN_TROUBLE  # A setup that reports its problem would report it again.
    return 1


def _others_die(state: State, shard: int) -> bool:
    """Return True if other shards have lost actors between the last deaths of this one.

    Before any successful setup this proves nothing: all shards then die of the same cause.
    """
    last = [place for place, other in enumerate(state.deaths) if other == shard][-DEATHS_ALONE:]
    return state.ever_ready and last[-1] - last[0] >= len(last)


def _fewer_envs(state: State, loss: Loss) -> Decision:
    """Halve the number of envs in all shards from now on."""
    state = replace(state, max_envs=min(loss.envs // 2, state.max_envs or loss.envs))
    notice = f"going on with at most {state.max_envs} envs per actor (max_envs_per_actor)"
    return replace(_halve(state, loss.unfinished, loss.assignment.deaths), notices=(notice,))


def _halve(state: State, motions: tuple[MotionEntry, ...], deaths: int) -> Decision:
    middle = len(motions) // 2
    halves = [half for half in (motions[:middle], motions[middle:]) if half]
    last = tuple(Assignment(state.next_shard + index, half, deaths) for index, half in enumerate(halves))
    return Decision(replace(state, next_shard=state.next_shard + len(halves)), last=last)


def _try_one(state: State, assignment: Assignment) -> Decision:
    """Try the shortest motion alone: before any successful setup, this shows at once whether motions are to blame."""
    shortest = min(assignment.motions, key=lambda entry: entry.length)
    others = tuple(entry for entry in assignment.motions if entry is not shortest)
    return Decision(
        replace(state, next_shard=state.next_shard + 1),
        first=(Assignment(state.next_shard, (shortest,)),),
        last=(replace(assignment, motions=others, deaths=min(assignment.deaths, DEATHS_BEFORE_SPLIT - 1)),),
    )


def _give_up(state: State, motion: MotionEntry, reason: str) -> Decision:
    """Give up a motion that kills every actor. If no setup has ever succeeded, all others may be given up too."""
    if state.ever_ready:
        return Decision(state, given_up=(motion, reason))
    state = replace(state, given_up=state.given_up + 1)
    hopeless = f"no actor could be set up: {reason}" if state.given_up >= HOPELESS_MOTIONS else ""
    return Decision(state, given_up=(motion, reason), all_given_up=hopeless)
