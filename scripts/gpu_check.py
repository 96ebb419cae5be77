"""Checks and measures every engine on this machine's GPU: python scripts/gpu_check.py

Works in a clone, or alone beside an installed parc_ray, without network, in less than eight minutes. Ends with a table,
and with gpu_check.json: please attach that to a report.

start        whether the engine works; seconds of its first start, with whatever it compiles then
demo         what becomes of the demo's motions, compared with MuJoCo on the CPU
speed        with each number of envs: control steps per second of the engine alone and of the whole recorder; per
             control step, kernels that the recorder starts, and waits of the host for the device; memory per env
conformance  the tests that every simulator has to pass, on the device, and how close it comes to a recording of Isaac
             Gym (needs a clone, and pytest)
ray          two actors on the device record the demo's motions (needs Ray)

Each part has processes of its own: whatever becomes of one, the others go on. Exits with 1 if one has failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

CLONE = Path(__file__).resolve().parents[1]
if (CLONE / "parc_ray").is_dir():
    sys.path.insert(0, str(CLONE))

# Nothing here may import torch: some engines must be imported before it.
from parc_ray.simulators.engines import ENGINES, engine  # noqa: E402

PARTS = ("start", "demo", "speed", "conformance", "ray")
ENVS = (64, 256, 1024, 4096)
SECONDS = 470.0
"""Maximum duration of everything."""
LIMITS = {"start": 180.0, "demo": 60.0, "speed": 45.0, "conformance": 150.0, "ray": 90.0}
"""Maximum duration of one process of a part, s."""
ANSWER = "gpu_check: "
"""Begins the line with a process's answer: engines print, too."""
PACKAGES = ("parc-ray", "torch", "numpy", "mujoco", "mujoco-warp", "warp-lang", "ovphysx", "isaacgym", "ray")
PHYSX_ITERATIONS = 32
"""Of the solver, in the demo: its tracker learned in MuJoCo, and PhysX's drives yield with fewer."""


class Skipped(Exception):
    """Why a part cannot be done here."""


@dataclass
class Row:
    """What came of one process."""

    part: str
    engine: str
    envs: int = 0
    state: str = "ok"
    """ok, failed, or skipped."""
    text: str = ""
    """What the table says."""
    seconds: float = 0.0
    numbers: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """What is checked."""

    device: str
    motions: int
    seconds: float
    """Duration of each measurement of speed."""
    folder: Path
    """For what is written meanwhile."""
    deadline: float
    """Monotonic s."""

    @property
    def gpu(self) -> bool:
        """Whether the device is a CUDA device."""
        return self.device != "cpu"


def main() -> None:
    options = _options()
    if options.child:
        _answer(options)
        return
    device, start = options.device, time.monotonic()
    named = options.engines or [
        known.name for known in ENGINES if not known.unavailable_reason() and _fits(known, device)
    ]
    print(f"{device}: {', '.join(_devices()) or 'no NVIDIA GPU'}; engines: {', '.join(named)}", flush=True)
    rows: List[Row] = []
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as name:
        check = Check(device, options.motions, options.seconds, Path(name), start + SECONDS)
        for part in options.parts:
            rows += _run_part(check, part, named, options.envs, rows)
    print()
    for row in rows:
        print(f"{row.part:12s}{row.engine:13s}{row.envs or '':<6} {row.state:8s}{row.text}")
    report = {
        "device": device,
        "devices": _devices(),
        "seconds": round(time.monotonic() - start, 1),
        "machine": f"{platform.platform()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "left out": {known.name: known.unavailable_reason() for known in ENGINES if known.name not in named},
        "rows": [asdict(row) for row in rows],
    }
    Path(options.output).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\n{options.output}: please attach it to a report")
    sys.exit(int(any(row.state == "failed" for row in rows)))


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--device", default="cuda:0", help="cuda:N, or cpu to see that this script works")
    arguments.add_argument("--engines", nargs="+", choices=[known.name for known in ENGINES], help="default: all here")
    arguments.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    arguments.add_argument("--envs", nargs="+", type=int, default=ENVS)
    arguments.add_argument("--motions", type=int, default=0, help="of the demo; 0: all")
    arguments.add_argument("--seconds", type=float, default=4.0, help="of each measurement of speed")
    arguments.add_argument("--output", default="gpu_check.json")
    arguments.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    return arguments.parse_args()


# --------------------------------------------------------------------------------------- this process: no engine


def _run_part(check: Check, part: str, engines: List[str], envs: List[int], before: List[Row]) -> List[Row]:
    """All rows of a part. Engines that did not start are passed over."""
    broken = {row.engine for row in before if row.part == "start" and row.state == "failed"}
    tasks = [(name, 0) for name in engines if name not in broken]
    if part == "speed":
        tasks = [(name, count) for count in envs for name, _ in tasks if count <= _most(name, check)]
    if part == "demo" and not any(row.part == "demo" for row in before):
        tasks.insert(0, (REFERENCE, 0))
    # Only what is not timed may run at once; a process of its own waits for each.
    with ThreadPoolExecutor(4 if part == "conformance" else 1) as pool:
        return list(pool.map(lambda task: _run_process(check, part, *task), tasks))


REFERENCE = "mujoco on cpu"
"""What outcomes of the demo are compared with."""


def _run_process(check: Check, part: str, name: str, envs: int) -> Row:
    row, start = Row(part, name, envs), time.monotonic()
    left = min(LIMITS[part], check.deadline - start)
    try:
        if left < 5:
            raise Skipped("no time was left")
        work: Callable[[Check, Row, float], None] = {"conformance": _conformance, "ray": _ray}.get(part, _child)
        work(check, row, left)
    except Skipped as reason:
        row.state, row.text = "skipped", str(reason)
    except subprocess.TimeoutExpired:
        row.state, row.text = "failed", f"did not end within {left:.0f} s"
    except Exception as error:
        row.state, row.text = "failed", " ".join(f"{type(error).__name__}: {error}".split())[:300]
    row.seconds = round(time.monotonic() - start, 1)
    print(f"  {row.part} {row.engine} {row.envs or ''}: {row.state}, {row.seconds} s", flush=True)
    return row


def _child(check: Check, row: Row, seconds: float) -> None:
    """Let a process of this script do the part (see _answer)."""
    known = engine(_engine_of(row))
    command = [sys.executable, __file__, "--child", row.part, row.engine, str(row.envs), str(check.folder)]
    command += ["--device", check.device, "--motions", str(check.motions), "--seconds", str(check.seconds)]
    ended = _run(command, seconds, known.variables())
    answers = [line[len(ANSWER) :] for line in ended.stdout.splitlines() if line.startswith(ANSWER)]
    if not answers:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"exit code {ended.returncode}: {last}")
    answer = json.loads(answers[-1])
    row.state, row.text, row.numbers = answer["state"], answer["text"], answer["numbers"]


def _conformance(check: Check, row: Row, seconds: float) -> None:
    suite = CLONE / "tests" / "simulators" / "test_conformance.py"
    if not suite.is_file():
        raise Skipped("needs a clone of parc_ray: the tests are not part of its package")
    if importlib.util.find_spec("pytest") is None:
        raise Skipped("needs pytest: pip install pytest pytest-timeout hypothesis")
    mark = "isaacgym" if engine(row.engine).import_first else "not isaacgym"
    cases = " or ".join(place.format(row.engine) for place in ("[{}]", "-{}]", "[{}-"))
    command = [sys.executable, "-m", "pytest", str(suite), "--device", check.device, "-o", "addopts=", "-m", mark]
    command += ["-k", cases, "-q", "-rfEP", "--tb=line", "-p", "no:cacheprovider"]
    ended = _run(command, seconds, {}, CLONE)
    last = (ended.stdout.strip().splitlines() or [""])[-1]
    counts = {kind: int(count) for count, kind in re.findall(r"(\d+) (passed|failed|error|skipped)", last)}
    replays = re.findall(r"^replay: (\{.*\})$", ended.stdout, re.MULTILINE)
    failures = re.findall(r"^(?:FAILED|ERROR) \S+::(\S+)", ended.stdout, re.MULTILINE)
    row.numbers = {**counts, "failures": failures, "replay of Isaac Gym": [json.loads(replay) for replay in replays]}
    row.text = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or ended.stdout[-200:]
    if failures:
        row.text += f": {', '.join(failures)}"
    row.state = "failed" if ended.returncode else "ok"


def _ray(check: Check, row: Row, seconds: float) -> None:
    if importlib.util.find_spec("ray") is None:
        raise Skipped("Ray is not installed")
    output = check.folder / f"ray_{row.engine}"
    command = [sys.executable, __file__, "--child", "config", row.engine, "2", str(check.folder)]
    command += ["--device", check.device, "--motions", str(check.motions)]
    _run(command, seconds, {})
    settings = json.loads((check.folder / f"config_{row.engine}.json").read_text())
    settings.update(output_dir=str(output), device=check.device)
    settings["ray"] = {"num_actors": 2, "num_shards": 2, "gpus_per_actor": 0.5 if check.gpu else 0, "cpus_per_actor": 1}
    settings["output"] = {"report": False}
    path = check.folder / f"record_{row.engine}.json"  # JSON is YAML
    path.write_text(json.dumps(settings))
    ended = _run([sys.executable, "-m", "parc_ray", "record", "--config", str(path)], seconds, {})
    if ended.returncode:
        raise RuntimeError(f"exit code {ended.returncode}: {(ended.stderr.strip().splitlines() or ['no message'])[-1]}")
    summary = json.loads((output / "summary.json").read_text())
    keys = ("motions", "recorded", "crashed", "wall_seconds", "control_steps_per_second")
    row.numbers = {key: summary[key] for key in keys}
    row.text = f"two actors: {summary['recorded']} of {summary['motions']} motions recorded, "
    row.text += f"{summary['crashed']} crashed, {summary['wall_seconds']} s"


def _run(
    command: List[str], seconds: float, variables: Dict[str, str], folder: Optional[Path] = None
) -> subprocess.CompletedProcess[str]:
    """A command that has ended by itself. Raises TimeoutExpired if it has not, and ends all that it has started."""
    path = os.pathsep.join(filter(None, (str(CLONE) if str(CLONE) in sys.path else "", os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **variables}
    pipes: Dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, **pipes) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _engine_of(row: Row) -> str:
    return ENGINES[-1].name if row.engine == REFERENCE else row.engine


def _fits(known: Any, device: str) -> bool:
    return device != "cpu" or not known.needs_cuda


def _most(name: str, check: Check) -> int:
    """Envs beyond which an engine that steps on CPUs is not measured: it would take as long as all others."""
    return 10**6 if engine(name).max_envs["cuda"] > 128 and check.gpu else 256


def _devices() -> List[str]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.strip().splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


# --------------------------------------------------------------------------------- processes that have an engine


def _answer(options: argparse.Namespace) -> None:
    """Do one part in this process, and print what comes of it."""
    part, name, envs, folder = options.child
    row = Row(part, name, int(envs))
    check = Check(options.device, options.motions, options.seconds, Path(folder), 0.0)
    known = engine(_engine_of(row))
    device = "cpu" if name == REFERENCE else check.device
    try:
        if part == "start":
            _start(known, device, row)
        else:
            if known.import_first:
                known.import_first(device)
            {"demo": _demo, "speed": _speed, "config": _write_config}[part](check, known, device, row)
    except Exception as error:
        row.state, row.text = "failed", " ".join(f"{type(error).__name__}: {error}".split())[:300]
    print(f"\n{ANSWER}{json.dumps(asdict(row))}", flush=True)
    os._exit(0)  # an engine may hang or crash while it is torn down


def _start(known: Any, device: str, row: Row) -> None:
    from parc_ray.simulators.engine_check import check_here

    compiles, start = bool(known.first_start(device)), time.monotonic()
    trial = check_here(known, device)
    row.numbers = {"version": trial.version, "seconds": round(time.monotonic() - start, 1), "compiled": compiles}
    row.text = trial.problem or f"{trial.version}, ready in {row.numbers['seconds']} s"
    row.text += ", with compilation" if compiles and not trial.problem else ""
    row.state = "failed" if trial.problem else "ok"


def _files(check: Check, known: Any, device: str, iterations: int) -> Any:
    """The demo's tracker and motions, for an engine on a device, and the motions' files."""
    import yaml
    from rich.console import Console

    from parc_ray.character.skeleton import load_skeleton
    from parc_ray.config.record import RecordConfig
    from parc_ray.demo.generator import demo_motions
    from parc_ray.files.bundled import DEMO, HUMANOID
    from parc_ray.motions.motion_file import motion_file_bytes
    from parc_ray.planning.host import ThisMachine
    from parc_ray.planning.preparation import prepare
    from parc_ray.runs.output import OutputDirectory

    motions = check.folder / "motions"
    if not motions.exists():
        motions.mkdir()
        made = list(demo_motions(load_skeleton(HUMANOID)))
        for motion in made[:: max(1, len(made) // check.motions)][: check.motions] if check.motions else made:
            (motions / f"{motion.name}.pkl").write_bytes(motion_file_bytes(motion))
        lines = ["motions:", *(f"- {{file: '{path}', weight: 1.0}}" for path in sorted(motions.glob("*.pkl")))]
        (check.folder / "motions.yaml").write_text("\n".join(lines) + "\n")
    environment = yaml.safe_load((DEMO / "dm_env.yaml").read_text())
    environment["env"]["char_file"] = str(HUMANOID)
    if iterations:
        environment["sim"]["physx"]["num_position_iterations"] = iterations
    env_file = check.folder / f"dm_env_{iterations}.yaml"
    env_file.write_text(yaml.safe_dump(environment))
    config = RecordConfig(
        output_dir=check.folder / "out",
        device=device,
        dataset_file=check.folder / "motions.yaml",
        model_file=DEMO / "model.pt",
        env_file=env_file,
        agent_file=DEMO / "agent_config.yaml",
        simulator=known.name,
    )

    class Untried(ThisMachine):
        def try_out(self, engine: Any, placement: Any) -> Any:
            from parc_ray.simulators.engine import EngineCheck

            return EngineCheck()

    output = OutputDirectory(config.output_dir, config.output)
    return prepare(config, None, False, output, Untried(), Console(quiet=True)).inputs


def _recorder(inputs: Any, device: str, envs: int = 0) -> Any:
    """A recorder of each motion, or of so many copies of them."""
    from parc_ray.recording.shard import Shard, ShardMotion, build_recorder

    paths = [Path(entry.path) for entry in inputs.dataset.entries]
    files, contents = inputs.files, [path.read_bytes() for path in paths]
    copies = [divmod(number, len(paths)) for number in range(envs or len(paths))]
    motions = tuple(ShardMotion(f"{paths[i].stem}_{copy}", str(paths[i]), contents[i], 0) for copy, i in copies)
    if envs:
        files = replace(files, config=files.config.model_copy(update={"max_envs_per_actor": envs}))
    return build_recorder(files, Shard(0, motions), threads=os.cpu_count() or 1, device_name=device)


def _demo(check: Check, known: Any, device: str, row: Row) -> None:
    recorder = _recorder(_files(check, known, device, PHYSX_ITERATIONS), device)
    ends: Dict[str, str] = {}
    while not recorder.done:
        for result in recorder.advance():
            if result.attempt.next_fraction is None or result.attempt.outcome == "recorded":
                ends[result.attempt.motion] = (
                    f"from {result.attempt.start_fraction:g}" if result.attempt.outcome == "recorded" else "not"
                )
    recorder.environment.simulator.close()
    path = check.folder / "demo.json"
    if row.engine == REFERENCE:
        path.write_text(json.dumps(ends))
    whole = sum(end == "from 0" for end in ends.values())
    lost = sum(end == "not" for end in ends.values())
    row.text = f"{whole} whole, {len(ends) - whole - lost} from a later start, {lost} not"
    row.numbers = {"whole": whole, "later": len(ends) - whole - lost, "not": lost, "ends": ends}
    if row.engine != REFERENCE and path.exists():
        expected = json.loads(path.read_text())
        same = sum(ends[motion] == end for motion, end in expected.items())
        row.text += f"; {same} of {len(expected)} as with {REFERENCE}"
        row.numbers["as_reference"] = same


def _speed(check: Check, known: Any, device: str, row: Row) -> None:
    import torch

    gpu, before = device != "cpu", _memory(device)
    recorder = _recorder(_files(check, known, device, 0), device, row.envs)
    simulator = recorder.environment.simulator
    last: List[Any] = []  # the last step that was made
    step = simulator.step

    def noted(envs: Any, targets: Any) -> Any:
        last[:] = [list(envs), targets.clone()]
        return step(envs, targets)

    def timed(call: Callable[[], int]) -> float:
        """Env steps per second; 0 where there is nothing to do."""
        _wait(device)
        start, steps, new = time.monotonic(), 0, 1
        while time.monotonic() < start + check.seconds and new:
            for _ in range(10):  # so far the host may be ahead of the device
                new = call()
                steps += new
            _wait(device)
        return steps / (time.monotonic() - start)

    def advance() -> int:
        before = recorder.usage.env_steps
        if not recorder.done:
            recorder.advance()
        return int(recorder.usage.env_steps - before)

    simulator.step = noted
    for _ in range(5):
        recorder.advance()
    simulator.step = step
    memory = (_memory(device) - before) / row.envs
    counts = _counts(recorder, gpu)
    recorded = timed(advance)
    with torch.inference_mode():
        # Attempts may have ended by now, and an env without one is not to be stepped.
        envs, motions = last[0], len(recorder.motions)
        recorder.environment.start(envs, [env % motions for env in envs], [0.0] * len(envs))
        bare = timed(lambda: len(step(*last).root_pos))
    simulator.close()
    row.numbers = {"bare": round(bare), "recorded": round(recorded), **counts, "mib_per_env": round(memory / 2**20, 2)}
    row.text = f"{bare:,.0f} alone and {recorded:,.0f} recording, {counts['kernels']} kernels"
    row.text += f" and {counts['waits']} waits per step, {memory / 2**20:.2f} MiB per env"


def _counts(recorder: Any, gpu: bool) -> Dict[str, int]:
    """Of the control step that starts least; on a GPU, waits of the engine are among them."""
    from parc_ray.tracking.launches import count_steps

    steps = count_steps(recorder.environment, recorder.advance, 5)
    plain = min(steps, key=lambda step: step.kernels)
    counts = {"kernels": plain.kernels, "waits": plain.synchronisations}
    if gpu:
        import torch

        torch.cuda.set_sync_debug_mode("warn")
        waits = []
        for _ in range(5):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                recorder.advance()
            waits.append(sum("synchroniz" in str(warning.message) for warning in caught))
        torch.cuda.set_sync_debug_mode("default")
        counts["waits"] = int(statistics.median(waits))
    return counts


def _write_config(check: Check, known: Any, device: str, row: Row) -> None:
    config = _files(check, known, device, PHYSX_ITERATIONS).files.config
    (check.folder / f"config_{known.name}.json").write_text(config.model_dump_json())


def _wait(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.synchronize(device)


def _memory(device: str) -> int:
    """Bytes in use: of the device, or of this process."""
    if device == "cpu":
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return total - free


if __name__ == "__main__":
    main()
