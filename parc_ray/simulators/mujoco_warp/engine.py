"""The record of MuJoCo Warp. Loads neither torch nor MuJoCo Warp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parc_ray.simulators.engine import Engine
from parc_ray.simulators.mujoco.engine import require_compilable, too_rough
from parc_ray.simulators.mujoco_warp.package import PACKAGE, first_start, try_out, unavailable_reason
from parc_ray.simulators.packages import require

if TYPE_CHECKING:
    from parc_ray.character.skeleton import Skeleton
    from parc_ray.simulators.simulator import Simulator, SimulatorConfig


def _build(config: SimulatorConfig, skeleton: Skeleton) -> Simulator:
    require(unavailable_reason())
    from parc_ray.simulators.mujoco_warp.simulator import MujocoWarpSimulator

    return MujocoWarpSimulator(config, skeleton)


MUJOCO_WARP = Engine(
    name="mujoco_warp",
    title="MuJoCo Warp",
    package=PACKAGE,
    physics="MuJoCo",
    build=_build,
    try_out=try_out,
    try_first="unless named",
    first_start=first_start,
    sections=("mujoco",),
    unavailable_reason=unavailable_reason,
    needs_cuda=True,  # its CPU device is for tests: five times slower than MuJoCo
    actor_bytes=700 << 20,  # measured: 612 MiB
    env_bytes=1 << 20,
    unsupported_reason=too_rough,
    require_simulable=require_compilable,
)
