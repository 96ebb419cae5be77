"""The character of a run: the text that it stored, or the file of a run from before that."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc_ray.errors import InputError
from parc_ray.runs.history import read_character, read_run
from parc_ray.runs.motion_files import find_character
from parc_ray.runs.output import CHARACTER
from tests.reference import HUMANOID
from tests.report.made_run import MadeRun

TEXT = HUMANOID.read_text()


@pytest.fixture
def made(tmp_path: Path) -> MadeRun:
    run = MadeRun(tmp_path / "output")
    run.begin(1)
    run.planned("walk")
    return run


def test_without_stored_text_the_file_is_read(made):
    run = read_run(made.path)
    assert not (made.path / CHARACTER).exists()
    assert read_character(run) == TEXT
    assert find_character(run, None) == (TEXT, str(HUMANOID))


def test_stored_text_counts_whatever_became_of_the_file(made):
    (made.path / CHARACTER).write_text(TEXT)
    made.lines[0]["character"] = str(made.path / "gone.xml")
    made.event(
        "planned", **{key: value for key, value in made.lines[1].items() if key not in ("event", "time", "elapsed")}
    )
    assert read_character(read_run(made.path)) == TEXT


def test_stored_text_that_was_changed_is_refused(made):
    (made.path / CHARACTER).write_text(TEXT + " ")
    with pytest.raises(InputError, match=rf"{CHARACTER}: the character has changed since the run"):
        read_character(read_run(made.path))
