"""Reasons for unrecorded attempts, as sentences. Sentences are for users; no code parses them."""

from __future__ import annotations

from typing import Sequence

from parc_ray.tracking.metrics import BrokenLimit

WORSE = {"lower": ">", "higher": "<"}


def termination_sentence(criterion: str, body: str, seconds: float) -> str:
    """Return the sentence for an attempt that was terminated early.

    >>> termination_sentence("fall", "head", 0.5)
    'fall (head) after 0.50 s'
    """
    return f"{criterion}{f' ({body})' if body else ''} after {seconds:.2f} s"


def acceptance_sentence(limits: Sequence[BrokenLimit]) -> str:
    """Return the sentence for an attempt that broke acceptance limits.

    >>> from parc_ray.tracking.metrics import BY_LIMIT
    >>> acceptance_sentence([BrokenLimit(BY_LIMIT["max_penetration"], 0.2, 0.1)])
    'max_penetration: 0.200 > 0.1'
    """
    return "; ".join(
        f"{broken.metric.limit}: {broken.value:.3f} {WORSE[broken.metric.better]} {broken.limit:g}" for broken in limits
    )
