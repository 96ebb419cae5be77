"""The recording of Isaac Gym as scripts/engine_fit.py reads it: control steps and fitted targets."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import engine_fit

from parc_ray.character.skeleton import load_skeleton
from parc_ray.config.loading import check_config, load_yaml
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.trackers.parc.config import ParcEnvironmentFile
from tests.reference import DATA, DEMO, vectors

CHARACTER = DATA / "humanoid_arms_down.xml"
"""PARC's humanoid at the time of the recording."""
SKELETON = load_skeleton(CHARACTER)


def write_golden(path: Path, frames: slice = slice(None), observations: bool = True) -> None:
    """Write some frames of the recording as a motion file of their original format."""
    v = vectors("golden_isaacgym_recording")
    terrain = HeightField(v["terrain_hf"], v["terrain_hf_maxmin"], v["terrain_min_point"], float(v["terrain_dx"]))
    parts = [v[name][frames] for name in ("root_pos", "root_rot", "joint_rot", "body_contacts")]
    misc = {"obs": v["obs"][frames]} if observations else {}
    path.write_bytes(motion_file_bytes(Motion("golden", *parts, 30.0, "CLAMP", terrain), misc))


@lru_cache(maxsize=1)
def environment() -> ParcEnvironmentFile:
    """Return the demo's environment: both trackers observe the state in the same way."""
    return check_config(load_yaml(DEMO / "dm_env.yaml"), ParcEnvironmentFile, "dm_env.yaml")


def golden(folder: Path) -> engine_fit.Transitions:
    """Return the transitions of the whole recording."""
    write_golden(folder / "golden.pkl")
    return engine_fit.transitions([engine_fit.read_recording(folder / "golden.pkl", SKELETON, environment())])
