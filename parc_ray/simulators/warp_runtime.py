"""Startup of NVIDIA's Warp, which MuJoCo Warp and PhysX share. Imports Warp only when called."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from parc_ray.errors import InputError

NO_DRIVER = b"Could not find or load the NVIDIA CUDA driver"
"""Warp's warning on machines without a GPU, printed by native code at any log level."""


def start_warp(device: str, cache: Path | None = None) -> None:
    """Start Warp for an engine on a device, without its banner. cache: folder for compiled kernels."""
    import warp

    warp.config.log_level = getattr(warp, "LOG_ERROR", 0)  # otherwise it reports every loaded kernel
    if cache is not None and warp.config.kernel_cache_dir is None:
        warp.config.kernel_cache_dir = str(cache)
    with _without_line(NO_DRIVER if device == "cpu" else b""):
        warp.init()


def require_warp_device(title: str, device: str) -> None:
    """Raise InputError if Warp cannot use a device that torch finds, such as "cuda:0"."""
    import torch
    import warp

    count = warp.get_cuda_device_count()
    if device != "cpu" and int(device.partition(":")[2] or 0) >= count:
        raise InputError(
            f"simulator: {title} does not work on {device}: Warp {warp.__version__} can use {count or 'no'} CUDA "
            f"devices here, although torch {torch.__version__} finds this one. The NVIDIA driver is probably too old "
            "for Warp: update it, or set simulator: mujoco"
        )


@contextmanager
def _without_line(text: bytes) -> Iterator[None]:
    """Remove lines with this text from native output to standard error; empty: remove nothing."""
    if not text:
        yield
        return
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
            file.seek(0)
            for line in file:
                if text not in line:
                    os.write(2, line)
