"""Pace: when the time left is estimated, and from what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from parc_ray.runs import pace
from parc_ray.runs.activity import Activity


def test_time_left_is_estimated_from_time_at_work_and_not_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: clock[0])
    ledger: Any = SimpleNamespace(total=100, dealt_with=0, env_steps=0, states=dict)
    measured = pace.Pace(ledger)

    def seconds_left(now: float, steps: int, done: int) -> Any:
        clock[0], ledger.env_steps, ledger.dealt_with = 100.0 + now, steps, done
        return measured.measure(Activity()).seconds_left

    assert seconds_left(20.0, 0, 0) is None, "20 s of setup"
    assert seconds_left(21.0, 500, 1) is None, "one motion in the first second says nothing"
    assert seconds_left(30.0, 5000, 10) == pytest.approx(90 * 10.0 / 10)
    assert seconds_left(60.0, 5000, 10) == pytest.approx(90 * 40.0 / 10), "a pause counts"
    assert seconds_left(61.0, 9000, 100) is None
