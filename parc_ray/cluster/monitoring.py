"""Metrics of a run for Ray's dashboard, Prometheus and Grafana (configs/grafana/parc_ray.json).

Ray exports them, each with `ray_` before its name, on every node's metrics port; only the driver records them.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Set, Tuple

from parc_ray.errors import quote
from parc_ray.runs.ledger import Ledger
from parc_ray.terminal.progress import Activity

if TYPE_CHECKING:
    from parc_ray.cluster.actor import WorkReport

GAUGES = {
    "parc_ray_motions": ("Motions of the dataset by state.", ("state",)),
    "parc_ray_shard_motions": ("Motions by state and the shard in which an actor got them last.", ("shard", "state")),
    "parc_ray_actors": ("Actors by what they do: working or starting.", ("state",)),
    "parc_ray_shards_waiting": ("Shards that no actor has begun.", ()),
    "parc_ray_steps_per_second": ("Control steps per second of a shard's envs.", ("shard",)),
    "parc_ray_envs": ("Env slots of a shard's actor.", ("shard",)),
    "parc_ray_envs_busy": ("Env slots of a shard's actor at work, on average since its last report.", ("shard",)),
    "parc_ray_slot_utilisation": ("Share of a shard's env slots at work, 0 to 1.", ("shard",)),
    "parc_ray_device_memory_used_bytes": (
        "Memory in use on the CUDA device of a shard's actor, by whatever process.",
        ("shard", "node", "device"),
    ),
    "parc_ray_device_memory_total_bytes": (
        "Memory of the CUDA device of a shard's actor.",
        ("shard", "node", "device"),
    ),
    "parc_ray_process_memory_bytes": ("Resident host memory of a shard's actor.", ("shard", "node")),
}
COUNTERS = {
    "parc_ray_control_steps_total": ("Control steps of all envs.", ("shard",)),
    "parc_ray_attempts_total": ("Attempts by outcome: recorded, failed or rejected.", ("shard", "outcome")),
    "parc_ray_actor_deaths_total": ("Actors that were lost.", ("shard",)),
}
UPDATE_SECONDS = 2.0
"""Time between two looks at the whole run; Ray itself passes metrics on every ten seconds."""
LONGEST_TAG = 200
"""Characters; Ray's older versions take 255."""


class RunMetrics:
    """Records what the driver knows. Nothing that goes wrong here reaches the run: the metrics end, that is all.

    tell: is given one line if they do.
    """

    def __init__(self, run: str, tell: Callable[[str], None]):
        self._tell = tell
        self._works = True
        self._metrics: Dict[str, Any] = {}
        self._shown: Set[Tuple[str, Tuple[Tuple[str, str], ...]]] = set()
        """Gauges that are not zero, with their tags."""
        self._shard_of: Dict[str, str] = {}
        """The shard that each motion was in last."""
        self._counted: Set[Tuple[str, str]] = set()
        """Pairs of shard and state that some motion has."""
        self._updated = float("-inf")
        self._guarded(self._create, run)

    def update(self, ledger: Ledger, activity: Activity) -> None:
        """Show the whole run as it is now, at most once in UPDATE_SECONDS."""
        if time.monotonic() - self._updated >= UPDATE_SECONDS:
            self._guarded(self._update, ledger, activity)
            self._updated = time.monotonic()

    def assigned(self, shard: int, motions: Iterable[str]) -> None:
        """An actor gets a shard of these motions."""
        self._shard_of.update(dict.fromkeys(motions, str(shard)))

    def report(self, shard: int, envs: int, report: WorkReport, seconds: float) -> None:
        """Show what a shard's actor did in the given seconds."""
        self._guarded(self._report, shard, envs, report, seconds)

    def attempt(self, shard: int, outcome: str) -> None:
        """An attempt has ended."""
        self._guarded(self._count, "parc_ray_attempts_total", 1, shard=str(shard), outcome=outcome)

    def death(self, shard: int) -> None:
        """A shard has lost its actor."""
        self._guarded(self._count, "parc_ray_actor_deaths_total", 1, shard=str(shard))

    def ended(self, shard: int) -> None:
        """No actor works on a shard any longer: but for what has become of its motions, its gauges are zero."""
        self._guarded(self._zero, lambda name, tags: tags.get("shard") == str(shard) and "state" not in tags)

    def close(self) -> None:
        """The run is over: all gauges are zero. Ray would export their last values until its cluster ends."""
        self._guarded(self._zero, lambda name, tags: True)

    def _create(self, run: str) -> None:
        from ray.util import metrics as ray_metrics

        kinds: Tuple[Any, ...] = ((GAUGES, ray_metrics.Gauge), (COUNTERS, ray_metrics.Counter))
        for metrics, kind in kinds:
            for name, (description, tags) in metrics.items():
                metric = kind(name, description, tag_keys=("run", *tags))
                self._metrics[name] = metric.set_default_tags({"run": _tag(run)})

    def _update(self, ledger: Ledger, activity: Activity) -> None:
        for state, count in ledger.states().items():
            self._set("parc_ray_motions", count, state=state)
        self._set("parc_ray_actors", activity.actors, state="working")
        self._set("parc_ray_actors", activity.starting, state="starting")
        self._set("parc_ray_shards_waiting", activity.shards_waiting)
        states = {name: outcome.state for name, outcome in ledger.outcomes.items()}
        counts = Counter((shard, states.get(name, "waiting")) for name, shard in self._shard_of.items())
        for shard, state in self._counted - counts.keys():
            self._set("parc_ray_shard_motions", 0, shard=shard, state=state)
        for (shard, state), count in counts.items():
            self._set("parc_ray_shard_motions", count, shard=shard, state=state)
        self._counted = set(counts)

    def _report(self, shard: int, envs: int, report: WorkReport, seconds: float) -> None:
        tag = str(shard)
        self._set("parc_ray_envs", envs, shard=tag)
        if report.steps:
            self._set("parc_ray_envs_busy", report.busy_envs, shard=tag)
            self._set("parc_ray_slot_utilisation", report.busy_envs / envs, shard=tag)
        if report.env_steps:
            self._count("parc_ray_control_steps_total", report.env_steps, shard=tag)
            self._set("parc_ray_steps_per_second", report.env_steps / max(seconds, 1e-3), shard=tag)
        memory = report.memory
        if memory is None:
            return
        self._set("parc_ray_process_memory_bytes", memory.process, shard=tag, node=memory.node)
        if memory.device_total:
            place = {"shard": tag, "node": memory.node, "device": memory.device}
            self._set("parc_ray_device_memory_used_bytes", memory.device_used, **place)
            self._set("parc_ray_device_memory_total_bytes", memory.device_total, **place)

    def _set(self, name: str, value: float, **tags: str) -> None:
        tags = {key: _tag(text) for key, text in tags.items()}
        self._metrics[name].set(value, tags)
        place = (name, tuple(sorted(tags.items())))
        if value:
            self._shown.add(place)
        else:
            self._shown.discard(place)

    def _count(self, name: str, value: float, **tags: str) -> None:
        self._metrics[name].inc(value, {key: _tag(text) for key, text in tags.items()})

    def _zero(self, chosen: Callable[[str, Dict[str, str]], bool]) -> None:
        for name, tags in [(name, dict(tags)) for name, tags in self._shown]:
            if chosen(name, tags):
                self._set(name, 0, **tags)

    def _guarded(self, act: Callable[..., None], *arguments: Any, **values: Any) -> None:
        if not self._works:
            return
        try:
            act(*arguments, **values)
        except Exception as error:
            self._works = False
            self._tell(f"Ray takes no metrics of this run any longer: {quote(error)}")


def _tag(text: str) -> str:
    """A tag that Ray takes: ASCII, and not too long. The end of a path says more than its beginning."""
    return text.encode("ascii", "backslashreplace").decode("ascii")[-LONGEST_TAG:] or "-"
