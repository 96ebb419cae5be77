"""The record of PhysX. Loads neither torch nor PhysX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parc_ray.simulators.engine import Engine
from parc_ray.simulators.packages import does_not_work, require
from parc_ray.simulators.physx.package import TRIAL, VERSION, unavailable_reason

if TYPE_CHECKING:
    from parc_ray.character.skeleton import Skeleton
    from parc_ray.simulators.simulator import Simulator, SimulatorConfig


def _build(config: SimulatorConfig, skeleton: Skeleton) -> Simulator:
    require(unavailable_reason())
    from parc_ray.simulators.physx.simulator import PhysxSimulator

    return PhysxSimulator(config, skeleton)


def _try_out(device: str) -> str:
    """Simulate on a device in this process; return the version of PhysX. Raises InputError on failure."""
    require(unavailable_reason())
    import torch

    from parc_ray.character.skeleton import parse_skeleton
    from parc_ray.motions.height_field import HeightField
    from parc_ray.simulators.physx.simulator import PhysxSimulator
    from parc_ray.simulators.simulator import SimulatorConfig

    ground = HeightField.flat((4, 4))
    config = SimulatorConfig(TRIAL, "trial.xml", [ground], 1, 30.0, 4, torch.device(device), 1)
    try:
        PhysxSimulator(config, parse_skeleton(TRIAL, "trial.xml")).close()
    except Exception as error:
        raise does_not_work("PhysX", device, error, ", or set simulator: mujoco") from error
    return VERSION


PHYSX = Engine(
    name="physx",
    title="PhysX",
    package="ovphysx",
    physics="PhysX",
    also_called=("isaac_lab",),
    build=_build,
    try_out=_try_out,
    try_first="unless named",
    unavailable_reason=unavailable_reason,
    reusable_process=False,
    shares_world=True,
    actor_bytes=700 << 20,  # measured: 540 MiB
)
