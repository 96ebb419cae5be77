from __future__ import annotations

import signal

import pytest

from parc_ray.terminal.interruption import Interruption


@pytest.mark.parametrize(("before", "taken"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_closed_terminal_stops_a_run_unless_nohup_started_it(before, taken):
    restored = signal.signal(signal.SIGHUP, before)
    try:
        with Interruption() as interruption:
            stops = []
            interruption.gently = lambda: stops.append(1)
            signal.raise_signal(signal.SIGHUP)
            assert bool(stops) == taken
        assert signal.getsignal(signal.SIGHUP) == before
    finally:
        signal.signal(signal.SIGHUP, restored)
