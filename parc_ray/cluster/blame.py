"""Blame: which loss of an actor has which consequence.

A pure policy: the driver tells it what was lost, and carries out what it decides. Needs no Ray.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Optional, Tuple

if TYPE_CHECKING:
    from parc_ray.motions.dataset import MotionEntry

DEATHS_BEFORE_SPLIT = 2
"""Deaths without progress after which a shard is split: one of its motions may be what kills its actors."""
DEATHS_ALONE = 3
"""Deaths without progress after which a motion that is alone in its shard is given up."""
DEATHS_IN_TROUBLE = 6
"""The same while other shards lose actors too: what kills them may be no motion at all."""
HOPELESS_MOTIONS = 3
"""Motions given up before any setup has worked after which all are given up: it is not the motions."""
PROGRESS = 1 / 8
"""Share of its motions that an actor must have finished to have made progress."""


class Cause(Enum):
    """How an actor was lost."""

    DIED = "its process ended"
    NODE_DIED = "its node is gone"
    RAISED = "it raised an error that nobody foresaw"
    REPORTED = "it said why it cannot go on"
    SILENT = "it did not answer in time"
    TOO_LARGE = "its envs did not fit the memory of its device or node"


@dataclass(frozen=True)
class Assignment:
    """Motions for one actor."""

    shard: int
    motions: Tuple[MotionEntry, ...]
    deaths: int = 0
    """Actors lost on them since one made progress."""


@dataclass(frozen=True)
class Loss:
    """A lost actor."""

    cause: Cause
    reason: str
    assignment: Assignment
    unfinished: Tuple[MotionEntry, ...]
    """Motions of the assignment without a final state."""
    ready: bool
    """Whether its setup had worked."""
    attempts: int = 0
    """Attempts it had reported."""
    envs: int = 1

    @property
    def made_progress(self) -> bool:
        """Whether it brought its motions forward: then it was none of them that killed it at once."""
        total = len(self.assignment.motions)
        if total == 1:
            return self.attempts > 0
        return total - len(self.unfinished) >= PROGRESS * total


@dataclass(frozen=True)
class State:
    """What a run has been through."""

    next_shard: int
    """Number for the next shard that is split off."""
    ever_ready: bool = False
    """Whether any setup has worked."""
    given_up: int = 0
    """Motions given up before any setup had worked."""
    deaths: Tuple[int, ...] = ()
    """Shards that have lost actors, in order."""
    max_envs: Optional[int] = None
    """Upper bound of envs per actor, once more have turned out not to fit."""


@dataclass(frozen=True)
class Decision:
    """What follows from a loss."""

    state: State
    """The run's state from here on."""
    first: Tuple[Assignment, ...] = ()
    """To be queued before all others."""
    last: Tuple[Assignment, ...] = ()
    """To be queued after all others."""
    given_up: Optional[Tuple[MotionEntry, str]] = None
    """A motion that gets no more attempts, and why."""
    all_given_up: str = ""
    """Why everything in the queue is given up; empty if it is not."""
    notices: Tuple[str, ...] = ()
    """Lines for the user."""


def decide(state: State, loss: Loss) -> Decision:
    """What follows from the loss of an actor."""
    if loss.cause is Cause.TOO_LARGE and loss.envs > 1:
        return _fewer_envs(state, loss)
    if not loss.unfinished:
        return Decision(state)
    task = loss.assignment
    state = replace(state, deaths=(*state.deaths, task.shard))
    deaths = _weight(loss) + (0 if loss.made_progress else task.deaths)
    if len(loss.unfinished) == 1:
        if deaths >= (DEATHS_IN_TROUBLE if _others_die(state, task.shard) else DEATHS_ALONE):
            return _give_up(state, loss.unfinished[0], loss.reason)
        return Decision(state, last=(Assignment(task.shard, loss.unfinished, deaths),))
    if not state.ever_ready:
        return _try_one(state, Assignment(task.shard, loss.unfinished, deaths))
    if deaths < DEATHS_BEFORE_SPLIT:
        return Decision(state, last=(Assignment(task.shard, loss.unfinished, deaths),))
    return _halve(state, loss.unfinished, min(deaths, DEATHS_BEFORE_SPLIT) - 1)


def before_start(state: State, assignment: Assignment) -> Optional[Decision]:
    """What to do instead of starting an actor on an assignment, if anything.

    Once a motion was given up before any setup has worked, motions are tried one at a time.
    """
    if state.given_up and not state.ever_ready and len(assignment.motions) > 1:
        return _try_one(state, assignment)
    return None


def store_is_full(state: State, assignment: Assignment, reason: str, others_at_work: bool) -> Decision:
    """Ray's object store cannot hold a shard: try later if others are at work, in halves if there are none."""
    if others_at_work:
        return Decision(state, last=(assignment,))
    if len(assignment.motions) == 1:
        return Decision(state, given_up=(assignment.motions[0], reason))
    return _halve(state, assignment.motions, assignment.deaths)


def _weight(loss: Loss) -> int:
    """Deaths that a loss counts as."""
    if loss.cause is Cause.NODE_DIED:
        return 0  # No motion is to blame, however many nodes come and go.
    if loss.cause is Cause.REPORTED and not loss.ready:
        return DEATHS_IN_TROUBLE  # A setup that says what is wrong would say so again.
    return 1


def _others_die(state: State, shard: int) -> bool:
    """Whether other shards have lost actors between the last deaths of this one.

    Before any setup has worked that says nothing: all of them die of the same then.
    """
    last = [place for place, other in enumerate(state.deaths) if other == shard][-DEATHS_ALONE:]
    return state.ever_ready and last[-1] - last[0] >= len(last)


def _fewer_envs(state: State, loss: Loss) -> Decision:
    """Half as many envs, in all shards from now on."""
    state = replace(state, max_envs=min(loss.envs // 2, state.max_envs or loss.envs))
    notice = f"going on with at most {state.max_envs} envs per actor (max_envs_per_actor)"
    return replace(_halve(state, loss.unfinished, loss.assignment.deaths), notices=(notice,))


def _halve(state: State, motions: Tuple[MotionEntry, ...], deaths: int) -> Decision:
    middle = len(motions) // 2
    halves = [half for half in (motions[:middle], motions[middle:]) if half]
    last = tuple(Assignment(state.next_shard + index, half, deaths) for index, half in enumerate(halves))
    return Decision(replace(state, next_shard=state.next_shard + len(halves)), last=last)


def _try_one(state: State, assignment: Assignment) -> Decision:
    """Before any setup has worked, the shortest motion alone shows at once whether motions are to blame."""
    shortest = min(assignment.motions, key=lambda entry: entry.length)
    others = tuple(entry for entry in assignment.motions if entry is not shortest)
    return Decision(
        replace(state, next_shard=state.next_shard + 1),
        first=(Assignment(state.next_shard, (shortest,)),),
        last=(replace(assignment, motions=others),),
    )


def _give_up(state: State, motion: MotionEntry, reason: str) -> Decision:
    """A motion kills every actor. If no setup has ever worked, so would all others."""
    if state.ever_ready:
        return Decision(state, given_up=(motion, reason))
    state = replace(state, given_up=state.given_up + 1)
    hopeless = f"no actor could be set up: {reason}" if state.given_up >= HOPELESS_MOTIONS else ""
    return Decision(state, given_up=(motion, reason), all_given_up=hopeless)
