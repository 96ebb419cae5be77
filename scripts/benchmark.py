"""Speed of recording: python scripts/benchmark.py [--repeats 3] [--quick] [--parts abe --simulators mujoco physx].

All numbers come from one run on one machine; compare the ratios, not the absolute numbers. One thread does everything
but the end-to-end part, so that the ratios say how much of a core's time is physics.

(a) control steps/s of the bare simulator stepping, (b) of the whole recorder, and b / a
(c) the original's schedule (all motions in lockstep, every env stepping until the slowest ends, one round per start
    fraction) over ours, on the same simulator
(d) share of env slots that do useful work until the queue is empty
(e) peak memory per 256 envs
(f) end to end, start-up included: parc-ray record on 500 motions of 5 s
(g) what a control step would cost a GPU, without the engine: kernels it would start, how often the host would wait for
    the device; in steps in which no attempt begins or ends, and over all steps
(h) a run of 10,000 motions end to end with recorders that take no time, its parts, and a second look at the dataset
(i) the same of 100,000 motions, and the driver's memory
(j) efficiency of 64 pretended GPUs against one, by a virtual clock: real driver, failure policy and queues; and of GPUs
    that differ, join late, or have little to do, against an ideal without setups

(h), (i) and (j) are measured only if asked for; they have bars, for two cores that do nothing else.
(a), (b) and (e) are measured with every simulator that is asked for, the others with the first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Sequence

import scale
from rich.console import Console

from parc_ray.character.skeleton import load_skeleton
from parc_ray.config.record import RecordConfig
from parc_ray.demo.generator import generate_motions
from parc_ray.files.bundled import DEMO, HUMANOID
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.planning.host import ThisMachine
from parc_ray.planning.preparation import prepare
from parc_ray.recording.build import build_recorder
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.recorder import ShardRecorder
from parc_ray.recording.retry_policy import RetryPolicy
from parc_ray.recording.run_files import RunFiles
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.runs.output import OutputDirectory
from parc_ray.simulators.engines import ENGINES
from parc_ray.tracking.launches import count_steps

ROOT = Path(__file__).resolve().parents[1]
NAMES = [engine.name for engine in ENGINES if not engine.import_first]
"""Engines that can be measured here: this process has already imported torch."""
ENVS_WAITING = 64
"""Number of envs for (d): fewer than motions, so that there is a queue."""

BARS = {
    "h_run_seconds_10000": 40.0,
    "h_run_report_10000": 10.0,
    "i_run_seconds_100000": 360.0,
    "i_run_driver_mib_100000": 1536.0,
    "j_efficiency_of_64_gpus": 0.95,
    "j_efficiency_of_8_equal_gpus": 0.945,
    "j_efficiency_of_8_gpus_two_slow": 0.93,
    "j_efficiency_of_8_gpus_one_late": 0.85,
    "j_efficiency_of_64_different_gpus": 0.83,
    "j_efficiency_of_8_fast_gpus_short": 0.79,
}
"""Upper bounds; for efficiencies, lower bounds."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=3, help="of each measurement; medians are reported")
    arguments.add_argument("--quick", action="store_true", help="a small version, to see that it works")
    arguments.add_argument("--parts", default="abcdefg", help="which of the numbers; a and b are measured together")
    arguments.add_argument("--simulators", nargs="+", default=NAMES[-1:], choices=NAMES)
    arguments.add_argument("--memory", type=int, default=0, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = options.memory or (32 if options.quick else 256)
        files, shard = make_shard(folder, count, options.simulators[0])
        if options.memory:
            print(peak_memory(files, shard))
            return
        results: list[dict[str, float]] = []
        for repeat in range(1 if options.quick else options.repeats):
            results.append(measure(files, shard, options.parts, options.simulators))
            print(f"repeat {repeat + 1}: " + ", ".join(f"{key} {value:.4g}" for key, value in results[-1].items()))
        numbers = {key: statistics.median(result[key] for result in results) for key in results[0]}
        for name in options.simulators if "e" in options.parts else ():
            few, many = (memory_of(envs, name) for envs in (1, count))
            numbers[f"e_peak_mib_per_256_envs_{name}"] = (many - few) / (count - 1) * 256
            numbers[f"e_peak_mib_without_envs_{name}"] = few
        if "f" in options.parts:
            numbers.update(end_to_end(folder, 20 if options.quick else 500, options.simulators[0]))
        for part, count in (("h", 10_000), ("i", 100_000)):
            if part in options.parts:
                measured = scale.whole_run(folder / part, 200 if options.quick else count)
                numbers.update({f"{part}_{key}": value for key, value in measured.items()})
        if "j" in options.parts:
            numbers.update({f"j_{key}": value for key, value in scale.many_gpus(folder / "j").items()})
            different = scale.different_gpus(folder / "different", options.quick)
            numbers.update({f"j_{key}": value for key, value in different.items()})
    for key, value in numbers.items():
        bar = BARS.get(key)
        kept = "" if bar is None else f"  bar {bar:g}: {'kept' if (value >= bar) == (key[0] == 'j') else 'MISSED'}"
        print(f"{key:36s} {value:12,.3f}{kept}")
    print(json.dumps({key: round(value, 4) for key, value in numbers.items()}))


def measure(files: RunFiles, shard: Shard, parts: str, simulators: Sequence[str]) -> dict[str, float]:
    """Return the numbers that are measured repeatedly."""
    numbers: dict[str, float] = {}
    for name in simulators if set("ab") & set(parts) else ():
        own = rates(replace(files, simulator=name), shard)
        numbers.update({f"{key}_{name}": value for key, value in own.items()})
    if "c" in parts:
        numbers.update(schedules(files, shard))
    if "d" in parts:
        numbers.update(usage(files, shard))
    if "g" in parts:
        numbers.update(launches(files, shard))
    return numbers


def config(folder: Path, simulator: str, **changes: Any) -> RecordConfig:
    """Return the configuration of the demo's tracker on the motions in a folder."""
    return RecordConfig(
        output_dir=folder / "out",
        device="cpu",
        dataset_file=folder / "motions.yaml",
        model_file=DEMO / "model.pt",
        env_file=DEMO / "dm_env.yaml",
        agent_file=DEMO / "agent_config.yaml",
        simulator=simulator,
        **changes,
    )


def write_motions(folder: Path, count: int, seconds: tuple[float, float], seed: int) -> None:
    """Write generated motions, about a third of which fail the first attempt, and a dataset file."""
    skeleton = load_skeleton(HUMANOID)
    lines = ["motions:"]
    for motion in generate_motions(count, seed, skeleton, seconds=seconds, late_share=1 / 3):
        path = folder / f"{motion.name}.pkl"
        path.write_bytes(motion_file_bytes(motion))
        lines += [f"- file: {path}", "  weight: 1.0"]
    (folder / "motions.yaml").write_text("\n".join(lines) + "\n")


def make_shard(folder: Path, count: int, simulator: str) -> tuple[RunFiles, Shard]:
    """Return one shard of generated motions of 2-10 s."""
    write_motions(folder, count, (2.0, 10.0), seed=1)
    run_config = config(folder, simulator)
    output = OutputDirectory(run_config.output_dir, run_config.output)
    inputs = prepare(run_config, None, False, output, ThisMachine(), Console(quiet=True)).inputs
    motions = tuple(
        ShardMotion(entry.name, entry.path, Path(entry.path).read_bytes(), 0) for entry in inputs.dataset.entries
    )
    return inputs.files, Shard(0, motions)


def with_envs(files: RunFiles, envs: int) -> RunFiles:
    return replace(files, config=files.config.model_copy(update={"max_envs_per_actor": envs}))


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def record_all(recorder: ShardRecorder) -> list[Any]:
    results = []
    while not recorder.done:
        results += recorder.advance()
    return results


def rates(files: RunFiles, shard: Shard) -> dict[str, float]:
    """Measure (a) and (b) alternately on one thread, so that other load on the machine slows both alike."""
    recorder = build_recorder(files, shard, threads=1, device_name="cpu")
    environment = build_recorder(files, shard, threads=1, device_name="cpu").environment
    envs = list(range(environment.num_envs))
    environment.start(envs, envs, [0.0] * len(envs))
    targets = environment.skeleton.rot_to_dof(environment.first_frame(envs)[1].joint_rot)
    seconds = bare_seconds = 0.0
    bare_steps = 0
    while not recorder.done:
        seconds += timed(lambda: [recorder.advance() for _ in range(10) if not recorder.done])
        bare_seconds += timed(lambda: environment.simulator.step(envs, targets))
        bare_steps += len(envs)
    for simulator in (environment.simulator, recorder.environment.simulator):
        simulator.close()
    bare, whole = bare_steps / bare_seconds, recorder.utilization.env_steps / seconds
    return {"a_bare_steps_per_s": bare, "b_recorder_steps_per_s": whole, "b_over_a": whole / bare}


def schedules(files: RunFiles, shard: Shard) -> dict[str, float]:
    """Measure (c): the same motions and retries, in lockstep and with a queue."""
    ours = build_recorder(files, shard, threads=1, device_name="cpu")
    ours_seconds = timed(lambda: record_all(ours))
    lockstep = build_recorder(with_envs(files, len(shard.motions)), shard, threads=1, device_name="cpu")
    lockstep_seconds = timed(lambda: record_in_lockstep(lockstep))
    return {"c_lockstep_over_ours": lockstep_seconds / ours_seconds}


def record_in_lockstep(recorder: ShardRecorder) -> None:
    """Run the original's schedule: in every round, all envs step until the last attempt of the round has ended.

    An env whose attempt has ended starts the same motion again and steps on, unused, as in the original.
    """
    environment, motions = recorder.environment, recorder.motions
    policy = RetryPolicy(recorder.config.retry)
    envs = list(range(environment.num_envs))
    open_motions = set(envs)
    fractions = [0.0, *recorder.config.retry.start_fractions]
    for number, fraction in enumerate(fractions):
        environment.start(envs, envs, [fraction] * len(envs))
        writing = set(open_motions)
        while writing:
            step = environment.step(envs, recorder.act(environment.observe(envs)))
            over = ((step.reason > 0) | step.ended).nonzero().flatten().tolist()
            open_motions -= {env for env in over if env in writing and not int(step.reason[env])}
            writing -= set(over)
            if over and writing:
                environment.start(over, over, [fraction] * len(over))
        open_motions = {env for env in open_motions if policy.next(env, motions[env].length, number + 1) is not None}
        if not open_motions:
            return


def usage(files: RunFiles, shard: Shard) -> dict[str, float]:
    """Measure (d)."""
    recorder = build_recorder(with_envs(files, ENVS_WAITING), shard, threads=1, device_name="cpu")
    results = record_all(recorder)
    retried = len({result.attempt.motion for result in results if result.attempt.number > 0})
    recorded = sum(result.attempt.outcome == Outcome.RECORDED for result in results)
    return {
        "d_busy_share": recorder.utilization.busy / max(1, recorder.utilization.slots),
        "share_of_motions_retried": retried / len(shard.motions),
        "share_of_motions_recorded": recorded / len(shard.motions),
    }


def launches(files: RunFiles, shard: Shard) -> dict[str, float]:
    """Measure (g)."""
    recorder = build_recorder(with_envs(files, 2 * ENVS_WAITING), shard, threads=1, device_name="cpu")
    for _ in range(10):
        recorder.advance()
    steps = count_steps(recorder.environment, recorder.advance, 50)
    recorder.environment.simulator.close()
    plain = min(steps, key=lambda step: step.kernels)
    return {
        "g_kernels_per_step": plain.kernels,
        "g_synchronisations_per_step": plain.synchronisations,
        "g_kernels_over_all_steps": statistics.mean(step.kernels for step in steps),
        "g_synchronisations_over_all_steps": statistics.mean(step.synchronisations for step in steps),
    }


def peak_memory(files: RunFiles, shard: Shard) -> float:
    """Return the peak memory (MiB) of a process that records with one env per motion."""
    recorder = build_recorder(with_envs(files, len(shard.motions)), shard, threads=1, device_name="cpu")
    for _ in range(30):
        recorder.advance()
    recorder.environment.simulator.close()
    # Not getrusage: its maximum is inherited from the parent process.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def memory_of(envs: int, simulator: str) -> float:
    """Return the peak memory measured in a separate process (on Linux)."""
    command = [sys.executable, __file__, "--memory", str(envs), "--simulators", simulator]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def end_to_end(folder: Path, count: int, simulator: str) -> dict[str, float]:
    """Measure (f)."""
    motions = folder / "end_to_end"
    motions.mkdir()
    write_motions(motions, count, (5.0, 5.0), seed=2)
    settings = json.loads(config(motions, simulator).model_dump_json())
    path = motions / "record.json"  # JSON is YAML
    path.write_text(json.dumps(settings))
    command = [sys.executable, "-c", "from parc_ray.cli import main; main()", "record", "--config", str(path)]
    seconds = timed(lambda: subprocess.run(command, check=True, capture_output=True, cwd=ROOT))
    summary = json.loads((motions / "out" / "summary.json").read_text())
    return {
        f"f_seconds_for_{count}_motions": seconds,
        "f_recorded": summary["recorded"],
        "f_env_steps": summary["env_steps"],
    }


if __name__ == "__main__":
    main()
