"""The record of Isaac Gym. Loads neither torch nor Isaac Gym."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parc_ray.simulators.engine import Engine
from parc_ray.simulators.isaacgym.process import import_isaacgym, library_path, loaded_version, unavailable_reason

if TYPE_CHECKING:
    from parc_ray.character.skeleton import Skeleton
    from parc_ray.simulators.simulator import Simulator, SimulatorConfig


def _build(config: SimulatorConfig, skeleton: Skeleton) -> Simulator:
    from parc_ray.simulators.isaacgym.simulator import IsaacGymSimulator

    return IsaacGymSimulator(config, skeleton)


ISAAC_GYM = Engine(
    name="isaacgym",
    title="Isaac Gym",
    package="isaacgym",
    physics="PhysX",
    also_called=("isaac_gym",),
    build=_build,
    try_out=lambda device: loaded_version(),
    unavailable_reason=unavailable_reason,
    import_first=import_isaacgym,
    variables=lambda: {"LD_LIBRARY_PATH": library_path()},
    needs_cuda=True,
    control_modes=("pd", "pd_exp"),
    reusable_process=False,
    shares_world=True,
)
