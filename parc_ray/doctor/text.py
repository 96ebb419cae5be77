"""The output of `parc-ray doctor`, for people and bug reports."""

from __future__ import annotations

from typing import Sequence

from parc_ray.doctor.gpu import Row
from parc_ray.doctor.machine import Machine

GIB = 2**30


def machine_lines(machine: Machine) -> list[str]:
    """Return one line per fact."""
    rows = [
        ("system", machine.system),
        ("python", machine.python),
        ("host", f"{machine.cpus} CPUs, {machine.memory / GIB:.1f} GiB memory, {machine.free_disk / GIB:.1f} GiB disk"),
        *(("gpu", gpu) for gpu in machine.gpus or ("nvidia-smi finds none",)),
        ("torch", f"{machine.torch}{'' if machine.devices else ', no CUDA device that it can use'}"),
        *machine.devices.items(),
        ("packages", ", ".join(f"{name} {version}" for name, version in machine.versions.items() if version)),
        *((name, reason or "can be loaded") for name, reason in machine.engines.items()),
        ("opengl", machine.opengl),
        ("ray", machine.ray),
        *((f"extra {extra}", f"not installed: {remedy}") for extra, remedy in machine.extras.items()),
        *((f"${name}", value) for name, value in machine.variables.items()),
    ]
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {value}" for name, value in rows]


def table_lines(rows: Sequence[Row]) -> list[str]:
    """Return one line per process of a check."""
    return [f"{row.part:12s}{row.engine:15s}{row.envs or '':<6} {row.state:8s}{row.text}" for row in rows]
