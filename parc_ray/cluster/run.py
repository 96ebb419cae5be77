"""One run, from checked inputs to summary.json."""

from __future__ import annotations

import platform
import signal
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import ray
import torch
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import parc_ray
from parc_ray.cluster.driver import Driver, connect, probe_isaacgym
from parc_ray.cluster.journal import Journal
from parc_ray.cluster.ledger import Ledger
from parc_ray.cluster.output import OutputDirectory, map_too_large
from parc_ray.cluster.plan import Resources, RunPlan, make_plan, plan_without_isaacgym, read_inputs
from parc_ray.cluster.progress import RunProgress
from parc_ray.config import RecordConfig
from parc_ray.errors import InputError
from parc_ray.motions.dataset import write_dataset
from parc_ray.motions.motion_file import read_motion
from parc_ray.record_args import format_args, record_environment

DONE, BAD_INPUT, NOT_ALL_ATTEMPTED, INTERRUPTED = 0, 2, 3, 130


def record(config: RecordConfig, data_dir: Optional[str], overwrite: bool, console: Console) -> int:
    """Record a dataset; returns the exit code. Raises InputError, before anything is written, on bad input."""
    start = time.monotonic()
    output = OutputDirectory(config.output_dir, config.output)
    if not overwrite:
        output.require_free()
    with console.status("reading motions") as status:
        inputs = read_inputs(config, data_dir, lambda done, total: status.update(f"reading motions: {done}/{total}"))
    output.require_apart(entry.path for entry in inputs.dataset.entries)
    devices = config.device if isinstance(config.device, list) else [config.device]
    resources = connect(config.ray.address, devices)
    try:
        plan = make_plan(inputs, resources)
        if plan.inputs.files.simulator == "isaacgym":
            with console.status("starting Isaac Gym"):
                plan = _with_working_simulator(plan, resources)
    except InputError:
        ray.shutdown()
        raise
    output.prepare()
    ledger = Ledger(inputs.dataset)
    journal = Journal(output.path / "journal.jsonl")
    _write_inputs(plan, output, journal)
    code = INTERRUPTED
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with RunProgress(console, ledger) as progress:
            for line in _opening_lines(plan):
                progress.note(line)
            driver = Driver(plan, output, journal, ledger, progress)
            try:
                driver.run()
                _write_terrain(plan, output, progress)
                code = NOT_ALL_ATTEMPTED if ledger.count("crashed") else DONE
            except KeyboardInterrupt:
                progress.note("interrupted")
            output.write_recorded_dataset(driver.frames, inputs.files.environment.env.control_freq)
        summary = _summary(plan, ledger, time.monotonic() - start, code)
        output.write_json("summary.json", summary)
        journal.write("end", exit_code=code)
    finally:
        signal.signal(signal.SIGTERM, previous)
        journal.close()
        ray.shutdown()
    print_summary(summary, output, console)
    return code


def _with_working_simulator(plan: RunPlan, resources: Resources) -> RunPlan:
    """The plan, for MuJoCo if Isaac Gym does not work and the choice was ours. Raises InputError if it was not."""
    try:
        probe_isaacgym(plan)
    except InputError as error:
        return plan_without_isaacgym(plan, resources, str(error))
    return plan


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _write_inputs(plan: RunPlan, output: OutputDirectory, journal: Journal) -> None:
    """What the run is made of: the dataset, record_env.yaml, record_args.txt, the journal's first lines."""
    inputs, config = plan.inputs, plan.inputs.files.config
    dataset_file = output.path / "motions.yaml"
    written = {dataset_file.resolve()}
    if inputs.dataset_config is not None:
        written.add(inputs.dataset_config.save_path.resolve())
    elif config.dataset_file is not None:
        # A run repeated from its record_args.txt reads the motions.yaml in its own output_dir: an input stays as it is.
        written.discard(config.dataset_file.resolve())
    for path in written:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_dataset(inputs.dataset, path)
    content = record_environment(inputs.environment_content, config, dataset_file, output.path)
    output.write_text("record_env.yaml", yaml.safe_dump(content))
    entries = inputs.dataset.entries
    output.write_text("record_args.txt", format_args(config, output.path / "record_env.yaml", len(entries)))
    journal.write(
        "run",
        versions=_versions(),
        simulator=inputs.files.simulator,
        checkpoint_sha256=inputs.files.checkpoint_sha256,
        config=config.model_dump(mode="json"),
        motions=len(entries),
    )
    for motion in inputs.dataset.invalid:
        journal.write("motion", motion=motion.name, state="invalid", path=motion.path, reason=motion.reason)


def _write_terrain(plan: RunPlan, output: OutputDirectory, progress: RunProgress) -> None:
    if not plan.inputs.files.config.output.terrain_file:
        return
    inputs = plan.inputs
    heightmap = inputs.files.environment.env.dm.heightmap
    shapes = [entry.terrain_shape for entry in inputs.dataset.entries]
    problem = map_too_large(shapes, heightmap.padding, heightmap.horizontal_scale)
    if problem:
        progress.note(problem)
        return
    try:
        terrains = [read_motion(Path(entry.path), inputs.skeleton).terrain for entry in inputs.dataset.entries]
    except InputError as error:
        progress.note(f"terrain.pkl left out: a motion has changed since the run began: {error}")
        return
    problem = output.write_terrain(terrains, heightmap.padding, heightmap.horizontal_scale)
    if problem:
        progress.note(problem)


def _opening_lines(plan: RunPlan) -> List[str]:
    placement, dataset = plan.placement, plan.inputs.dataset
    lines = [
        f"{len(dataset.entries)} motions, {plan.seconds:.0f} s, in {len(plan.shards)} shards on {placement.actors} "
        f"actors ({placement.cpus} CPUs, {placement.gpus:g} GPUs each), simulator {plan.inputs.files.simulator}"
    ]
    if placement.notice:
        lines.append(placement.notice)
    lines += [f"invalid: {motion.path}: {motion.reason}" for motion in dataset.invalid]
    return lines


def _versions() -> Dict[str, str]:
    return {
        "parc_ray": parc_ray.__version__,
        "python": platform.python_version(),
        "ray": ray.__version__,
        "torch": torch.__version__,
    }


def _summary(plan: RunPlan, ledger: Ledger, seconds: float, code: int) -> Dict[str, Any]:
    counts = ledger.summary()
    return {
        **counts,
        "control_steps_per_second": round(ledger.env_steps / seconds, 1),
        "wall_seconds": round(seconds, 2),
        "exit_code": code,
        "simulator": plan.inputs.files.simulator,
        "actors": plan.placement.actors,
        "shards": len(plan.shards),
        "versions": _versions(),
        "command": sys.argv,
    }


def print_summary(summary: Dict[str, Any], output: OutputDirectory, console: Console) -> None:
    """The run's table on the terminal."""
    table = Table(title=escape(str(output.path)), show_header=False)
    table.add_row("motions", str(summary["motions"]))
    table.add_row("attempted", str(summary["attempted"]))
    for fraction, count in summary["recorded_from"].items():
        where = "from the start" if float(fraction) == 0 else f"from {float(fraction):.0%}"
        table.add_row(f"recorded {where}", str(count))
    for reason, count in summary["rejected_by_reason"].items():
        table.add_row(escape(f"rejected, {reason}"), str(count))
    for state in ("invalid", "crashed", "not_attempted"):
        if summary[state] or state != "not_attempted":
            table.add_row(state.replace("_", " "), str(summary[state]))
    table.add_row("recorded", f"{summary['recorded_seconds']:.1f} s of {summary['dataset_seconds']:.1f} s of motion")
    table.add_row("speed", f"{summary['control_steps_per_second']:,.0f} control steps/s")
    table.add_row("wall time", f"{summary['wall_seconds']:.1f} s")
    console.print(table)
    for motion, reason in summary["crashed_motions"].items():
        console.print(f"crashed: {motion}: {reason}", highlight=False, markup=False)
