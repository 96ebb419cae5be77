"""ShardActor: one process on one device, recording one shard.

Imports neither torch nor a simulator at module level: Ray imports this module before __init__ runs, and some
simulators must be imported before torch.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, List, Optional, Tuple

from parc_ray.errors import InputError
from parc_ray.recording.shard import RunFiles, Shard, build_recorder

if TYPE_CHECKING:
    from parc_ray.recording.recorder import AttemptResult, ShardRecorder


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
    """why the shard could not be set up"""


class ShardActor:
    """Records one shard. The driver calls hello and setup once, then work until a report says done."""

    def __init__(self) -> None:
        self._recorder: ShardRecorder | None = None

    def hello(self) -> WorkReport:
        """Answer, which an actor does as soon as Ray has started it."""
        return WorkReport()

    def setup(self, run: RunFiles, shard: Shard, threads: int, device: str) -> WorkReport:
        """Load everything. Bad input is reported, not raised: it would not survive the way between processes whole."""
        start = time.monotonic()
        try:
            self._recorder = build_recorder(run, shard, threads, device)
        except InputError as error:
            return WorkReport(error=str(error))
        simulator = self._recorder.environment.simulator
        used = str(self._recorder.environment.device)
        if used != device:
            used += f" ({device} was given, but torch sees no CUDA device)"
        line = (
            f"shard {shard.index}: {len(shard.motions)} motions in {simulator.num_envs} envs on {used}, "
            f"{simulator.name} {simulator.version}, {threads} threads, Python {platform.python_version()}, "
            f"{socket.gethostname()} pid {os.getpid()}, ready in {time.monotonic() - start:.1f} s"
        )
        return WorkReport(log=(line,))

    def work(self, seconds: float) -> WorkReport:
        """Record for about so many seconds."""
        assert self._recorder is not None, "work before setup"
        usage = self._recorder.usage
        before = (usage.env_steps, usage.busy, usage.slots)
        results: List[AttemptResult] = self._recorder.work(seconds)
        done = self._recorder.done
        if done:
            self._recorder.environment.simulator.close()
        return WorkReport(
            results=tuple(results),
            done=done,
            env_steps=usage.env_steps - before[0],
            busy=usage.busy - before[1],
            slots=usage.slots - before[2],
        )
