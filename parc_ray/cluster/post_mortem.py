"""Post-mortem: why an actor was lost, from Ray's error and what its process printed last."""

from __future__ import annotations

from typing import Sequence

from ray.exceptions import OutOfMemoryError, RayActorError, RayError

from parc_ray.cluster.actor_pool import RunningActor
from parc_ray.cluster.connection import last_line
from parc_ray.cluster.crash_output import read_crash_output
from parc_ray.cluster.loss import Cause
from parc_ray.runs.output import LOG, OutputDirectory

NODE_DIED = "node has died"
"""Ray's message for an actor whose node is gone."""


def why_lost(actor: RunningActor, error: RayError, output: OutputDirectory) -> tuple[Cause, str]:
    """Return the cause and the reason of an actor's loss, and log what its process printed last."""
    if isinstance(error, OutOfMemoryError):
        return Cause.TOO_LARGE, "Ray has killed the actor because its node ran out of memory"
    if isinstance(error, RayActorError):
        reason = f"actor died ({type(error).__name__})"
        if NODE_DIED in str(error):
            return Cause.NODE_DIED, f"{reason}: its node has died"
        return Cause.DIED, f"{reason}{_last_words(actor, output)}"
    _log(actor, str(error).splitlines(), output)
    return Cause.RAISED, f"actor raised: {last_line(error)}"


def why_silent(actor: RunningActor, seconds: float, output: OutputDirectory) -> tuple[Cause, str]:
    """Return the same for an actor that has not answered for `seconds`."""
    reason = f"actor was silent for {seconds:g} s (ray.timeout_seconds)"
    return Cause.SILENT, f"{reason}{_last_words(actor, output)}"


def _last_words(actor: RunningActor, output: OutputDirectory) -> str:
    lines = read_crash_output(actor.printouts, actor.device.node_id) if actor.device else []
    _log(actor, [f"printed: {line}" for line in lines], output)
    return f"; its last words are in {LOG}" if lines else ""


def _log(actor: RunningActor, lines: Sequence[str], output: OutputDirectory) -> None:
    shard = actor.assignment.shard if actor.assignment else None
    output.logs.write([(0.0, line) for line in lines], shard)
