"""ShardActor: one process on one device, recording one shard.

Imports neither torch nor a simulator at module level: Ray imports this module before __init__ runs, and some
simulators must be imported before torch.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Dict, Optional, Tuple

from parc_ray.errors import BrokenSimulationError, InputError, TooLargeError
from parc_ray.recording.shard import RunFiles, Shard, build_recorder
from parc_ray.simulators.isaacgym_process import try_isaacgym
from parc_ray.simulators.physx_package import try_physx

if TYPE_CHECKING:
    from parc_ray.recording.recorder import AttemptResult, ShardRecorder


OUT_OF_MEMORY = ("out of memory", "allocate memory", "failed to allocate", "bad_alloc")
"""What CUDA, torch, the C library, MuJoCo and C++ say"""


@dataclass(frozen=True)
class WorkReport:
    """What an actor has done since its last report."""

    results: Tuple[AttemptResult, ...] = ()
    done: bool = False
    env_steps: int = 0
    """control steps of all envs"""
    busy: int = 0
    """env steps while work was waiting, and"""
    slots: int = 0
    """env steps that all slots could have made in that time"""
    log: Tuple[str, ...] = ()
    error: Optional[str] = None
    """why the shard could not be set up, or not be worked on any longer"""
    too_large: int = 0
    """so many envs were too many: that is the error"""


class ShardActor:
    """Records one shard. The driver calls hello and setup once, then work until a report says done."""

    def __init__(self) -> None:
        self._recorder: ShardRecorder | None = None

    def hello(self) -> WorkReport:
        """Answer, which an actor does as soon as Ray has started it."""
        return WorkReport()

    def probe(self, simulator: str, device: str) -> Dict[str, str]:
        """What Isaac Gym or PhysX says of itself and its devices here; under "error" what is wrong."""
        return try_isaacgym(device) if simulator == "isaacgym" else try_physx(device)

    def setup(self, run: RunFiles, shard: Shard, threads: int, device: str) -> WorkReport:
        """Load everything. Bad input is reported, not raised: it would not survive the way between processes whole."""
        start = time.monotonic()
        try:
            self._recorder = build_recorder(run, shard, threads, device)
        except Exception as error:
            return _failure(error, shard.num_envs(run))
        simulator = self._recorder.environment.simulator
        used = str(self._recorder.environment.device)
        if used != device:
            used += f" ({device} was given, but torch sees no CUDA device)"
        line = (
            f"shard {shard.index}: {len(shard.motions)} motions in {simulator.num_envs} envs on {used}, "
            f"{simulator.name} {simulator.version}, {threads} threads, Python {platform.python_version()}, "
            f"{socket.gethostname()} pid {os.getpid()}, ready in {time.monotonic() - start:.1f} s"
        )
        if simulator.device_bytes:
            line += f", {simulator.device_bytes / 2**20:.0f} MiB of device memory"
        return WorkReport(log=(line,))

    def work(self, seconds: float) -> WorkReport:
        """Record for about so many seconds."""
        assert self._recorder is not None, "work before setup"
        usage = self._recorder.usage
        before = (usage.env_steps, usage.busy, usage.slots)
        report = WorkReport()
        try:
            results = self._recorder.work(seconds)
        except Exception as error:
            # What was running is lost, but not what had ended before this step.
            report = _failure(error, self._recorder.environment.num_envs)
            results = self._recorder.take_results()
        done = self._recorder.done
        if done:
            self._recorder.environment.simulator.close()
        return replace(
            report,
            results=tuple(results),
            done=done,
            env_steps=usage.env_steps - before[0],
            busy=usage.busy - before[1],
            slots=usage.slots - before[2],
        )


def _failure(error: Exception, envs: int) -> WorkReport:
    """The report of a failed setup, or of a simulation that cannot go on. Raises any error that is not foreseen."""
    if isinstance(error, TooLargeError):
        return WorkReport(error=str(error), too_large=envs)
    if isinstance(error, (InputError, BrokenSimulationError)):
        return WorkReport(error=str(error))
    reason = str(error).split("\n")[0] or type(error).__name__
    if not isinstance(error, MemoryError) and not any(words in str(error) for words in OUT_OF_MEMORY):
        raise error
    return WorkReport(error=f"{envs} envs are too many: {reason}; lower max_envs_per_actor", too_large=envs)
