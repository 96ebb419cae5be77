"""Words for numbers."""

from __future__ import annotations


def plural(number: int | float, noun: str) -> str:
    """Return a number with its noun.

    >>> plural(1, "motion"), plural(2000, "motion"), plural(0.5, "GPU")
    ('1 motion', '2,000 motions', '0.5 GPUs')
    """
    text = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{text} {noun}" if number == 1 else f"{text} {noun}s"
