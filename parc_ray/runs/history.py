"""Run: a run read back from its output directory, over all its sessions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from parc_ray.config.loading import check_config
from parc_ray.config.record import OutputConfig
from parc_ray.errors import InputError
from parc_ray.files.reading import read_text
from parc_ray.motions.dataset import ExcludedMotion, MotionEntry
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.runs.events import AttemptEnded
from parc_ray.runs.journal_reader import journal_errors, read_events
from parc_ray.runs.launch import Launch
from parc_ray.runs.ledger import CHARACTER_SHA256
from parc_ray.runs.motion_state import MotionState
from parc_ray.runs.output import CHARACTER, JOURNAL, OutputDirectory
from parc_ray.runs.session import Session
from parc_ray.runs.timeline import Timeline

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class RunMotion:
    """One motion of the dataset, with its attempts."""

    name: str
    path: str
    state: MotionState
    reason: str = ""
    seconds: float | None = None
    """Length; None if invalid."""
    terrain_range: float | None = None
    """Height difference between the highest and the lowest cell, m."""
    sha256: str = ""
    """Digest of its motion file."""
    start_fraction: float | None = None
    """Start of its recording, as a share of the motion."""
    recorded_seconds: float = 0.0
    """Length of its recording."""
    recording: Path | None = None
    """Path of its recording."""
    recording_bytes: int = 0
    recording_sha256: str = ""
    """Digest of its recording; empty if the run was made by version 0.1.0."""
    attempts: tuple[RunAttempt, ...] = ()
    """Deterministic attempts, in order."""
    populations: tuple[RunAttempt, ...] = ()
    """Populations of recovery, in order."""
    copies: int = 0
    """Size of the population that produced its recording; 0 for a deterministic attempt."""

    @property
    def recorded_how(self) -> str:
        """ "at once", "recovered" or "from a later start"; empty without a recording."""
        if self.state != MotionState.RECORDED:
            return ""
        return "recovered" if self.copies else "from a later start" if self.start_fraction else "at once"

    @property
    def last_attempt(self) -> RunAttempt | None:
        """The decisive attempt, or the latest one. Lost recordings and failed recovery do not count."""
        if self.copies:
            return next((p for p in reversed(self.populations) if p.outcome == Outcome.RECORDED), None)
        standing = [attempt for attempt in self.attempts if attempt.outcome != Outcome.LOST]
        return standing[-1] if standing else None


@dataclass(frozen=True)
class Run:
    """A run, read back from its journal."""

    path: Path
    """Output directory."""
    folder: Path
    """Working directory of the last command; relative paths start there."""
    character: str
    """Path of the character file."""
    fingerprint: Mapping[str, Any]
    motions: tuple[RunMotion, ...]
    sessions: tuple[Session, ...]
    launches: tuple[Launch, ...]
    excluded: tuple[ExcludedMotion, ...] = ()
    """Motions that the dataset's configuration excludes; they are not motions of the run."""

    def __repr__(self) -> str:
        """Return one line: a run may have 100,000 motions."""
        recorded = sum(motion.state == MotionState.RECORDED for motion in self.motions)
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
        """Return a data frame with a row per attempt, and one per motion without any. Needs pandas.

        Columns describe the motion and the attempt, and hold its metrics. Lost recordings do not count.
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

    def attempts(self) -> list[tuple[RunMotion, RunAttempt]]:
        """Return all attempts with their motions, except those with lost recordings."""
        return [(m, attempt) for m in self.motions for attempt in m.attempts if attempt.outcome != Outcome.LOST]


def read_run(output_dir: str | Path) -> Run:
    """Return the run in an output directory; it may still be running.

    Raises InputError if there is none, or its journal is damaged.

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
    journal, timeline = path / JOURNAL, Timeline()
    with journal_errors(journal):
        if journal.exists():
            for line in read_events(journal):
                timeline.take(line)
        if not timeline.ledger.begun:
            raise InputError(f"{path}: holds no run (no {JOURNAL} of one); give the output_dir of a run")
        return _run(path, timeline)


def read_character(run: Run) -> str:
    """Return the MJCF text of a run's character. Raises InputError if it is missing, or has changed since.

    Runs made before parc_ray stored it are read from their original file.
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


def _run(path: Path, timeline: Timeline) -> Run:
    last, ledger = timeline.runs[-1], timeline.ledger
    assert ledger.started is not None
    fingerprint = ledger.started.fingerprint
    output = OutputDirectory(path, check_config(last.config["output"], OutputConfig, str(path / JOURNAL)))
    motions = [_motion(entry, timeline, output) for entry in ledger.planned.values()]
    motions += [RunMotion(motion.name, motion.path, MotionState.INVALID, motion.reason) for motion in ledger.invalid]
    return Run(
        path=path,
        folder=Path(last.folder),
        character=last.character or fingerprint["env_file"]["env"].get("char_file", ""),
        fingerprint=fingerprint,
        motions=tuple(motions),
        sessions=tuple(timeline.sessions()),
        launches=tuple(timeline.launches()),
        excluded=tuple(ledger.excluded),
    )


def _motion(entry: MotionEntry, timeline: Timeline, output: OutputDirectory) -> RunMotion:
    outcome = timeline.ledger.outcomes.get(entry.name)
    recorded = outcome is not None and outcome.state == MotionState.RECORDED
    ended = timeline.attempts.get(entry.name, ())
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
        attempts=tuple(_with_trajectory(one, output) for one in ended if not one.attempt.copies),
        populations=tuple(one.attempt for one in ended if one.attempt.copies),
        copies=outcome.copies if outcome else 0,
    )


def _with_trajectory(ended: AttemptEnded, output: OutputDirectory) -> RunAttempt:
    attempt = ended.attempt
    if not ended.trajectory_bytes:
        return attempt
    return replace(attempt, trajectory=output.failure_path(attempt.motion, attempt.number))
