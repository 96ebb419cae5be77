"""A simulated recorder: an actor that implements the protocol of the real one and simulates nothing.

The outcome of a motion depends only on its name and its file, as with MuJoCo, but takes milliseconds: hundreds of
faults in seconds. It must not import torch, so that its processes start quickly.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
import time
from collections import deque
from dataclasses import replace
from functools import partial
from typing import Any

from parc_ray.cluster.actor import ShardActor, attempt_line, measure_memory
from parc_ray.cluster.report import Memory, WorkReport
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import RunAttempt

SECONDS = 2.0
"""of an attempt, simulated"""
KILLER = "killer"
"""A motion of this name kills every process that works on it"""
FREQUENCY = 30


def install(seconds: float = 0.02, report_seconds: float = 0.2, node: str | None = None) -> None:
    """Make drivers in this process use simulated recorders, whose attempts take `seconds`.

    node: IP address of their node, if a machine has several.
    """
    import ray

    from parc_ray.cluster import driver

    if node is not None:
        ray.init = partial(ray.init, _node_ip_address=node)

    driver.ShardActor = simulated_actor(seconds)  # type: ignore[misc]
    driver.REPORT_SECONDS = report_seconds


def simulated_actor(seconds: float, killer: str = KILLER) -> type[ShardActor]:
    """Return the class. It is local so that Ray pickles it by value, with its settings."""

    class SimulatedActor(ShardActor):
        def setup(self, run: Any, shard: Any, *_: Any) -> WorkReport:
            self.fractions = run.config.retry.start_fractions[: run.config.retry.max_retries]
            self.keep_failures = run.config.record.keep_failures
            self.waiting = deque((motion, motion.first_attempt) for motion in shard.motions)
            names = ", ".join(motion.name for motion in shard.motions)
            self.slots = shard.num_envs(run)
            line = f"{names}; {socket.gethostname()} pid {os.getpid()}; began at {time.time():.3f}"
            self.first = {motion.name: motion.first_attempt for motion in shard.motions}
            return WorkReport(log=((0.0, line),), memory=memory(), untouched=self.untouched())

        def untouched(self) -> float:
            return SECONDS * sum(number == self.first[motion.name] for motion, number in self.waiting)

        def work(self, duration: float, give_back: float = 0.0) -> WorkReport:
            given = [m for m, number in self.waiting if number == self.first[m.name]][: round(give_back / SECONDS)]
            self.waiting = deque(entry for entry in self.waiting if entry[0] not in given)
            deadline = time.monotonic() + duration
            results, ends = [], []
            while self.waiting and time.monotonic() < deadline:
                motion, number = self.waiting.popleft()
                if motion.name.startswith(killer):
                    os._exit(1)
                time.sleep(seconds)
                result = attempt(motion.name, motion.content, number, self.fractions, self.keep_failures)
                results.append(result)
                ends.append((time.monotonic(), f"{attempt_line(result.attempt)}, ended at {time.time():.3f}"))
                if result.attempt.next_fraction is not None:
                    self.waiting.append((motion, number + 1))
            steps = round(SECONDS * FREQUENCY) * len(results)
            now = time.monotonic()
            return WorkReport(
                results=tuple(results),
                done=not self.waiting,
                steps=2 * steps // self.slots,
                env_steps=steps,
                log=tuple((now - then, line) for then, line in ends),
                memory=memory(),
                untouched=self.untouched(),
                given_back=tuple(motion.name for motion in given),
            )

    return SimulatedActor


def memory() -> Memory:
    """Return the memory of this process and of a pretended device."""
    return replace(measure_memory("cpu"), device="cuda:0", device_used=3 << 30, device_total=8 << 30)


def attempt(name: str, content: bytes, number: int, fractions: Any, keep_failures: bool = False) -> Any:
    """Return the result of an attempt: most motions are recorded at once, some from a later start, some never."""
    digest = hashlib.sha256(name.encode() + content).digest()
    succeeds_at = (0, 0, 0, 0, 1, 1, 2, len(fractions) + 1)[digest[0] % 8]
    recorded = number == succeeds_at
    values = {
        "motion": name,
        "number": number,
        "start_fraction": 0.0 if number == 0 else fractions[number - 1],
        "start_time": 0.0,
        "seconds": SECONDS,
        "outcome": Outcome.RECORDED if recorded else Outcome.FAILED,
        "reason": "" if recorded else "fall (pelvis) after 2.00 s",
        "quality": {"position_error": digest[1] / 256},
        "next_fraction": fractions[number] if not recorded and number < len(fractions) else None,
        "recorded_seconds": SECONDS if recorded else 0.0,
    }
    summary = RunAttempt(**values)
    kept = recording(name, digest, number) if recorded or keep_failures else None
    return AttemptResult(summary, kept if recorded else None, None if recorded else kept)


def recording(name: str, digest: bytes, number: int) -> bytes:
    """Return the content of a file with the parts of a motion file."""
    size = 1000 + digest[2] * 50
    parts = {"motion_data": digest * (size // len(digest)), "terrain_data": digest, "misc_data": b"%d" % number}
    return pickle.dumps({**parts, "name": name}, protocol=4)
