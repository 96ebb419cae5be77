"""MimicKit's tracker files: env_config.yaml, engine_config.yaml and agent_config.yaml."""

from __future__ import annotations

from typing import Callable, ClassVar, List

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Annotated

from parc_ray.config.base import Limit, Parc
from parc_ray.config.file_kind import AGENT, MIMICKIT_ENGINE, MIMICKIT_ENVIRONMENT


def _one_of(*names: str, otherwise: str) -> Callable[[str], str]:
    """Return a validator of names; its message is `otherwise` followed by the supported names."""

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"{otherwise}; supported: {', '.join(names)}")
        return value

    return check


def _mjcf(value: str) -> str:
    if not value.endswith(".xml"):
        raise ValueError("is no MJCF file; give the .xml of the same character")
    return value


class MimickitEngineConfig(Parc):
    """engine_config.yaml; section engine of env_config.yaml takes precedence."""

    file_kind: ClassVar[str] = MIMICKIT_ENGINE

    engine_name: str
    control_mode: Annotated[str, AfterValidator(_one_of("pos", otherwise="only position drives are simulated"))]
    control_freq: int = Field(default=10, gt=0, le=1000)
    sim_freq: int = Field(default=60, gt=0, le=100_000)
    ground_contact_height: float = 0.3

    @model_validator(mode="after")
    def _whole_steps(self) -> MimickitEngineConfig:
        if self.sim_freq % self.control_freq:
            raise ValueError(f"sim_freq {self.sim_freq} must be a multiple of control_freq {self.control_freq}")
        return self


class MimickitEnvironmentConfig(Parc):
    """env_config.yaml of the environments deepmimic and add."""

    file_kind: ClassVar[str] = MIMICKIT_ENVIRONMENT

    env_name: Annotated[
        str, AfterValidator(_one_of("deepmimic", "add", otherwise="does not track motions one by one on level ground"))
    ]
    char_file: Annotated[str, AfterValidator(_mjcf)]
    global_obs: bool
    root_height_obs: bool = True
    key_bodies: List[str] = Field(default=[])
    enable_phase_obs: bool = True
    num_phase_encoding: int = Field(default=0, ge=0, le=24)
    enable_tar_obs: bool = False
    tar_obs_steps: List[Annotated[int, Field(ge=0, le=1000)]] = Field(default=[1], min_length=1, max_length=100)
    zero_center_action: bool = False
    enable_early_termination: bool
    pose_termination: bool = False
    pose_termination_dist: Limit = 1.0
    contact_bodies: List[str] = Field(default=[])

    @property
    def track_root(self) -> bool:
        """True if the character must match the reference's position as well as its pose."""
        return self.enable_tar_obs and self.global_obs


class MimickitModelConfig(Parc):
    """Section model of agent_config.yaml."""

    actor_net: str


class MimickitAgentConfig(Parc):
    """The part of agent_config.yaml needed to act."""

    file_kind: ClassVar[str] = AGENT

    agent_name: Annotated[
        str, AfterValidator(_one_of("PPO", "AWR", "ADD", "LCP", otherwise="has a network of another kind"))
    ]
    model: MimickitModelConfig
