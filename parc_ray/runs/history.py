"""Run: what an output directory tells of its run, however often that was interrupted and went on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Set, Tuple, Union

from parc_ray.config.loading import check_config
from parc_ray.config.record import OutputConfig
from parc_ray.errors import InputError
from parc_ray.files.reading import read_text
from parc_ray.motions.dataset import ExcludedMotion, MotionEntry
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import RunAttempt
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
from parc_ray.runs.journal import JournalLine, SessionClock, journal_errors, read_events
from parc_ray.runs.ledger import CHARACTER_SHA256, Ledger
from parc_ray.runs.motion_state import MotionState
from parc_ray.runs.output import CHARACTER, JOURNAL, OutputDirectory

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class RunMotion:
    """One motion of the dataset, with its attempts."""

    name: str
    path: str
    state: MotionState
    reason: str = ""
    seconds: Optional[float] = None
    """From its first frame to its last; None if invalid."""
    terrain_range: Optional[float] = None
    """Metres from the lowest to the highest cell."""
    sha256: str = ""
    """Of its file."""
    start_fraction: Optional[float] = None
    """Where its recording starts."""
    recorded_seconds: float = 0.0
    recording: Optional[Path] = None
    """Where its recording was written."""
    recording_bytes: int = 0
    recording_sha256: str = ""
    """Of its recording; empty if the run was made by version 0.1.0."""
    attempts: Tuple[RunAttempt, ...] = ()

    @property
    def last_attempt(self) -> Optional[RunAttempt]:
        """The attempt that decided, or the latest so far."""
        standing = [attempt for attempt in self.attempts if attempt.outcome != Outcome.LOST]
        return standing[-1] if standing else None


@dataclass(frozen=True)
class Launch:
    """One actor at work on one shard. Times are seconds since its session began."""

    session: int
    shard: int
    motions: int
    envs: Optional[int]
    began: float
    """When Ray was asked for the actor."""
    ready: Optional[float] = None
    """When its recorder was made; None if it never was."""
    ended: Optional[float] = None
    death: str = ""
    """Why it was lost."""
    cut: bool = False
    """Whether it had something in flight when it was lost, or its session ended."""


@dataclass(frozen=True)
class Session:
    """One time that the command was run on the output directory."""

    began: float
    """Seconds since 1970."""
    seconds: float
    """From its first line in the journal to its last, without the start of Ray; 0 if there was nothing to do."""
    exit_code: Optional[int]
    """None if it was killed, or is still at work."""
    host: str
    versions: Mapping[str, str]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A run, read back."""

    path: Path
    """Output directory."""
    folder: Path
    """Where the command was given last; relative paths start there."""
    character: str
    """Path of the character file."""
    fingerprint: Mapping[str, Any]
    motions: Tuple[RunMotion, ...]
    sessions: Tuple[Session, ...]
    launches: Tuple[Launch, ...]
    excluded: Tuple[ExcludedMotion, ...] = ()
    """What the dataset's configuration leaves out; these are not motions of the run."""

    def __repr__(self) -> str:
        """Return one line: a run may have 100,000 motions."""
        recorded = sum(motion.state == "recorded" for motion in self.motions)
        return f"<Run {str(self.path)!r}: {recorded} of {len(self.motions)} motions recorded>"

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

    def frame(self) -> pandas.DataFrame:
        """A data frame of one row per attempt that counts, and one per motion without any. Needs pandas.

        Columns are what is known of the motion and of the attempt, and the attempt's metrics.
        """
        import pandas

        rows = []
        for motion in self.motions:
            about = {
                "motion": motion.name,
                "path": motion.path,
                "state": motion.state,
                "motion_seconds": motion.seconds,
                "terrain_range": motion.terrain_range,
            }
            own = [attempt for attempt in motion.attempts if attempt.outcome != Outcome.LOST]
            for attempt in own:
                rows.append(
                    {
                        **about,
                        "attempt": attempt.number,
                        "outcome": attempt.outcome,
                        "start_fraction": attempt.start_fraction,
                        "start_time": attempt.start_time,
                        "seconds": attempt.seconds,
                        "reason": attempt.reason,
                        "body": attempt.body,
                        **attempt.quality,
                    }
                )
            if not own:
                rows.append({**about, "reason": motion.reason})
        return pandas.DataFrame(rows)

    def attempts(self) -> List[Tuple[RunMotion, RunAttempt]]:
        """All attempts that count, with their motions."""
        return [(m, attempt) for m in self.motions for attempt in m.attempts if attempt.outcome != Outcome.LOST]


def read_run(output_dir: Union[str, Path]) -> Run:
    """The run in an output directory, at work or not. Raises InputError if there is none, or its journal is damaged.

    >>> import parc_ray
    >>> run = parc_ray.read_run("output")
    >>> [round(attempt.quality["max_penetration"], 1) for motion, attempt in run.attempts()]
    [0.0]
    >>> run.frame()[["motion", "outcome", "start_fraction"]]  # a data frame of pandas
       motion   outcome  start_fraction
    0  walk_0  recorded             0.0
    """
    path = Path(output_dir)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; give the output_dir of a run")
    journal, story = path / JOURNAL, _Story()
    with journal_errors(journal):
        if journal.exists():
            for line in read_events(journal):
                story.take(line)
        if not story.ledger.begun:
            raise InputError(f"{path}: holds no run (no {JOURNAL} that tells of one); give the output_dir of a run")
        return _past_run(path, story)


def read_character(run: Run) -> str:
    """Return the MJCF text of a run's character. Raises InputError if it is missing, or has changed since.

    Runs made before parc_ray stored it are read from the file that they used.
    """
    stored = run.path / CHARACTER
    path = stored if stored.is_file() else run.folder / run.character
    try:
        text = read_text(path)
    except InputError as error:
        raise InputError(f"{error}, or name the character's MJCF by --character") from None
    if hashlib.sha256(text.encode("utf-8")).hexdigest() != run.fingerprint.get(CHARACTER_SHA256):
        name = CHARACTER if path == stored else run.character
        raise InputError(f"{name}: the character has changed since the run; name the right file by --character")
    return text


def _past_run(path: Path, story: _Story) -> Run:
    last, ledger = story.runs[-1], story.ledger
    assert ledger.started is not None
    fingerprint = ledger.started.fingerprint
    output = OutputDirectory(path, check_config(last.config["output"], OutputConfig, str(path / JOURNAL)))
    motions = [_motion(entry, story, output) for entry in ledger.planned.values()]
    motions += [RunMotion(motion.name, motion.path, MotionState.INVALID, motion.reason) for motion in ledger.invalid]
    return Run(
        path=path,
        folder=Path(last.folder),
        character=last.character or fingerprint["env_file"]["env"].get("char_file", ""),
        fingerprint=fingerprint,
        motions=tuple(motions),
        sessions=tuple(story.sessions()),
        launches=tuple(story.launches()),
        excluded=tuple(ledger.excluded),
    )


def _motion(entry: MotionEntry, story: _Story, output: OutputDirectory) -> RunMotion:
    outcome = story.ledger.outcomes.get(entry.name)
    recorded = outcome is not None and outcome.state == MotionState.RECORDED
    return RunMotion(
        name=entry.name,
        path=entry.path,
        state=outcome.state if outcome else MotionState.UNFINISHED,
        reason=outcome.reason if outcome else "",
        seconds=entry.length,
        terrain_range=entry.terrain_range,
        sha256=entry.sha256,
        start_fraction=outcome.start_fraction if outcome and recorded else None,
        recorded_seconds=outcome.seconds if outcome else 0.0,
        recording=output.recording_path(entry.name) if recorded else None,
        recording_bytes=outcome.bytes if outcome else 0,
        recording_sha256=outcome.sha256 if outcome else "",
        attempts=tuple(_with_trajectory(ended, output) for ended in story.attempts.get(entry.name, ())),
    )


def _with_trajectory(ended: AttemptEnded, output: OutputDirectory) -> RunAttempt:
    attempt = ended.attempt
    if not ended.trajectory_bytes:
        return attempt
    return replace(attempt, trajectory=output.failure_path(attempt.motion, attempt.number))


def _later(start: Optional[float], seconds: Optional[float]) -> Optional[float]:
    return None if start is None or seconds is None else round(start + seconds, 3)


class _Story:
    """The ledger of a journal, and who did what when: its sessions, actors and attempts."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.runs: List[RunStarted] = []
        """One per session, as are the next ones."""
        self.attempts: Dict[str, List[AttemptEnded]] = {}
        """By motion, timed since their session began."""
        self._began: List[float] = []
        """Seconds since 1970."""
        self._clock = SessionClock()
        self._exit_codes: List[Optional[int]] = []
        self._final: List[Set[str]] = []
        """Motions that got their final state."""
        self._launches: List[Launch] = []
        self._given: List[Set[str]] = []
        """Motions of each launch."""
        self._latest: Dict[int, int] = {}
        """Index of the launch of each shard."""

    def take(self, line: JournalLine) -> None:
        """Take the next line. Raises KeyError, TypeError or ValueError if it cannot be the next."""
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
            own[-1] = replace(own[-1], attempt=replace(own[-1].attempt, outcome=Outcome.LOST))
        elif isinstance(event, MotionEnded):
            self._final[-1].add(event.motion)
        elif isinstance(event, RunEnded):
            self._exit_codes[-1] = event.exit_code

    def sessions(self) -> List[Session]:
        """All sessions."""
        return [
            Session(began, seconds, code, run.host, run.versions, run.config)
            for run, began, seconds, code in zip(self.runs, self._began, self._clock.seconds, self._exit_codes)
        ]

    def launches(self) -> List[Launch]:
        """All launches. One that nobody has ended worked until its motions, or its session, had ended."""
        ends: Dict[int, float] = {}
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
        """Add an attempt, timed since its session began instead of since its actor was ready."""
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
