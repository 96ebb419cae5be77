"""The family of MimicKit's trackers (DeepMimic and ADD environments). Does not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping

from parc_ray.config.base import fingerprint_values
from parc_ray.config.environment import NOT_RECORDED, EnvironmentFile, PhysxConfig, SimulationConfig
from parc_ray.config.loading import check_config, expand, load_config, load_yaml
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError, quote
from parc_ray.files.reading import read_bytes
from parc_ray.trackers.family import Family, TrackerFiles
from parc_ray.trackers.mimickit.config import MimickitAgentConfig, MimickitEngineConfig, MimickitEnvironmentConfig

if TYPE_CHECKING:
    import torch

    from parc_ray.character.skeleton import Skeleton
    from parc_ray.trackers.tracker import Tracker

OBSERVATION_CLIP = 10.0
"""Bound of normalised observations, the same for all of MimicKit's agents."""
PHYSX_SETTINGS = PhysxConfig(
    num_position_iterations=4,
    num_velocity_iterations=0,
    contact_offset=0.02,
    rest_offset=0.0,
    bounce_threshold_velocity=0.2,
    max_depenetration_velocity=10.0,
    default_buffer_size_multiplier=10.0,
)
"""PhysX settings hard-coded in MimicKit's engines."""


@dataclass(frozen=True)
class MimickitFiles:
    """The three files."""

    environment: MimickitEnvironmentConfig
    engine: MimickitEngineConfig
    agent: MimickitAgentConfig


def _read(config: RecordConfig, data_dir: str | None) -> TrackerFiles:
    source = str(config.env_file)
    content = expand(load_yaml(config.env_file), data_dir, source)
    if "env_name" not in content and isinstance(content.get("env"), dict):
        content = content["env"]  # a run's record_env.yaml
    environment = check_config(content, MimickitEnvironmentConfig, source)
    engine_content = _engine(config, content, data_dir)
    engine = check_config(engine_content, MimickitEngineConfig, str(config.engine_file or f"{source}: section engine"))
    return TrackerFiles(
        environment=_environment_file(environment, engine),
        environment_content={"env": {**content, "engine": engine_content}},
        settings=MimickitFiles(environment, engine, load_config(config.agent_file, MimickitAgentConfig, data_dir)),
        checkpoint=read_bytes(config.model_file, place=f"key 'model_file' = {str(config.model_file)!r}"),
        trained_with=engine.engine_name,
    )


def _engine(config: RecordConfig, environment: Mapping[str, Any], data_dir: str | None) -> dict[str, Any]:
    """Return engine_config.yaml with the environment's overrides."""
    own = environment.get("engine", {})
    if not isinstance(own, dict):
        raise InputError(f"{config.env_file}: key 'engine' = {quote(own)}: must be a section of 'key: value' lines")
    if config.engine_file is None:
        if not own:
            raise InputError(
                f"key 'engine_file' is missing; give the engine_config.yaml that MimicKit has saved beside "
                f"{config.env_file.name}"
            )
        return own
    return {**expand(load_yaml(config.engine_file), data_dir, str(config.engine_file)), **own}


def _environment_file(environment: MimickitEnvironmentConfig, engine: MimickitEngineConfig) -> EnvironmentFile:
    distance = environment.pose_termination_dist
    content = {
        "env": {
            "char_file": environment.char_file,
            "control_freq": engine.control_freq,
            "sim_freq": engine.sim_freq,
            "contact_bodies": environment.contact_bodies,
            "enable_early_termination": environment.enable_early_termination,
            "termination_height": engine.ground_contact_height,
            "pose_termination": environment.pose_termination,
            "pose_termination_dist": distance,
            "track_root": environment.track_root,
            "root_pos_termination_dist": distance,
            "root_rot_termination_angle": float("inf"),
        },
        "sim": SimulationConfig(substeps=1, physx=PHYSX_SETTINGS),
    }
    return EnvironmentFile.model_validate(content)


def _fingerprint(files: TrackerFiles) -> dict[str, Any]:
    own = files.settings
    return {
        "model_file (sha256)": files.checkpoint_sha256,
        "env_file": fingerprint_values(files.environment, NOT_RECORDED),
        "env_config": fingerprint_values(own.environment, {"char_file"}),
        "engine_file": fingerprint_values(own.engine),
        "agent_file": fingerprint_values(own.agent),
    }


def _build(
    config: RecordConfig, files: TrackerFiles, skeleton: Skeleton, device: torch.device, threads: int
) -> Tracker:
    from parc_ray.trackers.action_bounds import action_bounds
    from parc_ray.trackers.mimickit.observer import MimickitObserver
    from parc_ray.trackers.mimickit.termination import MimickitTermination
    from parc_ray.trackers.policy import Policy, load_checkpoint
    from parc_ray.trackers.tracker import Tracker

    own: MimickitFiles = files.settings
    try:
        observer = MimickitObserver(own.environment, skeleton, device)
        termination = MimickitTermination(own.environment, own.engine.ground_contact_height, skeleton, device)
    except InputError as error:
        raise InputError(f"{config.env_file}: {error}") from None
    network = own.agent.model.actor_net
    parameters = load_checkpoint(files.checkpoint, network, observer.layout.size, skeleton.dof_count, config)
    bounds = action_bounds(skeleton, own.environment.zero_center_action)
    policy = Policy(parameters, network, OBSERVATION_CLIP, bounds, device, threads)
    return Tracker(observer, policy.act, termination, policy.explore if policy.explores else None)


MIMICKIT = Family(name="mimickit", read=_read, fingerprint=_fingerprint, build=_build)
