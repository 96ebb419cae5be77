"""The parts of `parc-ray doctor --gpu` that load an engine, each in its own process.

`python -m parc_ray.doctor.gpu_parts PART ENGINE ENVS FOLDER SETTINGS` runs one part and answers with its row.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Sequence

from parc_ray.doctor.gpu import REFERENCE, Row, engine_of
from parc_ray.errors import one_line
from parc_ray.recording.outcome import Outcome
from parc_ray.simulators.child_process import answer
from parc_ray.simulators.engine import Engine, EngineCheck

if TYPE_CHECKING:
    from torch import Tensor

    from parc_ray.character.state import CharacterState
    from parc_ray.planning.inputs import Inputs
    from parc_ray.planning.placement import Placement
    from parc_ray.recording.recorder import ShardRecorder

# Nothing here imports torch at module level: some engines must be imported before it.

PHYSX_ITERATIONS = 32
"""Solver iterations in the demo: its tracker was trained in MuJoCo, and PhysX's drives are too soft with fewer."""


@dataclass(frozen=True)
class Part:
    """The work of one process."""

    engine: Engine
    device: str
    motions: int
    seconds: float
    folder: Path
    row: Row


def main(arguments: Sequence[str]) -> None:
    """Run one part, and answer with its row."""
    kind, name, envs, folder, text = arguments
    settings, row = json.loads(text), Row(kind, name, int(envs))
    device = "cpu" if name == REFERENCE else settings["device"]
    part = Part(engine_of(name), device, settings["motions"], settings["seconds"], Path(folder), row)
    try:
        if kind != "start" and part.engine.import_first:
            part.engine.import_first(device)
        works: dict[str, Callable[[Part], None]] = {
            "start": _start, "demo": _demo, "speed": _speed, "config": _write_config
        }  # fmt: skip
        works[kind](part)
    except Exception as error:
        row.state, row.text = "failed", one_line(f"{type(error).__name__}: {error}")[:300]
    answer(asdict(row))


def _start(part: Part) -> None:
    from parc_ray.simulators.engine_check import check_here

    row, compiles, start = part.row, bool(part.engine.first_start(part.device)), time.monotonic()
    found = check_here(part.engine, part.device)
    row.numbers = {"version": found.version, "seconds": round(time.monotonic() - start, 1), "compiled": compiles}
    row.text = found.problem or f"{found.version}, ready in {row.numbers['seconds']} s"
    row.text += ", with compilation" if compiles and not found.problem else ""
    row.state = "failed" if found.problem else "ok"


def _demo_inputs(part: Part, iterations: int) -> Inputs:
    """Return the demo's tracker and motions for the part's engine. iterations: of PhysX's solver; 0: the demo's."""
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

    motions = part.folder / "motions"
    if not motions.exists():
        motions.mkdir()
        made = list(demo_motions(load_skeleton(HUMANOID)))
        for motion in made[:: max(1, len(made) // part.motions)][: part.motions] if part.motions else made:
            (motions / f"{motion.name}.pkl").write_bytes(motion_file_bytes(motion))
        lines = ["motions:", *(f"- {{file: '{path}', weight: 1.0}}" for path in sorted(motions.glob("*.pkl")))]
        (part.folder / "motions.yaml").write_text("\n".join(lines) + "\n")
    environment = yaml.safe_load((DEMO / "dm_env.yaml").read_text())
    environment["env"]["char_file"] = str(HUMANOID)
    if iterations:
        environment["sim"]["physx"]["num_position_iterations"] = iterations
    env_file = part.folder / f"dm_env_{iterations}.yaml"
    env_file.write_text(yaml.safe_dump(environment))
    config = RecordConfig(
        output_dir=part.folder / "out",
        device=part.device,
        dataset_file=part.folder / "motions.yaml",
        model_file=DEMO / "model.pt",
        env_file=env_file,
        agent_file=DEMO / "agent_config.yaml",
        simulator=part.engine.name,
    )

    class Untried(ThisMachine):
        def try_out(self, engine: Engine, placement: Placement) -> EngineCheck:
            return EngineCheck()

    output = OutputDirectory(config.output_dir, config.output)
    return prepare(config, None, False, output, Untried(), Console(quiet=True)).inputs


def _recorder(inputs: Inputs, device: str, envs: int = 0) -> ShardRecorder:
    """Return a recorder of each motion, or of as many copies as envs."""
    from parc_ray.recording.build import build_recorder
    from parc_ray.recording.shard import Shard
    from parc_ray.recording.shard_motion import ShardMotion

    paths = [Path(entry.path) for entry in inputs.dataset.entries]
    files, contents = inputs.files, [path.read_bytes() for path in paths]
    copies = [divmod(number, len(paths)) for number in range(envs or len(paths))]
    motions = tuple(ShardMotion(f"{paths[i].stem}_{copy}", str(paths[i]), contents[i], 0) for copy, i in copies)
    if envs:
        files = replace(files, config=files.config.model_copy(update={"max_envs_per_actor": envs}))
    return build_recorder(files, Shard(0, motions), threads=os.cpu_count() or 1, device_name=device)


def _demo(part: Part) -> None:
    row, recorder = part.row, _recorder(_demo_inputs(part, PHYSX_ITERATIONS), part.device)
    ends: dict[str, str] = {}
    while not recorder.done:
        for attempt in (result.attempt for result in recorder.advance()):
            recorded = attempt.outcome == Outcome.RECORDED
            if recorded or attempt.next_fraction is None:
                ends[attempt.motion] = f"from {attempt.start_fraction:g}" if recorded else "not"
    recorder.environment.simulator.close()
    path = part.folder / "demo.json"
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


def _speed(part: Part) -> None:
    import torch

    device, row = part.device, part.row
    gpu, before = device != "cpu", _memory(device)
    recorder = _recorder(_demo_inputs(part, 0), device, row.envs)
    simulator = recorder.environment.simulator
    last: list[Any] = []  # the last step that was made
    step = simulator.step

    def noted(envs: Sequence[int], targets: Tensor) -> CharacterState:
        last[:] = [list(envs), targets.clone()]
        return step(envs, targets)

    def timed(call: Callable[[], int]) -> float:
        """Return env steps per second; 0 where there is nothing to do."""
        _wait(device)
        start, steps, new = time.monotonic(), 0, 1
        while time.monotonic() < start + part.seconds and new:
            for _ in range(10):  # the host may still be ahead of the device
                new = call()
                steps += new
            _wait(device)
        return steps / (time.monotonic() - start)

    def advance() -> int:
        before = recorder.utilization.env_steps
        if not recorder.done:
            recorder.advance()
        return int(recorder.utilization.env_steps - before)

    simulator.step = noted  # type: ignore[method-assign]
    for _ in range(5):
        recorder.advance()
    simulator.step = step  # type: ignore[method-assign]
    memory = (_memory(device) - before) / row.envs
    counts = _counts(recorder, gpu)
    recorded = timed(advance)
    with torch.inference_mode():
        # Attempts may have ended by now, and an env without an attempt must not be stepped.
        envs, motions = last[0], len(recorder.motions)
        recorder.environment.start(envs, [env % motions for env in envs], [0.0] * len(envs))
        bare = timed(lambda: len(step(*last).root_pos))
    simulator.close()
    row.numbers = {"bare": round(bare), "recorded": round(recorded), **counts, "mib_per_env": round(memory / 2**20, 2)}
    row.text = f"{bare:,.0f} alone and {recorded:,.0f} recording, {counts['kernels']} kernels"
    row.text += f" and {counts['waits']} waits per step, {memory / 2**20:.2f} MiB per env"


def _counts(recorder: ShardRecorder, gpu: bool) -> dict[str, int]:
    """Return kernels and waits of the control step with the fewest launches; on a GPU, including the engine's waits."""
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


def _write_config(part: Part) -> None:
    config = _demo_inputs(part, PHYSX_ITERATIONS).files.config
    part.row.numbers = json.loads(config.model_dump_json())


def _wait(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.synchronize(device)


def _memory(device: str) -> int:
    """Return the bytes in use on the device, or by this process."""
    if device == "cpu":
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return total - free


if __name__ == "__main__":
    main(sys.argv[1:])
