"""Errors: siblings, so that a disk that is full is never taken for bad input."""

from __future__ import annotations

import errno
import os

import pytest

from parc_ray import cli
from parc_ray.errors import BrokenSimulationError, InputError, OutputError, ParcRayError, TooLargeError

KINDS = (InputError, OutputError, TooLargeError, BrokenSimulationError)


def test_no_kind_of_error_is_another():
    for kind in KINDS:
        assert issubclass(kind, ParcRayError)
        assert not any(issubclass(kind, other) for other in KINDS if other is not kind)


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
        cli.guarded(cli.app, ["dataset", "generate", str(tmp_path / "motions"), *options])
    assert ended.value.code == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("motions/*"))
