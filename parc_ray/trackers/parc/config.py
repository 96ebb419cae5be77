"""PARC's tracker files: agent_config.yaml, and the observation settings of dm_env.yaml."""

from __future__ import annotations

from typing import ClassVar, List

from pydantic import Field
from typing_extensions import Annotated

from parc_ray.config.base import Parc
from parc_ray.config.environment import EnvironmentConfig, EnvironmentFile
from parc_ray.config.file_kind import AGENT


class ModelConfig(Parc):
    """Section model of agent_config.yaml."""

    actor_net: str


class AgentConfig(Parc):
    """The part of agent_config.yaml needed to act."""

    file_kind: ClassVar[str] = AGENT

    model: ModelConfig
    norm_obs_clip: float = Field(default=10.0, gt=0)


class ParcEnvironmentConfig(EnvironmentConfig):
    """Section env of dm_env.yaml, with observation settings."""

    key_bodies: List[str] = Field(default=[])
    global_obs: bool
    global_root_height_obs: bool
    enable_tar_obs: bool = True
    tar_obs_steps: List[Annotated[int, Field(ge=0, le=1000)]] = Field(default=[1], max_length=100)
    use_contact_info: bool
    ray_points_behind: int = Field(ge=0, le=1000)
    ray_points_ahead: int = Field(ge=0, le=1000)
    ray_num_left: int = Field(ge=0, le=1000)
    ray_num_right: int = Field(ge=0, le=1000)
    ray_dx: float = Field(gt=0)
    ray_angle: float
    min_obs_h: float
    max_obs_h: float


class ParcEnvironmentFile(EnvironmentFile):
    """dm_env.yaml, with observation settings."""

    env: ParcEnvironmentConfig
