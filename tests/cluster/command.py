"""`parc-ray record` in a separate process that can be killed, stopped and restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Sequence

import ray  # noqa: F401  isort: skip  (it brings psutil)
import psutil

from parc_ray.runs.journal_reader import read_journal
from tests.cluster.runs import Run
from tests.cluster.waiting import PATIENCE
from tests.reference import ROOT

SIMULATED = "from tests.cluster.simulated import install; install()"
"""Statements to run before the command line: use simulated recorders"""


class Command:
    """`parc-ray record --config CONFIG`, in the background.

    with Command(config, SIMULATED) as command:
        command.wait_for("attempt")
        command.kill()
    """

    def __init__(
        self,
        config: Path,
        prepare: str = "",
        arguments: Sequence[str] = (),
        wrapper: Sequence[str] = (),
        output: Path | None = None,
    ):
        """prepare: Python statements to run first. wrapper: prefix of the command. output: seen from this process."""
        self.output = output or config.parent / "out"
        self.console_file = config.parent / "console.txt"
        self._seen = self.console_file.stat().st_size if self.console_file.exists() else 0
        program = f"{prepare or 'pass'}\nfrom parc_ray.cli import main\nmain()"
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with self.console_file.open("ab") as console:
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, "-c", program, "record", "--config", str(config), *arguments],
                stdout=console, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, start_new_session=True,
                preexec_fn=default_signals,
            )  # fmt: skip

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process.poll() is None:
            self.kill()

    @property
    def console(self) -> str:
        """Return the command's own output."""
        return self.console_file.read_bytes()[self._seen :].decode()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def events(self, kind: str) -> list[Any]:
        journal = self.output / "journal.jsonl"
        return [line for line in read_journal(journal) if line["event"] == kind] if journal.exists() else []

    def wait_for(self, kind: str, count: int = 1) -> None:
        """Wait until the journal has `count` events of a kind."""
        self.wait_until(lambda: len(self.events(kind)) >= count, f"{count} {kind} events")

    def wait_until(self, condition: Callable[[], bool], what: str = "what was waited for") -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.running, f"the command ended before {what}:\n{self.console}"
            assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE:g} s:\n{self.console}"
            time.sleep(0.02)

    def kill(self) -> None:
        """Send SIGKILL to this process alone, as the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait()

    def finish(self) -> Run:
        """Wait until the command ends."""
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the command does not end:\n{self.console}") from None
        return Run(self.process.returncode, self.output, self.console)


def default_signals() -> None:
    """Undo what a process inherits: a shell ignores SIGINT in the background, and nohup SIGHUP."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def record_command(config: Path, prepare: str = "", *arguments: str) -> Run:
    """Run the command until it ends."""
    with Command(config, prepare, arguments) as command:
        return command.finish()


def actor_processes(root: int | None = None) -> list[psutil.Process]:
    """Return the actor processes of Ray nodes started by this process, or by `root`."""
    found = []
    for process in psutil.Process(root).children(recursive=True):
        with suppress(psutil.Error, IndexError):
            if process.cmdline()[0].startswith("ray::") and "Actor" in process.cmdline()[0]:
                found.append(process)
    return found
