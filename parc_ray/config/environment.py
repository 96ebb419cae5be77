"""dm_env.yaml: what a tracker observes, when it has failed, and what simulates it."""

from __future__ import annotations

from typing import List, Optional, Union

from pydantic import Field, model_validator
from typing_extensions import Annotated, Literal

from parc_ray.config.sections import Limit, Parc


class PlaneConfig(Parc):
    """Ground material of dm_env.yaml."""

    static_friction: float = 1.0


class HeightmapConfig(Parc):
    """Layout of all terrains in PARC's terrain.pkl."""

    horizontal_scale: float = Field(default=0.4, ge=1e-3, le=1e3)
    padding: float = Field(default=0.4, ge=0, le=1e4)


class DeepMimicConfig(Parc):
    """Section env.dm of dm_env.yaml."""

    heightmap: HeightmapConfig = HeightmapConfig()


class EnvironmentConfig(Parc):
    """Section env of dm_env.yaml: what the tracker observes and when it has failed."""

    char_file: str
    control_freq: int = Field(default=30, gt=0, le=1000)
    sim_freq: int = Field(default=60, gt=0, le=100_000)
    gravity_z: float = -9.81
    control_mode: Literal["pd", "pd_exp"] = "pd"
    key_bodies: List[str] = Field(default=[])
    contact_bodies: List[str] = Field(default=[])
    global_obs: bool
    global_root_height_obs: bool
    enable_tar_obs: bool = True
    tar_obs_steps: List[Annotated[int, Field(ge=0, le=1000)]] = Field(default=[1], max_length=100)
    use_contact_info: bool
    contact_detection_eps: float = Field(default=1e-5, ge=0)
    ray_points_behind: int = Field(ge=0, le=1000)
    ray_points_ahead: int = Field(ge=0, le=1000)
    ray_num_left: int = Field(ge=0, le=1000)
    ray_num_right: int = Field(ge=0, le=1000)
    ray_dx: float = Field(gt=0)
    ray_angle: float
    min_obs_h: float
    max_obs_h: float
    enable_early_termination: bool
    termination_height: float
    pose_termination: bool = False
    pose_termination_dist: Union[Limit, List[Limit]] = 1.0
    track_root: bool
    root_pos_termination_dist: Limit
    root_rot_termination_angle: Limit
    plane: PlaneConfig = PlaneConfig()
    dm: DeepMimicConfig = DeepMimicConfig()

    @model_validator(mode="after")
    def _whole_steps(self) -> EnvironmentConfig:
        if self.sim_freq % self.control_freq:
            raise ValueError(f"sim_freq {self.sim_freq} must be a multiple of control_freq {self.control_freq}")
        return self


class PhysxConfig(Parc):
    """Section sim.physx of dm_env.yaml, by the names of Isaac Gym's PhysXParams. What has no value here or there is
    left to Isaac Gym; the other defaults are PARC's."""

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


class TrackerEnvironmentFile(Parc):
    """dm_env.yaml."""

    env: EnvironmentConfig
    sim: SimulationConfig = SimulationConfig()

    @property
    def steps_per_control(self) -> int:
        """Physics steps in one control step."""
        return self.env.sim_freq // self.env.control_freq * self.sim.substeps
