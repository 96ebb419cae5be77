"""Waiting for what another process does.

It must not import torch: simulated recorders wait, too, and Ray imports this file in their processes.
"""

from __future__ import annotations

import time
from typing import Callable

PATIENCE = 180.0
"""Maximum wait for any event on a busy machine, s"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition is true. Fails if it is not within PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.1)
