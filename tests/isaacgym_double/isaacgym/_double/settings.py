"""Environment variables that steer the double, read once, when it is imported."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Mapping


@dataclass(frozen=True)
class Settings:
    """One field per environment variable ISAACGYM_DOUBLE_<NAME>; simulate calls count from 1."""

    any_python: bool = False
    """1: run on any Python; otherwise Python > 3.8 is refused, as by the real package"""
    cuda: int = 0
    """how many CUDA devices to pretend: tensors stay on the CPU; CUDA_VISIBLE_DEVICES can only reduce the number"""
    stale: str = "poison"
    """what a tensor holds when it is out of date: "poison" (NaN) or "keep" (the old values, as in the real one)"""
    violations: str = ""
    """file to which every refusal is appended, so that one cannot hide behind an `except`"""
    import_error: str = ""
    """message of the ImportError that `import isaacgym` raises; "libpython": the real text of a missing libpython"""
    compile_seconds: float = 0.0
    """how long the first import of gymtorch compiles (only where TORCH_EXTENSIONS_DIR is set)"""
    create_sim: str = ""
    """"none": create_sim prints an error and returns None"""
    max_envs: tuple[str, ...] = ()
    """N: device memory runs out at env N + 1: errors on stderr, prepare_sim returns False; "N:abort": the process
    dies; "N:nan": prepare_sim returns True and all states are NaN"""
    overflow: tuple[str, ...] = ()
    """STEP or STEP:KIND, comma separated: PhysX complains on stderr in these simulate calls; KIND: see misbehaviour"""
    nan: tuple[str, ...] = ()
    """STEP:ACTOR, comma separated: the actor's state is NaN from this simulate call until it is set"""
    crash: tuple[str, ...] = ()
    """where the process dies: import, create_sim, create_env:N, prepare_sim, simulate:STEP, destroy_sim, exit
    (at interpreter exit), undestroyed (at interpreter exit if a simulation was not destroyed)"""
    hang: tuple[str, ...] = ()
    """where the process hangs: same places as crash"""
    messages_fd: int = 2
    """file descriptor of the engine's messages"""

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> Settings:
        """Raises ValueError for a variable that does not exist."""
        prefix = "ISAACGYM_DOUBLE_"
        given = {key[len(prefix) :].lower(): value for key, value in environment.items() if key.startswith(prefix)}
        unknown = set(given) - set(Settings.__dataclass_fields__)
        if unknown:
            raise ValueError(f"isaacgym double: unknown settings {sorted(unknown)}")
        return Settings(**{name: _parse(getattr(Settings, name), value) for name, value in given.items()})


def _parse(default: object, text: str) -> object:
    if isinstance(default, bool):
        return text not in ("", "0")
    if isinstance(default, tuple):
        return tuple(part for part in text.split(",") if part)
    return type(default)(text)


SETTINGS = Settings.from_environment(os.environ)
