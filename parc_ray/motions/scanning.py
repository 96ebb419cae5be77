"""Folders of motion files, or a dataset file -> a checked list of motions.

Each file is read once, for its length and validity, or not at all if the scan cache has it. Its frames are not kept, so
memory use stays small. A bad file never stops a run: it is rejected with a reason.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from parc_ray.character.skeleton import Skeleton
from parc_ray.config.dataset import DatasetConfig
from parc_ray.errors import UNPRINTABLE, InputError, quote
from parc_ray.files.parallel import parallel_map
from parc_ray.files.plain_yaml import read_yaml
from parc_ray.files.reading import MAX_DATASET_BYTES, read_bytes
from parc_ray.motions.dataset import Dataset, ExcludedMotion, InvalidMotion, MotionEntry, class_weights
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import parse_motion
from parc_ray.motions.scan_cache import ScanCache

ReportProgress = Callable[[int, int], None]
"""Called with the number of files done and the total number."""

UnsupportedReason = Callable[[Motion], str]
"""Returns the reason why a valid motion is not supported; empty if it is. Must be picklable."""

MANY = 2000
"""Minimum number of files to read in several processes, which take seconds to start."""


def accept_any(motion: Motion) -> str:
    """Accept every motion."""
    return ""


def create_dataset(
    config: DatasetConfig,
    skeleton: Skeleton,
    progress: ReportProgress | None = None,
    unsupported_reason: UnsupportedReason = accept_any,
    cache: ScanCache | None = None,
) -> Dataset:
    """Return the motions in `config.folder_paths`, weighted so that every class has the same share.

    A motion's class is the first-level folder above it, at any depth. For a file directly in a listed folder,
    which PARC ignores, it is that folder. Classes of the same name in several listed folders are
    one class. Folders inside a listed folder with "ignore" in their name are skipped. Entries are in the
    order of `folder_paths`, and sorted by path within each.

    As in PARC, a motion weighs `(num_frames / fps) * (total / class_total) / num_classes`, totals in seconds.
    Only classes with a usable motion count (PARC stops at an empty one). A class in two listed folders counts once
    in `total` (PARC counts it twice and repeats its motions), which does not change the ratios of weights.

    Motions with an `unsupported_reason` are `invalid`. `cache` holds motions of the same character that were valid
    before; such files are not parsed again.
    Raises InputError if a listed folder is missing or no usable motion is found.
    """
    files = [(path, motion_class) for folder in config.folder_paths for path, motion_class in _files(folder, config)]
    scan = _Scan()
    classes: list[str] = []
    outcomes = _read_all([str(path) for path, _ in files], MotionReader(skeleton, unsupported_reason), cache, progress)
    for (path, motion_class), outcome in zip(files, outcomes):
        if scan.add(path, outcome, 0.0, config):
            classes.append(motion_class)
    folders = ", ".join(map(str, config.folder_paths))
    dataset = scan.dataset(f"folder_paths ({folders})")
    # PARC's weight is num_frames / fps, which is one frame longer than the motion.
    lengths = [entry.num_frames / entry.fps for entry in dataset.entries]
    weighted = [
        dataclasses.replace(entry, weight=weight)
        for entry, weight in zip(dataset.entries, class_weights(lengths, classes))
    ]
    return dataclasses.replace(dataset, entries=tuple(weighted))


def load_dataset(
    path: Path,
    skeleton: Skeleton,
    expand: Callable[[str], str] = str,
    progress: ReportProgress | None = None,
    unsupported_reason: UnsupportedReason = accept_any,
    cache: ScanCache | None = None,
) -> Dataset:
    """Return the checked motions of a dataset file, or of one motion file, with weight 1.

    `expand` replaces placeholders such as `$DATA_DIR` in file names. Relative names start at the current
    directory. Files that are missing, unusable or unsupported, or repeat an earlier name, are `invalid`. `cache` as
    for create_dataset.
    Raises InputError if the dataset file itself is malformed or no usable motion is left.
    """
    motions = [(str(path), 1.0)] if path.suffix == ".pkl" else _listed_motions(path)
    files = [Path(expand(file)) for file, _ in motions]
    scan = _Scan()
    outcomes = _read_all(list(map(str, files)), MotionReader(skeleton, unsupported_reason), cache, progress)
    for file, (_, weight), outcome in zip(files, motions, outcomes):
        scan.add(file, outcome, weight)
    return scan.dataset(str(path))


@dataclass(frozen=True)
class MotionReader:
    """Reads motion files, in any process."""

    skeleton: Skeleton
    unsupported_reason: UnsupportedReason
    by_hash: Mapping[str, MotionEntry] = field(default_factory=dict)
    """Cached entries by the hash of their content."""

    def __call__(self, file: str) -> MotionEntry | str:
        """Return the entry of a motion, with weight 0, or the reason why the file is unusable."""
        if not _writable(file):
            return "its path has characters that are not text. Rename it"
        try:
            return self._entry(Path(file))
        except InputError as error:
            return str(error).replace(f"{file}: ", "", 1)
        except MemoryError:
            return "does not fit into the memory of this machine"

    def _entry(self, path: Path) -> MotionEntry:
        content = read_bytes(path)
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 in self.by_hash:
            return dataclasses.replace(self.by_hash[sha256], name=path.stem, path=str(path), weight=0.0)
        motion = parse_motion(content, path.stem, self.skeleton, str(path))
        problem = self.unsupported_reason(motion)
        if problem:
            raise InputError(problem)
        size_x, size_y = motion.terrain.hf.shape
        return MotionEntry(
            name=motion.name,
            path=str(path),
            weight=0.0,
            num_frames=motion.num_frames,
            fps=motion.fps,
            length=motion.length,
            terrain_shape=(size_x, size_y),
            file_bytes=len(content),
            sha256=sha256,
            terrain_range=round(float(np.ptp(motion.terrain.hf)), 4),
            labelled=motion.labelled,
            loops=motion.loop_mode == "WRAP",
            notes=motion.notes,
        )


def _read_all(
    files: Sequence[str], reader: MotionReader, cache: ScanCache | None, progress: ReportProgress | None
) -> list[MotionEntry | str]:
    """Return the entry of each file, or the reason why it is unusable. Many files are read by several processes."""
    cache = cache or ScanCache()
    outcomes: dict[str, MotionEntry | str] = {}
    different = list(dict.fromkeys(files))
    for file in different:
        entry = cache.entry(file)
        if entry is not None:
            outcomes[file] = dataclasses.replace(entry, name=Path(file).stem, path=file)
    unread = [file for file in different if file not in outcomes]
    reader = dataclasses.replace(reader, by_hash=cache.by_hash)
    for file, outcome in zip(unread, parallel_map(reader, unread, MANY)):
        outcomes[file] = outcome
        if isinstance(outcome, MotionEntry):
            cache.add(file, outcome)
        if progress is not None:
            progress(len(outcomes), len(different))
    cache.save()
    return [outcomes[file] for file in files]


class _Scan:
    """Collects entries and unusable files in order."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}
        self._entries: list[MotionEntry] = []
        self._invalid: list[InvalidMotion] = []
        self._excluded: list[ExcludedMotion] = []

    def add(self, path: Path, outcome: MotionEntry | str, weight: float, limits: DatasetConfig | None = None) -> bool:
        """Add the next file; return whether it became an entry."""
        name, file = path.stem, str(path)
        if not _writable(file):
            name, file = ascii(name), ascii(file)
        elif name in self._paths:
            outcome = f"has the same name as {self._paths[name]}. Rename one of them"
        if isinstance(outcome, str):
            self._invalid.append(InvalidMotion(name, file, outcome))
            return False
        rule = None if limits is None else _exclusion(outcome.num_frames, *outcome.terrain_shape, limits)
        if rule is not None:
            self._excluded.append(ExcludedMotion(name, file, rule))
            return False
        self._entries.append(dataclasses.replace(outcome, weight=weight))
        self._paths[name] = file
        return True

    def dataset(self, source: str) -> Dataset:
        """Return the dataset. Raises InputError if it has no entry."""
        if not self._entries:
            raise InputError(f"{source}: no usable motion. {self._reasons()}")
        return Dataset(tuple(self._entries), tuple(self._invalid), tuple(self._excluded))

    def _reasons(self) -> str:
        aside: list[InvalidMotion | ExcludedMotion] = [*self._invalid, *self._excluded]
        if not aside:
            return "There are no motion files (*.pkl): check the paths."
        examples = "; ".join(f"{motion.path}: {motion.reason}" for motion in aside[:3])
        return f"{len(aside)} file(s) were set aside, for instance {examples}"


def _writable(file: str) -> bool:
    """Return whether a path can be written to a dataset file, log or terminal without control characters."""
    return not UNPRINTABLE.search(file) and "\n" not in file


def _exclusion(num_frames: int, size_x: int, size_y: int, limits: DatasetConfig) -> str | None:
    if num_frames < limits.min_num_frames:
        return f"{num_frames} frames are fewer than min_num_frames {limits.min_num_frames}"
    if size_x > limits.max_terrain_dim_x:
        return f"{size_x} terrain cells along x are more than max_terrain_dim_x {limits.max_terrain_dim_x}"
    if size_y > limits.max_terrain_dim_y:
        return f"{size_y} terrain cells along y are more than max_terrain_dim_y {limits.max_terrain_dim_y}"
    return None


def require_folders(config: DatasetConfig, source: Path) -> None:
    """Raise InputError if a listed folder does not exist. source: the file of the configuration."""
    for folder in config.folder_paths:
        if not os.path.isdir(folder):  # noqa: PTH112
            where = "" if folder.is_absolute() else f" in {Path.cwd()}"
            raise InputError(f"{source}: key 'folder_paths': {folder} is not a folder{where}. Check its path")


def _files(folder: Path, config: DatasetConfig) -> Iterator[tuple[Path, str]]:
    """Yield the motion files in a listed folder and the class of each."""
    for directory in _directories(folder):
        inside = directory.relative_to(folder).parts
        motion_class = inside[0] if inside else folder.resolve().name
        is_cut = config.cut_some_classes_in_half and any(
            name in str(directory) for name in config.motion_classes_to_cut_in_half
        )
        # os.path.isdir is False without permission, where pathlib raises.
        paths = sorted(path for path in directory.glob("*.pkl") if not os.path.isdir(path))  # noqa: PTH112
        for path in paths[:: 2 if is_cut else 1]:
            yield path, motion_class


def _directories(top: Path) -> Iterator[Path]:
    """Yield `top` and all folders in it, sorted, following links, each once."""
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            names = sorted((path.name for path in folder.iterdir()), reverse=True)
        except OSError as error:
            raise InputError(f"key 'folder_paths': {folder} cannot be listed ({error.strerror}). Check it") from None
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        yield folder
        children = (folder / name for name in names if "ignore" not in name)
        waiting.extend(child for child in children if os.path.isdir(child))  # noqa: PTH112


def _listed_motions(path: Path) -> list[tuple[str, float]]:
    """Return file name and weight of every motion in a dataset file."""
    document = read_yaml(path, MAX_DATASET_BYTES)
    motions = document.get("motions") if isinstance(document, dict) else None
    if not isinstance(motions, list):
        raise InputError(f"{path}: has no list `motions`. Give it entries with `file` and `weight`.")
    if not motions:
        raise InputError(f"{path}: its list `motions` is empty. Give it entries with `file` and `weight`.")
    return [_listed_motion(motion, f"{path}: motions[{index}]") for index, motion in enumerate(motions)]


def _listed_motion(motion: Any, source: str) -> tuple[str, float]:
    if not isinstance(motion, dict) or not isinstance(motion.get("file"), str):
        raise InputError(f"{source}: has no `file`. Give it a path to a motion file.")
    weight = motion.get("weight")
    if not isinstance(weight, (int, float)) or isinstance(weight, bool) or not 0 <= weight < 1e300:
        raise InputError(f"{source}: `weight` is {quote(weight)}. Give it a number of 0 or more, such as 1.0.")
    return motion["file"], float(weight)
