"""A family of trackers is a record and what it builds: here a toy one, from its files to a recording."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from parc_ray.character.skeleton import load_skeleton
from parc_ray.config.environment import EnvironmentFile
from parc_ray.config.loading import check_config, load_yaml
from parc_ray.config.record import RecordConfig
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.errors import InputError
from parc_ray.motions.motion_file import motion_file_bytes, parse_motion, read_misc
from parc_ray.planning.fingerprint import fingerprint
from parc_ray.planning.plan import bytes_per_env
from parc_ray.recording.build import build_recorder
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.tensors.layout import Layout
from parc_ray.trackers import families
from parc_ray.trackers.families import FAMILIES, family
from parc_ray.trackers.family import Family, TrackerFiles
from parc_ray.trackers.parc.termination import ParcTermination
from parc_ray.trackers.tracker import Tracker
from tests.planning.prepared import prepared
from tests.reference import HUMANOID, max_error, tensor

SKELETON = load_skeleton(HUMANOID)


class ToyObserver:
    """Three numbers: how much of the motion has passed, how high the root is, and how high the ground under it."""

    normalized = ()

    def __init__(self, device):
        self.layout = Layout({"phase": (1,), "heights": (2,)})
        self.features = Layout({"phase": (1,)})
        self.target_steps = torch.tensor([0], device=device)

    def reference_features(self, frames, pose):
        return frames.phase.unsqueeze(-1)

    def observe(self, inputs):
        root = inputs.state.root_pos
        ground = inputs.heights(root[:, None, :2])
        return self.layout.join((inputs.targets[:, 0], torch.cat((root[:, 2:], ground), dim=1)))


def read_toy(config: RecordConfig, data_dir: str | None) -> TrackerFiles:
    """One file, with names of its own: what simulates the character is translated."""
    own = load_yaml(config.env_file)
    content = {
        "env": {
            "char_file": own["character"],
            "control_freq": own["rate"],
            "enable_early_termination": False,
            "termination_height": 0.0,
            "track_root": False,
            "root_pos_termination_dist": math.inf,
            "root_rot_termination_angle": math.inf,
        }
    }
    return TrackerFiles(check_config(content, EnvironmentFile, str(config.env_file)), content, own["pose"], b"toy")


def build_toy(config, files: TrackerFiles, skeleton, device, threads) -> Tracker:
    pose = torch.full((skeleton.dof_count,), float(files.settings), device=device)
    termination = ParcTermination(files.environment.env, skeleton, device)
    return Tracker(ToyObserver(device), lambda observations: pose.expand(len(observations), -1), termination)


def fingerprint_toy(files: TrackerFiles):
    return {"env_file": files.environment.model_dump(), "pose": files.settings}


TOY = Family("toy", read_toy, fingerprint_toy, build_toy)


@pytest.fixture()
def config(tmp_path: Path, monkeypatch) -> RecordConfig:
    monkeypatch.setattr(families, "FAMILIES", (*FAMILIES, TOY))
    (tmp_path / "toy.yaml").write_text(f"character: {HUMANOID}\nrate: 30\npose: 0.05\n")
    motion = generate_motion(MotionSpec("idle", 3, 1.5), SKELETON, "idle")
    (tmp_path / "idle.pkl").write_bytes(motion_file_bytes(motion))
    return RecordConfig(
        output_dir=tmp_path / "out", device="cpu", tracker="toy", model_file=tmp_path / "none",
        env_file=tmp_path / "toy.yaml", agent_file=tmp_path / "none", dataset_file=tmp_path / "idle.pkl",
        simulator="mujoco", acceptance="none", record={"observations": True},
    )  # fmt: skip


def test_a_toy_family_records_from_its_files_to_its_recordings(config):
    inputs = prepared(config).inputs
    files, (entry,) = inputs.files, inputs.dataset.entries
    assert bytes_per_env(inputs) > 4 * entry.length * 30 * inputs.observer.layout.size
    told = fingerprint(files)
    assert told["pose"] == 0.05 and told["env_file"]["env"]["control_freq"] == 30 and "agent_file" not in told
    content = config.dataset_file.read_bytes()
    recorder = build_recorder(files, Shard(0, (ShardMotion("idle", entry.path, content, 0),)), 1, "cpu")
    (result,) = recorder.work(60.0)
    assert (result.attempt.outcome, result.attempt.seconds) == ("recorded", pytest.approx(entry.length, abs=0.04))
    motion, misc = parse_motion(result.recording, "idle", SKELETON, "recording"), read_misc(result.recording)
    assert misc["obs_shapes"] == {
        "phase": {"shape": (1,), "use_normalizer": False}, "heights": {"shape": (2,), "use_normalizer": False},
    }  # fmt: skip
    phase, height, ground = misc["obs"].T
    assert max_error(phase, np.linspace(0.0, 1.0, motion.num_frames)) <= 1e-5
    assert max_error(height - ground[0], motion.root_pos[:, 2]) <= 1e-4
    dofs = SKELETON.rot_to_dof(tensor(motion.joint_rot))
    start, end = ((row - 0.05).abs().mean() for row in (dofs[0], dofs[-1]))
    assert end < 0.5 * start, "it goes to its one pose"


def test_an_unknown_family_is_refused(config):
    with pytest.raises(InputError, match="unknown family 'tpy'; use one of: parc, mimickit, toy"):
        prepared(config.model_copy(update={"tracker": "tpy"}))


def test_names_are_unique():
    assert len({known.name for known in FAMILIES}) == len(FAMILIES)
    assert all(family(known.name) is known for known in FAMILIES)


def test_the_list_loads_no_torch():
    command = "import sys, parc_ray.trackers.families; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0
