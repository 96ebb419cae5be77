"""Runs of many motions without physics, to measure all other costs. Part of benchmark.py.

The recorders take no time: they return each motion as its own recording. Files, journal, report and Ray are real.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from virtual_cluster import Machine, virtual_run

from parc_ray.character.skeleton import load_skeleton
from parc_ray.demo.generator import generate_motions
from parc_ray.files import plain_pickle
from parc_ray.files.bundled import DEMO, HUMANOID
from parc_ray.motions.motion_file import motion_file_bytes

DIFFERENT = 50
"""Distinct motions of 5 s; the others differ from these only in a number in misc_data."""
GPUS, VIRTUAL_MOTIONS = 64, 50_000


def whole_run(folder: Path, count: int) -> dict[str, float]:
    """Measure a run of `count` motions, and a second check: wall time, CPU time and driver memory."""
    folder.mkdir()
    write_motions(folder, count)
    numbers: dict[str, float] = {}
    for part in ("run", "check"):
        command = [sys.executable, __file__, part, str(folder)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        before, start = cpu_of_children(), time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder)
        wall, cpu = time.perf_counter() - start, cpu_of_children() - before
        told = json.loads(done.stdout.splitlines()[-1])
        told.update(seconds=wall, cpu_seconds=cpu)
        numbers.update({f"{part}_{key}_{count}": value for key, value in told.items()})
    return numbers


def different_gpus(folder: Path, quick: bool = False) -> dict[str, float]:
    """Measure how close runs come to the ideal, by a virtual clock, if GPUs differ, join late, or have little work.

    Ideally, every GPU is busy until the end, without setups. All but the short runs have about 200 s of work per GPU.
    """
    folder.mkdir()
    write_motions(folder, 1)
    motion = next((folder / "motions").glob("*.pkl"))
    chance, scale = random.Random(7), 50 if quick else 1
    spread = tuple(math.exp(chance.gauss(0.0, 0.3)) for _ in range(GPUS))
    machines = {
        "8_equal_gpus": (40_000, Machine(8, setup=5.0, slots=128)),
        "8_gpus_two_slow": (40_000, Machine(8, setup=5.0, slots=128, speeds=(1.0,) * 6 + (0.5,) * 2)),
        "8_gpus_one_late": (40_000, Machine(8, setup=5.0, slots=128, joins=(0.0,) * 7 + (100.0,))),
        "64_different_gpus": (320_000, Machine(GPUS, setup=5.0, slots=128, speeds=spread)),
        "8_gpus_two_slow_one_shard_per_process": (
            40_000,
            Machine(8, setup=5.0, slots=128, speeds=(1.0,) * 6 + (0.5,) * 2, reusable_process=False),
        ),
        "8_fast_gpus_short": (
            16_000,
            Machine(8, steps_per_second=185_000.0, shortest_step=1.6e-3, slot_seconds=1.1e-6),
        ),
    }
    numbers: dict[str, float] = {}
    for name, (count, machine) in machines.items():
        run = virtual_run(folder / name, motion, count // scale, machine)
        numbers[f"efficiency_of_{name}"] = machine.ideal(run.ledger.env_steps) / run.seconds
    return numbers


def many_gpus(folder: Path) -> dict[str, float]:
    """Measure the efficiency of simulated GPUs compared with one, by a virtual clock on which recorders take time.

    For the second efficiency, the clock includes the driver's CPU time on this machine.
    """
    folder.mkdir()
    write_motions(folder, 1)
    motion = next((folder / "motions").glob("*.pkl"))
    numbers: dict[str, float] = {}
    for name, charged in (("efficiency_of", False), ("efficiency_with_driver_of", True)):
        one, many = (
            virtual_run(folder / f"{name}_{gpus}", motion, VIRTUAL_MOTIONS, Machine(gpus), charged)
            for gpus in (1, GPUS)
        )
        numbers[f"{name}_{GPUS}_gpus"] = one.seconds / (GPUS * many.seconds)
        numbers["driver_cpu_seconds"] = many.driver_seconds
    return numbers


def write_motions(folder: Path, count: int) -> None:
    """Write motion files with different contents, and a dataset file."""
    skeleton, motions = load_skeleton(HUMANOID), folder / "motions"
    motions.mkdir()
    generated = generate_motions(min(DIFFERENT, count), 1, skeleton, seconds=(5.0, 5.0))
    parts = [plain_pickle.loads(motion_file_bytes(motion), "motion") for motion in generated]
    lines = ["motions:"]
    for index in range(count):
        path = motions / f"walk_{index:06d}.pkl"
        own = {**parts[index % len(parts)], "misc_data": plain_pickle.dumps({"copy": index})}
        path.write_bytes(plain_pickle.dumps(own, check=False))
        lines += [f"- file: {path}", "  weight: 1.0"]
    (folder / "motions.yaml").write_text("\n".join(lines) + "\n")


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def instant_actor() -> Any:
    """Return the class. It is local so that Ray pickles it by value."""
    from parc_ray.cluster.actor import ShardActor
    from parc_ray.cluster.report import WorkReport

    class InstantActor(ShardActor):
        def setup(self, run: Any, shard: Any, *_: Any) -> WorkReport:
            self.motions, self.slots = list(shard.motions)[::-1], shard.num_envs(run)
            return WorkReport()

        def work(self, seconds: float, give_back: float = 0.0) -> WorkReport:
            from parc_ray.cluster.actor import attempt_line
            from parc_ray.recording.attempt_result import AttemptResult
            from parc_ray.recording.outcome import Outcome
            from parc_ray.recording.run_attempt import RunAttempt

            figures = ("root_error", "root_angle_error", "body_error", "joint_angle_error", "max_root_error")
            quality = {**dict.fromkeys(figures, 0.1), "max_penetration": 0.01, "contact_agreement": 0.9}
            # About one second's output of a GPU.
            chosen = [self.motions.pop() for _ in range(min(500, len(self.motions)))]
            results = tuple(
                AttemptResult(
                    RunAttempt(
                        motion.name, 0, 0.0, 0.0, 5.0, Outcome.RECORDED, quality=quality, recorded_seconds=5.0,
                        env=index % self.slots, began=0.0, ended=1.0,
                    ),
                    motion.content,
                )
                for index, motion in enumerate(chosen)
            )  # fmt: skip
            log = tuple((0.0, attempt_line(result.attempt)) for result in results)
            steps = 150 * len(results)
            return WorkReport(results=results, done=not self.motions, steps=150, env_steps=steps, log=log)

    return InstantActor


class Peak(threading.Thread):
    """Measures the peak private memory of this process, without memory shared with Ray's object store, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mib = 0.0

    def run(self) -> None:
        while True:
            lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            own = sum(int(lines[key].split()[0]) for key in ("RssAnon", "RssFile"))
            self.mib = max(self.mib, own / 1024)
            time.sleep(0.2)


def run(folder: Path) -> dict[str, float]:
    """Run once in this process; return the times of its parts (s)."""
    from parc_ray import session
    from parc_ray.cluster import driver
    from parc_ray.cluster import run as run_module
    from parc_ray.config.record import RecordConfig
    from parc_ray.terminal.screen import open_screen

    runs: Any = run_module
    driver.ShardActor = instant_actor()  # type: ignore
    peak = Peak()
    peak.start()
    times: dict[str, float] = {}

    def timed(module: Any, name: str, part: str) -> None:
        real = getattr(module, name)

        def call(*given: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return real(*given, **named)
            finally:
                times[part] = time.perf_counter() - start

        setattr(module, name, call)

    from parc_ray.planning import preparation

    timed(preparation, "read_inputs", "planning")
    timed(runs.Driver, "run", "driver")
    timed(runs, "_write_terrain", "terrain")
    timed(session, "_write_report", "report")
    config = RecordConfig(
        output_dir=folder / "out", device="cpu", dataset_file=folder / "motions.yaml", model_file=DEMO / "model.pt",
        env_file=DEMO / "dm_env.yaml", agent_file=DEMO / "agent_config.yaml", simulator="mujoco",
    )  # fmt: skip
    code = session.record_and_report(config, None, False, open_screen()).exit_code
    assert code == 0, code
    return {**times, "driver_mib": peak.mib, "report_mb": (folder / "out" / "report.html").stat().st_size / 1e6}


def check(folder: Path) -> dict[str, float]:
    """Measure a second check of the same dataset."""
    from rich.console import Console

    from parc_ray.config.record import RecordConfig
    from parc_ray.planning import preparation
    from parc_ray.planning.host import ThisMachine
    from parc_ray.runs.output import OutputDirectory

    config = RecordConfig(
        output_dir=folder / "other", device="cpu", dataset_file=folder / "motions.yaml", model_file=DEMO / "model.pt",
        env_file=DEMO / "dm_env.yaml", agent_file=DEMO / "agent_config.yaml", simulator="mujoco",
    )  # fmt: skip
    start = time.perf_counter()
    preparation.prepare(
        config, None, False, OutputDirectory(config.output_dir, config.output), ThisMachine(), Console(quiet=True)
    )
    return {"planning": time.perf_counter() - start}


if __name__ == "__main__":
    print(json.dumps({"run": run, "check": check}[sys.argv[1]](Path(sys.argv[2]))))
