"""ParcPolicy: a stage-3 checkpoint and its agent configuration -> deterministic actions."""

from __future__ import annotations

import math
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError, shown
from parc_ray.trackers.action_bounds import action_bounds
from parc_ray.trackers.checkpoint import Checkpoint, StoredTensor
from parc_ray.trackers.network import HIDDEN, Network
from parc_ray.trackers.parc.config import AgentConfig


class ParcPolicy:
    """Observation normaliser, actor network and action normaliser of a checkpoint, evaluated at the mode."""

    def __init__(
        self,
        parameters: Dict[str, Tensor],
        config: AgentConfig,
        skeleton: Skeleton,
        device: torch.device,
        threads: int = 1,
        bounded: bool = True,
    ):
        """parameters: a checkpoint as load_checkpoint returns it; threads: as of Network.

        bounded: targets are clamped to the action bounds (PARC: in control_mode pd, not in pd_exp).
        """
        self.bounded = bounded
        self.clip = config.norm_obs_clip
        parameters = {name: value.to(device, torch.float32) for name, value in parameters.items()}
        self.obs_mean, self.obs_std = parameters["_obs_norm._mean"], parameters["_obs_norm._std"]
        self.action_mean, self.action_std = parameters["_a_norm._mean"], parameters["_a_norm._std"]
        names = _layer_names(config.model.actor_net)
        self.network = Network([(parameters[f"{name}.weight"], parameters[f"{name}.bias"]) for name in names], threads)
        self.low, self.high = (bound.to(device) for bound in action_bounds(skeleton))

    def act(self, obs: Tensor) -> Tensor:
        """PD targets [N, D] rad for observations [N, size]."""
        actions = self.normalized_mode(obs) * self.action_std + self.action_mean
        if not self.bounded:
            return actions
        return torch.minimum(torch.maximum(actions, self.low), self.high)

    def normalized_mode(self, obs: Tensor) -> Tensor:
        """Most likely normalised action [N, D]."""
        return self.network(((obs - self.obs_mean) / self.obs_std).clamp_(-self.clip, self.clip))


def load_checkpoint(
    content: bytes, source: str, config: AgentConfig, agent_source: str, obs_size: int, skeleton: Skeleton
) -> Dict[str, Tensor]:
    """The actor's part of a PARC checkpoint (torch.save of BaseAgent.state_dict()), checked.

    Runs nothing of the file. Raises InputError, naming the file, if it is no checkpoint, or does not fit the
    network of the agent file or the size of the observation.
    """
    if config.model.actor_net not in HIDDEN:
        raise InputError(
            f"{agent_source}: key 'model.actor_net' = {shown(config.model.actor_net)} is not supported; "
            f"supported: {', '.join(HIDDEN)}"
        )
    checkpoint = Checkpoint(content, source)
    state = checkpoint.state
    if not isinstance(state, dict):
        raise InputError(f"{source}: holds {type(state).__name__}, not a state dict: give PARC's model.pt")
    shapes = _expected_shapes(config.model.actor_net, obs_size, skeleton.dof_count)
    parameters: Dict[str, Tensor] = {}
    for name, shape in shapes.items():
        value = state.get(name)
        if not isinstance(value, StoredTensor):
            raise InputError(
                f"{source}: has no {name!r}: is it a checkpoint of a DM_PPO agent with actor_net "
                f"{config.model.actor_net} ({agent_source})?"
            )
        if value.shape != shape:
            raise InputError(_misfit(source, name, value.shape, shape, agent_source))
        parameters[name] = checkpoint.read(value).to(torch.float32)
        if not bool(torch.isfinite(parameters[name]).all()):
            raise InputError(f"{source}: {name!r} holds numbers that are not finite: the training has diverged")
    if not bool((parameters["_obs_norm._std"] > 0).all()):
        raise InputError(f"{source}: '_obs_norm._std' must be positive: observations are divided by it")
    return parameters


def _layer_names(network: str) -> List[str]:
    hidden = [f"_model._actor_layers.{2 * i}" for i in range(len(HIDDEN[network]))]
    return [*hidden, "_model._action_dist._mean_net"]


def _expected_shapes(network: str, obs_size: int, dof_count: int) -> Dict[str, Tuple[int, ...]]:
    shapes: Dict[str, Tuple[int, ...]] = {
        "_obs_norm._mean": (obs_size,),
        "_obs_norm._std": (obs_size,),
        "_a_norm._mean": (dof_count,),
        "_a_norm._std": (dof_count,),
    }
    widths = (obs_size, *HIDDEN[network], dof_count)
    for name, width_in, width_out in zip(_layer_names(network), widths, widths[1:]):
        shapes[f"{name}.weight"] = (width_out, width_in)
        shapes[f"{name}.bias"] = (width_out,)
    return shapes


def _misfit(source: str, name: str, actual: Tuple[int, ...], expected: Tuple[int, ...], agent_source: str) -> str:
    message = f"{source}: {name!r} has shape {list(actual)}, expected {list(expected)}"
    if name.startswith("_obs_norm"):
        return (
            f"{message}: the checkpoint observes {math.prod(actual)} numbers, the env_file describes {expected[0]}. "
            "Use the dm_env.yaml that this checkpoint was trained with"
        )
    return f"{message}: the character or the network of {agent_source} is not what this checkpoint was trained with"
