"""Checkup: the checks and measurements of `parc-ray doctor`."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import Any, Callable, Sequence

from parc_ray.doctor.gpu import GpuCheck, Row, check_gpu
from parc_ray.doctor.kernels import read_architectures
from parc_ray.doctor.machine import Machine, examine_machine
from parc_ray.doctor.text import machine_lines, table_lines
from parc_ray.errors import InputError, one_line
from parc_ray.simulators.child_process import NoAnswer, ask
from parc_ray.simulators.engines import engine
from parc_ray.simulators.mujoco_warp.engine import MUJOCO_WARP
from parc_ray.simulators.packages import require

COMPILE_SECONDS = 900.0
"""Maximum duration of compiling all kernels for one architecture."""


@dataclass(frozen=True)
class Checkup:
    """Checks to run after examining the machine."""

    start_engines: bool = False
    """True to start every engine that can be loaded."""
    gpu: GpuCheck | None = None
    """Checks and measurements on a device."""
    architectures: Sequence[str] = ()
    """CUDA architectures, such as "sm_90", to compile kernels for."""


@dataclass(frozen=True)
class Findings:
    """Results of a checkup."""

    machine: Machine
    rows: list[Row]
    """Results of starting, checking and measuring engines, and of compiling kernels."""

    @property
    def healthy(self) -> bool:
        """True if no check failed and at least one engine can be loaded."""
        return not any(row.state == "failed" for row in self.rows) and not all(self.machine.engines.values())

    def to_json(self) -> str:
        """Return everything as one JSON document."""
        values: dict[str, Any] = {"machine": asdict(self.machine), "rows": [asdict(row) for row in self.rows]}
        return json.dumps({"healthy": self.healthy, **values}, indent=1)


def run_checkup(checkup: Checkup, report: Callable[[str], None]) -> Findings:
    """Examine the machine, run the requested checks, and report every step.

    Raises InputError for unknown names before starting anything.
    """
    architectures = read_architectures(checkup.architectures)
    if architectures:
        require(MUJOCO_WARP.unavailable_reason())
    for name in checkup.gpu.engines if checkup.gpu else ():
        engine(name)
    machine = examine_machine()
    for line in machine_lines(machine):
        report(line)
    rows: list[Row] = []
    if checkup.start_engines:
        rows += _start_engines(machine, report)
    if checkup.gpu is not None:
        rows += check_gpu(checkup.gpu, report)
    rows += [_compile(architecture, report) for architecture in architectures]
    for line in table_lines(rows):
        report(line)
    return Findings(machine, rows)


def _start_engines(machine: Machine, report: Callable[[str], None]) -> list[Row]:
    """Start every engine that can be loaded, on a CUDA device if torch has one."""
    device = "cuda:0" if machine.devices else "cpu"
    names = [name for name, reason in machine.engines.items() if not reason]
    for name in names:
        if engine(name).first_start(device):
            report(engine(name).first_start(device))
    return check_gpu(GpuCheck(device=device, parts=("start",), engines=names), report) if names else []


def _compile(architecture: int, report: Callable[[str], None]) -> Row:
    """Compile all kernels of a control step for one architecture."""
    row, start = Row("compile", f"sm_{architecture}"), time.monotonic()
    report(f"compiling MuJoCo Warp's kernels for sm_{architecture}, which takes a minute or more")
    try:
        row.numbers = ask(["-m", "parc_ray.doctor.kernels", str(architecture)], COMPILE_SECONDS)
    except (NoAnswer, InputError, subprocess.TimeoutExpired) as error:
        row.state, row.text = "failed", one_line(error)[:300]
    else:
        errors = row.numbers["errors"]
        row.state = "failed" if errors else "ok"
        row.text = f"{row.numbers['modules']} modules, {len(errors)} failed"
        row.text += "".join(f"; {module}: {error}" for module, error in list(errors.items())[:3])
    row.seconds = round(time.monotonic() - start, 1)
    return row
