"""dm_env.yaml: how a character is simulated and controlled, and when an attempt fails."""

from __future__ import annotations

from typing import Any, ClassVar, List, Optional, Union

from pydantic import Field, model_validator
from typing_extensions import Literal

from parc_ray.config.base import Limit, Parc
from parc_ray.config.file_kind import ENVIRONMENT


class HeightmapConfig(Parc):
    """Layout of all terrains in PARC's terrain.pkl."""

    horizontal_scale: float = Field(default=0.4, ge=1e-3, le=1e3)
    padding: float = Field(default=0.4, ge=0, le=1e4)


class DeepMimicConfig(Parc):
    """Section env.dm of dm_env.yaml."""

    heightmap: HeightmapConfig = HeightmapConfig()


class EnvironmentConfig(Parc):
    """Section env of dm_env.yaml, without the keys of observations, which the tracker's family reads."""

    char_file: str
    control_freq: int = Field(default=30, gt=0, le=1000)
    sim_freq: int = Field(default=60, gt=0, le=100_000)
    gravity_z: float = -9.81
    control_mode: Literal["pd", "pd_exp"] = "pd"
    contact_bodies: List[str] = Field(default=[])
    contact_detection_eps: float = Field(default=1e-5, ge=0)
    enable_early_termination: bool
    termination_height: float
    pose_termination: bool = False
    pose_termination_dist: Union[Limit, List[Limit]] = 1.0
    track_root: bool
    root_pos_termination_dist: Limit
    root_rot_termination_angle: Limit
    dm: DeepMimicConfig = DeepMimicConfig()

    @model_validator(mode="after")
    def _whole_steps(self) -> EnvironmentConfig:
        if self.sim_freq % self.control_freq:
            raise ValueError(f"sim_freq {self.sim_freq} must be a multiple of control_freq {self.control_freq}")
        return self


class PhysxConfig(Parc):
    """Section sim.physx of dm_env.yaml, with the names of Isaac Gym's PhysXParams.

    None leaves a value to the engine; the other defaults are PARC's.
    """

    solver_type: int = 1
    num_position_iterations: int = 4
    num_velocity_iterations: int = 0
    num_threads: int = 4
    num_subscenes: int = 0
    max_gpu_contact_pairs: int = 8 * 1024 * 1024
    contact_collection: Optional[int] = Field(default=None, ge=0, le=2)
    contact_offset: Optional[float] = None
    rest_offset: Optional[float] = None
    bounce_threshold_velocity: Optional[float] = None
    max_depenetration_velocity: Optional[float] = None
    default_buffer_size_multiplier: Optional[float] = None
    friction_correlation_distance: Optional[float] = None
    friction_offset_threshold: Optional[float] = None
    always_use_articulations: Optional[bool] = None


class SimulationConfig(Parc):
    """Section sim of dm_env.yaml."""

    substeps: int = Field(default=2, gt=0, le=1000)
    physx: PhysxConfig = PhysxConfig()


NOT_RECORDED: Any = {
    "env": {"char_file"},
    "sim": {"physx": {"num_threads", "max_gpu_contact_pairs", "default_buffer_size_multiplier"}},
    "trained_with": True,
}
"""Keys of dm_env.yaml that change no recording: paths, PhysX's threads and buffers, and the choice of engine."""


class EnvironmentFile(Parc):
    """dm_env.yaml."""

    file_kind: ClassVar[str] = ENVIRONMENT

    env: EnvironmentConfig
    sim: SimulationConfig = SimulationConfig()
    trained_with: Optional[str] = None

    @property
    def steps_per_control(self) -> int:
        """Return the number of physics steps in one control step."""
        return self.env.sim_freq // self.env.control_freq * self.sim.substeps
