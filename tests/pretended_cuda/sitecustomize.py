"""First on PYTHONPATH: torch says that it has CUDA devices, one for each in CUDA_VISIBLE_DEVICES (default: one).

Nothing can be computed on them. PRETENDED_CAPABILITY ("8.6") is theirs, PRETENDED_ARCHITECTURES ("sm_86") is what torch
was built for.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys

GIB = 2**30


class Pretend(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads torch with other answers. It must not be imported here: Isaac Gym wants to be first."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        cuda = module.cuda
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
        capability = tuple(map(int, os.environ.get("PRETENDED_CAPABILITY", "8.6").split(".")))
        architectures = os.environ.get("PRETENDED_ARCHITECTURES", "sm_80 sm_86").split()
        cuda.device_count = lambda: len([part for part in visible.split(",") if part])
        cuda.is_available = lambda: cuda.device_count() > 0
        cuda.get_device_name = lambda device=None: "Pretended GPU"
        cuda.get_device_capability = lambda device=None: capability
        cuda.get_arch_list = lambda: architectures
        cuda.mem_get_info = lambda device=None: (8 * GIB, 24 * GIB)


sys.meta_path.insert(0, Pretend())
