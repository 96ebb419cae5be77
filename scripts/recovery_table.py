"""Measures what recovery brings on generated motions: how they were recorded, at which cost, and how well.

python scripts/recovery_table.py --seed 5 --motions 100 --seconds 2 10
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Mapping, Sequence, Tuple

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.skeleton import Skeleton, parse_skeleton
from parc_ray.config.record import RecordConfig, RecoveryConfig
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.files.bundled import DEMO, HUMANOID
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes, parse_motion
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.build import build_recorder
from parc_ray.recording.run_files import RunFiles
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.trackers.families import family

MOTION_KINDS = ("walk", "fast_walk", "turn", "tour")
METRICS = ("root_error", "max_root_error", "contact_agreement", "max_penetration")
Outcome = Tuple[str, AttemptResult]
"""Kind of recording of a motion, or "lost", and its decisive attempt."""


def main() -> None:
    """Parse the arguments, and print the tables of both runs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=5, help="of the motions")
    parser.add_argument("--motions", type=int, default=100)
    parser.add_argument("--seconds", type=float, nargs=2, default=(2.0, 10.0), help="shortest and longest motion")
    parser.add_argument("--slots", type=int, default=128, help="envs of the shard")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    skeleton = parse_skeleton(HUMANOID.read_text(), str(HUMANOID))
    motions = held_out(options.motions, options.seed, options.seconds, skeleton)
    total = sum(motion.length for motion in motions)
    print(f"{len(motions)} motions, {total:.0f} s, seed {options.seed}")
    rows: dict[str, dict[str, Outcome]] = {}
    steps: dict[str, int] = {}
    for name, recovery in (("without", False), ("with recovery", True)):
        start = time.process_time()
        rows[name], steps[name], own, control_steps = record(motions, recovery, options)
        how = Counter(how for how, _ in rows[name].values())
        seconds = sum(result.attempt.recorded_seconds for _, result in rows[name].values())
        print(
            f"{name}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(how.items()))
            + f"; {seconds:.0f} s recorded ({seconds / total:.1%}); {steps[name]} env-steps "
            f"({steps[name] / steps['without']:.1f}x), {control_steps} control steps, "
            f"{time.process_time() - start:.0f} s of CPU, {own:.1%} of it outside the control steps"
        )  # fmt: skip
    print("| | motions | root error | largest | contacts | penetration | jerk, m/s3 | skate, m/s |\n|" + "---|" * 8)
    for kind in ("at once", "recovered"):
        found = [result for how, result in rows["with recovery"].values() if how == kind]
        if found:
            values = [quality(result, skeleton) for result in found]
            mean = {key: float(np.mean([value[key] for value in values])) for key in values[0]}
            cells = [f"{mean[key]:.3f}" for key in METRICS] + [f"{mean['jerk']:.0f}", f"{mean['skate']:.3f}"]
            print(f"| {kind} | {len(found)} | " + " | ".join(cells) + " |")


def held_out(count: int, seed: int, seconds: Sequence[float], skeleton: Skeleton) -> list[Motion]:
    """Return generated motions of random kinds, lengths and difficulties."""
    rng = np.random.default_rng(seed)
    specs = [
        MotionSpec(
            MOTION_KINDS[int(rng.integers(len(MOTION_KINDS)))], int(rng.integers(1 << 30)),
            float(rng.uniform(seconds[0], seconds[1])), float(rng.uniform(0.3, 1.0)),
        )
        for _ in range(count)
    ]  # fmt: skip
    return [generate_motion(spec, skeleton, f"{index}_{spec.label}") for index, spec in enumerate(specs)]


def record(
    motions: Sequence[Motion], recovery: bool, options: argparse.Namespace
) -> tuple[dict[str, Outcome], int, float, int]:
    """Record motions with the bundled tracker on MuJoCo.

    Returns how each was recorded, env-steps, the share of time outside the control steps, and control steps.
    """
    with TemporaryDirectory() as folder:
        config = RecordConfig(
            output_dir=Path(folder), device="cpu", model_file=DEMO / "model.pt", env_file=DEMO / "dm_env.yaml",
            agent_file=DEMO / "agent_config.yaml", dataset_file=Path(folder), simulator="mujoco",
            recovery=RecoveryConfig() if recovery else False, num_envs=options.slots,
        )  # fmt: skip
    run = RunFiles(config, "mujoco", family("parc").read(config, None), HUMANOID.read_text(), str(HUMANOID))
    shard = Shard(0, tuple(ShardMotion(m.name, m.name, motion_file_bytes(m), 0) for m in motions))
    recorder = build_recorder(run, shard, options.threads, "cpu")
    stepped, step = [0.0], recorder._step

    def timed(envs: list[int]) -> torch.Tensor:
        start = time.perf_counter()
        verdicts = step(envs)
        stepped[0] += time.perf_counter() - start
        return verdicts

    recorder._step = timed  # type: ignore[method-assign]
    found: dict[str, Outcome] = {}
    start = time.perf_counter()
    while not recorder.done:
        for result in recorder.work(5.0):
            attempt = result.attempt
            how = "lost"
            if result.recording:
                how = "recovered" if attempt.copies else "from a later start" if attempt.number else "at once"
            found[attempt.motion] = (how, result)
    usage = recorder.utilization
    return found, usage.env_steps, 1 - stepped[0] / (time.perf_counter() - start), usage.steps


def quality(result: AttemptResult, skeleton: Skeleton) -> Mapping[str, float]:
    """Return the metrics of a recording, plus jerk and skate, which are not used for acceptance.

    Jerk: mean over bodies and frames. Skate: mean horizontal speed of feet in contact in two successive frames.
    """
    assert result.recording is not None
    motion = parse_motion(result.recording, "recording", skeleton, "recording")
    state = (torch.from_numpy(part) for part in (motion.root_pos, motion.root_rot, motion.joint_rot))
    pos: npt.NDArray[np.float64] = skeleton.forward_kinematics(*state)[0].double().numpy()
    jerk = np.linalg.norm(np.diff(pos, n=3, axis=0), axis=-1).mean() * motion.fps**3
    speeds = []
    for foot in skeleton.body_indices(["right_foot", "left_foot"], "feet"):
        planted = (motion.contacts[1:, foot] > 0.5) & (motion.contacts[:-1, foot] > 0.5)
        speeds.append(np.linalg.norm(np.diff(pos[:, foot, :2], axis=0), axis=-1)[planted] * motion.fps)
    skate = np.concatenate(speeds)
    return {**result.attempt.quality, "jerk": float(jerk), "skate": float(skate.mean()) if len(skate) else 0.0}  # type: ignore[dict-item]


if __name__ == "__main__":
    main()
