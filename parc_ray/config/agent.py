"""agent_config.yaml: the tracker's network."""

from __future__ import annotations

from pydantic import Field

from parc_ray.config.sections import Parc


class ModelConfig(Parc):
    """Section model of agent_config.yaml."""

    actor_net: str


class AgentConfig(Parc):
    """agent_config.yaml: the part of the agent that acts."""

    model: ModelConfig
    norm_obs_clip: float = Field(default=10.0, gt=0)
