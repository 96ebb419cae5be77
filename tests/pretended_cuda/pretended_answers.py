"""The answers of torch.cuda on a machine with pretended GPUs. Imports nothing."""

from __future__ import annotations

import os

GIB = 2**30
FREE, TOTAL = 8 * GIB, 24 * GIB


def answers(count=None):
    """Return functions of torch.cuda by name, for `count` devices or those in CUDA_VISIBLE_DEVICES (default: one).

    PRETENDED_CAPABILITY ("8.6") is theirs, PRETENDED_ARCHITECTURES ("sm_80 sm_86") is what torch was built for.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    capability = tuple(map(int, os.environ.get("PRETENDED_CAPABILITY", "8.6").split(".")))
    architectures = os.environ.get("PRETENDED_ARCHITECTURES", "sm_80 sm_86").split()

    def device_count():
        now = os.environ.get("CUDA_VISIBLE_DEVICES", visible)
        return len([part for part in now.split(",") if part]) if count is None else count

    return {
        "device_count": device_count,
        "is_available": lambda: device_count() > 0,
        "get_device_name": lambda device=None: "Pretended GPU",
        "get_device_capability": lambda device=None: capability,
        "get_arch_list": lambda: architectures,
        "mem_get_info": lambda device=None: (FREE, TOTAL),
    }
