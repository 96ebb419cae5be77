"""Policy: the actor in a checkpoint -> deterministic actions. Agents of PARC and MimicKit are saved alike."""

from __future__ import annotations

import math
from typing import Dict, List, Optional, Tuple

import torch
from torch import Tensor

from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError, quote
from parc_ray.trackers.checkpoint import Checkpoint, StoredTensor
from parc_ray.trackers.network import HIDDEN, Network


class Policy:
    """Observation normaliser, actor network and action normaliser of a checkpoint, evaluated at the mode."""

    def __init__(
        self,
        parameters: Dict[str, Tensor],
        network: str,
        clip: float,
        bounds: Optional[Tuple[Tensor, Tensor]],
        device: torch.device,
        threads: int = 1,
    ):
        """parameters: a checkpoint as load_checkpoint returns it, for the same network; threads: as of Network.

        clip: bound of normalised observations. bounds: lowest and highest PD targets [D] rad; None: any.
        """
        self.clip = clip
        parameters = {name: value.to(device, torch.float32) for name, value in parameters.items()}
        self.obs_mean, self.obs_std = parameters["_obs_norm._mean"], parameters["_obs_norm._std"]
        self.action_mean, self.action_std = parameters["_a_norm._mean"], parameters["_a_norm._std"]
        names = _layer_names(network)
        self.network = Network([(parameters[f"{name}.weight"], parameters[f"{name}.bias"]) for name in names], threads)
        self.bounds = None if bounds is None else (bounds[0].to(device), bounds[1].to(device))

    def act(self, obs: Tensor) -> Tensor:
        """PD targets [N, D] rad for observations [N, size]."""
        actions = self.normalized_mode(obs) * self.action_std + self.action_mean
        if self.bounds is None:
            return actions
        low, high = self.bounds
        return torch.minimum(torch.maximum(actions, low), high)

    def normalized_mode(self, obs: Tensor) -> Tensor:
        """Most likely normalised action [N, D]."""
        return self.network((obs - self.obs_mean).div_(self.obs_std).clamp_(-self.clip, self.clip))


def load_checkpoint(
    content: bytes, network: str, obs_size: int, dof_count: int, config: RecordConfig
) -> Dict[str, Tensor]:
    """The actor's part of an agent's checkpoint (torch.save of its state_dict()), checked.

    config: names the files in messages. Runs nothing of the file. Raises InputError, naming it, if it is no checkpoint,
    or does not fit the network of the agent file or the size of the observation.
    """
    source = str(config.model_file)
    if network not in HIDDEN:
        raise InputError(
            f"{config.agent_file}: key 'model.actor_net' = {quote(network)} is not supported; "
            f"supported: {', '.join(HIDDEN)}"
        )
    checkpoint = Checkpoint(content, source)
    state = checkpoint.state
    if not isinstance(state, dict):
        raise InputError(f"{source}: holds {type(state).__name__}, not a state dict: give the tracker's model.pt")
    shapes = _expected_shapes(network, obs_size, dof_count)
    parameters: Dict[str, Tensor] = {}
    for name, shape in shapes.items():
        value = state.get(name)
        if not isinstance(value, StoredTensor):
            raise InputError(
                f"{source}: has no {name!r}: is it the checkpoint of an agent with actor_net {network} "
                f"({config.agent_file})?"
            )
        if value.shape != shape:
            raise InputError(_misfit(config, name, value.shape, shape))
        parameters[name] = checkpoint.read(value).to(torch.float32)
        if not bool(torch.isfinite(parameters[name]).all()):
            raise InputError(f"{source}: {name!r} holds numbers that are not finite: take a checkpoint from before")
    if not bool((parameters["_obs_norm._std"] > 0).all()):
        raise InputError(f"{source}: '_obs_norm._std' must be positive: take another checkpoint")
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


def _misfit(config: RecordConfig, name: str, actual: Tuple[int, ...], expected: Tuple[int, ...]) -> str:
    message = f"{config.model_file}: {name!r} has shape {list(actual)}, expected {list(expected)}"
    if name.startswith("_obs_norm"):
        return (
            f"{message}: the checkpoint observes {math.prod(actual)} numbers, {config.env_file} describes "
            f"{expected[0]}. Use the env_file that this checkpoint was trained with"
        )
    return (
        f"{message}: the character or the network of {config.agent_file} is not what this checkpoint was trained with"
    )
