"""The errors that parc_ray raises on purpose, each with one message and an exit code.

ParcRayError                     2   ends a command with one message instead of a traceback
├── InputError                   2   bad input: a file, a key, an option
│   ├── MissingDependencyError   2   a package, engine or tool is not installed, or does not start
│   └── BusyOutputError          2   another run is writing the output directory
├── OutputError                  4   a file cannot be written
├── LostRayError                 6   Ray no longer answers
├── UploadError                  7   copies at output.upload are missing
├── TooLargeError                    actors only: fewer envs or motions may fit
└── BrokenSimulationError            actors only: the process must be replaced
"""

from __future__ import annotations

import re

UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal would obey, or cannot encode; newlines are allowed."""


def printable(text: str) -> str:
    r"""Return the text with unprintable characters escaped.

    >>> printable("walk\x1b[2J.pkl")
    'walk\\x1b[2J.pkl'
    """
    return UNPRINTABLE.sub(lambda match: ascii(match.group())[1:-1], text)


def one_line(text: object) -> str:
    r"""Return the text, or an error's message, on one line.

    >>> one_line(ValueError("no device:\n  cuda:0"))
    'no device: cuda:0'
    """
    return " ".join(str(text).split())


def quote(value: object, limit: int = 200) -> str:
    """Return the repr of a value, cut to `limit` characters."""
    return shorten(repr(value), limit)


def shorten(text: str, limit: int) -> str:
    """Return the text, cut to `limit` characters."""
    return text if len(text) <= limit else f"{text[:limit]}..."


class ParcRayError(Exception):
    """Base class: ends a command, or an attempt, with one message instead of a traceback.

    The message is made printable, because it may quote any file.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class InputError(ParcRayError):
    """Bad input. The message names the file, the key or motion, what is wrong and what to do."""


class MissingDependencyError(InputError):
    """A package, engine or tool that is not installed, or does not start. The message says how to install it."""


class BusyOutputError(InputError):
    """The output directory belongs to another run that is still at work."""


class OutputError(ParcRayError):
    """A file that cannot be written. The message names the file and the obstacle."""

    exit_code = 4


class LostRayError(ParcRayError):
    """Ray no longer answers. Everything recorded so far is kept; run the same command to resume."""

    exit_code = 6


class UploadError(ParcRayError):
    """Copies at `output.upload` are missing. All recordings are kept; run the same command to send the rest."""

    exit_code = 7


class TooLargeError(ParcRayError):
    """The envs or motions exceed what a simulator can hold; fewer may fit."""


class BrokenSimulationError(ParcRayError):
    """The simulation can no longer be trusted; only a new process helps."""
