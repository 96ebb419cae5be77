"""Events: what a journal tells, one class per event. A field with a default is missing in journals of earlier versions.

Keys of a line that its class does not know, and events that no class knows, come from later versions: they are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Sequence, Type, Union

from parc_ray.motions.dataset import Dataset, MotionEntry
from parc_ray.recording.attempts import AttemptResult


@dataclass(frozen=True)
class RunStarted:
    """The command was given: once when the run begins, and again whenever it goes on."""

    kind: ClassVar[str] = "run"

    fingerprint: Mapping[str, Any]
    """Everything but the dataset that recordings depend on."""
    motions: int
    """Number of planned motions."""
    host: str = ""
    pid: int = 0
    folder: str = "."
    """Working directory: relative paths start there."""
    character: str = ""
    """Path of the character file."""
    versions: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def control_freq(self) -> int:
        """Control steps per second. Raises KeyError if the fingerprint does not tell."""
        return int(self.fingerprint["env_file"]["env"]["control_freq"])


@dataclass(frozen=True)
class MotionPlanned:
    """A motion of the dataset. The fields are those of MotionEntry."""

    kind: ClassVar[str] = "planned"

    motion: str
    path: str
    weight: float
    num_frames: int
    fps: float
    length: float
    terrain_shape: Sequence[int]
    file_bytes: int
    sha256: str = ""
    terrain_range: Optional[float] = None
    labelled: bool = True

    @property
    def entry(self) -> MotionEntry:
        """The motion as an entry of a dataset."""
        values = {**vars(self)}
        size_x, size_y = values.pop("terrain_shape")
        return MotionEntry(name=values.pop("motion"), terrain_shape=(size_x, size_y), **values)


@dataclass(frozen=True)
class MotionExcluded:
    """A valid motion that the dataset's configuration leaves out."""

    kind: ClassVar[str] = "excluded"

    motion: str
    path: str
    reason: str


@dataclass(frozen=True)
class MotionInvalid:
    """A file of the dataset that cannot be used: it is in its final state before anything is simulated."""

    kind: ClassVar[str] = "motion"

    motion: str
    path: str
    """Of the file."""
    reason: str
    state: str = "invalid"


@dataclass(frozen=True)
class ShardStarted:
    """Ray was asked for an actor for a shard."""

    kind: ClassVar[str] = "shard"

    shard: int
    motions: Sequence[str]
    envs: Optional[int] = None
    deaths: int = 0
    """Actors that these motions have cost since one got somewhere."""


@dataclass(frozen=True)
class ActorReady:
    """The actor of a shard begins to simulate."""

    kind: ClassVar[str] = "ready"

    shard: int


@dataclass(frozen=True)
class AttemptEnded:
    """How an attempt ended. The fields from motion on are those of AttemptResult, without the files."""

    kind: ClassVar[str] = "attempt"

    shard: int
    recording_bytes: int
    """0 without a recording."""
    motion: str
    number: int
    start_fraction: float
    start_time: float
    seconds: float
    outcome: str
    reason: str
    quality: Mapping[str, Optional[float]]
    """None where a metric was not finite."""
    next_fraction: Optional[float]
    recorded_seconds: float
    criteria: Sequence[str] = ()
    body: str = ""
    env: Optional[int] = None
    began: Optional[float] = None
    """Seconds since its actor was ready."""
    ended: Optional[float] = None
    """Seconds since its actor was ready."""
    trajectory_bytes: int = 0
    """Of the kept file of a failed attempt; 0 without one."""


@dataclass(frozen=True)
class MotionEnded:
    """The final state of a motion, until the run goes on if it is "crashed"."""

    kind: ClassVar[str] = "motion"

    motion: str
    state: str
    """recorded, rejected or crashed."""
    reason: str = ""
    start_fraction: float = 0.0
    seconds: float = 0.0
    """Recorded."""
    path: Optional[str] = None
    """Of the recording, from the output directory."""
    bytes: int = 0
    """Of the recording."""


@dataclass(frozen=True)
class RecordingLost:
    """A recording was missing when the run went on, so that its attempt is made again."""

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
    """Where it ran; empty if Ray had not started it."""
    device: str = ""


@dataclass(frozen=True)
class DeviceSetAside:
    """A device whose setups always fail gets no more work."""

    kind: ClassVar[str] = "set_aside"

    node: str
    device: str
    reason: str


@dataclass(frozen=True)
class ActorIdle:
    """The actor of a shard was started on a device that was set aside: another one gets the shard."""

    kind: ClassVar[str] = "idle"

    shard: int
    node: str
    device: str


@dataclass(frozen=True)
class RunEnded:
    """The command has ended by itself."""

    kind: ClassVar[str] = "end"

    exit_code: int


DatasetEvent = Union[MotionPlanned, MotionExcluded, MotionInvalid]
Event = Union[
    RunStarted, DatasetEvent, ShardStarted, ActorReady, AttemptEnded, MotionEnded, RecordingLost, ActorDied,
    DeviceSetAside, ActorIdle, RunEnded,
]  # fmt: skip
KINDS: Dict[str, Type[Any]] = {
    kind.kind: kind
    for kind in (
        RunStarted, MotionPlanned, MotionExcluded, ShardStarted, ActorReady, AttemptEnded, MotionEnded, RecordingLost,
        ActorDied, DeviceSetAside, ActorIdle, RunEnded,
    )
}  # fmt: skip
FIELDS = {kind: tuple(item.name for item in fields(kind)) for kind in (*KINDS.values(), MotionInvalid)}


def line_of(event: Event) -> Dict[str, Any]:
    """The line of the journal that tells of an event, without its time.

    >>> line_of(ActorReady(shard=3))
    {'event': 'ready', 'shard': 3}
    """
    return {"event": event.kind, **vars(event)}


def event_of(line: Mapping[str, Any]) -> Optional[Event]:
    """The event that a line tells of; None if this version does not know it. Raises TypeError if a key is missing.

    >>> event_of({"event": "ready", "time": 1.0, "shard": 3})
    ActorReady(shard=3)
    """
    kind = KINDS.get(line["event"])
    if kind is MotionEnded and line.get("state") == "invalid":
        kind = MotionInvalid
    if kind is None:
        return None
    event: Event = kind(**{name: line[name] for name in FIELDS[kind] if name in line})
    return event


def attempt_ended(result: AttemptResult, shard: int, recording_bytes: int, trajectory_bytes: int) -> AttemptEnded:
    """The event of an attempt's result."""
    values = {name: value for name, value in vars(result).items() if name not in ("recording", "trajectory")}
    return AttemptEnded(shard=shard, recording_bytes=recording_bytes, trajectory_bytes=trajectory_bytes, **values)


def dataset_events(dataset: Dataset) -> List[DatasetEvent]:
    """The events of a dataset: what was set aside first.

    A journal that tells of all motions has then lost nothing of what was found beside them.
    """
    return [
        *(MotionExcluded(motion.name, motion.path, motion.reason) for motion in dataset.excluded),
        *(MotionInvalid(motion.name, motion.path, motion.reason) for motion in dataset.invalid),
        *(_planned(entry) for entry in dataset.entries),
    ]


def _planned(entry: MotionEntry) -> MotionPlanned:
    values = {**vars(entry)}
    del values["notes"]
    return MotionPlanned(motion=values.pop("name"), **values)
