from __future__ import annotations

import io

import pytest
from rich.console import Console

from parc_ray.runs import pace
from parc_ray.runs.activity import Activity
from parc_ray.terminal import progress
from parc_ray.terminal.screen import Screen
from tests.runs.test_ledger import attempt, crash, make_ledger

ACTIVITY = Activity(actors=2, starting=1, envs=16, busy_envs=13.6, shards_waiting=3)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when told to."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


class Shown:
    """A display, fed as a driver does."""

    def __init__(self, console, ledger):
        self.screen = Screen(console, console)
        self.display, self.pace = progress.ProgressDisplay(self.screen), pace.Pace(ledger)

    def __enter__(self):
        self.display.__enter__()
        return self

    def __exit__(self, *error):
        self.display.__exit__(*error)

    def note(self, line):
        self.screen.say(line)

    def update(self, activity):
        self.display.progress(self.pace.measure(activity))


def test_a_log_gets_plain_lines_now_and_then(clock):
    console = Console(file=io.StringIO(), width=200)
    ledger = make_ledger(8, invalid=2)
    with Shown(console, ledger) as shown:
        shown.note("starting [bold]actors[/bold]")
        for second in range(25):
            clock[0] = 1000.0 + second
            ledger.env_steps = 100 * second
            if second == 12:
                ledger.take(attempt("m0"))
                ledger.take(attempt("m1", 0, "failed", "fall (head) after 0.50 s"))
                ledger.take(crash("m2"))
            shown.update(ACTIVITY)
    text = console.file.getvalue()
    assert "\x1b" not in text and "\r" not in text
    first, *lines = text.splitlines()
    assert first == "starting [bold]actors[/bold]"
    assert len(lines) == 2
    activity = "14/16 envs, 2 actors, 1 starting, 3 shards waiting, 100 steps/s"
    assert lines[0] == f"2/10 motions, 0 recorded, 0 rejected, {activity}, 10 s"
    # Three of eight motions took 20 s; the invalid ones took none.
    assert lines[1] == f"5/10 motions, 1 recorded, 1 rejected, 1 crashed, {activity}, 20 s, about 33 s left"


def test_nothing_done_yet_is_no_error(clock):
    console = Console(file=io.StringIO(), width=200)
    with Shown(console, make_ledger(2, invalid=0)) as shown:
        clock[0] += 11.0
        shown.update(Activity())
    assert console.file.getvalue() == "0/2 motions, 0 recorded, 0 rejected, 0 steps/s, 11 s\n"


def test_a_terminal_gets_a_bar():
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    ledger = make_ledger(3, invalid=1)
    with Shown(console, ledger) as shown:
        shown.update(ACTIVITY)
        shown.note("shard 0: actor died [Errno 9]")
        for motion in ("m0", "m1", "m2"):
            ledger.take(attempt(motion))
            shown.update(ACTIVITY)
    text = console.file.getvalue()
    assert "4/4" in text and "3 recorded" in text
    assert "shard 0: actor died [Errno 9]" in text


def test_a_bar_goes_away_when_the_run_fails():
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with pytest.raises(KeyboardInterrupt), Shown(console, make_ledger()):
        raise KeyboardInterrupt
    assert console.file.getvalue().rstrip().endswith("\x1b[?25h"), "the cursor must come back"
