"""Policy: the actor of a checkpoint. PARC and MimicKit save agents in the same format."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError, quote
from parc_ray.files.checkpoint import Checkpoint, StoredTensor
from parc_ray.tensors.rows import pad_to_batch
from parc_ray.trackers.network import HIDDEN, Network

MEAN, LOG_STD = "_model._action_dist._mean_net", "_model._action_dist._logstd_net"
"""Heads of the action distribution. LOG_STD is a vector where the standard deviation is fixed or learned as a constant,
and a layer where it depends on the observation."""


class Policy:
    """Observation normaliser, actor network and action normaliser of a checkpoint."""

    def __init__(
        self,
        parameters: dict[str, Tensor],
        network: str,
        clip: float,
        bounds: tuple[Tensor, Tensor] | None,
        device: torch.device,
        threads: int = 1,
    ):
        """parameters: a checkpoint from load_checkpoint, for the same network; threads: as for Network.

        clip: bound of normalised observations. bounds: lowest and highest PD targets [D] rad; None: any.
        """
        self.clip = clip
        parameters = {name: value.to(device, torch.float32) for name, value in parameters.items()}
        self.obs_mean, self.obs_std = parameters["_obs_norm._mean"], parameters["_obs_norm._std"]
        self.action_mean, self.action_std = parameters["_a_norm._mean"], parameters["_a_norm._std"]

        def layers(head: str) -> Network:
            names = [*_hidden_names(network), head]
            return Network([(parameters[f"{name}.weight"], parameters[f"{name}.bias"]) for name in names], threads)

        self.network = layers(MEAN)
        self._log_std = layers(LOG_STD) if f"{LOG_STD}.weight" in parameters else None
        self._std = parameters[LOG_STD].exp() if LOG_STD in parameters else None
        self.bounds = None if bounds is None else (bounds[0].to(device), bounds[1].to(device))

    def act(self, obs: Tensor) -> Tensor:
        """Return the most likely PD targets [N, D] rad for observations [N, size]."""
        return self._targets(self.normalized_mode(obs))

    @property
    def explores(self) -> bool:
        """True if the checkpoint contains the standard deviation of actions."""
        return self._std is not None or self._log_std is not None

    def explore(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Return the most likely PD targets [N, D] rad plus noise [N, D] in standard deviations."""
        return self._targets(self.normalized_mode(obs) + noise * self.std(obs))

    def std(self, obs: Tensor) -> Tensor:
        """Return the standard deviation of normalised actions from training, [D] or [N, D]."""
        if self._log_std is None:
            assert self._std is not None, "a checkpoint without standard deviations"
            return self._std
        # Pad to whole batches: vector kernels may round a partial last block differently.
        return pad_to_batch(self._log_std(self._normalize(obs))).exp()[: len(obs)]

    def normalized_mode(self, obs: Tensor) -> Tensor:
        """Return the most likely normalised actions [N, D]."""
        return self.network(self._normalize(obs))

    def _normalize(self, obs: Tensor) -> Tensor:
        return (obs - self.obs_mean).div_(self.obs_std).clamp_(-self.clip, self.clip)

    def _targets(self, normalized: Tensor) -> Tensor:
        actions = normalized * self.action_std + self.action_mean
        if self.bounds is None:
            return actions
        low, high = self.bounds
        return torch.minimum(torch.maximum(actions, low), high)


def load_checkpoint(
    content: bytes, network: str, obs_size: int, dof_count: int, config: RecordConfig
) -> dict[str, Tensor]:
    """Read and check the actor's part of an agent's checkpoint (torch.save of its state_dict()).

    config: names the files in messages. Executes no code from the file. Raises InputError, which names the file, if it
    is not a checkpoint, or does not match the agent file's network or the observation size.
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
    shapes = {**_expected_shapes(network, obs_size, dof_count), **_std_shapes(state, network, dof_count)}
    parameters: dict[str, Tensor] = {}
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


def _hidden_names(network: str) -> list[str]:
    return [f"_model._actor_layers.{2 * i}" for i in range(len(HIDDEN[network]))]


def _std_shapes(state: dict[Any, Any], network: str, dof_count: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a checkpoint's parameters for the standard deviation of actions."""
    known: dict[str, tuple[int, ...]] = {
        LOG_STD: (dof_count,),
        f"{LOG_STD}.weight": (dof_count, HIDDEN[network][-1]),
        f"{LOG_STD}.bias": (dof_count,),
    }
    return {name: shape for name, shape in known.items() if name in state}


def _expected_shapes(network: str, obs_size: int, dof_count: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "_obs_norm._mean": (obs_size,),
        "_obs_norm._std": (obs_size,),
        "_a_norm._mean": (dof_count,),
        "_a_norm._std": (dof_count,),
    }
    widths = (obs_size, *HIDDEN[network], dof_count)
    for name, width_in, width_out in zip([*_hidden_names(network), MEAN], widths, widths[1:]):
        shapes[f"{name}.weight"] = (width_out, width_in)
        shapes[f"{name}.bias"] = (width_out,)
    return shapes


def _misfit(config: RecordConfig, name: str, actual: tuple[int, ...], expected: tuple[int, ...]) -> str:
    message = f"{config.model_file}: {name!r} has shape {list(actual)}, expected {list(expected)}"
    if name.startswith("_obs_norm"):
        return (
            f"{message}: the checkpoint observes {math.prod(actual)} numbers, {config.env_file} describes "
            f"{expected[0]}. Use the env_file that this checkpoint was trained with"
        )
    return (
        f"{message}: the character or the network of {config.agent_file} is not what this checkpoint was trained with"
    )
