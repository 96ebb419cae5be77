"""Machine: a quick inventory of this machine and Python environment, without starting Ray or an engine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import parc_ray
from parc_ray.errors import InputError, one_line
from parc_ray.simulators.child_process import NoAnswer, answer, ask
from parc_ray.simulators.engines import ENGINES
from parc_ray.viewing.render.graphics import Search

PACKAGES = ("torch", "numpy", "mujoco", "mujoco-warp", "warp-lang", "ovphysx", "isaacgym", "ray")
EXTRAS = {"view": ("viser",), "render": ("av", "pillow"), "export": ("pygltflib",), "upload": ("fsspec", "s3fs")}
"""Packages needed by other commands, by the extra that installs them."""
QUICK_SECONDS = 60.0
"""Maximum wait for a child process's answer; a loaded machine is slow."""


@dataclass(frozen=True)
class Machine:
    """The machine facts that a bug report needs."""

    system: str
    python: str
    cpus: int
    memory: int
    """Bytes."""
    free_disk: int
    """Bytes in the temporary folder."""
    gpus: tuple[str, ...]
    """Name, memory and driver of each NVIDIA GPU, as nvidia-smi reports them."""
    torch: str
    """Version, CUDA version of the build, and whether a device is usable; or the reason why it cannot be loaded."""
    devices: dict[str, str]
    """Name, capability and free memory of each CUDA device that torch can use."""
    versions: dict[str, str]
    """Installed versions of PACKAGES; empty for missing ones."""
    engines: dict[str, str]
    """Reason why each engine cannot be used here; empty if it can be loaded."""
    opengl: str
    """The OpenGL library that draws without a display, or the reason why none works."""
    ray: str
    """Ray's version and the address it would join."""
    extras: dict[str, str]
    """Install command of each missing extra."""
    variables: dict[str, str]
    """Environment variables that affect visible devices or loaded libraries."""


VARIABLES = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "MUJOCO_GL", "RAY_ADDRESS", "WARP_CACHE_PATH", "XDG_CACHE_HOME")


def examine_machine() -> Machine:
    """Examine this machine. Engines are loaded in child processes, because one must be imported before torch."""
    search = _search()
    with ThreadPoolExecutor() as pool:
        torch, gpus = pool.submit(_ask_torch), pool.submit(read_gpus)
        reasons = {known.name: pool.submit(_ask_engine, known.name) for known in ENGINES}
        opengl = pool.submit(lambda: search if isinstance(search, str) else _drawing(search))
        found = torch.result()
        return Machine(
            system=f"{platform.platform()}, parc-ray {parc_ray.__version__}",
            python=f"{platform.python_version()} in {sys.prefix}",
            cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            free_disk=shutil.disk_usage(tempfile.gettempdir()).free,
            gpus=tuple(gpus.result()),
            torch=found["torch"],
            devices=found["devices"],
            versions={name: version_of(name) for name in PACKAGES},
            engines={name: reason.result() for name, reason in reasons.items()},
            opengl=opengl.result(),
            ray=_ray(),
            extras={
                extra: f'pip install "parc-ray[{extra}]"'
                for extra, packages in EXTRAS.items()
                if not all(map(version_of, packages))
            },
            variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
        )


def version_of(package: str) -> str:
    """Return the installed version of a package; empty if it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def read_gpus() -> list[str]:
    """Return name, memory and driver of each NVIDIA GPU; empty without a driver."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.strip().splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


def _ask_torch() -> dict[str, Any]:
    return _ask("torch", {"torch": "", "devices": {}}, "torch")


def _ask_engine(name: str) -> str:
    return str(_ask(name, {"reason": ""}, "reason")["reason"])


def _ask(what: str, otherwise: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a child process's answer, or `otherwise` with the reason for the failure under `key`."""
    try:
        return ask(["-m", "parc_ray.doctor.machine", what], QUICK_SECONDS)
    except NoAnswer as error:
        return {**otherwise, key: f"a process that only loads it {error}"}
    except subprocess.TimeoutExpired:
        return {**otherwise, key: f"it does not load within {QUICK_SECONDS:g} s"}


def _search() -> Search | str:
    try:
        return Search()
    except InputError as error:
        return str(error)


def _drawing(search: Search) -> str:
    try:
        return search.result()
    except InputError as error:
        return str(error)


def _ray() -> str:
    version = version_of("ray")
    if not version:
        return "not installed: pip install 'ray[default]'"
    address = os.environ.get("RAY_ADDRESS", "")
    return f"{version}, joins {address} (RAY_ADDRESS)" if address else f"{version}, starts on this machine"


def _answer(what: str) -> None:
    """In a child process: load torch, or an engine's package."""
    if what != "torch":
        engine = next(known for known in ENGINES if known.name == what)
        answer({"reason": engine.unavailable_reason()})
    try:
        import torch
    except Exception as error:
        answer({"torch": f"cannot be imported: {one_line(error)}", "devices": {}})
    from parc_ray.simulators.engine_check import cuda_devices

    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    answer({"torch": f"{torch.__version__}, {built}", "devices": cuda_devices()})


if __name__ == "__main__":
    _answer(Path(sys.argv[1]).name)
