"""MujocoSettings: how finely MuJoCo steps and how hard its contacts are, whichever engine it runs in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from parc_ray.simulators.simulator import SimulatorConfig

FINER = {"fast": 1, "faithful": 4}
"""Physics steps of each profile in one of dm_env.yaml's."""
CONTACT_TIME = {"fast": None, "faithful": 0.005}
"""Time constant of contacts, s; None: the character's own. A large step makes it longer: MuJoCo keeps it at two steps
or more."""


@dataclass(frozen=True)
class MujocoSettings:
    """MuJoCo's settings for a configuration."""

    steps_per_control: int
    """Physics steps per control step."""
    timestep: float
    """s."""
    contact_time: Optional[float]
    """Time constant in which a contact takes back what bodies have penetrated, s; None: as the character says."""


def mujoco_settings(config: SimulatorConfig) -> MujocoSettings:
    """The profile of a configuration, and what it sets besides."""
    asked = config.mujoco
    steps = asked.steps_per_control or FINER[asked.profile] * config.steps_per_control
    contact_time = CONTACT_TIME[asked.profile] if asked.contact_time is None else asked.contact_time
    return MujocoSettings(steps, 1.0 / (config.control_freq * steps), contact_time)
