"""ShardActor: one process on one device, recording one shard.

Imports neither torch nor an engine at module level: Ray imports this module before __init__ runs, and some engines
must be imported before torch.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Tuple

from parc_ray.cluster.crash_output import Printout, own_printouts
from parc_ray.cluster.failure_policy import Device
from parc_ray.errors import BrokenSimulationError, InputError, TooLargeError, shorten
from parc_ray.recording.shard import RunFiles, Shard, build_recorder
from parc_ray.simulators.engine import EngineCheck
from parc_ray.simulators.engine_check import check_here
from parc_ray.simulators.engines import engine

if TYPE_CHECKING:
    from parc_ray.recording.attempt_result import AttemptResult
    from parc_ray.recording.recorder import ShardRecorder
    from parc_ray.recording.run_attempt import RunAttempt


OUT_OF_MEMORY = ("out of memory", "allocate memory", "failed to allocate", "bad_alloc")
"""What CUDA, torch, the C library, MuJoCo and C++ say."""
MAX_WARNINGS = 20
"""Maximum number of warnings told in one report; the others are counted."""
LONGEST_WARNING = 1000
"""Characters."""
MIB = 2**20


@dataclass(frozen=True)
class Memory:
    """What an actor and its device use, in bytes."""

    node: str
    process: int = 0
    """Resident host memory of the actor's process."""
    device: str = ""
    """The CUDA device that it works on, if any."""
    device_used: int = 0
    """Memory of that device in use by all processes."""
    device_total: int = 0


@dataclass(frozen=True)
class WorkReport:
    """What an actor has done since its last report."""

    results: Tuple[AttemptResult, ...] = ()
    done: bool = False
    """Whether its shard is finished."""
    steps: int = 0
    """Control steps of the simulator."""
    env_steps: int = 0
    """Control steps of all envs together."""
    busy: int = 0
    """Env steps made while work was waiting."""
    slots: int = 0
    """Env steps that all slots could have made in that time."""
    log: Tuple[Tuple[float, str], ...] = ()
    """Lines, each with its age (s) when this report was made: the clocks of nodes differ."""
    error: Optional[str] = None
    """Why the shard could not be set up, or cannot be worked on any longer."""
    too_large: int = 0
    """Number of envs that turned out to be too many, if that is the error."""
    memory: Optional[Memory] = None
    device: Optional[Device] = None
    """Where the actor runs; told in its first report only."""
    printouts: Tuple[Printout, ...] = ()
    """Where it prints; the same."""

    @property
    def busy_envs(self) -> float:
        """Envs at work, on average."""
        return self.env_steps / self.steps if self.steps else 0.0


class ShardActor:
    """Records one shard. The driver calls hello and setup once, then work until a report says done."""

    def __init__(self) -> None:
        self._recorder: ShardRecorder | None = None
        self._warnings = WarningLines()
        self._attempts = 0

    def hello(self) -> WorkReport:
        """Answer, which an actor does as soon as Ray has started it."""
        return WorkReport(device=own_device(), printouts=own_printouts())

    def try_out(self, simulator: str, device: str) -> EngineCheck:
        """Try an engine in this process. What is wrong is reported, not raised, as in setup."""
        return check_here(engine(simulator), device)

    def setup(self, run: RunFiles, shard: Shard, threads: int, device: str) -> WorkReport:
        """Load everything. Bad input is reported, not raised: it would not survive the way between processes whole."""
        start = time.monotonic()
        self._warnings.listen()
        if not device.startswith("cuda"):
            # An actor without GPUs sees all of them on newer Ray versions, and torch would reserve memory there.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        try:
            self._recorder = build_recorder(run, shard, threads, device)
        except Exception as error:
            return replace(_failure(error, shard.num_envs(run)), log=self._warnings.take())
        simulator = self._recorder.environment.simulator
        used = str(self._recorder.environment.device)
        if used != device:
            used += f" ({device} was given, but torch sees no CUDA device)"
        memory = measure_memory(used)
        line = (
            f"{len(shard.motions)} motions in {simulator.num_envs} envs on {used}, "
            f"{simulator.engine.name} {simulator.version}, {threads} threads, Python {platform.python_version()}, "
            f"{memory.node} pid {os.getpid()}, ready in {time.monotonic() - start:.1f} s, {_in_words(memory)}"
        )
        if simulator.device_bytes:
            line += f", {simulator.device_bytes / MIB:.0f} MiB of device memory for the simulator"
        return WorkReport(log=(*self._warnings.take(), (0.0, line)), memory=memory)

    def work(self, seconds: float) -> WorkReport:
        """Record for about so many seconds."""
        assert self._recorder is not None, "work before setup"
        before = replace(self._recorder.utilization)
        report = WorkReport()
        try:
            results = self._recorder.work(seconds)
        except Exception as error:
            # What was running is lost, but not what had ended before this step.
            report = _failure(error, self._recorder.environment.num_envs)
            results = self._recorder.take_results()
        done = self._recorder.done
        memory = measure_memory(str(self._recorder.environment.device))
        self._attempts += len(results)
        now = self._recorder.age
        attempts = [result.attempt for result in results]
        lines = [(now - (attempt.ended or now), attempt_line(attempt)) for attempt in attempts]
        usage = self._recorder.utilization
        if done:
            self._recorder.environment.simulator.close()
            counts = f"{self._attempts} attempts, {usage.env_steps} control steps"
            lines.append((0.0, f"done: {counts}, {_in_words(memory)}"))
        return replace(
            report,
            results=tuple(results),
            done=done,
            steps=usage.steps - before.steps,
            env_steps=usage.env_steps - before.env_steps,
            busy=usage.busy - before.busy,
            slots=usage.slots - before.slots,
            log=(*self._warnings.take(), *lines),
            memory=memory,
        )


class WarningLines(logging.Handler):
    """Collects what libraries of this process warn of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: List[Tuple[float, str]] = []

    def listen(self) -> None:
        """Begin to collect."""
        logging.captureWarnings(True)
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        text = " ".join(record.getMessage().split())
        self._lines.append((time.monotonic(), f"{record.levelname.lower()}: {shorten(text, LONGEST_WARNING)}"))

    def take(self) -> Tuple[Tuple[float, str], ...]:
        """Those since the last call, and how long ago they were."""
        lines, self._lines = self._lines, []
        if len(lines) > MAX_WARNINGS:
            lines[MAX_WARNINGS:] = [(lines[-1][0], f"and {len(lines) - MAX_WARNINGS} more warnings")]
        now = time.monotonic()
        return tuple((now - then, line) for then, line in lines)


def attempt_line(attempt: RunAttempt) -> str:
    """Return the line of the log for a finished attempt."""
    reason = f" ({attempt.reason})" if attempt.reason else ""
    return f"{attempt.motion}: attempt {attempt.number} from {attempt.start_fraction:.0%}: {attempt.outcome}{reason}"


def own_device() -> Device:
    """Where this actor runs. Ray shows it its own GPUs only, which makes each of them the first."""
    import ray

    gpus = ",".join(map(str, ray.get_gpu_ids()))
    return Device(socket.gethostname(), ray.get_runtime_context().get_node_id(), gpus)


def measure_memory(device: str) -> Memory:
    """Of this process, and of the CUDA device if that is one."""
    memory = Memory(socket.gethostname(), process_memory())
    if not device.startswith("cuda"):
        return memory
    import ray
    import torch

    try:
        free, total = torch.cuda.mem_get_info(torch.device(device).index or 0)
    except RuntimeError:  # the work itself will tell what is wrong with the device
        return memory
    # Ray shows an actor its own GPUs only, which makes each of them the first.
    number = next(iter(ray.get_gpu_ids()), device.partition(":")[2] or 0)
    return replace(memory, device=f"cuda:{number}", device_used=total - free, device_total=total)


def process_memory() -> int:
    """Bytes of host memory of this process; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _in_words(memory: Memory) -> str:
    text = f"{memory.process / MIB:.0f} MiB of host memory"
    if memory.device_total:
        used, total = memory.device_used / MIB, memory.device_total / MIB
        text += f", {used:.0f} of {total:.0f} MiB in use on {memory.device}"
    return text


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
