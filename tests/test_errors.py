"""Errors: their tree and exit codes, and that a full disk is never taken for bad input."""

from __future__ import annotations

import errno
import inspect
import os
import re

import pytest

from parc_ray import cli, errors
from parc_ray.errors import BusyOutputError, InputError, MissingDependencyError, ParcRayError


def test_the_tree_at_the_top_of_the_file_is_the_tree():
    drawn = re.findall(r"^((?:[│ ]   )*)(?:[├└]── )?(\w+) +(\d|)", errors.__doc__, flags=re.MULTILINE)
    tree = {name: code for _, name, code in drawn if name.endswith("Error")}
    classes = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}
    assert tree.keys() == classes.keys()
    for name, code in tree.items():
        assert issubclass(classes[name], ParcRayError)
        assert classes[name].exit_code == int(code or 2)
    beneath = {name for name, kind in classes.items() if issubclass(kind, InputError)}
    assert beneath == {"InputError", "MissingDependencyError", "BusyOutputError"}


def test_programs_can_tell_a_missing_package_from_bad_input(tmp_path, monkeypatch):
    from parc_ray.runs import journal, logger

    monkeypatch.setitem(logger.LIBRARIES, "wandb", "no_such_package")
    with pytest.raises(MissingDependencyError, match="pip install"):
        logger.require_logger("wandb")
    path = tmp_path / "journal.jsonl"
    opened = journal.Journal(path)
    with pytest.raises(BusyOutputError, match="another run is at work there"):
        journal.Journal(path)
    opened.close()


def test_messages_are_printable():
    assert str(InputError("walk\x1b[2J.pkl: is empty")) == "walk\\x1b[2J.pkl: is empty"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--count", "1"], 4, "No space left"),
        (["--difficulty", "0", "1"], 2, "--difficulty and --seconds need --count"),
    ],
)
def test_a_full_disk_and_bad_input_have_exit_codes(options, code, message, tmp_path, monkeypatch, capsys):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit) as ended:
        cli.run_command(cli.app, ["dataset", "generate", str(tmp_path / "motions"), *options])
    assert ended.value.code == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("motions/*"))
