"""ShardActor: one process on one device, recording one shard.

Imports neither torch nor an engine at module level: Ray imports this module before __init__ runs, and some engines
must be imported before torch.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from parc_ray.cluster.crash_output import own_printouts
from parc_ray.cluster.device import Device
from parc_ray.cluster.report import Memory, WorkReport
from parc_ray.cluster.warning_lines import WarningLines
from parc_ray.errors import BrokenSimulationError, InputError, TooLargeError
from parc_ray.recording.build import build_recorder
from parc_ray.recording.run_files import RunFiles
from parc_ray.recording.shard import Shard
from parc_ray.simulators.engine import EngineCheck
from parc_ray.simulators.engine_check import check_here
from parc_ray.simulators.engines import engine

if TYPE_CHECKING:
    from parc_ray.recording.recorder import ShardRecorder
    from parc_ray.recording.run_attempt import RunAttempt


OUT_OF_MEMORY = ("out of memory", "allocate memory", "failed to allocate", "bad_alloc")
"""Out-of-memory messages of CUDA, torch, the C library, MuJoCo and C++, in lower case."""
MIB = 2**20


class ShardActor:
    """Records one shard at a time.

    The driver calls hello once, then setup, then work until a report says done. It repeats setup and work if the
    engine supports several simulations in succession in one process.
    """

    def __init__(self) -> None:
        self._recorder: ShardRecorder | None = None
        self._warnings = WarningLines()
        self._attempts = 0

    def hello(self) -> WorkReport:
        """Return the actor's device, as soon as Ray has started it."""
        return WorkReport(device=own_device(), printouts=own_printouts())

    def try_out(self, simulator: str, device: str) -> EngineCheck:
        """Check an engine in this process. Problems are reported, not raised, as in setup."""
        return check_here(engine(simulator), device)

    def setup(self, run: RunFiles, shard: Shard, threads: int, device: str) -> WorkReport:
        """Load everything. Bad input is reported, not raised: exceptions would not survive the transfer.

        threads: CPUs that it may use; device: "cpu" or "cuda:0".
        """
        start = time.monotonic()
        self._recorder, self._attempts = None, 0  # frees the memory of an earlier shard first
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
            f"{simulator.name} {simulator.version}, {threads} threads, Python {platform.python_version()}, "
            f"{memory.node} pid {os.getpid()}, ready in {time.monotonic() - start:.1f} s, {_memory_text(memory)}"
        )
        if simulator.device_bytes:
            line += f", {simulator.device_bytes / MIB:.0f} MiB of device memory for the simulator"
        untouched = self._recorder.untouched_seconds
        return WorkReport(log=(*self._warnings.take(), (0.0, line)), memory=memory, untouched=untouched)

    def work(self, seconds: float, give_back: float = 0.0) -> WorkReport:
        """Record for about `seconds`.

        give_back: seconds of motion to hand over first, from motions without an attempt.
        """
        assert self._recorder is not None, "work before setup"
        before = replace(self._recorder.utilization)
        given_back = self._recorder.give_back(give_back) if give_back else []
        report = WorkReport()
        try:
            results = self._recorder.work(seconds)
        except Exception as error:
            # Running attempts are lost; attempts that finished before this step are kept.
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
            lines.append((0.0, f"done: {counts}, {_memory_text(memory)}"))
        return replace(
            report,
            results=tuple(results),
            done=done,
            steps=usage.steps - before.steps,
            env_steps=usage.env_steps - before.env_steps,
            busy=usage.busy - before.busy,
            slots=usage.slots - before.slots,
            untouched=self._recorder.untouched_seconds,
            given_back=tuple(given_back),
            log=(*self._warnings.take(), *lines),
            memory=memory,
        )


def attempt_line(attempt: RunAttempt) -> str:
    """Return the log line of a finished attempt."""
    reason = f" ({attempt.reason})" if attempt.reason else ""
    what = f"attempt {attempt.number} from {attempt.start_fraction:.0%}"
    if attempt.copies:
        what = f"population {attempt.number} of {attempt.copies} copies"
    return f"{attempt.motion}: {what}: {attempt.outcome}{reason}"


def own_device() -> Device:
    """Return this actor's device. Ray shows an actor only its own GPUs, so each of them is the first."""
    import ray

    gpus = ",".join(map(str, ray.get_gpu_ids()))
    return Device(socket.gethostname(), ray.get_runtime_context().get_node_id(), gpus, cpu_type())


def cpu_type() -> str:
    """Return this machine's CPU type; empty if the system does not report it."""
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    return ""


def measure_memory(device: str) -> Memory:
    """Measure the memory of this process, and of the device if it is a CUDA device."""
    memory = Memory(socket.gethostname(), process_memory())
    if not device.startswith("cuda"):
        return memory
    import ray
    import torch

    try:
        free, total = torch.cuda.mem_get_info(torch.device(device).index or 0)
    except RuntimeError:  # the work itself will fail with a clearer message
        return memory
    # Ray shows an actor only its own GPUs, so each of them is the first.
    number = next(iter(ray.get_gpu_ids()), device.partition(":")[2] or 0)
    return replace(memory, device=f"cuda:{number}", device_used=total - free, device_total=total)


def process_memory() -> int:
    """Return the host memory of this process in bytes; 0 if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _memory_text(memory: Memory) -> str:
    text = f"{memory.process / MIB:.0f} MiB of host memory"
    if memory.device_total:
        used, total = memory.device_used / MIB, memory.device_total / MIB
        text += f", {used:.0f} of {total:.0f} MiB in use on {memory.device}"
    return text


def _failure(error: Exception, envs: int) -> WorkReport:
    """Return the report of a failed setup or a broken simulation. Raises unexpected errors."""
    if isinstance(error, TooLargeError):
        return WorkReport(error=str(error), too_large=envs)
    if isinstance(error, (InputError, BrokenSimulationError)):
        return WorkReport(error=str(error))
    reason = str(error).split("\n")[0] or type(error).__name__
    if not isinstance(error, MemoryError) and not any(words in str(error) for words in OUT_OF_MEMORY):
        raise error
    return WorkReport(error=f"{envs} envs are too many: {reason}; lower max_envs_per_actor", too_large=envs)
