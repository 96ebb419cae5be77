"""MujocoSettings: step size and contact stiffness of MuJoCo, for all engines that use it."""

from __future__ import annotations

from dataclasses import dataclass

from parc_ray.simulators.simulator import SimulatorConfig

FINER = {"fast": 1, "faithful": 4}
"""Physics steps per step of dm_env.yaml, by profile."""
CONTACT_TIME = {"fast": None, "faithful": 0.005}
"""Time constant of contacts, s; None: the character's own. MuJoCo keeps it at two steps or more, so large steps
lengthen it."""


@dataclass(frozen=True)
class MujocoSettings:
    """MuJoCo's settings for a configuration."""

    steps_per_control: int
    """Physics steps per control step."""
    timestep: float
    """s."""
    contact_time: float | None
    """Time constant in which a contact resolves penetration, s; None: the character's own."""


def mujoco_settings(config: SimulatorConfig) -> MujocoSettings:
    """Return the settings of a configuration: its profile, with explicit values taking precedence."""
    asked = config.mujoco
    steps = asked.steps_per_control or FINER[asked.profile] * config.steps_per_control
    contact_time = CONTACT_TIME[asked.profile] if asked.contact_time is None else asked.contact_time
    return MujocoSettings(steps, 1.0 / (config.control_freq * steps), contact_time)
