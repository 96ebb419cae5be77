"""What can go wrong through no fault of the program."""

from __future__ import annotations


class InputError(Exception):
    """Bad input: one message that names the file, the key or motion, what is wrong and what to do."""
