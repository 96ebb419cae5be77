"""Simulators in separate processes: Isaac Gym needs a process without torch, and one per simulation.

`start_server` starts a process that imports the engine and then serves simulators, each in a fork of itself. The fork
is for speed, and only for the double: the real engine may have touched CUDA already.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
import traceback
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, Sequence

import pytest

from parc_ray.errors import ParcRayError
from parc_ray.simulators.engines import engine
from parc_ray.simulators.isaacgym.process import library_path

ROOT = Path(__file__).resolve().parents[2]
DOUBLE = ROOT / "tests" / "isaacgym_double"
PRETENDED_CUDA = ROOT / "tests" / "pretended_cuda"

DOUBLE_HERE = pytest.mark.skipif(sys.version_info >= (3, 9), reason="where Isaac Gym lives: on Python 3.8")


def double_environment(**settings: object) -> dict[str, str]:
    """Return the environment of a process with the contract double of Isaac Gym; cuda: with pretended GPUs."""
    folders = [str(PRETENDED_CUDA)] if settings.get("cuda") else []
    folders += [str(DOUBLE), str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, folders))
    double = {f"ISAACGYM_DOUBLE_{name.upper()}": str(value) for name, value in settings.items()}
    return {**os.environ, "PYTHONPATH": path, **{"ISAACGYM_DOUBLE_ANY_PYTHON": "1", **double}}


def real_environment() -> dict[str, str]:
    """Return the environment of a process that imports the installed Isaac Gym."""
    path = os.pathsep.join(filter(None, (str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "LD_LIBRARY_PATH": library_path()}


class Server:
    """A process that serves simulators to this one."""

    def __init__(self, address: Path, environment: dict[str, str], device: str, fork: bool):
        self.address = str(address)
        command = [sys.executable, "-m", "tests.simulators.remote", self.address, device, "fork" if fork else "once"]
        self.log = address.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, cwd=str(ROOT), stdout=log, stderr=log)

    def connect(self) -> Connection:
        """Wait until the process is ready. Raises RuntimeError with its output if it has ended."""
        while True:
            try:
                return Client(self.address, family="AF_UNIX")
            except (FileNotFoundError, ConnectionRefusedError):
                if self.process.poll() is not None:
                    raise RuntimeError(f"the simulator's process has ended:\n{self.log.read_text()}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class RemoteSimulator:
    """A Simulator built and stepped by a Server."""

    def __init__(self, connection: Connection, name: str, config: Any, skeleton: Any):
        self._connection = connection
        facts = self._call("build", name, config, skeleton)
        self.version, self.num_envs, self.device, self.device_bytes = facts

    def reset(self, envs: Sequence[int], tiles: Sequence[int], state: Any) -> None:
        self._call("reset", list(envs), list(tiles), state)

    def step(self, envs: Sequence[int], targets: Any) -> Any:
        return self._call("step", list(envs), targets)

    def copy(self, envs: Sequence[int], sources: Sequence[int]) -> None:
        self._call("copy", list(envs), list(sources))

    def park(self, envs: Sequence[int]) -> None:
        self._call("park", list(envs))

    def evaluate(self, expression: str) -> Any:
        """Return the value of a Python expression about `simulator` in the server's process."""
        return self._call("evaluate", expression)

    def close(self) -> None:
        self._call("close")
        self._connection.close()

    def _call(self, *message: Any) -> Any:
        # Not send(): it would share the memory of tensors between the processes.
        self._connection.send_bytes(pickle.dumps(message))
        answer = pickle.loads(self._connection.recv_bytes())
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(connection: Connection) -> None:
    simulator: list[Any] = []
    while True:
        try:
            message = pickle.loads(connection.recv_bytes())
        except EOFError:
            os._exit(0)
        try:
            if message[0] == "build":
                built = engine(message[1]).build(*message[2:])
                simulator.append(built)
                answer: Any = (built.version, built.num_envs, built.device, built.device_bytes)
            elif message[0] == "evaluate":
                answer = eval(message[1], {"simulator": simulator[0]})
            else:
                answer = getattr(simulator[0], message[0])(*message[1:])
        except ParcRayError as error:
            answer = error
        except Exception:  # of a class that the other process may not know
            answer = RuntimeError(traceback.format_exc())
        connection.send_bytes(pickle.dumps(answer))


def _main(address: str, device: str, mode: str) -> None:
    from parc_ray.simulators.isaacgym.process import import_isaacgym

    import_isaacgym(device)
    import torch

    torch.set_num_threads(1)
    listener = Listener(address, family="AF_UNIX")
    while True:
        connection = listener.accept()
        if mode == "once" or os.fork() == 0:
            _serve(connection)
        connection.close()


if __name__ == "__main__":
    _main(*sys.argv[1:])
