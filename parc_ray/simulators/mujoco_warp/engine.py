"""The record of MuJoCo Warp. Loads neither torch nor MuJoCo Warp."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from parc_ray.errors import InputError
from parc_ray.simulators.engine import Engine
from parc_ray.simulators.mujoco.engine import require_compilable, too_rough
from parc_ray.simulators.mujoco_warp.package import PACKAGE, first_start, unavailable_reason
from parc_ray.simulators.packages import does_not_work, require

if TYPE_CHECKING:
    from parc_ray.character.skeleton import Skeleton
    from parc_ray.simulators.simulator import Simulator, SimulatorConfig


def _build(config: SimulatorConfig, skeleton: Skeleton) -> Simulator:
    require(unavailable_reason())
    from parc_ray.simulators.mujoco_warp.simulator import MujocoWarpSimulator

    return MujocoWarpSimulator(config, skeleton)


def _try_out(device: str) -> str:
    """Simulate PARC's humanoid on a device; return MuJoCo Warp's version. Raises InputError on failure."""
    require(unavailable_reason())
    import torch

    from parc_ray.character.skeleton import parse_skeleton
    from parc_ray.files.bundled import HUMANOID
    from parc_ray.motions.height_field import HeightField
    from parc_ray.simulators.simulator import SimulatorConfig

    text, source = HUMANOID.read_text(encoding="utf-8"), str(HUMANOID)
    skeleton, ground = parse_skeleton(text, source), HeightField.flat((4, 4))
    config = SimulatorConfig(text, source, [ground], 1, 30.0, 4, torch.device(device), 1)
    try:
        from parc_ray.simulators.mujoco_warp.simulator import MujocoWarpSimulator

        simulator = MujocoWarpSimulator(config, skeleton)
        state = simulator.step([0], torch.zeros(1, skeleton.dof_count, device=device))
        if not bool(torch.isfinite(state.root_pos).all()):
            raise RuntimeError("a character in the air has no finite position after one step")
        simulator.close()
    except InputError:
        raise
    except Exception as error:
        raise does_not_work("MuJoCo Warp", device, error, " with simulator: mujoco") from error
    return metadata.version(PACKAGE)


MUJOCO_WARP = Engine(
    name="mujoco_warp",
    title="MuJoCo Warp",
    package=PACKAGE,
    physics="MuJoCo",
    build=_build,
    try_out=_try_out,
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
