"""Motions that the bundled tracker fails to track but populations recover, and recorders of them.

They depend on the version of MuJoCo and the type of CPU, so they are searched for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Iterator, Sequence, Tuple

from parc_ray.config.record import RecordConfig
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.files.bundled import DEMO, HUMANOID
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.build import build_recorder
from parc_ray.recording.recorder import ShardRecorder
from parc_ray.recording.run_files import RunFiles
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.trackers.families import family
from tests.tracking.test_environment import SKELETON

SECONDS = 2.5
RECOVERY = {"copies": [4, 8]}
SEEDS = (11, 3, 50, 86, 29, 18, 117, 55, 34, 111, 23, 42, 1, *range(200, 300))
"""Seeds of fast walks, first those that have failed on some machine."""
Key = Tuple[str, int, int]


@dataclass(frozen=True)
class Cases:
    """Motions of 2.5 s by their outcome with RECOVERY."""

    easy: Motion
    """Recorded at once."""
    first_size: Motion
    """Recovered with 4 copies."""
    also_first_size: Motion
    second_size: Motion
    """Recovered with 8 copies."""
    hopeless: Motion

    def __iter__(self) -> Iterator[Motion]:
        return iter([self.easy, self.first_size, self.also_first_size, self.second_size, self.hopeless])


@lru_cache(maxsize=None)
def find_cases() -> Cases:
    easy = generate_motion(MotionSpec("tour", 0, SECONDS, 1.0), SKELETON, "tour_0")
    hopeless = generate_motion(MotionSpec("walk", 6, SECONDS, flaw="fly"), SKELETON, "fly")
    first: list[Motion] = []
    second: list[Motion] = []
    for seed in SEEDS:
        motion = generate_motion(MotionSpec("fast_walk", seed, SECONDS, 1.0), SKELETON, f"fast_walk_{seed}")
        results = run(make_recorder([motion], envs=8))
        first += [motion] * recorded(results, (motion.name, 4, 0))
        second += [motion] * recorded(results, (motion.name, 8, 1))
        if len(first) > 1 and second:
            return Cases(easy, first[0], first[1], second[0], hopeless)
    raise AssertionError("no such motions")


def recorded(results: dict[Key, AttemptResult], key: Key) -> bool:
    return key in results and results[key].attempt.outcome == "recorded"


def make_recorder(
    motions: Sequence[Motion],
    envs: int = 12,
    threads: int = 1,
    made: Sequence[tuple[int, int]] = (),
    **config: Any,
) -> ShardRecorder:
    """Return a recorder. made: earlier attempts and populations at each motion."""
    settings = RecordConfig(
        **{
            "output_dir": "out", "device": "cpu", "model_file": DEMO / "model.pt", "env_file": DEMO / "dm_env.yaml",
            "agent_file": DEMO / "agent_config.yaml", "dataset_file": "unused", "simulator": "mujoco",
            "num_envs": envs, "recovery": RECOVERY, "retry": {"min_segment_seconds": 1.0}, **config,
        }
    )  # fmt: skip
    files = family("parc").read(settings, None)
    run = RunFiles(settings, "mujoco", files, HUMANOID.read_text(), str(HUMANOID))
    numbers = made or [(0, 0)] * len(motions)
    shard = Shard(0, tuple(ShardMotion(m.name, m.name, motion_file_bytes(m), *n) for m, n in zip(motions, numbers)))
    return build_recorder(run, shard, threads, "cpu")


def run(recorder: ShardRecorder) -> dict[Key, AttemptResult]:
    results: list[AttemptResult] = []
    while not recorder.done:
        results += recorder.advance()
    found = {(r.attempt.motion, r.attempt.copies, r.attempt.number): r for r in results}
    assert len(found) == len(results)
    return found
