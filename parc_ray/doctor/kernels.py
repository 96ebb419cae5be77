"""Compiles the kernels of a MuJoCo Warp control step for absent GPUs, with Warp's own compiler."""

from __future__ import annotations

import re
import tempfile
from typing import Any, Callable, Sequence

from parc_ray.errors import InputError, one_line
from parc_ray.simulators.child_process import answer
from parc_ray.simulators.mujoco_warp.engine import MUJOCO_WARP
from parc_ray.simulators.packages import require

ARCHITECTURE = re.compile(r"sm_(\d{2,3})")


def read_architectures(names: Sequence[str]) -> list[int]:
    """Return the numbers of architectures: 90 of "sm_90". Raises InputError for other names."""
    matches = [ARCHITECTURE.fullmatch(name) for name in names]
    for name, match in zip(names, matches):
        if match is None:
            raise InputError(f"--compile {name}: name an architecture such as sm_80 (A100) or sm_90 (H100)")
    return [int(match[1]) for match in matches if match]


def compile_kernels(architectures: Sequence[int]) -> dict[str, Any]:
    """Compile every module that a control step loads. Return their number, and the errors by architecture and module.

    Needs a separate process: starts Warp, and steps PARC's humanoid once on Warp's CPU device to load the modules.
    """
    require(MUJOCO_WARP.unavailable_reason())
    modules = _loaded_modules(lambda: MUJOCO_WARP.try_out("cpu"))
    import warp

    errors = {}
    for architecture in architectures:
        for module in modules:
            try:
                with tempfile.TemporaryDirectory() as folder:
                    warp.compile_aot_module(module, arch=architecture, module_dir=folder, use_ptx=True)
            except Exception as error:
                errors[f"sm_{architecture} {module.name}"] = one_line(error)[:300]
    return {"modules": len(modules), "errors": errors}


def _loaded_modules(work: Callable[[], Any]) -> list[Any]:
    """Return the Warp modules that `work` loads."""
    import warp

    kind, modules = warp.Module, {}
    load = kind.load

    def noted(self: Any, *arguments: Any, **options: Any) -> Any:
        modules[id(self)] = self
        return load(self, *arguments, **options)

    kind.load = noted
    try:
        work()
    finally:
        kind.load = load
    return list(modules.values())


if __name__ == "__main__":
    import sys

    answer(compile_kernels([int(number) for number in sys.argv[1:]]))
