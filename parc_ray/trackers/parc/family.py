"""PARC's family of trackers: model.pt, agent_config.yaml and dm_env.yaml of its stage 3. Does not load torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parc_ray.config.base import fingerprint_values
from parc_ray.config.environment import NOT_RECORDED
from parc_ray.config.loading import check_config, expand, load_config, load_yaml
from parc_ray.config.record import RecordConfig
from parc_ray.config.record_args import REPLACED
from parc_ray.errors import InputError
from parc_ray.files.reading import read_bytes
from parc_ray.trackers.family import Family, TrackerFiles
from parc_ray.trackers.parc.config import AgentConfig, ParcEnvironmentFile

if TYPE_CHECKING:
    import torch

    from parc_ray.character.skeleton import Skeleton
    from parc_ray.trackers.tracker import Tracker


def _read(config: RecordConfig, data_dir: str | None) -> TrackerFiles:
    source = str(config.env_file)
    content = expand(load_yaml(config.env_file), data_dir, source, unread=REPLACED)
    environment = check_config(content, ParcEnvironmentFile, source)
    return TrackerFiles(
        environment=environment,
        environment_content=content,
        settings=load_config(config.agent_file, AgentConfig, data_dir),
        checkpoint=read_bytes(config.model_file, place=f"key 'model_file' = {str(config.model_file)!r}"),
        trained_with=environment.trained_with or "",
    )


def _fingerprint(files: TrackerFiles) -> dict[str, Any]:
    return {
        "model_file (sha256)": files.checkpoint_sha256,
        "env_file": fingerprint_values(files.environment, NOT_RECORDED),
        "agent_file": fingerprint_values(files.settings),
    }


def _build(
    config: RecordConfig, files: TrackerFiles, skeleton: Skeleton, device: torch.device, threads: int
) -> Tracker:
    from parc_ray.trackers.action_bounds import action_bounds
    from parc_ray.trackers.parc.observer import ParcObserver
    from parc_ray.trackers.parc.termination import ParcTermination
    from parc_ray.trackers.policy import Policy, load_checkpoint
    from parc_ray.trackers.tracker import Tracker

    assert isinstance(files.environment, ParcEnvironmentFile), "files that another family has read"
    env, agent = files.environment.env, files.settings
    network = agent.model.actor_net
    try:
        observer, termination = ParcObserver(env, skeleton, device), ParcTermination(env, skeleton, device)
    except InputError as error:
        raise InputError(f"{config.env_file}: {error}") from None
    parameters = load_checkpoint(files.checkpoint, network, observer.layout.size, skeleton.dof_count, config)
    # PARC clamps actions in control_mode pd, but not in pd_exp.
    bounds = action_bounds(skeleton) if env.control_mode == "pd" else None
    policy = Policy(parameters, network, agent.norm_obs_clip, bounds, device, threads)
    return Tracker(observer, policy.act, termination, policy.explore if policy.explores else None)


PARC = Family(name="parc", read=_read, fingerprint=_fingerprint, build=_build)
