"""The recording of Isaac Gym as scripts/engine_fit.py reads it: control steps, and the targets that were fitted."""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from parc_ray.character.skeleton import load_skeleton
from parc_ray.config.loading import check_config, load_yaml
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.trackers.parc.config import ParcEnvironmentFile
from tests.reference import DATA, DEMO, ROOT, vectors

CHARACTER = DATA / "humanoid_arms_down.xml"
"""PARC's humanoid when the recording was made."""
SKELETON = load_skeleton(CHARACTER)


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location("engine_fit", ROOT / "scripts" / "engine_fit.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["engine_fit"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


script = load_script()


def write_golden(path: Path, frames: slice = slice(None), observations: bool = True) -> None:
    """Some frames of the recording as the motion file that they came in."""
    v = vectors("golden_isaacgym_recording")
    terrain = HeightField(v["terrain_hf"], v["terrain_hf_maxmin"], v["terrain_min_point"], float(v["terrain_dx"]))
    parts = [v[name][frames] for name in ("root_pos", "root_rot", "joint_rot", "body_contacts")]
    misc = {"obs": v["obs"][frames]} if observations else {}
    path.write_bytes(motion_file_bytes(Motion("golden", *parts, 30.0, "CLAMP", terrain), misc))


@lru_cache(maxsize=1)
def environment() -> ParcEnvironmentFile:
    """What its tracker observed is what the demo's does, as far as the state goes."""
    return check_config(load_yaml(DEMO / "dm_env.yaml"), ParcEnvironmentFile, "dm_env.yaml")


def golden(folder: Path) -> Any:
    """Transitions of the whole recording."""
    write_golden(folder / "golden.pkl")
    return script.transitions([script.read_recording(folder / "golden.pkl", SKELETON, environment())])
