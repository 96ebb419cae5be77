"""The bundled tracker of real motions, on one of PARC's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from parc_ray.character.skeleton import load_skeleton
from parc_ray.config.record import RecordConfig
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes, parse_motion
from parc_ray.recording.build import build_recorder
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from tests.planning.prepared import prepared
from tests.reference import HUMANOID, ROOT, vectors

TRACKER = ROOT / "configs" / "real_motions"
SKELETON = load_skeleton(HUMANOID)


def sprint() -> Motion:
    """Half a second of a captured sprint: PARC's sfu.pkl."""
    stored = vectors("motions")
    index = stored["names"].tolist().index("sfu")
    begin = int(stored["start_idx"][index])
    frames = slice(begin, begin + int(stored["num_frames"][index]))
    terrain = {key: stored[f"terrain{index}_{key}"] for key in ("hf", "hf_maxmin", "min_point", "dx")}
    poses = {key: stored[key][frames] for key in ("root_pos", "root_rot", "joint_rot", "contacts")}
    return Motion(name="sfu", fps=30.0, loop_mode="CLAMP", terrain=HeightField(**terrain), **poses)


def test_the_tracker_of_real_motions_runs(tmp_path: Path):
    motion = sprint()
    (tmp_path / "sfu.pkl").write_bytes(motion_file_bytes(motion))
    config = RecordConfig(
        output_dir=tmp_path / "out", device="cpu", simulator="mujoco", acceptance="none",
        model_file=TRACKER / "model.pt", env_file=TRACKER / "dm_env.yaml", agent_file=TRACKER / "agent_config.yaml",
        dataset_file=tmp_path / "sfu.pkl",
    )  # fmt: skip
    files = prepared(config).inputs.files
    content = config.dataset_file.read_bytes()
    recorder = build_recorder(files, Shard(0, (ShardMotion("sfu", "sfu.pkl", content, 0),)), 1, "cpu")
    (result,) = recorder.work(60.0)
    recorder.environment.simulator.close()
    assert (result.attempt.outcome, result.attempt.number) == ("recorded", 0)
    recording = parse_motion(result.recording, "sfu", SKELETON, "recording")
    travelled = np.linalg.norm(np.diff(recording.root_pos[[0, -1], :2], axis=0))
    assert 1.5 < travelled < 2.1, "it runs as far as the reference does, 1.8 m"
    assert result.attempt.quality["root_error"] < 0.2
