"""Hand-made output directories with journals of every event, in milliseconds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from parc_ray.config.record import OutputConfig
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.recording.recording import Trajectory, recording_file
from tests.reference import HUMANOID

WALL = 1_790_000_000.0
QUALITY = {
    "root_error": 0.05,
    "root_angle_error": 0.1,
    "body_error": 0.03,
    "mpjpe": 0.06,
    "joint_angle_error": 0.06,
    "max_root_error": 0.1,
    "contact_agreement": 0.9,
    "max_penetration": 0.01,
    "foot_skate": 0.04,
}


@dataclass
class MadeRun:
    """Writes a journal line by line, and the files in it."""

    path: Path
    now: float = 0.0
    """s since its session began"""
    lines: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.path / "recorded_motions").mkdir(parents=True)

    def event(self, kind: str, **values: Any) -> None:
        stamps = {"time": WALL + self.now, "elapsed": round(self.now, 3)}
        self.lines.append({"event": kind, **stamps, **values})
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        (self.path / "journal.jsonl").write_text(text, encoding="utf-8")

    def begin(self, motions: int, acceptance: dict[str, float] | None = None) -> None:
        self.now = 0.0
        sha256 = hashlib.sha256(HUMANOID.read_bytes()).hexdigest()
        fingerprint = {
            "simulator": "mujoco",
            "version of mujoco": "4.0.0",
            "char_file (sha256)": sha256,
            "env_file": {"env": {"control_freq": 30, "char_file": "humanoid.xml"}},
        }
        config = {"output": OutputConfig(layout="flat").model_dump(), "acceptance": acceptance, "seed": 0}
        self.event(
            "run", host="here", pid=1, folder=str(self.path), character=str(HUMANOID), versions={"parc_ray": "0.1.0"},
            fingerprint=fingerprint, config=config, motions=motions,
        )  # fmt: skip

    def planned(
        self, name: str, seconds: float = 2.0, path: str = "gone.pkl", content: bytes = b"", relief: float = 0.2
    ) -> None:
        self.event(
            "planned", motion=name, path=path, weight=1.0, num_frames=round(seconds * 30) + 1, fps=30.0, length=seconds,
            terrain_shape=[9, 9], file_bytes=len(content), sha256=hashlib.sha256(content).hexdigest(),
            terrain_range=relief,
        )  # fmt: skip

    def motion_file(self, motion: Motion, name: str) -> None:
        """Add a planned motion and its file."""
        content = motion_file_bytes(motion)
        (self.path / f"{name}.in").write_bytes(content)
        relief = float(np.ptp(motion.terrain.hf))
        self.planned(name, motion.length, f"{name}.in", content, relief)

    def attempt(
        self, motion: str, number: int = 0, outcome: str = "failed", seconds: float = 1.0, start: float = 0.0,
        fraction: float = 0.0, again: float | None = None, recording: bytes = b"", criteria: Any = None,
        body: str = "", reason: str | None = None, shard: int = 0, env: int = 0, began: float = 0.0,
        quality: dict[str, Any] | None = None, trajectory: bytes = b"",
    ) -> None:  # fmt: skip
        recorded = outcome == "recorded"
        if trajectory:
            kept = self.path / "failed_attempts" / motion / f"attempt_{number}.pkl"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(trajectory)
        if recorded:
            (self.path / "recorded_motions" / f"{motion}.pkl").write_bytes(recording)
        if criteria is None:
            criteria = {"recorded": [], "failed": ["root position"], "rejected": ["max_penetration"]}[outcome]
        if reason is None:
            reason = "; ".join(criteria)
        self.event(
            "attempt", shard=shard, recording_bytes=len(recording), motion=motion, number=number,
            start_fraction=fraction, start_time=start, seconds=seconds, outcome=outcome, reason=reason,
            quality=quality or QUALITY, next_fraction=again, recorded_seconds=seconds if recorded else 0.0,
            criteria=criteria, body=body, env=env, began=began, ended=round(began + seconds / 10, 3),
            trajectory_bytes=len(trajectory),
        )  # fmt: skip

    def final(self, motion: str, state: str, reason: str = "", **values: Any) -> None:
        self.event("motion", motion=motion, state=state, reason=reason, **values)

    def page(self) -> str:
        return (self.path / "report.html").read_text(encoding="utf-8")


def recording_of(motion: Motion, start: float = 0.0, drift: float = 0.0) -> bytes:
    """Return the recording of a motion tracked from `start` s on, drifting by `drift` m/s along x."""
    first = round(start * motion.fps)
    root = motion.root_pos[first:].copy()
    root[:, 0] += drift * np.arange(len(root), dtype=np.float32) / motion.fps
    trajectory = Trajectory(root, motion.root_rot[first:], motion.joint_rot[first:], motion.contacts[first:], None)
    return recording_file(motion, trajectory, round(motion.fps), {"seed": 0}, None)
