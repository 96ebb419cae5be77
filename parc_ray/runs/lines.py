"""Lines of a journal: events as plain JSON values, and back.

Readers ignore unknown keys and events: they come from later versions. Fields with a default may be missing: journals of
earlier versions lack them.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Mapping, TypeVar

from parc_ray.motions.dataset import ExcludedMotion, InvalidMotion, MotionEntry
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import CATEGORIES, RunAttempt
from parc_ray.runs.events import (
    ActorDied,
    ActorIdle,
    ActorReady,
    AttemptEnded,
    DeviceSetAside,
    Event,
    MotionEnded,
    MotionsReopened,
    RecordingLost,
    RunEnded,
    RunStarted,
    ShardStarted,
)
from parc_ray.runs.motion_state import MotionState

T = TypeVar("T")

OWN: dict[str, type[Any]] = {
    kind.kind: kind
    for kind in (
        RunStarted, ShardStarted, ActorReady, MotionsReopened, RecordingLost, ActorDied, DeviceSetAside, ActorIdle,
        RunEnded,
    )
}  # fmt: skip
"""Events whose fields are the keys of their lines."""
OF_MOTIONS: dict[type[Any], Mapping[str, str]] = {
    MotionEntry: {"event": "planned"},
    ExcludedMotion: {"event": "excluded"},
    InvalidMotion: {"event": MotionEnded.kind, "state": MotionState.INVALID},
}
"""Motions of the dataset, whose `name` is `motion` in a journal, and the keys that their lines add."""
FIELDS = {
    kind: tuple(item.name for item in fields(kind))
    for kind in (*OWN.values(), *OF_MOTIONS, MotionEnded, AttemptEnded, RunAttempt)
}
NOT_IN_LINES = ("launch", "trajectory", "notes")
"""Fields of attempts and motions that are not written."""
RECOVERY = "recovery"
"""Event of a population: new readers treat it as an attempt, earlier versions ignore it."""
OF_POPULATIONS = ("copies", "env_steps")
"""Fields of attempts that only lines of populations have."""


def line_of(event: Event) -> dict[str, Any]:
    """Return the line of an event, without its time.

    >>> line_of(RunEnded(exit_code=0))
    {'event': 'end', 'exit_code': 0}
    """
    if isinstance(event, (MotionEntry, ExcludedMotion, InvalidMotion)):
        values = _values(event)
        return {**OF_MOTIONS[type(event)], "motion": values.pop("name"), **values}
    if isinstance(event, AttemptEnded):
        values = _values(event)
        attempt = _values(values.pop("attempt"))
        if attempt["copies"]:
            return {"event": RECOVERY, **attempt, **values}
        alone = {name: value for name, value in attempt.items() if name not in OF_POPULATIONS}
        return {"event": event.kind, **alone, **values}
    if isinstance(event, MotionEnded) and not event.copies:
        values = _values(event)
        del values["copies"]
        return {"event": event.kind, **values}
    return {"event": event.kind, **vars(event)}


def _values(record: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in NOT_IN_LINES}


def event_of(line: Mapping[str, Any]) -> Event | None:
    """Return the event of a line; None if this version does not know it.

    Raises KeyError, TypeError or ValueError if the line lacks a key, or holds an impossible value.

    >>> event_of({"event": "ready", "time": 1.0, "shard": 3})
    ActorReady(shard=3, node='', cpu='')
    """
    kind = line["event"]
    if kind == "planned":
        size_x, size_y = line["terrain_shape"]
        return _read(MotionEntry, {**line, "name": line["motion"], "terrain_shape": (size_x, size_y)})
    if kind == "excluded":
        return _read(ExcludedMotion, {**line, "name": line["motion"]})
    if kind in (AttemptEnded.kind, RECOVERY):
        return _read(AttemptEnded, {**line, "attempt": _attempt(line)})
    if kind == MotionEnded.kind:
        state = MotionState(line["state"])
        if state == MotionState.INVALID:
            return _read(InvalidMotion, {**line, "name": line["motion"]})
        return _read(MotionEnded, {**line, "state": state})
    event: Event | None = _read(OWN[kind], line) if kind in OWN else None
    return event


def _read(kind: type[T], values: Mapping[str, Any]) -> T:
    names = FIELDS[kind]
    return kind(**{name: values[name] for name in names if name in values})


def _attempt(line: Mapping[str, Any]) -> RunAttempt:
    outcome = Outcome(line["outcome"])
    criteria = tuple(line["criteria"]) if "criteria" in line else _criteria_of_sentence(outcome, line["reason"])
    values = {name: value for name, value in line.items() if name not in NOT_IN_LINES}
    return _read(RunAttempt, {**values, "outcome": outcome, "criteria": criteria})


def _criteria_of_sentence(outcome: Outcome, reason: str) -> tuple[str, ...]:
    """Return the criteria of an attempt in a journal that has only sentences.

    >>> _criteria_of_sentence(Outcome.FAILED, "fall (head) after 0.50 s")
    ('fall',)
    """
    if outcome not in CATEGORIES:
        return ()
    return tuple(part.split(" after ")[0].split(" (")[0].split(":")[0] for part in reason.split("; "))
