"""Motion files in a folder, and the runs that wrote them."""

from __future__ import annotations

from pathlib import Path

from parc_ray.errors import InputError
from parc_ray.files.bundled import HUMANOID
from parc_ray.files.reading import read_text
from parc_ray.runs.history import Run, RunMotion, read_character, read_run
from parc_ray.runs.output import JOURNAL, TERRAIN

GIVE = "give a motion file (.pkl), a folder of them, or a run's output_dir"
NOTHING = f"holds no motions; {GIVE}"


class Writers:
    """Finds the run that wrote a motion file; each run is read once."""

    def __init__(self) -> None:
        self._written: dict[Path, dict[Path, tuple[Run, RunMotion]]] = {}
        """Motion files by the output directory of their run."""

    def of(self, file: Path) -> tuple[Run, RunMotion] | None:
        """Return the run and motion of a recording or kept attempt; None if no run wrote the file."""
        file = file.resolve()
        for folder in tuple(file.parents)[1:3]:
            if folder not in self._written:
                self._written[folder] = _written_by(folder)
            if file in self._written[folder]:
                return self._written[folder][file]
        return None


def motion_files(path: Path) -> list[Path]:
    """Return the motion file at a path, or all in the folder, at any depth. Raises InputError if there is none."""
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; {GIVE}")
        return [path]
    files = [file for file in sorted(path.rglob("*.pkl")) if file.is_file() and not _is_map(file)]
    if not files:
        raise InputError(f"{path}: {NOTHING}")
    return files


def find_character(run: Run | None, character: Path | None) -> tuple[str, str]:
    """Return a character's MJCF text and its source for messages: the given file, else the run's, else PARC's humanoid.

    Raises InputError if it is missing, or differs from the run's.
    """
    if character is not None:
        from parc_ray.character.character import read_character as read_file  # loads torch and MuJoCo

        return read_file(character, driven=False).text, str(character)
    if run is not None:
        return read_character(run), run.character
    return read_text(HUMANOID), str(HUMANOID)


def _is_map(file: Path) -> bool:
    """Return True if a file is the terrain.pkl of a run, which holds no motion."""
    return file.name == TERRAIN and (file.parent / JOURNAL).is_file()


def _written_by(output_dir: Path) -> dict[Path, tuple[Run, RunMotion]]:
    """Return the motion files of the run in a folder; empty without a run."""
    try:
        run = read_run(output_dir)
    except InputError:
        return {}
    return {
        path: (run, motion)
        for motion in run.motions
        for path in (motion.recording, *(attempt.trajectory for attempt in motion.attempts))
        if path is not None
    }
