"""Valid motions of random numbers."""

from __future__ import annotations

import pickle
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Iterator

import numpy as np

from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion import Motion


def random_motion(
    num_frames: int = 5,
    fps: float = 30,
    terrain_shape: tuple[int, int] = (4, 3),
    seed: int = 0,
    loop_mode: str = "CLAMP",
    dx: float = 0.4,
) -> Motion:
    """Return a motion of the 15-body humanoid."""
    random = np.random.default_rng(seed)

    def floats(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    def rotations(*shape: int) -> np.ndarray:
        quaternions = random.normal(size=(*shape, 4))
        return (quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)).astype(np.float32)

    return Motion(
        name="sample",
        root_pos=floats(num_frames, 3),
        root_rot=rotations(num_frames),
        joint_rot=rotations(num_frames, 14),
        contacts=(floats(num_frames, 15) > 0).astype(np.float32),
        fps=fps,
        loop_mode=loop_mode,
        terrain=HeightField(hf=floats(*terrain_shape), hf_maxmin=floats(*terrain_shape, 2), min_point=floats(2), dx=dx),
    )


def legacy_terrain(hf: np.ndarray, hf_maxmin: np.ndarray, min_point: np.ndarray, dxdy: np.ndarray) -> Any:
    """Return an instance of PARC's terrain class as its recorder pickles it; see `legacy_bytes`."""
    terrain = SubTerrain()
    terrain.__dict__.update(
        terrain_name="terrain",
        hf=hf,
        dims=np.array(hf.shape, dtype=np.int64),
        min_point=min_point,
        dxdy=dxdy,
        hf_mask=np.zeros(hf.shape, dtype=bool),
        hf_maxmin=hf_maxmin,
    )
    return terrain


class SubTerrain:
    """PARC's terrain class, pickled under its name there, which cannot be imported here."""


SubTerrain.__module__ = "parc.util.terrain_util"


@contextmanager
def parc_package() -> Iterator[None]:
    """Make `parc.util.terrain_util` importable, as where older motion files were written."""
    names = ("parc", "parc.util", "parc.util.terrain_util")
    modules = {name: ModuleType(name) for name in names}
    modules[names[-1]].SubTerrain = SubTerrain  # type: ignore[attr-defined]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def legacy_bytes(content: Any, protocol: int = 4) -> bytes:
    """Return `content` as pickled by a process in which the `parc` package exists."""
    with parc_package():
        return pickle.dumps(content, protocol=protocol)
