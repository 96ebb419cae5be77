"""The plan of a run, as `parc-ray check` prints it."""

from __future__ import annotations

from typing import Iterator, Sequence

from parc_ray.character.decisions import describe
from parc_ray.planning.plan import RunPlan, bytes_per_env
from parc_ray.planning.preparation import PreparedRun

MIB = 2**20


def plan_lines(run: PreparedRun, plan: RunPlan) -> Iterator[str]:
    """Yield a line per row of a plan: a name and a value in two columns."""
    rows = list(_rows(run, plan))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        yield f"  {name:{width}}  {value}"


def _rows(run: PreparedRun, plan: RunPlan) -> Iterator[tuple[str, str]]:
    inputs, engine_check = run.inputs, run.engine_check
    dataset, placement, engine = inputs.dataset, plan.placement, inputs.files.engine
    yield "motions", f"{len(dataset.entries)} ({len(dataset.invalid)} invalid, {len(dataset.excluded)} excluded)"
    if run.goes_on:
        yield "done by an earlier run", str(len(dataset.entries) - len(run.remaining_motions))
    yield "seconds of motion", f"{plan.seconds:.1f}"
    skeleton = inputs.character.skeleton
    size = f"{skeleton.num_bodies} bodies, {skeleton.dof_count} degrees of freedom"
    yield "character", f"{inputs.character.source}, {size}"
    for line in describe(inputs.character.decisions):
        yield "", line
    yield "simulator", engine.name
    yield "engine", f"{engine.title} {engine_check.version}, Python {engine_check.python}, torch {engine_check.torch}"
    yield from engine_check.devices.items()
    yield "actors", f"{placement.actors} on {placement.device}, {placement.description}"
    sizes = [len(shard) for shard in plan.shards]
    yield "shards", f"{len(sizes)}, of {count_range(sizes)} {'motion' if max(sizes) == 1 else 'motions'}"
    yield "envs", f"{count_range(plan.envs)} per actor"
    yield "memory", f"about {plan.actor_bytes / MIB:.0f} MiB per actor, {bytes_per_env(inputs) / MIB:.1f} MiB per env"
    yield "output", str(inputs.files.config.output_dir)
    if run.upload:
        yield "copies", run.upload.url


def count_range(counts: Sequence[int]) -> str:
    """Return the smallest and the largest of the counts in a few words.

    >>> count_range([24, 24]), count_range([24, 25, 24])
    ('24', '24 to 25')
    """
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
