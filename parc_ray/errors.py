"""What can go wrong through no fault of the program."""

from __future__ import annotations

import re

UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal would obey, or cannot encode, instead of showing it; a newline is not among it"""


def printable(text: str) -> str:
    r"""The text with escapes for what no terminal should be sent.

    >>> printable("walk\x1b[2J.pkl")
    'walk\\x1b[2J.pkl'
    """
    return UNPRINTABLE.sub(lambda match: ascii(match.group())[1:-1], text)


def shown(value: object, limit: int = 200) -> str:
    """repr of a value for a message, cut to so many characters."""
    return shortened(repr(value), limit)


def shortened(text: str, limit: int) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= limit else f"{text[:limit]}..."


class ParcRayError(Exception):
    """What ends a command, or an attempt, with one message instead of a traceback.

    Names and values in the message may come from anywhere, so it is made printable.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class InputError(ParcRayError):
    """Bad input: the message names the file, the key or motion, what is wrong and what to do."""


class OutputError(ParcRayError):
    """A file that cannot be written: the message names the file, and what is in the way."""

    exit_code = 4


class LostRayError(ParcRayError):
    """Ray does not answer the run any longer: what has been recorded stays, and the same command goes on."""

    exit_code = 6


class UploadError(ParcRayError):
    """Copies at `output.upload` that are not complete: what was recorded stays, and the same command goes on."""

    exit_code = 7


class TooLargeError(ParcRayError):
    """More envs or motions than a simulation can hold: fewer at a time may fit."""


class BrokenSimulationError(ParcRayError):
    """A simulation whose results are not to be trusted from now on: only a new process helps."""
