"""PastRun: what an output directory tells of its run, however often that was interrupted and went on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

from parc_ray.config.loading import check_config
from parc_ray.config.record import OutputConfig
from parc_ray.errors import InputError
from parc_ray.files.reading import read_text
from parc_ray.motions.dataset import Dataset, ExcludedMotion, InvalidMotion, MotionEntry
from parc_ray.runs.history import History, read_history
from parc_ray.runs.ledger import Ledger, Outcome
from parc_ray.runs.output import JOURNAL, OutputDirectory

STATES = ("recorded", "rejected", "invalid", "crashed", "not_attempted")
"""What may become of a motion. not_attempted: the run has ended, or was reported on, before it had a final state"""


@dataclass(frozen=True)
class PastAttempt:
    """One attempt, as its line in the journal tells. What a journal does not tell is None, or empty."""

    number: int
    start_fraction: float
    start_time: float
    """s in the motion"""
    seconds: float
    """simulated"""
    outcome: str
    """recorded, failed or rejected; lost: recorded, but the recording was gone when the run went on"""
    reason: str
    criteria: Tuple[str, ...] = ()
    """what ended it, or the acceptance limits that it broke"""
    body: str = ""
    quality: Mapping[str, Optional[float]] = field(default_factory=dict)
    """None where a figure was not finite"""
    launch: Optional[int] = None
    """index into PastRun.launches"""
    env: Optional[int] = None
    began: Optional[float] = None
    """s since its session began"""
    ended: Optional[float] = None
    trajectory: Optional[Path] = None
    """where the motion file of its failure was written (record.keep_failures)"""


@dataclass(frozen=True)
class PastMotion:
    """One motion of the dataset and what has become of it."""

    name: str
    path: str
    state: str
    """one of STATES"""
    reason: str = ""
    seconds: Optional[float] = None
    """from its first frame to its last; None if invalid"""
    terrain_range: Optional[float] = None
    """m from the lowest to the highest cell"""
    sha256: str = ""
    """of its file"""
    start_fraction: Optional[float] = None
    """where its recording starts"""
    recorded_seconds: float = 0.0
    recording: Optional[Path] = None
    """where its recording was written"""
    attempts: Tuple[PastAttempt, ...] = ()

    @property
    def last_attempt(self) -> Optional[PastAttempt]:
        """The attempt that decided, or the latest so far."""
        standing = [attempt for attempt in self.attempts if attempt.outcome != "lost"]
        return standing[-1] if standing else None


@dataclass(frozen=True)
class Launch:
    """One actor at work on one shard. Times are s since its session began."""

    session: int
    shard: int
    motions: int
    envs: Optional[int]
    began: float
    """Ray was asked for the actor"""
    ready: Optional[float] = None
    """its recorder was made; None: never"""
    ended: Optional[float] = None
    death: str = ""
    """why it was lost"""
    cut: bool = False
    """whether it had something in flight when it was lost, or its run ended"""


@dataclass(frozen=True)
class Session:
    """One time that the command was run on the output directory."""

    began: float
    """s since 1970"""
    seconds: float
    """to its last line in the journal"""
    exit_code: Optional[int]
    """None: it was killed, or is still at work"""
    host: str
    versions: Mapping[str, str]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class PastRun:
    """A run, read back."""

    path: Path
    """output directory"""
    folder: Path
    """where the command was run: relative paths start there"""
    character: str
    """path of the character file"""
    fingerprint: Mapping[str, Any]
    motions: Tuple[PastMotion, ...]
    sessions: Tuple[Session, ...]
    launches: Tuple[Launch, ...]
    excluded: Tuple[ExcludedMotion, ...] = ()
    """what the dataset's configuration leaves out: no motions of the run"""

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of the last session."""
        return self.sessions[-1].config

    @property
    def control_freq(self) -> int:
        """Control steps per second."""
        return int(self.fingerprint["env_file"]["env"]["control_freq"])

    @property
    def simulator(self) -> str:
        """Name and version of the engine."""
        name = str(self.fingerprint["simulator"])
        return f"{name} {self.fingerprint.get(f'version of {name}') or ''}".strip()

    def attempts(self) -> List[Tuple[PastMotion, PastAttempt]]:
        """All attempts that count, with their motions."""
        return [(m, attempt) for m in self.motions for attempt in m.attempts if attempt.outcome != "lost"]


def read_past_run(path: Path) -> PastRun:
    """The run in an output directory, at work or not. Raises InputError if there is none, or its journal is damaged."""
    history = read_history(path / JOURNAL)
    if history is None:
        raise InputError(f"{path}: holds no run (no {JOURNAL} that tells of one); give the output_dir of a run")
    try:
        return _past_run(path, history)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{history.path}: is the journal of another version of parc_ray ({error!r})") from None


def read_character(run: PastRun) -> str:
    """The text of a run's character file. Raises InputError if it is not there, or has changed since."""
    try:
        text = read_text(run.folder / run.character)
    except InputError as error:
        raise InputError(f"{error}; name the character's MJCF by --character") from None
    if hashlib.sha256(text.encode("utf-8")).hexdigest() != run.fingerprint.get("char_file (sha256)"):
        raise InputError(
            f"{run.character}: the character has changed since the run; name the right file by --character"
        )
    return text


def _past_run(path: Path, history: History) -> PastRun:
    runs = [event for event in history.events if event["event"] == "run"]
    last = runs[-1]
    output = OutputDirectory(path, check_config(last["config"]["output"], OutputConfig, str(history.path)))
    story = _Story(output)
    for event in history.events:
        story.tell(event)
    # An invalid motion is told of once, when the run begins; a file may be listed under the name of another.
    invalid = [
        InvalidMotion(event["motion"], event["path"], event["reason"])
        for event in history.events
        if event["event"] == "motion" and event["state"] == "invalid"
    ]
    ledger = Ledger(Dataset(tuple(history.planned.values()), tuple(invalid)))
    history.replay(ledger, output, int(history.fingerprint["env_file"]["env"]["control_freq"]))
    motions = [_motion(entry, ledger.outcomes.get(entry.name), story) for entry in history.planned.values()]
    motions += [PastMotion(motion.name, motion.path, "invalid", motion.reason) for motion in invalid]
    return PastRun(
        path=path,
        folder=Path(last.get("folder", ".")),
        character=last.get("character") or history.fingerprint["env_file"]["env"].get("char_file", ""),
        fingerprint=history.fingerprint,
        motions=tuple(motions),
        sessions=tuple(story.sessions),
        launches=tuple(story.finished_launches()),
        excluded=tuple(
            ExcludedMotion(event["motion"], event["path"], event["reason"])
            for event in history.events
            if event["event"] == "excluded"
        ),
    )


def _motion(entry: MotionEntry, outcome: Optional[Outcome], story: _Story) -> PastMotion:
    recorded = outcome is not None and outcome.state == "recorded"
    return PastMotion(
        name=entry.name,
        path=entry.path,
        state=outcome.state if outcome else "not_attempted",
        reason=outcome.reason if outcome else "",
        seconds=entry.length,
        terrain_range=entry.terrain_range,
        sha256=entry.sha256,
        start_fraction=outcome.start_fraction if outcome and recorded else None,
        recorded_seconds=outcome.seconds if outcome else 0.0,
        recording=outcome.path if outcome else None,
        attempts=tuple(story.attempts.get(entry.name, ())),
    )


class _Story:
    """Follows the events of a journal through sessions, actors and attempts."""

    def __init__(self, output: OutputDirectory) -> None:
        self.output = output
        self.sessions: List[Session] = []
        self.launches: List[Launch] = []
        self.attempts: Dict[str, List[PastAttempt]] = {}
        self._zero = 0.0
        self._latest: Dict[int, int] = {}
        """shard -> its launch"""
        self._given: List[Set[str]] = []
        """the motions of each launch"""
        self._final: List[Set[str]] = []
        """the motions that got their final state in each session"""

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take the next event."""
        kind = event["event"]
        if kind == "run":
            self._run(event)
        if not self.sessions:
            return
        now = max(0.0, _clock(event) - self._zero)
        self.sessions[-1] = replace(self.sessions[-1], seconds=max(self.sessions[-1].seconds, now))
        if kind == "shard":
            self._shard(event, now)
        elif kind == "ready":
            self._update(event["shard"], ready=now)
        elif kind == "idle":
            self._update(event["shard"], ended=now)
        elif kind == "death":
            self._update(event["shard"], ended=now, death=event["reason"])
        elif kind == "attempt":
            self._attempt(event)
        elif kind == "lost":
            own = self.attempts[event["motion"]]
            own[-1] = replace(own[-1], outcome="lost")
        elif kind == "motion":
            self._final[-1].add(event["motion"])
        elif kind == "end":
            self.sessions[-1] = replace(self.sessions[-1], exit_code=event["exit_code"])

    def finished_launches(self) -> List[Launch]:
        """All launches. One that nobody has ended worked until its motions, or its session, had ended."""
        ends: Dict[int, float] = {}
        for attempt in (attempt for own in self.attempts.values() for attempt in own):
            if attempt.launch is not None and attempt.ended is not None:
                ends[attempt.launch] = max(attempt.ended, ends.get(attempt.launch, 0.0))
        launches = []
        for index, launch in enumerate(self.launches):
            end = self.sessions[launch.session].seconds
            if launch.ended is not None:
                launch = replace(launch, cut=True)
            elif self._given[index] <= self._final[launch.session]:
                launch = replace(launch, ended=min(end, ends.get(index, end)))
            else:
                launch = replace(launch, ended=end, cut=True)
            launches.append(launch)
        return launches

    def _run(self, event: Mapping[str, Any]) -> None:
        self._zero = _clock(event)
        self._latest = {}
        self._final.append(set())
        self.sessions.append(
            Session(event["time"], 0.0, None, event.get("host", ""), event["versions"], event["config"])
        )

    def _shard(self, event: Mapping[str, Any], now: float) -> None:
        self._latest[event["shard"]] = len(self.launches)
        self._given.append(set(event["motions"]))
        self.launches.append(
            Launch(len(self.sessions) - 1, event["shard"], len(event["motions"]), event.get("envs"), now)
        )

    def _update(self, shard: int, **values: Any) -> None:
        if shard in self._latest:
            index = self._latest[shard]
            self.launches[index] = replace(self.launches[index], **values)

    def _attempt(self, event: Mapping[str, Any]) -> None:
        values = {item.name: event[item.name] for item in fields(PastAttempt) if item.name in event}
        launch = self._latest.get(event["shard"])
        ready = None if launch is None else self.launches[launch].ready
        for name in ("began", "ended"):
            known = ready is not None and values.get(name) is not None
            values[name] = round(ready + values[name], 3) if known else None
        values["criteria"] = tuple(values.get("criteria", ()))
        kept = event.get("trajectory_bytes")
        values["trajectory"] = self.output.failure_path(event["motion"], event["number"]) if kept else None
        self.attempts.setdefault(event["motion"], []).append(PastAttempt(**{**values, "launch": launch}))


def _clock(event: Mapping[str, Any]) -> float:
    """s by the clock of its session; a journal without one has only that of the machine."""
    value: float = event.get("elapsed", event["time"])
    return value
