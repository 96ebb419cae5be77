"""Child processes that answer with one record. Engines may print anything, crash, or hang at exit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping, NoReturn, Sequence

MARK = "parc_ray: "
"""Prefix of the output line with the answer."""


class NoAnswer(Exception):
    """Raised if a child process ends without an answer."""

    def __init__(self, returncode: int, last_line: str):
        """last_line: the last line of its standard error."""
        super().__init__(f"{end_of(returncode)}: {last_line}")
        self.returncode, self.last_line = returncode, last_line


def answer(values: Mapping[str, Any]) -> NoReturn:
    """Print this process's answer and exit immediately, because an engine may hang or crash during shutdown."""
    print(f"\n{MARK}{json.dumps(values)}", flush=True)
    os._exit(0)


def ask(arguments: Sequence[str], seconds: float, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run Python with arguments and return its answer.

    Raises NoAnswer if it ends without one, subprocess.TimeoutExpired if it runs longer than `seconds`.
    """
    ended = run_process([sys.executable, *arguments], seconds, variables)
    answers: list[str] = [line[len(MARK) :] for line in ended.stdout.splitlines() if line.startswith(MARK)]
    if ended.returncode or not answers:
        raise NoAnswer(ended.returncode, (ended.stderr.strip().splitlines() or ["no message"])[-1])
    values: dict[str, Any] = json.loads(answers[-1])
    return values


def run_process(
    command: Sequence[str],
    seconds: float,
    variables: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. After a timeout, kills it and its children and raises TimeoutExpired."""
    with subprocess.Popen(
        command, env={**os.environ, **import_path(), **(variables or {})}, cwd=folder, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def end_of(returncode: int) -> str:
    """Return how a process ended, in words."""
    return f"was killed by signal {-returncode}" if returncode < 0 else f"ended with exit code {returncode}"


def import_path() -> dict[str, str]:
    """Return the PYTHONPATH that lets child processes import this package from the same place."""
    package = str(Path(__file__).resolve().parents[2])
    return {"PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), package)))}
