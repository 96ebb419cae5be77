"""BatchedStep: control steps of all env slots at once, for devices with slow kernel launches."""

from __future__ import annotations

from typing import Callable, Optional

import torch
from torch import Tensor

from parc_ray.simulators.cuda_graph import GraphedCall
from parc_ray.tensors.rows import pad_to_batch
from parc_ray.tracking.environment import TrackingEnvironment

Decide = Callable[[Tensor, int], Tensor]
"""Returns PD targets [count, D] of envs, given as rows [n], of which the first `count` are distinct."""
Evaluate = Callable[[Tensor, Tensor, Optional[Tensor]], Tensor]
"""Returns verdicts [n, ...] from joined states of envs, given as rows [n], that are active (1) or paused (0)."""


class BatchedStep:
    """Tensors of fixed shape for all envs of an environment.

    Every step does the same work, so that a GPU can replay it. Envs without an attempt, and those whose attempt ended
    since the last check, are computed too, but paused.
    """

    def __init__(self, environment: TrackingEnvironment, decide: Decide, evaluate: Evaluate, verdict_size: int):
        self._environment, device, envs = environment, environment.device, environment.num_envs
        rows = pad_to_batch(torch.arange(envs, device=device))
        self._targets = torch.zeros(envs, environment.skeleton.dof_count, device=device)
        self._states = torch.zeros(envs, environment.state_size, device=device)
        self._active = torch.zeros(envs, dtype=torch.int64, device=device)
        """1 if an attempt is running."""
        self._verdicts = torch.zeros(envs, verdict_size, dtype=torch.int64, device=device)

        def decide_all() -> None:
            self._targets.copy_(decide(rows, envs))

        def evaluate_all() -> None:
            verdicts = evaluate(rows, self._states.index_select(0, rows), self._active.index_select(0, rows))[:envs]
            self._verdicts.copy_(torch.where(self._active.unsqueeze(1) > 0, verdicts, self._verdicts))
            self._active.mul_(1 - self._verdicts[:, 0])

        self._decide, self._evaluate = GraphedCall(decide_all, device), GraphedCall(evaluate_all, device)

    def start(self, rows: Tensor) -> None:
        """Activate envs, given as rows, at the start of their attempts."""
        self._active.index_fill_(0, rows, 1)
        self._verdicts.index_fill_(0, rows, 0)

    def step(self, envs: list[int]) -> Tensor:
        """Make one control step in the given envs, and return their verdicts."""
        environment = self._environment
        rows = environment.rows(envs)[: len(envs)]
        self._decide()
        state = environment.simulator.step(envs, self._targets.index_select(0, rows))
        self._states.index_copy_(0, rows, environment.join(state))
        self._evaluate()
        return self._verdicts.index_select(0, rows)
