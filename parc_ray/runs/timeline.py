"""Timeline: the times of a run's events, from its journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from parc_ray.recording.outcome import Outcome
from parc_ray.runs.events import (
    ActorDied,
    ActorIdle,
    ActorReady,
    AttemptEnded,
    MotionEnded,
    RecordingLost,
    RunEnded,
    RunStarted,
    ShardStarted,
)
from parc_ray.runs.journal_reader import JournalLine
from parc_ray.runs.launch import Launch
from parc_ray.runs.ledger import Ledger
from parc_ray.runs.session import Session
from parc_ray.runs.session_clock import SessionClock


class Timeline:
    """The ledger of a journal, with the times of its sessions, actors and attempts."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.runs: list[RunStarted] = []
        """One start per session."""
        self.attempts: dict[str, list[AttemptEnded]] = {}
        """Attempts by motion, timed since their session began."""
        self._began: list[float] = []
        """Seconds since 1970."""
        self._clock = SessionClock()
        self._exit_codes: list[int | None] = []
        self._final: list[set[str]] = []
        """Motions that reached their final state."""
        self._launches: list[Launch] = []
        self._given: list[set[str]] = []
        """Motions of each launch."""
        self._latest: dict[int, int] = {}
        """Index of the launch of each shard."""

    def take(self, line: JournalLine) -> None:
        """Take the next line. Raises KeyError, TypeError or ValueError if it is not a valid next line."""
        event, now = line.event, self._clock.take(line)
        self.ledger.take(event)
        if isinstance(event, RunStarted):
            self._start(event, line)
        if not self.runs:
            return
        if isinstance(event, ShardStarted):
            self._launch(event, now)
        elif isinstance(event, ActorReady):
            self._update(event.shard, ready=now)
        elif isinstance(event, ActorIdle) and event.shard is not None:
            self._update(event.shard, ended=now)
        elif isinstance(event, ActorDied):
            self._update(event.shard, ended=now, death=event.reason)
        elif isinstance(event, AttemptEnded):
            self._attempt(event)
        elif isinstance(event, RecordingLost):
            own = self.attempts[event.motion]
            last = max(index for index, ended in enumerate(own) if ended.attempt.outcome == Outcome.RECORDED)
            own[last] = replace(own[last], attempt=replace(own[last].attempt, outcome=Outcome.LOST))
        elif isinstance(event, MotionEnded):
            self._final[-1].add(event.motion)
        elif isinstance(event, RunEnded):
            self._exit_codes[-1] = event.exit_code

    def sessions(self) -> list[Session]:
        """Return all sessions."""
        return [
            Session(began, seconds, code, run.host, run.versions, run.config)
            for run, began, seconds, code in zip(self.runs, self._began, self._clock.seconds, self._exit_codes)
        ]

    def launches(self) -> list[Launch]:
        """Return all launches. A launch without an end event ended with its motions, or with its session."""
        ends: dict[int, float] = {}
        for attempt in (ended.attempt for own in self.attempts.values() for ended in own):
            if attempt.launch is not None and attempt.ended is not None:
                ends[attempt.launch] = max(attempt.ended, ends.get(attempt.launch, 0.0))
        launches = []
        for index, launch in enumerate(self._launches):
            end = self._clock.seconds[launch.session]
            if launch.ended is not None:
                launch = replace(launch, cut=True)
            elif self._given[index] <= self._final[launch.session]:
                launch = replace(launch, ended=min(end, ends.get(index, end)))
            else:
                launch = replace(launch, ended=end, cut=True)
            launches.append(launch)
        return launches

    def _start(self, event: RunStarted, line: JournalLine) -> None:
        self.runs.append(event)
        self._began.append(line.time)
        self._exit_codes.append(None)
        self._final.append(set())
        self._latest = {}

    def _attempt(self, event: AttemptEnded) -> None:
        """Add an attempt, with times since its session began instead of since its actor was ready."""
        attempt, launch = event.attempt, self._latest.get(event.shard)
        ready = None if launch is None else self._launches[launch].ready
        began, ended = _later(ready, attempt.began), _later(ready, attempt.ended)
        attempt = replace(attempt, launch=launch, began=began, ended=ended)
        self.attempts.setdefault(attempt.motion, []).append(replace(event, attempt=attempt))

    def _launch(self, event: ShardStarted, now: float) -> None:
        self._latest[event.shard] = len(self._launches)
        self._given.append(set(event.motions))
        self._launches.append(Launch(len(self.runs) - 1, event.shard, len(event.motions), event.envs, now))

    def _update(self, shard: int, **values: Any) -> None:
        if shard in self._latest:
            index = self._latest[shard]
            self._launches[index] = replace(self._launches[index], **values)


def _later(start: float | None, seconds: float | None) -> float | None:
    return None if start is None or seconds is None else round(start + seconds, 3)
