"""What can go wrong through no fault of the program."""

from __future__ import annotations


class InputError(Exception):
    """Bad input: one message that names the file, the key or motion, what is wrong and what to do."""


class OutputError(InputError):
    """A file that cannot be written: its message names the file, and what is in the way."""


class TooLargeError(InputError):
    """More envs or motions than a simulation can hold: fewer at a time may fit."""


class BrokenSimulationError(Exception):
    """A simulation whose results are not to be trusted from now on: only a new process helps."""
