"""The record of MuJoCo. Loads neither torch nor MuJoCo."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from parc_ray.simulators.engine import Engine

if TYPE_CHECKING:
    from parc_ray.character.skeleton import Skeleton
    from parc_ray.motions.height_field import HeightField
    from parc_ray.simulators.simulator import Simulator, SimulatorConfig


def _build(config: SimulatorConfig, skeleton: Skeleton) -> Simulator:
    from parc_ray.simulators.mujoco.simulator import MujocoSimulator

    return MujocoSimulator(config, skeleton)


def require_compilable(config: SimulatorConfig, skeleton: Skeleton) -> None:
    """Raise InputError for a character that MuJoCo cannot load."""
    from parc_ray.simulators.mujoco.character import compile_character

    compile_character(config, skeleton)


def too_rough(tile: HeightField) -> str:
    """Return the reason why a tile cannot be made of boxes; empty if it can."""
    from parc_ray.motions.box_cover import too_rough_for_boxes

    problem = too_rough_for_boxes(tile)
    return f"its terrain is too rough to be made of boxes: {problem}. Smooth it" if problem else ""


MUJOCO = Engine(
    name="mujoco",
    title="MuJoCo",
    package="mujoco",
    physics="MuJoCo",
    also_called=("newton",),
    build=_build,
    try_out=lambda device: metadata.version("mujoco"),
    try_first="never",
    sections=("mujoco",),
    actor_bytes=500 << 20,  # measured: 395 MiB
    env_bytes=1 << 20,  # measured: 0.7 MiB
    max_envs={"cpu": 128, "cuda": 128},  # on a GPU only the network runs
    unsupported_reason=too_rough,
    require_simulable=require_compilable,
)
