"""Trying out an engine on a device: in this process, or in one of its own.

`python -m parc_ray.simulators.engine_check NAME DEVICE` tries one out and prints what comes of it as JSON.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from typing import Dict

from parc_ray.errors import InputError
from parc_ray.simulators import engines
from parc_ray.simulators.engine import Engine, EngineCheck

MARK = "parc_ray: "
"""Begins the line of output with the answer: engines print, too."""
TRIAL_SECONDS = 300.0


def check_locally(engine: Engine, device: str) -> EngineCheck:
    """Try an engine on this machine: in a process of its own if it must be imported before torch."""
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
    command = [sys.executable, "-m", "parc_ray.simulators.engine_check", engine.name, device]
    environment = {**os.environ, **engine.variables()}
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        return EngineCheck(f"simulator: {engine.title} did not start within {TRIAL_SECONDS:.0f} s; {instead}")
    answers = [line[len(MARK) :] for line in ended.stdout.splitlines() if line.startswith(MARK)]
    if not ended.returncode and answers:
        return EngineCheck(**json.loads(answers[-1]))
    reason = f"was killed by signal {-ended.returncode}" if ended.returncode < 0 else "failed"
    last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
    return EngineCheck(
        f"simulator: a process that only imports {engine.title} {reason}: {last}; "
        f"do {engine.title}'s own examples run in this environment? {instead}"
    )


def alternative() -> str:
    """What a message suggests to do without an engine."""
    return f"or set simulator: {engines.ENGINES[-1].name}"


def cuda_devices() -> Dict[str, str]:
    """Name, capability and memory of every CUDA device, by torch's name for it."""
    import torch

    devices: Dict[str, str] = {}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        major, minor = torch.cuda.get_device_capability(index)
        free, total = torch.cuda.mem_get_info(index)
        devices[f"cuda:{index}"] = (
            f"{torch.cuda.get_device_name(index)}, compute capability {major}.{minor}, "
            f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        )
    return devices


if __name__ == "__main__":
    print(f"\n{MARK}{json.dumps(asdict(check_here(engines.engine(sys.argv[1]), sys.argv[2])))}", flush=True)
    # An engine may hang or crash while it is torn down.
    os._exit(0)
