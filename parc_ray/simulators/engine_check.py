"""Tries an engine on a device, in this process or a separate one.

`python -m parc_ray.simulators.engine_check NAME DEVICE` tries an engine and prints the result as JSON.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import asdict

from parc_ray.errors import InputError
from parc_ray.simulators import engines
from parc_ray.simulators.child_process import NoAnswer, answer, ask, end_of
from parc_ray.simulators.engine import Engine, EngineCheck

TRIAL_SECONDS = 300.0


def check_locally(engine: Engine, device: str) -> EngineCheck:
    """Try an engine on this machine, in a separate process if it must be imported before torch."""
    return _try_apart(engine, device) if engine.import_first else check_here(engine, device)


def check_here(engine: Engine, device: str) -> EngineCheck:
    """Try an engine in this process."""
    try:
        if engine.import_first:
            engine.import_first(device)
        version = engine.try_out(device)
    except InputError as error:
        return EngineCheck(str(error))
    import torch

    devices = cuda_devices() if device != "cpu" else {}
    return EngineCheck("", version, platform.python_version(), torch.__version__, devices)


def _try_apart(engine: Engine, device: str) -> EngineCheck:
    unavailable_reason = engine.unavailable_reason()
    if unavailable_reason:
        return EngineCheck(f"simulator: {unavailable_reason}")
    instead = alternative()
    arguments = ["-m", "parc_ray.simulators.engine_check", engine.name, device]
    try:
        return EngineCheck(**ask(arguments, TRIAL_SECONDS, engine.variables()))
    except subprocess.TimeoutExpired:
        return EngineCheck(f"simulator: {engine.title} did not start within {TRIAL_SECONDS:.0f} s; {instead}")
    except NoAnswer as error:
        reason = end_of(error.returncode) if error.returncode < 0 else "failed"
        return EngineCheck(
            f"simulator: a process that only imports {engine.title} {reason}: {error.last_line}; "
            f"do {engine.title}'s own examples run in this environment? {instead}"
        )


def alternative() -> str:
    """Return the remedy for a missing engine, for messages."""
    return f"or set simulator: {engines.ENGINES[-1].name}"


def cuda_devices() -> dict[str, str]:
    """Return name, capability and memory of every CUDA device, by torch's name for it."""
    import torch

    devices: dict[str, str] = {}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        major, minor = torch.cuda.get_device_capability(index)
        free, total = torch.cuda.mem_get_info(index)
        devices[f"cuda:{index}"] = (
            f"{torch.cuda.get_device_name(index)}, compute capability {major}.{minor}, "
            f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        )
    return devices


if __name__ == "__main__":
    answer(asdict(check_here(engines.engine(sys.argv[1]), sys.argv[2])))
