"""Configuration: PARC's YAML files, checked, with $DATA_DIR expanded. Every error names file, key, value and remedy."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type, TypeVar, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from typing_extensions import Annotated, Literal

from parc_ray.errors import UNPRINTABLE, InputError, shown
from parc_ray.files import read_yaml

DATA_DIR = re.compile(r"\$(?:DATA_DIR\b|\{DATA_DIR\})")
MAX_LINES = 20
"""So many problems of a file are told"""
USER_CONFIG_FILES = ("data/configs/user_config.yaml", "configs/user_config.yaml")


def _showable(text: object) -> object:
    if UNPRINTABLE.search(str(text)) or "\n" in str(text):
        raise ValueError("must not contain control characters")
    return text


PlainPath = Annotated[Path, AfterValidator(_showable)]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=True)]
"""0 or more, and .inf for none"""


class Strict(BaseModel):
    """A section of our own: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Parc(BaseModel):
    """A section of PARC's: it has more keys than recording needs."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class RayConfig(Strict):
    """Where and how actors run."""

    address: Optional[str] = Field(
        default=None,
        description="Ray cluster to join: 'auto' or host:port. Default: $RAY_ADDRESS, else a local Ray.",
    )
    num_actors: Optional[int] = Field(
        default=None,
        ge=1,
        description="Actors at a time. Default: one per CUDA device; without one, one per CPU, up to 8.",
    )
    cpus_per_actor: Optional[int] = Field(
        default=None,
        ge=1,
        description="CPUs (simulator threads) of an actor. Default: an equal share of all CPUs.",
    )
    gpus_per_actor: Optional[float] = Field(
        default=None, ge=0, description="GPUs of an actor. Default: 1 on CUDA devices, else 0."
    )
    num_shards: Optional[int] = Field(
        default=None,
        ge=1,
        description="Shards of the dataset. Default: one per actor, more where memory demands.",
    )
    timeout_seconds: float = Field(
        default=600.0, gt=0, le=1e9, description="An actor silent for so long is taken for hung, killed and replaced."
    )

    @field_validator("gpus_per_actor")
    @classmethod
    def _share_that_ray_knows(cls, value: Optional[float]) -> Optional[float]:
        if value and value < 1e-4:
            raise ValueError("must be 0, or at least 0.0001")
        return value


class RetryConfig(Strict):
    """What happens after a failed attempt."""

    start_fractions: List[float] = Field(
        default=[0.25, 0.5, 0.75],
        description="Where in the motion later attempts start, in this order (PARC: [0.1, 0.2, 0.3, 0.4, 0.5]).",
    )
    max_retries: int = Field(default=3, ge=0, description="At most so many attempts after the first.")
    min_segment_seconds: float = Field(default=2.0, ge=0, description="Never retry on less than this much motion.")

    @field_validator("start_fractions")
    @classmethod
    def _increasing(cls, value: List[float]) -> List[float]:
        if any(not 0.0 < fraction < 1.0 for fraction in value) or sorted(set(value)) != value:
            raise ValueError("must be increasing numbers between 0 and 1, such as [0.25, 0.5, 0.75]")
        return value


class AcceptanceConfig(Strict):
    """Limits that a surviving attempt must keep to be recorded. `acceptance: none`, as PARC: whatever survives."""

    min_contact_agreement: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="Least share of contacts (reference or simulated) on which both agree.",
    )
    max_penetration: float = Field(
        default=0.1, ge=0, description="Deepest that any body may ever be inside the terrain, m."
    )
    max_mean_root_error: Optional[float] = Field(
        default=None, ge=0, description="Largest mean distance between simulated and reference root, m."
    )
    max_mean_body_error: Optional[float] = Field(
        default=None, ge=0, description="Largest mean distance of bodies relative to the root, m."
    )


class RecordOptions(Strict):
    """What is kept besides the recorded motions."""

    observations: bool = Field(default=False, description="Keep the tracker's observations in misc_data (large).")
    keep_failures: bool = Field(
        default=False,
        description="Keep the trajectories of attempts that were not recorded, up to where they failed.",
    )


class OutputConfig(Strict):
    """Names and folders of the recordings."""

    layout: Literal["flat", "grouped"] = Field(
        default="flat",
        description="flat: recorded_motions/NAME.pkl; grouped: PARC's folders of 50, NAME_0_49/.",
    )
    name_suffix: str = Field(default="", description="Appended to every motion's name (PARC: '_dm').")
    terrain_file: bool = Field(default=True, description="Write terrain.pkl, PARC's layout of all terrains in one map.")
    report: bool = Field(default=True, description="Write report.html, which shows what has happened.")

    @field_validator("name_suffix")
    @classmethod
    def _plain(cls, value: str) -> str:
        if "/" in value or "\\" in value or "\0" in value:
            raise ValueError("must not contain a path separator")
        _showable(value)
        return value


class RecordConfig(Strict):
    """A recording run: PARC's phys_record keys, and ours (all optional)."""

    output_dir: PlainPath = Field(description="Where everything is written.")
    device: Union[str, List[str]] = Field(
        default="cuda", description="'cuda' (every CUDA device), 'cuda:0', a list of devices, or 'cpu'."
    )
    model_file: PlainPath = Field(description="The tracker's checkpoint, model.pt.")
    env_file: PlainPath = Field(description="The tracker's environment, dm_env.yaml.")
    agent_file: PlainPath = Field(description="The tracker's agent, agent_config.yaml.")
    create_dataset_config: Optional[PlainPath] = Field(
        default=None, description="Builds the dataset from folders of motions before the run."
    )
    dataset_file: Optional[PlainPath] = Field(
        default=None,
        description="A dataset (motions.yaml) or one motion, used without create_dataset_config.",
    )
    simulator: str = Field(
        default="auto",
        description="isaacgym, physx, mujoco, or auto: the first of these that works (isaacgym: on a CUDA device).",
    )
    torque_limits: bool = Field(
        default=False, description="With physx: drives give no more torque than the character's motors (gear)."
    )
    num_envs: Optional[int] = Field(
        default=None,
        ge=1,
        description="Envs of an actor. Default: one per motion of its shard, up to the next key.",
    )
    max_envs_per_actor: Optional[int] = Field(
        default=None,
        ge=1,
        description="Upper bound of envs in one actor. Default: 128 on CPUs (mujoco: always), 1024 on CUDA devices.",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**64, description="Seed of every random generator; recording itself draws nothing."
    )
    ray: RayConfig = RayConfig()
    retry: RetryConfig = RetryConfig()
    acceptance: Union[AcceptanceConfig, None] = AcceptanceConfig()
    record: RecordOptions = RecordOptions()
    output: OutputConfig = OutputConfig()

    @field_validator("acceptance", mode="before")
    @classmethod
    def _none_by_name(cls, value: Any) -> Any:
        if not isinstance(value, (dict, AcceptanceConfig)) and value != "none":
            raise ValueError("must be a section of limits, or none")
        return None if value == "none" else value

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
    def _some_dataset(self) -> RecordConfig:
        if self.create_dataset_config is None and self.dataset_file is None:
            raise ValueError("give create_dataset_config (folders of motions) or dataset_file (a motions.yaml)")
        return self


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
    key_bodies: List[str] = []
    contact_bodies: List[str] = []
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


class ModelConfig(Parc):
    """Section model of agent_config.yaml."""

    actor_net: str


class AgentConfig(Parc):
    """agent_config.yaml: the part of the agent that acts."""

    model: ModelConfig
    norm_obs_clip: float = Field(default=10.0, gt=0)


Model = TypeVar("Model", bound=BaseModel)


def find_data_dir(option: Optional[str]) -> Optional[str]:
    """The value of $DATA_DIR: the option, else the environment, else PARC's user_config.yaml, else None."""
    if option:
        return str(Path(os.path.expanduser(option)).absolute())  # noqa: PTH111
    if os.environ.get("DATA_DIR"):
        return os.environ["DATA_DIR"]
    for name in USER_CONFIG_FILES:
        if os.path.isfile(name):  # noqa: PTH113
            value = load_yaml(Path(name)).get("DATA_DIR")
            if value:
                return os.path.expanduser(os.path.expandvars(str(value)))  # noqa: PTH111
    return None


def load_yaml(path: Path) -> Dict[str, Any]:
    """A YAML file that holds a mapping. Raises InputError naming the file, and the line where it has one."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold 'key: value' lines, but holds {type(content).__name__}")
    return content


def expand(value: Any, data_dir: Optional[str], source: str, key: str = "") -> Any:
    """Replace $DATA_DIR in every string of nested lists and mappings; source and key name the place in messages."""
    if isinstance(value, dict):
        prefix = f"{key}." if key else ""
        return {name: expand(item, data_dir, source, f"{prefix}{name}") for name, item in value.items()}
    if isinstance(value, list):
        return [expand(item, data_dir, source, f"{key}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, str) and DATA_DIR.search(value):
        if data_dir is None:
            raise InputError(
                f"{source}: key {shown(key)} = {shown(value)}: $DATA_DIR is not known. Set the environment variable "
                f"DATA_DIR, pass --data-dir, or write DATA_DIR into {USER_CONFIG_FILES[0]}"
            )
        return DATA_DIR.sub(lambda _: data_dir, value)
    return value


def load_config(path: Path, model: Type[Model], data_dir: Optional[str]) -> Model:
    """Read, expand and check a YAML file. Raises InputError with one line per problem."""
    return check_config(expand(load_yaml(path), data_dir, str(path)), model, str(path))


def check_config(content: Mapping[str, Any], model: Type[Model], source: str) -> Model:
    """Check loaded YAML against a model; source names it in messages."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = error.errors()
        lines = [_explain(problem, model, source) for problem in problems[:MAX_LINES]]
        if len(problems) > MAX_LINES:
            lines.append(f"{source}: and {len(problems) - MAX_LINES} more problems")
        raise InputError("\n".join(lines)) from None


def _explain(problem: Any, model: Type[BaseModel], source: str) -> str:
    place = [str(part) for part in problem["loc"] if not str(part).endswith("Config")]
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, place[:-1])
        close = difflib.get_close_matches(place[-1], known, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"{source}: key {shown(key)} = {shown(problem['input'])} is unknown; {remedy}"
    if problem["type"] == "missing":
        return f"{source}: key {shown(key)} is missing; add it"
    if problem["type"] == "model_type":
        return f"{source}: key {shown(key)} = {shown(problem['input'])}: must be a section of 'key: value' lines"
    message = problem["msg"].replace("Value error, ", "")
    if not place:
        return f"{source}: {message}"
    return f"{source}: key {shown(key)} = {shown(problem['input'])}: {message}"


def _known_keys(model: Type[BaseModel], place: List[str]) -> List[str]:
    for name in place:
        annotation = model.model_fields[name].annotation if name in model.model_fields else None
        options: Tuple[Any, ...] = getattr(annotation, "__args__", (annotation,))
        nested = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
        if not nested:
            return []
        model = nested[0]
    return sorted(model.model_fields)
