"""First on PYTHONPATH: torch says that it has CUDA devices, one for each in CUDA_VISIBLE_DEVICES (default: one).

Nothing can be computed on them: tests/tracking/pretended_device.py can.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys

from pretended_answers import answers


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
        for name, answer in answers().items():
            setattr(module.cuda, name, answer)


sys.meta_path.insert(0, Pretend())
