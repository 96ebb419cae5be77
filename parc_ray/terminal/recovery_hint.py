"""The line at the end of a run that lost motions: they may be recovered, and at which cost."""

from __future__ import annotations

from typing import Iterator

from parc_ray.config.record import RecordConfig
from parc_ray.runs.ledger import Ledger

COST = 30
"""Control steps of recovery per control step of a lost motion, measured on 38 motions of a bundled tracker that all
were recovered. Motions that cannot be recovered cost up to 112, the sum of the default sizes."""


def recovery_hint(config: RecordConfig, ledger: Ledger, speed: float) -> Iterator[str]:
    """Yield the line, unless recovery was on, cannot be used, or has nothing to do. speed: control steps/s."""
    lost = ledger.recoverable(1)
    if config.recovery or config.acceptance is None or not lost or ledger.started is None:
        return
    steps = COST * sum(ledger.planned[name].length for name in lost) * ledger.started.control_freq
    cost = f"about {steps:,.0f} control steps"
    if speed:
        cost += f", {max(1.0, steps / speed):,.0f} s at this run's speed"
    yield (
        f"{len(lost)} of {ledger.total} motions were not recorded whole; parc-ray record --recover tries them again "
        f"({cost})"
    )
