"""Events: the contents of a journal, one class per event."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, ClassVar, Mapping, Sequence, Union

from parc_ray.motions.dataset import Dataset, ExcludedMotion, InvalidMotion, MotionEntry
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.runs.motion_state import MotionState


@dataclass(frozen=True)
class RunStarted:
    """A command started the run, or resumed it."""

    kind: ClassVar[str] = "run"

    fingerprint: Mapping[str, Any]
    """All inputs that recordings depend on, except the dataset."""
    motions: int
    """Number of planned motions."""
    host: str = ""
    pid: int = 0
    folder: str = "."
    """Working directory; relative paths start there."""
    character: str = ""
    """Path of the character file."""
    versions: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def control_freq(self) -> int:
        """Control steps per second. Raises KeyError if the fingerprint lacks it."""
        return int(self.fingerprint["env_file"]["env"]["control_freq"])


@dataclass(frozen=True)
class ShardStarted:
    """A shard was assigned to an actor."""

    kind: ClassVar[str] = "shard"

    shard: int
    motions: Sequence[str]
    envs: int | None = None
    deaths: int = 0
    """Actors lost over these motions since one of them finished an attempt."""


@dataclass(frozen=True)
class ActorReady:
    """The actor of a shard starts to simulate."""

    kind: ClassVar[str] = "ready"

    shard: int
    node: str = ""
    """Host name."""
    cpu: str = ""
    """Type of its CPU, on which the last bits of results depend."""


@dataclass(frozen=True)
class AttemptEnded:
    """An attempt ended. Its line also holds the fields of RunAttempt that are known when it is written."""

    kind: ClassVar[str] = "attempt"

    shard: int
    recording_bytes: int
    """0 without a recording."""
    attempt: RunAttempt
    trajectory_bytes: int = 0
    """Size of the kept file of a failed attempt; 0 without one."""
    recording_sha256: str = ""
    """Empty without a recording, and in journals of version 0.1.0."""


@dataclass(frozen=True)
class MotionEnded:
    """The final state of a motion; a crashed one is attempted again when the run is resumed."""

    kind: ClassVar[str] = "motion"

    motion: str
    state: MotionState
    reason: str = ""
    start_fraction: float = 0.0
    seconds: float = 0.0
    """Length of the recording, s."""
    path: str | None = None
    """Path of the recording, relative to the output directory."""
    bytes: int = 0
    """Size of the recording."""
    sha256: str = ""
    """Digest of the recording; empty in journals of version 0.1.0."""
    copies: int = 0
    """Size of the population that the recording comes from; 0 for a deterministic attempt."""


@dataclass(frozen=True)
class MotionsReopened:
    """Motions with a final state that will be recovered. Their state stands until a population records them."""

    kind: ClassVar[str] = "reopened"

    motions: Sequence[str]


@dataclass(frozen=True)
class RecordingLost:
    """A recording was missing or damaged when the run was resumed; its attempt is made again."""

    kind: ClassVar[str] = "lost"

    motion: str


@dataclass(frozen=True)
class ActorDied:
    """The actor of a shard was lost."""

    kind: ClassVar[str] = "death"

    shard: int
    reason: str
    unfinished: Sequence[str] = ()
    """Motions of the shard without a final state."""
    node: str = ""
    """Host name; empty if it had not started."""
    device: str = ""


@dataclass(frozen=True)
class DeviceSetAside:
    """A device gets no more work, because its setups always fail."""

    kind: ClassVar[str] = "set_aside"

    node: str
    device: str
    reason: str


@dataclass(frozen=True)
class ActorIdle:
    """Ray started an actor on a device that was set aside; the actor stays idle."""

    kind: ClassVar[str] = "idle"

    node: str
    device: str
    shard: int | None = None
    """Set in journals of earlier versions, which assigned shards before starting actors."""


@dataclass(frozen=True)
class RunEnded:
    """The command ended by itself."""

    kind: ClassVar[str] = "end"

    exit_code: int


DatasetEvent = Union[MotionEntry, ExcludedMotion, InvalidMotion]
"""A motion of the dataset is an event with the same content."""
Event = Union[
    RunStarted, DatasetEvent, ShardStarted, ActorReady, AttemptEnded, MotionEnded, MotionsReopened, RecordingLost,
    ActorDied,
    DeviceSetAside, ActorIdle, RunEnded,
]  # fmt: skip


def attempt_event(shard: int, result: AttemptResult, keeps_trajectory: bool) -> AttemptEnded:
    """Return the event of an attempt and its files."""
    recording, trajectory = result.recording or b"", result.trajectory or b""
    return AttemptEnded(
        shard=shard,
        recording_bytes=len(recording),
        attempt=result.attempt,
        trajectory_bytes=len(trajectory) if keeps_trajectory else 0,
        recording_sha256=hashlib.sha256(recording).hexdigest() if recording else "",
    )


def dataset_events(dataset: Dataset) -> list[DatasetEvent]:
    """Return the events of a dataset, valid motions last.

    A journal with all valid motions then also has all others.
    """
    return [*dataset.excluded, *dataset.invalid, *dataset.entries]
