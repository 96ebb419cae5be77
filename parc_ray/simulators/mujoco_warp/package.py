"""Availability of MuJoCo Warp, and its kernels, compiled on its first start on a machine.

Imports neither torch nor MuJoCo Warp at module level.
"""

from __future__ import annotations

import os
import zlib
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Iterator

from parc_ray.simulators.cache_folder import cache_folder, lock_folder
from parc_ray.simulators.packages import missing_reason
from parc_ray.simulators.warp_runtime import require_warp_device, start_warp

PACKAGE = "mujoco-warp"
REMEDY = 'pip install "parc-ray[warp]", or set simulator: mujoco'


def unavailable_reason() -> str:
    """Return the reason why MuJoCo Warp cannot be used here; empty if it can be tried."""
    return missing_reason(PACKAGE, "MuJoCo Warp", (3, 11), REMEDY)


def kernel_folder() -> Path:
    """Return the folder of compiled kernels: $WARP_CACHE_PATH, else parc_ray's cache."""
    return Path(os.environ.get("WARP_CACHE_PATH") or cache_folder("warp"))


def first_start(device: str) -> str:
    """Describe the compilation that a first start on this machine needs; empty once done."""
    if any(kernel_folder().glob(f"{_versions(device)}-*")):
        return ""
    return (
        "MuJoCo Warp compiles its kernels on its first start on a machine, which takes a minute or two "
        f"(kept in {kernel_folder()})"
    )


@contextmanager
def kernels(device: str, character: str) -> Iterator[None]:
    """Load kernels in this context. One process compiles missing kernels while the others wait.

    Kernels depend on versions, device and character. Raises InputError if Warp cannot use the device.
    """
    mark = f"{_versions(device)}-{zlib.crc32(character.encode()):08x}"
    if (kernel_folder() / mark).exists():
        start_warp(device, kernel_folder())
        require_warp_device("MuJoCo Warp", device)
        yield
        return
    with lock_folder(kernel_folder()) as folder:
        start_warp(device, folder)
        require_warp_device("MuJoCo Warp", device)
        yield
        (folder / mark).touch()


def _versions(device: str) -> str:
    """Return the versions and device kind of kernels: "mujoco-warp-4.0.0-warp-lang-1.19.0-cuda"."""
    packages = "-".join(f"{name}-{metadata.version(name)}" for name in (PACKAGE, "warp-lang"))
    return f"{packages}-{device.partition(':')[0]}"
