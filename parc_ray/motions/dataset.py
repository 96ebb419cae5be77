"""A dataset: an ordered list of motions with weights, without their frames."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Sequence

import yaml

from parc_ray.files.writing import write_file_atomic

# libyaml, if PyYAML was built with it, is ten times faster; a dataset may have 100,000 motions.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class MotionEntry:
    """A valid motion of a dataset, without its frames."""

    name: str
    """File name without its ending; unique in the dataset."""
    path: str
    weight: float
    """Sampling weight; only its ratio to other weights matters."""
    num_frames: int
    fps: float
    length: float
    """Tracked duration, s: from the first frame to the last, times the passes of a looping motion."""
    terrain_shape: tuple[int, int]
    """Cells along x and y."""
    file_bytes: int
    sha256: str = ""
    """Hash of the file's content."""
    terrain_range: float | None = None
    """Height of the highest cell above the lowest (m)."""
    labelled: bool = True
    """True if its contacts are known."""
    loops: bool = False
    """True if it loops (WRAP)."""
    notes: tuple[str, ...] = ()
    """Repairs made on reading."""

    @property
    def pass_seconds(self) -> float:
        """Seconds from the first frame to the last."""
        return (self.num_frames - 1) / self.fps

    @property
    def size(self) -> int:
        """Minimum bytes in memory; a file may have one byte per terrain cell, but floats take 12."""
        return max(self.file_bytes, 12 * self.terrain_shape[0] * self.terrain_shape[1])


@dataclass(frozen=True)
class InvalidMotion:
    """An unusable file."""

    name: str
    path: str
    reason: str


@dataclass(frozen=True)
class ExcludedMotion:
    """A valid motion excluded by a rule of the configuration."""

    name: str
    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Motions in order, and rejected files."""

    entries: tuple[MotionEntry, ...]
    invalid: tuple[InvalidMotion, ...] = ()
    excluded: tuple[ExcludedMotion, ...] = ()


def class_weights(lengths: Sequence[float], classes: Sequence[str]) -> list[float]:
    """Return PARC's weight of each motion: its length (s), scaled so that all classes have the same sum.

    >>> class_weights([2.0, 1.0, 3.0], ["boxes", "boxes", "stairs"])
    [2.0, 1.0, 3.0]
    >>> class_weights([1.0, 1.0, 6.0], ["boxes", "boxes", "stairs"])
    [2.0, 2.0, 4.0]
    """
    class_lengths: dict[str, float] = defaultdict(float)
    for motion_class, length in zip(classes, lengths):
        class_lengths[motion_class] += length
    total, share = sum(lengths), 1 / max(len(class_lengths), 1)
    return [length * share / (class_lengths[name] / total) for name, length in zip(classes, lengths)]


def write_dataset(dataset: Dataset, path: Path) -> None:
    """Write the dataset's valid motions atomically as a PARC dataset file."""
    write_dataset_file(((entry.path, entry.weight) for entry in dataset.entries), path)


def write_dataset_file(motions: Iterable[tuple[str, float]], path: Path) -> None:
    """Write motion files and their weights atomically as a PARC dataset file."""
    write_file_atomic(path, dataset_file_bytes(motions))


def dataset_file_bytes(motions: Iterable[tuple[str, float]]) -> bytes:
    """Return the content of a PARC dataset file of motion files and their weights."""
    lines = [{"file": file, "weight": weight} for file, weight in motions]
    content: bytes = yaml.dump({"motions": lines}, Dumper=_Dumper).encode("utf-8")
    return content
