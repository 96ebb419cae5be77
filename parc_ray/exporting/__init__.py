"""Exporting: recordings in the formats of other programs. A format is one file here, and its record in FORMATS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from parc_ray.errors import InputError
from parc_ray.exporting import bvh, csv, glb, mimickit, npz, robot_csv, tracking_npz
from parc_ray.exporting.format import NAMES, ExportFormat
from parc_ray.exporting.recording import recording_of
from parc_ray.files.writing import make_folder, write_file_atomic
from parc_ray.runs.history import Run, read_run
from parc_ray.runs.motion_files import Writers, find_character, motion_files
from parc_ray.runs.output import JOURNAL

FORMATS: dict[str, ExportFormat] = {
    form.name: form
    for form in (
        *(bvh.FORMAT, glb.FORMAT, csv.FORMAT, npz.FORMAT, mimickit.FORMAT),
        *(robot_csv.FORMAT, robot_csv.FORMAT_WXYZ, tracking_npz.FORMAT, tracking_npz.FORMAT_ISAACLAB),
    )
}


@dataclass(frozen=True)
class Export:
    """Motion files to export, all of one character."""

    format: ExportFormat
    targets: tuple[tuple[Path, Path], ...]
    """Each motion file and its target."""
    character: str
    """Text of the MJCF."""
    source: str
    """Its file, for messages."""

    def write(self, file: Path, target: Path) -> tuple[str, ...]:
        """Export a motion file, whole or not at all; returns notes on its repair. Raises InputError, OutputError."""
        recording = recording_of(file, self.character, self.source)
        content = self.format.content(recording)
        make_folder(target.parent)
        write_file_atomic(target, content)
        if self.format.names is not None:
            write_file_atomic(target.with_name(NAMES), self.format.names(recording))
        return recording.motion.notes


def plan_export(
    path: Path,
    name: str,
    folder: Path,
    failures: bool = False,
    character: Path | None = None,
    overwrite: bool = False,
) -> Export:
    """Return the files to export to a folder from a run's output directory, a folder of motion files, or a motion file.

    name: of a format; failures: whether to include the failed attempts that a run has kept. Raises InputError if there
    is nothing to export, or a target exists and `overwrite` is not given.
    """
    form = FORMATS.get(name)
    if form is None:
        raise InputError(f"--to {name}: no such format; there are: {', '.join(FORMATS)}")
    if (path / JOURNAL).is_file():
        run: Run | None = read_run(path)
        assert run is not None
        files = _files_of(run, failures)
    else:
        if failures:
            raise InputError(f"{path}: --failures needs the output_dir of a run; {path} holds none")
        found = motion_files(path)
        top, writers = path if path.is_dir() else path.parent, Writers()
        files = [(file, file.relative_to(top)) for file in found]
        known = next(filter(None, map(writers.of, found)), None)
        run = known[0] if known else None
    targets = tuple((file, folder / place.with_name(f"{place.stem}{form.suffix}")) for file, place in files)
    written = [target for _, target in targets]
    if form.names is not None:
        written += sorted({target.with_name(NAMES) for target in written})
    there = [target for target in written if target.exists()]
    own = {file.resolve() for file, _ in targets}.intersection(target.resolve() for target in there)
    if own:
        raise InputError(f"{own.pop()}: would be replaced by its own export; choose another folder")
    if there and not overwrite:
        raise InputError(f"{there[0]}: exists; choose another folder, or pass --overwrite to replace what is there")
    return Export(form, targets, *find_character(run, character))


def _files_of(run: Run, failures: bool) -> list[tuple[Path, Path]]:
    """Return a run's motion files and their places in the target folder."""
    files = [(motion.recording, Path(motion.recording.name)) for motion in run.motions if motion.recording]
    if failures:
        kept = [attempt.trajectory for motion in run.motions for attempt in motion.attempts if attempt.trajectory]
        if not kept:
            raise InputError(f"{run.path}: has no failed attempts; record.keep_failures keeps them")
        files += [(path, path.relative_to(run.path)) for path in kept]
    if not files:
        raise InputError(f"{run.path}: has recorded nothing; --failures exports the failed attempts that it has kept")
    return files
