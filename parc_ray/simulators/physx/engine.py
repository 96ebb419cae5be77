"""The record of PhysX. Loads neither torch nor PhysX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parc_ray.simulators.engine import Engine
from parc_ray.simulators.packages import require
from parc_ray.simulators.physx.package import try_out, unavailable_reason

if TYPE_CHECKING:
    from parc_ray.character.skeleton import Skeleton
    from parc_ray.simulators.simulator import Simulator, SimulatorConfig


def _build(config: SimulatorConfig, skeleton: Skeleton) -> Simulator:
    require(unavailable_reason())
    from parc_ray.simulators.physx.simulator import PhysxSimulator

    return PhysxSimulator(config, skeleton)


PHYSX = Engine(
    name="physx",
    title="PhysX",
    package="ovphysx",
    physics="PhysX",
    also_called=("isaac_lab",),
    build=_build,
    try_out=try_out,
    try_first="unless named",
    unavailable_reason=unavailable_reason,
    reusable_process=False,
    shares_world=True,
    exact_copies=False,
    actor_bytes=700 << 20,  # measured: 540 MiB
)
