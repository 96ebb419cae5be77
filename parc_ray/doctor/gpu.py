"""Checks and measures every engine on a device: the part of `parc-ray doctor --gpu`.

start        whether the engine works; seconds of its first start, including compilation
demo         outcomes of the demo's motions, compared with MuJoCo's on the CPU
speed        for each number of envs: control steps per second of the engine alone and of the whole recorder; per
             control step, kernels launched by the recorder, and host waits for the device; memory per env
conformance  the tests that every simulator must pass, on the device, and its deviation from a recording of Isaac
             Gym (needs a clone and pytest)
ray          two actors on the device record the demo's motions

Each part runs in its own process, so that a failure does not affect the others.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Sequence

from parc_ray.errors import InputError, one_line
from parc_ray.simulators.child_process import ask, run_process
from parc_ray.simulators.engine import Engine
from parc_ray.simulators.engines import ENGINES, engine

PARTS = ("start", "demo", "speed", "conformance", "ray")
ENVS = (64, 256, 1024, 4096)
CHECK_SECONDS = 470.0
"""Maximum total duration, s."""
LIMITS = {"start": 180.0, "demo": 60.0, "speed": 45.0, "conformance": 150.0, "ray": 90.0}
"""Maximum duration of one process of a part, s."""
CHILD = "parc_ray.doctor.gpu_parts"
REFERENCE = "mujoco on cpu"
"""Baseline for the demo's outcomes."""
CLONE = Path(__file__).resolve().parents[2]
"""Root of the repository, unless the package is installed."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


class Skipped(Exception):
    """Raised with the reason why a part cannot run here."""


@dataclass
class Row:
    """Result of one process."""

    part: str
    engine: str
    envs: int = 0
    state: str = "ok"
    """ok, failed, or skipped."""
    text: str = ""
    """The table's last column."""
    seconds: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GpuCheck:
    """Checks to run."""

    device: str = "cuda:0"
    parts: Sequence[str] = PARTS
    engines: Sequence[str] = ()
    """Names; empty: all that are installed here."""
    envs: Sequence[int] = ENVS
    motions: int = 0
    """Number of the demo's motions; 0: all."""
    seconds: float = 4.0
    """Duration of each measurement of speed."""


def read_gpu_check(device: str, engines: str, parts: str, envs: str) -> GpuCheck:
    """Return a check from texts such as "cuda:1", "physx,mujoco", "start,demo" and "64,256"; empty: the default.

    Raises InputError for unknown names.
    """
    if not re.fullmatch(r"cpu|cuda:\d+", device):
        raise InputError(f"--device {device}: give cuda:N, or cpu")
    names, kinds, counts = (tuple(text.replace(" ", "").split(",")) if text else () for text in (engines, parts, envs))
    for name in names:
        engine(name)
    for kind in kinds:
        if kind not in PARTS:
            raise InputError(f"--parts {kind}: use one of {', '.join(PARTS)}")
    if any(not count.isdecimal() or not int(count) for count in counts):
        raise InputError(f"--envs {envs}: give numbers from 1, such as 64,256")
    return GpuCheck(device, kinds or PARTS, names, tuple(map(int, counts)) or ENVS)


def check_gpu(check: GpuCheck, report: Callable[[str], None]) -> list[Row]:
    """Run all parts for all engines, and report when each process ends."""
    names = check.engines or [known.name for known in ENGINES if _is_candidate(known, check.device)]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="parc_ray_doctor_") as folder:
        work = _Work(check, Path(folder), time.monotonic() + CHECK_SECONDS, report)
        for part in check.parts:
            rows += work.run_part(part, names, rows)
    return rows


@dataclass(frozen=True)
class _Work:
    check: GpuCheck
    folder: Path
    """Folder for files of this check."""
    deadline: float
    """Monotonic s."""
    report: Callable[[str], None]

    def run_part(self, part: str, engines: Sequence[str], before: Sequence[Row]) -> list[Row]:
        """Return all rows of a part, skipping engines that did not start."""
        broken = {row.engine for row in before if row.part == "start" and row.state == "failed"}
        tasks = [(name, 0) for name in engines if name not in broken]
        if part == "speed":
            tasks = [(name, count) for count in self.check.envs for name, _ in tasks if count <= self._max_envs(name)]
        if part == "demo":
            tasks.insert(0, (REFERENCE, 0))
        # Only untimed work may run in parallel. Each thread waits for one process.
        with ThreadPoolExecutor(4 if part == "conformance" else 1) as pool:
            return list(pool.map(lambda task: self._run_process(part, *task), tasks))

    def _run_process(self, part: str, name: str, envs: int) -> Row:
        row, start = Row(part, name, envs), time.monotonic()
        seconds = min(LIMITS[part], self.deadline - start)
        try:
            if seconds < 5:
                raise Skipped("no time was left")
            work: Callable[[Row, float], None] = {"conformance": self._conformance, "ray": self._ray}.get(
                part, self._ask
            )
            work(row, seconds)
        except Skipped as reason:
            row.state, row.text = "skipped", str(reason)
        except subprocess.TimeoutExpired:
            row.state, row.text = "failed", f"did not end within {seconds:.0f} s"
        except Exception as error:
            row.state, row.text = "failed", one_line(error)[:300]
        row.seconds = round(time.monotonic() - start, 1)
        self.report(f"{row.part} {row.engine} {row.envs or ''}: {row.state}, {row.seconds} s")
        return row

    def _child(self, part: str, row: Row) -> list[str]:
        check = self.check
        settings = {"device": check.device, "motions": check.motions, "seconds": check.seconds}
        return ["-m", CHILD, part, row.engine, str(row.envs), str(self.folder), json.dumps(settings)]

    def _ask(self, row: Row, seconds: float) -> None:
        """Run the part in a process of gpu_parts."""
        answer = ask(self._child(row.part, row), seconds, {**ONE_THREAD, **engine_of(row.engine).variables()})
        row.state, row.text, row.numbers = answer["state"], answer["text"], answer["numbers"]

    def _conformance(self, row: Row, seconds: float) -> None:
        suite = CLONE / "tests" / "simulators" / "test_conformance.py"
        if not suite.is_file():
            raise Skipped("needs a clone of parc_ray: the tests are not part of its package")
        if importlib.util.find_spec("pytest") is None:
            raise Skipped("needs pytest: pip install pytest pytest-timeout hypothesis")
        mark = "isaacgym" if engine(row.engine).import_first else "not isaacgym"
        cases = " or ".join(place.format(row.engine) for place in ("[{}]", "-{}]", "[{}-"))
        command = [sys.executable, "-m", "pytest", str(suite), "--device", self.check.device, "-o", "addopts="]
        command += ["-m", mark, "-k", cases, "-q", "-rfEP", "--tb=line", "-p", "no:cacheprovider"]
        ended = run_process(command, seconds, ONE_THREAD, CLONE)
        last = (ended.stdout.strip().splitlines() or [""])[-1]
        counts = {kind: int(count) for count, kind in re.findall(r"(\d+) (passed|failed|error|skipped)", last)}
        replays = re.findall(r"^replay: (\{.*\})$", ended.stdout, re.MULTILINE)
        failures = re.findall(r"^(?:FAILED|ERROR) \S+::(\S+)", ended.stdout, re.MULTILINE)
        row.numbers = {**counts, "failures": failures, "replay of Isaac Gym": [json.loads(part) for part in replays]}
        row.text = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or ended.stdout[-200:]
        if failures:
            row.text += f": {', '.join(failures)}"
        row.state = "failed" if ended.returncode else "ok"

    def _ray(self, row: Row, seconds: float) -> None:
        """Record with two actors that share the device."""
        output, path = self.folder / f"ray_{row.engine}", self.folder / f"record_{row.engine}.json"
        settings = ask(self._child("config", row), seconds, ONE_THREAD)["numbers"]
        gpus = 0 if self.check.device == "cpu" else 0.5
        settings.update(output_dir=str(output), device=self.check.device, output={"report": False})
        settings["ray"] = {"num_actors": 2, "num_shards": 2, "gpus_per_actor": gpus, "cpus_per_actor": 1}
        path.write_text(json.dumps(settings))  # JSON is YAML
        ended = run_process([sys.executable, "-m", "parc_ray", "record", str(path)], seconds, ONE_THREAD)
        if ended.returncode:
            last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"exit code {ended.returncode}: {last}")
        summary = json.loads((output / "summary.json").read_text())
        keys = ("motions", "recorded", "crashed", "wall_seconds", "control_steps_per_second")
        row.numbers = {key: summary[key] for key in keys}
        row.text = f"two actors: {summary['recorded']} of {summary['motions']} motions recorded, "
        row.text += f"{summary['crashed']} crashed, {summary['wall_seconds']} s"

    def _max_envs(self, name: str) -> int:
        """Return the maximum number of envs to measure; engines that step on CPUs would take too long with more."""
        return 10**6 if engine(name).max_envs["cuda"] > 128 and self.check.device != "cpu" else 256


def engine_of(name: str) -> Engine:
    """Return the engine of a row."""
    return ENGINES[-1] if name == REFERENCE else engine(name)


def _is_candidate(known: Engine, device: str) -> bool:
    return not known.unavailable_reason() and not (device == "cpu" and known.needs_cuda)
