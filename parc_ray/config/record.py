"""phys_record.yaml: the configuration of a recording run, with PARC's keys and parc_ray's."""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar, List, Optional, Union

from pydantic import Field, field_validator, model_validator
from typing_extensions import Literal

from parc_ray.config.base import PlainPath, Strict, require_printable, since
from parc_ray.config.file_kind import PHYS_RECORD


class RayConfig(Strict):
    """The Ray cluster and its actors."""

    address: Optional[str] = Field(
        default=None,
        description="Ray cluster to join: 'auto' or host:port. Default: $RAY_ADDRESS, else a local Ray.",
    )
    num_actors: Optional[int] = Field(
        default=None,
        ge=1,
        description="Concurrent actors. Default: one per CUDA device; without one, one per CPU, up to 8.",
    )
    cpus_per_actor: Optional[int] = Field(
        default=None,
        ge=1,
        description="CPUs (simulator threads) per actor. Default: an equal share of all CPUs.",
    )
    gpus_per_actor: Optional[float] = Field(
        default=None, ge=0, description="GPUs per actor. Default: 1 on CUDA devices, else 0."
    )
    num_shards: Optional[int] = Field(
        default=None,
        ge=1,
        description="Shards of the dataset. Default: one per actor, more where memory demands.",
    )
    timeout_seconds: float = Field(
        default=600.0, gt=0, le=1e9, description="An actor silent for this long, s, counts as hung and is replaced."
    )
    wait_seconds: float = Field(
        default=1800.0,
        gt=0,
        le=1e9,
        description="How long to wait, s, while no node of the cluster can have an actor: an autoscaler may add one.",
    )
    dashboard: bool = Field(default=False, description="Start the local Ray with its dashboard; a cluster has its own.")

    @property
    def cluster(self) -> Optional[str]:
        """Return the address of the cluster that a run joins; None if it starts its own Ray on this machine."""
        return self.address or os.environ.get("RAY_ADDRESS") or None

    @field_validator("gpus_per_actor")
    @classmethod
    def _representable_share(cls, value: Optional[float]) -> Optional[float]:
        if value and value < 1e-4:
            raise ValueError("must be 0, or at least 0.0001")
        return value


class MujocoConfig(Strict):
    """MuJoCo's time step and the stiffness of its contacts (mujoco and mujoco_warp)."""

    profile: Literal["fast", "faithful"] = Field(
        default="fast",
        description="fast: the steps of dm_env.yaml; faithful: four times as many and harder contacts, nearer to "
        "Isaac Gym, and slower.",
    )
    steps_per_control: Optional[int] = Field(
        default=None, ge=1, le=10_000, description="Physics steps per control step. Default: the profile's."
    )
    contact_time: Optional[float] = Field(
        default=None,
        gt=0,
        le=10,
        description="Time constant of contacts, s, at least two physics steps. Default: the profile's (fast: the "
        "character's solref, faithful: 0.005).",
    )


class RetryConfig(Strict):
    """Retries after a failed attempt."""

    start_fractions: List[float] = Field(
        default=[0.25, 0.5, 0.75],
        description="Where in the motion the retries start, in this order (PARC: [0.1, 0.2, 0.3, 0.4, 0.5]).",
    )
    max_retries: int = Field(default=3, ge=0, description="Maximum number of attempts after the first.")
    min_segment_seconds: float = Field(default=2.0, ge=0, description="Minimum length of motion left for a retry, s.")

    @field_validator("start_fractions")
    @classmethod
    def _increasing(cls, value: List[float]) -> List[float]:
        if any(not 0.0 < fraction < 1.0 for fraction in value) or sorted(set(value)) != value:
            raise ValueError("must be increasing numbers between 0 and 1, such as [0.25, 0.5, 0.75]")
        return value


class AcceptanceConfig(Strict):
    """Limits that a tracked attempt must meet to be recorded. `acceptance: none` records all of them, as PARC does."""

    min_contact_agreement: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="Minimum share of contacts (reference or simulated) on which both agree; not for motions without "
        "contact labels.",
    )
    max_penetration: float = Field(default=0.1, ge=0, description="Maximum depth of any body inside the terrain, m.")
    max_mean_root_error: Optional[float] = Field(
        default=None, ge=0, description="Maximum mean distance between simulated and reference root, m."
    )
    max_mean_body_error: Optional[float] = Field(
        default=None,
        ge=0,
        description="Maximum mean distance between simulated and reference bodies, relative to the root, m.",
    )
    max_foot_skate: Optional[float] = Field(
        default=None,
        ge=0,
        description="Maximum mean horizontal speed of bodies in contact, m/s.",
        json_schema_extra=since("0.2"),
    )


class RecoveryConfig(Strict):
    """Exploration for motions whose first attempt was not recorded. `recovery: true` uses the defaults."""

    copies: List[int] = Field(
        default=[16, 32, 64],
        description="Sizes of the populations that are tried in this order: copies of the character that track a "
        "motion side by side.",
    )
    noise: float = Field(
        default=0.6,
        gt=0,
        le=10,
        description="How far actions stray from the most likely ones, in the standard deviations with which the "
        "tracker was trained.",
    )
    max_mean_root_error: float = Field(
        default=0.15,
        gt=0,
        description="As in acceptance, m, for recovered motions without contact labels: nothing else would reject one "
        "that hovers.",
    )

    @field_validator("copies")
    @classmethod
    def _growing(cls, value: List[int]) -> List[int]:
        if not value or any(not 2 <= size <= 4096 for size in value) or sorted(set(value)) != value:
            raise ValueError("must be growing numbers from 2 to 4096, such as [16, 32, 64]")
        return value


class RecordOptions(Strict):
    """Data kept besides the recorded motions."""

    observations: bool = Field(default=False, description="Store the tracker's observations in misc_data (large).")
    keep_failures: bool = Field(
        default=False,
        description="Store the trajectories of attempts that were not recorded, up to where they failed.",
    )
    min_loop_seconds: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        description="Track motions that loop (WRAP) for at least this long, in whole passes, each from where the last "
        "one ended, s; 0: one pass.",
        json_schema_extra=since("0.2"),
    )


class OutputConfig(Strict):
    """Names, formats and folders of the output."""

    layout: Literal["grouped", "flat"] = Field(
        default="grouped",
        description="grouped: PARC's folders of 50, recorded_motions/NAME_0_49/; flat: recorded_motions/NAME.pkl.",
    )
    format: Literal["parc", "mimickit"] = Field(
        default="parc",
        description="parc: motion files with terrain and contacts; mimickit: MimicKit's motion files, without terrain.",
    )
    name_suffix: str = Field(default="", description="Appended to every motion's name (PARC: '_dm').")
    terrain_file: Union[bool, Literal["auto"]] = Field(
        default="auto",
        description="Write terrain.pkl, PARC's layout of all terrains in one map; auto: up to 1,000 motions, 100 MB.",
    )
    report: bool = Field(default=True, description="Write report.html when the run ends.")
    logger: Literal["none", "tensorboard", "wandb"] = Field(
        default="none",
        description="tensorboard or wandb (Weights & Biases): log progress and summary there, too.",
    )

    upload: Optional[str] = Field(
        default=None,
        description="Address, such as s3://bucket/run, that gets copies of the run's files: recordings at once, others "
        "at its end.",
    )

    @field_validator("upload")
    @classmethod
    def _address(cls, value: Optional[str]) -> Optional[str]:
        if value is not None and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value):
            raise ValueError("must be an address, such as s3://bucket/run or file:///mnt/run")
        require_printable(value)
        return value

    @field_validator("name_suffix")
    @classmethod
    def _plain(cls, value: str) -> str:
        if "/" in value or "\\" in value or "\0" in value:
            raise ValueError("must not contain a path separator")
        require_printable(value)
        return value


class RecordConfig(Strict):
    """A recording run: PARC's keys, and parc_ray's (all optional)."""

    file_kind: ClassVar[str] = PHYS_RECORD

    output_dir: PlainPath = Field(description="Folder for everything the run writes.")
    device: Union[str, List[str]] = Field(
        default="cuda",
        description="'cuda' (every CUDA device; CPUs without one), 'cuda:0', a list of devices, or 'cpu'.",
    )
    model_file: PlainPath = Field(description="The tracker's checkpoint, model.pt.")
    env_file: PlainPath = Field(description="The tracker's environment, dm_env.yaml.")
    agent_file: PlainPath = Field(description="The tracker's agent, agent_config.yaml.")
    engine_file: Optional[PlainPath] = Field(
        default=None, description="mimickit only: the engine that the tracker was trained with, engine_config.yaml."
    )
    create_dataset_config: Optional[PlainPath] = Field(
        default=None, description="A create_dataset_config.yaml: the dataset is built from folders of motions first."
    )
    dataset_file: Optional[PlainPath] = Field(
        default=None,
        description="A dataset (motions.yaml) or one motion (.pkl); required, and used, only without "
        "create_dataset_config.",
    )
    tracker: str = Field(
        default="parc", description="The family of trackers that the tracker's files are of: parc or mimickit."
    )
    simulator: str = Field(
        default="auto",
        description="isaacgym, physx, mujoco_warp, mujoco, or auto: the first of these that works, the engine of the "
        "tracker's training before others (isaacgym and mujoco_warp: on a CUDA device).",
    )
    torque_limits: bool = Field(
        default=False, description="physx only: limit the drives' torque to the character's motors (gear)."
    )
    mujoco: MujocoConfig = MujocoConfig()
    num_envs: Optional[int] = Field(
        default=None,
        ge=1,
        description="Envs per actor. Default: one per motion of its shard, up to max_envs_per_actor.",
    )
    max_envs_per_actor: Optional[int] = Field(
        default=None,
        ge=1,
        description="Maximum envs per actor. Default: 128 on CPUs (mujoco: always), 1024 on CUDA devices.",
    )
    seed: int = Field(default=0, ge=0, lt=2**64, description="Seed of every random number; only recovery draws any.")
    ray: RayConfig = RayConfig()
    retry: RetryConfig = RetryConfig()
    acceptance: Union[AcceptanceConfig, None] = AcceptanceConfig()
    recovery: Union[RecoveryConfig, Literal[False]] = False
    record: RecordOptions = RecordOptions()
    output: OutputConfig = OutputConfig()

    @property
    def devices(self) -> List[str]:
        """Return the configured devices as a list."""
        return self.device if isinstance(self.device, list) else [self.device]

    @field_validator("acceptance", mode="before")
    @classmethod
    def _none_by_name(cls, value: Any) -> Any:
        if not isinstance(value, (dict, AcceptanceConfig)) and value != "none":
            raise ValueError("must be a section of limits, or none")
        return None if value == "none" else value

    @field_validator("recovery", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        if not isinstance(value, (bool, dict, RecoveryConfig)):
            raise ValueError("must be true, false, or a section")
        return RecoveryConfig() if value is True else value

    @field_validator("output_dir", mode="before")
    @classmethod
    def _folder(cls, value: Any) -> Any:
        # pathlib collapses double slashes, turning s3://bucket into a local folder.
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(value)):
            raise ValueError("must be a folder here, not an address; output.upload copies what is recorded to one")
        return value

    @field_validator("device", mode="before")
    @classmethod
    def _known_device(cls, value: Any) -> Any:
        names = value if isinstance(value, list) else [value]
        if not names or any(not re.fullmatch(r"cpu|cuda(:\d+)?", str(name)) for name in names):
            raise ValueError("must be 'cpu', 'cuda', 'cuda:N' or a list of these")
        if len(set(names)) != len(names) or (len(names) > 1 and ("cpu" in names or "cuda" in names)):
            raise ValueError("a list must name different devices such as ['cuda:0', 'cuda:1']")
        return value

    @model_validator(mode="after")
    def _room_for_recovery(self) -> RecordConfig:
        if not self.recovery:
            return self
        if self.acceptance is None:
            raise ValueError("recovery needs limits to choose by; give an acceptance section, or recovery: false")
        largest = self.recovery.copies[-1]
        for key in ("num_envs", "max_envs_per_actor"):
            envs = getattr(self, key)
            if envs is not None and envs < largest:
                raise ValueError(
                    f"{key} is {envs}, fewer than the {largest} copies of recovery.copies; raise it, or leave out "
                    "larger sizes"
                )
        return self

    @model_validator(mode="after")
    def _some_dataset(self) -> RecordConfig:
        if self.create_dataset_config is None and self.dataset_file is None:
            raise ValueError("give create_dataset_config (folders of motions) or dataset_file (a motions.yaml)")
        return self
