"""Requirements of a process that runs Isaac Gym, and explanations of its failures.

Isaac Gym must be imported before torch, needs Python 3.6 to 3.8 and a libpython that the loader can find, and compiles
a torch extension on first use. Imports neither torch nor Isaac Gym at module level.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import os
import platform
import sys
import sysconfig
from pathlib import Path
from typing import Iterator

from parc_ray.errors import InputError, one_line
from parc_ray.simulators.cache_folder import cache_folder, lock_folder

WEBSITE = "https://developer.nvidia.com/isaac-gym"
INSTEAD = "or set simulator: mujoco"


def unavailable_reason() -> str:
    """Return the reason why Isaac Gym cannot be imported; empty if it is installed, working or not."""
    if importlib.util.find_spec("isaacgym") is not None:
        return ""
    version = platform.python_version()
    python = "" if sys.version_info[:2] in ((3, 6), (3, 7), (3, 8)) else f", and needs Python 3.8, not {version},"
    return (
        f"Isaac Gym is not installed in {sys.prefix}{python} and is not on PyPI: get Isaac Gym Preview 4 from "
        f"{WEBSITE} and pip install its folder python/ into an environment of Python 3.8, {INSTEAD}"
    )


def library_path() -> str:
    """Return the LD_LIBRARY_PATH for Isaac Gym processes: the environment's libraries before all others."""
    folders = [str(Path(sys.prefix) / "lib"), *os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)]
    return os.pathsep.join(dict.fromkeys(filter(None, folders)))


def import_isaacgym(device: str) -> None:
    """Import Isaac Gym, then torch, for a device ("cpu" or "cuda:0"). Raises InputError with the cause."""
    if "isaacgym.gymtorch" not in sys.modules:
        missing = unavailable_reason()
        if missing:
            raise InputError(f"simulator: {missing}")
        if "torch" in sys.modules:
            raise InputError(
                "simulator: Isaac Gym must be imported before torch, but this process has imported torch already; "
                "import isaacgym (or call parc_ray.simulators.isaacgym.process.import_isaacgym) first"
            )
        _find_libpython()
        # The tools that build the torch extension are in Python's folder, which may be missing from Ray's PATH.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        try:
            importlib.import_module("isaacgym.gymapi")
        except Exception as error:
            raise InputError(_explain_import(error)) from error
        with _extension_folder():
            try:
                importlib.import_module("isaacgym.gymtorch")
            except Exception as error:
                raise InputError(_explain_extension(error)) from error
    if device != "cpu":
        _require_cuda()


def loaded_version() -> str:
    """Return the version of the imported package (1.0rc4 is Preview 4), else of its engine."""
    from importlib import metadata

    from isaacgym import gymapi

    try:
        return metadata.version("isaacgym")
    except metadata.PackageNotFoundError:
        version = gymapi.acquire_gym().get_version()
        return f"{version.major}.{version.minor}"


def _explain_import(error: Exception) -> str:
    reason = one_line(error)
    if "libpython" in reason:
        return (
            f"simulator: Isaac Gym does not find Python's own library ({reason}): start Python, or Ray on every node, "
            f"with LD_LIBRARY_PATH={Path(sys.prefix) / 'lib'}"
        )
    if "No gym module found" in reason:
        return (
            f"simulator: Isaac Gym Preview 4 runs on Python 3.6 to 3.8, this is Python {platform.python_version()}; "
            f"use an environment of Python 3.8, {INSTEAD}"
        )
    return f"simulator: Isaac Gym cannot be imported: {type(error).__name__}: {reason}; {INSTEAD}"


def _explain_extension(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return (
        f"simulator: Isaac Gym could not compile its torch extension gymtorch: {lines[0].strip()}; it needs ninja "
        f"(pip install ninja) and a C++ compiler on PATH; {INSTEAD}"
    )


def _require_cuda() -> None:
    """Raise InputError if torch has no CUDA device or was not built for the present one."""
    import torch

    if not torch.cuda.is_available():
        raise InputError(
            f"simulator: Isaac Gym finds no CUDA device (torch {torch.__version__}, CUDA_VISIBLE_DEVICES="
            f"{os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}): does nvidia-smi list one, and was torch built "
            f"for CUDA? Else use device: cpu, {INSTEAD}"
        )
    major, minor = torch.cuda.get_device_capability(0)
    built = torch.cuda.get_arch_list()
    if built and not _runs_on(built, major, minor):
        raise InputError(
            f"simulator: {torch.cuda.get_device_name(0)} (compute capability {major}.{minor}) is not supported by "
            f"torch {torch.__version__}, which was built for {', '.join(built)}, and Isaac Gym's Python 3.8 has no "
            f"torch after 2.4; use an older GPU or device: cpu, {INSTEAD}"
        )


def _runs_on(built: list[str], major: int, minor: int) -> bool:
    """Return whether the built code runs on a device. Binary code (sm_XY) runs on later minor versions of its major
    version, intermediate code (compute_XY) on all later versions."""
    for name in built:
        kind, _, number = name.partition("_")
        digits = "".join(filter(str.isdigit, number))
        own = (int(digits[:-1]), int(digits[-1]))
        if own <= (major, minor) and (kind == "compute" or own[0] == major):
            return True
    return False


def _find_libpython() -> None:
    """Load libpython by path, so that the loader need not search LD_LIBRARY_PATH for it."""
    name = f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"
    for folder in (Path(sys.prefix) / "lib", Path(sysconfig.get_config_var("LIBDIR") or "/")):
        if (folder / name).is_file():
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(folder / name))
                return


@contextlib.contextmanager
def _extension_folder() -> Iterator[None]:
    """Yield a folder for torch's compiled extensions that only one process uses at a time.

    torch's own lock file remains when a process is killed; torch then waits for it forever.
    """
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    before = os.environ.get("TORCH_EXTENSIONS_DIR")
    with lock_folder(cache_folder("torch_extensions") / f"{python}-{_torch_version()}") as folder:
        for left_behind in folder.glob("*/lock"):
            left_behind.unlink()
        os.environ["TORCH_EXTENSIONS_DIR"] = str(folder)
        try:
            yield
        finally:
            if before is None:
                del os.environ["TORCH_EXTENSIONS_DIR"]
            else:
                os.environ["TORCH_EXTENSIONS_DIR"] = before


def _torch_version() -> str:
    """Return the installed version of torch without importing it."""
    from importlib import metadata

    try:
        return f"torch{metadata.version('torch')}"
    except metadata.PackageNotFoundError:
        return "torch"
