"""The real Isaac Gym, on the machine of a user who has it: `pytest -m isaacgym -rP`, about five minutes.

These tests and the conformance suite (tests/simulators/test_conformance.py) are all that `-m isaacgym` selects. What
they print belongs into bug reports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from parc_ray.simulators.engine_check import check_locally
from parc_ray.simulators.isaacgym.engine import ISAAC_GYM
from tests.reference import DEMO, HUMANOID, ROOT
from tests.simulators.remote import real_environment

pytestmark = pytest.mark.isaacgym
DEVICE = "cuda:0" if torch.cuda.is_available() else "cpu"
FIGURES = """
import sys
from parc_ray.simulators.isaacgym.process import import_isaacgym
import_isaacgym(sys.argv[1])
from tests.test_isaacgym_real import print_figures
print_figures(sys.argv[1], int(sys.argv[2]))
"""


def python(*arguments: str, **options: Any) -> str:
    """Output of a Python process. Fails with all of it if the process does."""
    ended = subprocess.run(
        [sys.executable, *arguments], env=real_environment(), cwd=str(ROOT), capture_output=True, text=True,
        timeout=240, **options,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def print_figures(device: str, envs: int) -> None:
    """Control steps per second of characters that stand on blocks, and memory, as the last line, in JSON."""
    import time

    from parc_ray.character.skeleton import load_skeleton
    from parc_ray.character.state import CharacterState
    from parc_ray.demo.generator import MotionSpec, generate_motion
    from parc_ray.simulators.simulator import SimulatorConfig
    from tests.simulators.test_conformance import PHYSX

    skeleton = load_skeleton(HUMANOID)
    motions = [generate_motion(MotionSpec("tour", i, 1.0), skeleton, str(i)) for i in range(16)]
    text, tiles = HUMANOID.read_text(), [motion.terrain for motion in motions]
    config = SimulatorConfig(text, str(HUMANOID), tiles, envs, 30, 4, torch.device(device), 4, substeps=2, physx=PHYSX)
    start = time.monotonic()
    simulator = ISAAC_GYM.build(config, skeleton)
    built = time.monotonic() - start
    which = [env % len(motions) for env in range(envs)]

    def first(name: str) -> torch.Tensor:
        frames = torch.stack([torch.from_numpy(getattr(motion, name)[0]) for motion in motions])
        return frames[which].to(simulator.device)

    dof = skeleton.to(simulator.device).rot_to_dof(first("joint_rot"))
    zero = torch.zeros(envs, 3, device=simulator.device)
    force = torch.zeros(envs, skeleton.num_bodies, 3, device=simulator.device)
    state = CharacterState(first("root_pos"), first("root_rot"), zero, zero, dof, torch.zeros_like(dof), force)
    simulator.reset(range(envs), which, state)
    for _ in range(10):
        simulator.step(range(envs), dof)
    start, steps = time.monotonic(), 100
    for _ in range(steps):
        heights = simulator.step(range(envs), dof).root_pos[:, 2]
    assert bool(torch.isfinite(heights).all())
    seconds = time.monotonic() - start
    memory = simulator.device_bytes
    simulator.close()  # it had the output
    figures = {
        "envs": envs,
        "seconds to build": round(built, 1),
        "control steps per second": round(envs * steps / seconds),
        "MiB of device memory": round(memory / 2**20),
    }
    print(f"\n{json.dumps(figures)}", flush=True)
    os._exit(0)


def test_versions_and_devices():
    trial = check_locally(ISAAC_GYM, DEVICE)
    print(json.dumps(asdict(trial), indent=1))
    assert not trial.problem and trial.version and trial.torch


def test_throughput_and_memory_per_env():
    figures = [json.loads(python("-c", FIGURES, DEVICE, str(envs)).splitlines()[-1]) for envs in (16, 128)]
    for figure in figures:
        print(json.dumps(figure))
    few, many = figures
    per_env = (many["MiB of device memory"] - few["MiB of device memory"]) / (many["envs"] - few["envs"])
    print(f"{per_env:.1f} MiB of device memory per env")
    assert many["control steps per second"] > 0


def test_the_demo(tmp_path):
    """Its tracker learned in MuJoCo, so that some motions are lost is no fault; that all are is one."""
    command = ["-c", "from parc_ray.cli import main; main()"]
    python(*command, "dataset", "generate", str(tmp_path / "motions"), "--character", str(HUMANOID))
    dataset: dict[str, Any] = {
        "folder_paths": [str(tmp_path / "motions")],
        "save_path": str(tmp_path / "motions.yaml"),
        "char_filepath": str(HUMANOID),
    }
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(dataset))
    config = {
        "output_dir": str(tmp_path / "out"),
        "create_dataset_config": str(tmp_path / "dataset.yaml"),
        "model_file": str(DEMO / "model.pt"),
        "env_file": str(DEMO / "dm_env.yaml"),
        "agent_file": str(DEMO / "agent_config.yaml"),
        "simulator": "isaacgym",
        "device": DEVICE,
        "ray": {"num_actors": 1, "num_shards": 2},
    }
    (tmp_path / "record.yaml").write_text(yaml.safe_dump(config))
    print(python(*command, "record", "--config", str(tmp_path / "record.yaml")))
    print((tmp_path / "out" / "logs" / "run.log").read_text())
    summary = json.loads(Path(tmp_path / "out" / "summary.json").read_text())
    assert summary["crashed"] == summary["unfinished"] == 0
    assert summary["recorded"] + summary["rejected"] == summary["motions"]
    assert summary["recorded"] >= 0.5 * summary["motions"]
    assert summary["simulator"] == "isaacgym"
