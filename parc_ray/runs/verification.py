"""Verification: checks that recordings are still the bytes that were written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Iterator

from parc_ray.errors import OutputError
from parc_ray.runs.history import Run


@dataclass(frozen=True)
class WrittenFile:
    """A recording as the journal describes it."""

    path: Path
    bytes: int
    sha256: str
    """Empty in journals of version 0.1.0."""


@dataclass(frozen=True)
class Verification:
    """The recordings of a run by verification result."""

    intact: tuple[Path, ...]
    damaged: tuple[Path, ...]
    """Recordings whose bytes have changed."""
    missing: tuple[Path, ...]
    unknown: tuple[Path, ...]
    """Recordings of the right size, without a checksum in the journal."""

    def lines(self) -> Iterator[str]:
        """Yield a line per damaged or missing recording, then the counts."""
        for state in ("damaged", "missing"):
            yield from (f"{state}: {path}" for path in getattr(self, state))
        counts = {name: len(paths) for name, paths in vars(self).items()}
        yield ", ".join(f"{count} {name}" for name, count in counts.items())
        if self.unknown:
            yield "unknown: the journal is of version 0.1.0, which kept no checksums; sizes are right"
        if not self.passed:
            yield "The command that recorded the run makes damaged and missing recordings again."

    @property
    def passed(self) -> bool:
        """True if no recording is known to be damaged or missing."""
        return not self.damaged and not self.missing


def verify_run(run: Run) -> Verification:
    """Compare the recordings of a run with its journal. Raises OutputError if one cannot be read."""
    return verify(
        WrittenFile(motion.recording, motion.recording_bytes, motion.recording_sha256)
        for motion in run.motions
        if motion.recording is not None
    )


def verify(files: Iterable[WrittenFile]) -> Verification:
    """Read recordings and compare them with the journal. Raises OutputError if one cannot be read."""
    intact: list[Path] = []
    damaged: list[Path] = []
    missing: list[Path] = []
    unknown: list[Path] = []
    for file in files:
        try:
            content = file.path.read_bytes()
        except FileNotFoundError:
            missing.append(file.path)
            continue
        except OSError as error:
            raise OutputError(
                f"{file.path}: cannot be read: {error.strerror}; check the disk and permissions"
            ) from error
        if len(content) != file.bytes:
            damaged.append(file.path)
        elif not file.sha256:
            unknown.append(file.path)
        else:
            same = hashlib.sha256(content).hexdigest() == file.sha256
            (intact if same else damaged).append(file.path)
    return Verification(tuple(intact), tuple(damaged), tuple(missing), tuple(unknown))
