"""Monitoring: a run's numbers for Ray's dashboard, Prometheus and Grafana (configs/grafana/parc_ray.json).

Ray exports them on every node's metrics port, prefixed with `ray_`. Only the driver records them.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Callable, Sequence

from parc_ray.errors import quote
from parc_ray.runs.activity import ActorWork, Progress
from parc_ray.runs.events import ActorDied, AttemptEnded, Event, MotionEnded, ShardStarted
from parc_ray.runs.listener import RunListener
from parc_ray.runs.motion_state import WAITING

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
        "Memory in use on the CUDA device of a shard's actor, by all processes.",
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
"""Update period of the whole run; Ray itself exports every ten seconds."""
LONGEST_TAG = 200
"""In characters; older versions of Ray accept 255."""


class Monitoring(RunListener):
    """Records the numbers of a run. An error in Ray's metrics ends the monitoring, never the run.

    tell: called with one line in that case.
    """

    def __init__(self, run: str, tell: Callable[[str], None]):
        self._tell = tell
        self._works = True
        self._metrics: dict[str, Any] = {}
        self._shown: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        """Nonzero gauges, with their tags."""
        self._shard_of: dict[str, str] = {}
        """The last shard of each motion."""
        self._states: dict[str, str] = {}
        """Final states of motions."""
        self._counted: set[tuple[str, str]] = set()
        """Pairs of shard and state with at least one motion."""
        self._updated = float("-inf")
        self._try(self._create, run)

    def events(self, events: Sequence[Event]) -> None:
        """See RunListener."""
        for event in events:
            if isinstance(event, ShardStarted):
                self._shard_of.update(dict.fromkeys(event.motions, str(event.shard)))
            elif isinstance(event, AttemptEnded):
                labels = {"shard": str(event.shard), "outcome": str(event.attempt.outcome)}
                self._try(self._count, "parc_ray_attempts_total", 1, **labels)
            elif isinstance(event, MotionEnded):
                self._states[event.motion] = str(event.state)
            elif isinstance(event, ActorDied):
                self._try(self._count, "parc_ray_actor_deaths_total", 1, shard=str(event.shard))

    def work(self, work: ActorWork) -> None:
        """See RunListener."""
        self._try(self._work, work)

    def progress(self, progress: Progress) -> None:
        """See RunListener; shown at most once in UPDATE_SECONDS."""
        if time.monotonic() - self._updated >= UPDATE_SECONDS:
            self._try(self._update, progress)
            self._updated = time.monotonic()

    def shard_over(self, shard: int) -> None:
        """Zero a shard's gauges, except for the states of its motions: no actor works on it any more."""
        self._try(self._zero, lambda name, tags: tags.get("shard") == str(shard) and "state" not in tags)

    def close(self) -> None:
        """Zero all gauges. Otherwise Ray would export their last values until its cluster ends."""
        self._try(self._zero, lambda name, tags: True)

    def _create(self, run: str) -> None:
        from ray.util import metrics as ray_metrics

        kinds: tuple[Any, ...] = ((GAUGES, ray_metrics.Gauge), (COUNTERS, ray_metrics.Counter))
        for metrics, kind in kinds:
            for name, (description, tags) in metrics.items():
                metric = kind(name, description, tag_keys=("run", *tags))
                self._metrics[name] = metric.set_default_tags({"run": _tag(run)})

    def _update(self, progress: Progress) -> None:
        for state, count in progress.states.items():
            self._set("parc_ray_motions", count, state=state)
        activity = progress.activity
        self._set("parc_ray_actors", activity.actors, state="working")
        self._set("parc_ray_actors", activity.starting, state="starting")
        self._set("parc_ray_shards_waiting", activity.shards_waiting)
        counts = Counter((shard, self._states.get(name, WAITING)) for name, shard in self._shard_of.items())
        for shard, state in self._counted - counts.keys():
            self._set("parc_ray_shard_motions", 0, shard=shard, state=state)
        for (shard, state), count in counts.items():
            self._set("parc_ray_shard_motions", count, shard=shard, state=state)
        self._counted = set(counts)

    def _work(self, work: ActorWork) -> None:
        tag = str(work.shard)
        self._set("parc_ray_envs", work.envs, shard=tag)
        if work.steps:
            self._set("parc_ray_envs_busy", work.busy_envs, shard=tag)
            self._set("parc_ray_slot_utilisation", work.busy_envs / work.envs, shard=tag)
        if work.env_steps:
            self._count("parc_ray_control_steps_total", work.env_steps, shard=tag)
            self._set("parc_ray_steps_per_second", work.env_steps / max(work.seconds, 1e-3), shard=tag)
        if work.process_bytes:
            self._set("parc_ray_process_memory_bytes", work.process_bytes, shard=tag, node=work.node)
        if work.device_total:
            place = {"shard": tag, "node": work.node, "device": work.device}
            self._set("parc_ray_device_memory_used_bytes", work.device_used, **place)
            self._set("parc_ray_device_memory_total_bytes", work.device_total, **place)

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

    def _zero(self, matches: Callable[[str, dict[str, str]], bool]) -> None:
        for name, tags in [(name, dict(tags)) for name, tags in self._shown]:
            if matches(name, tags):
                self._set(name, 0, **tags)

    def _try(self, act: Callable[..., None], *arguments: Any, **values: Any) -> None:
        if not self._works:
            return
        try:
            act(*arguments, **values)
        except Exception as error:
            self._works = False
            self._tell(f"Ray takes no more metrics of this run: {quote(error)}")


def _tag(text: str) -> str:
    """Return a tag that Ray accepts: short, and ASCII only. The end of a path is kept, being more informative."""
    return text.encode("ascii", "backslashreplace").decode("ascii")[-LONGEST_TAG:] or "-"
