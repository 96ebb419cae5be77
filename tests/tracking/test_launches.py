"""What a control step would cost a GPU, counted without one."""

from __future__ import annotations

import pytest
import torch

from parc_ray.tracking.launches import LaunchCounter

X = torch.arange(24.0).reshape(6, 4)
MASK = X[:, 0] > 4
Y, ROWS = torch.zeros(6, 4), torch.tensor([1, 2])


@pytest.mark.parametrize(
    ("operation", "kernels", "waits"),
    [
        (lambda: X.unflatten(0, (2, 3)).transpose(0, 1)[..., 2:].unbind(-1), 0, 0),
        (lambda: X.reshape(4, 6), 0, 0),
        (lambda: X.t().reshape(4, 6), 0, 0),
        (lambda: X.t().reshape(6, 4), 1, 0),
        (lambda: X + 1, 1, 0),
        (lambda: X.clone().add_(1).clamp_(min=0), 3, 0),
        (lambda: torch.where(MASK, X[:, 0], 0.0), 2, 0),
        (lambda: X @ X.t(), 1, 0),
        (lambda: X.index_select(0, X[:2, 0].long()), 2, 0),
        (lambda: torch.empty(3).zero_(), 1, 0),
        (lambda: float(X[0, 0]), 0, 1),
        (lambda: int(MASK.sum()), 1, 1),
        (lambda: bool(MASK.any()), 1, 1),
        (lambda: X[:2, 0].tolist(), 0, 1),
        (lambda: X.cpu().numpy(), 0, 1),
        (lambda: torch.tensor([1.0, 2.0]), 0, 1),
        (lambda: X[MASK], 1, 1),
        (lambda: X[[1, 2]], 1, 1),
        (lambda: MASK.nonzero(), 1, 1),
        (lambda: Y.__setitem__(ROWS, 0.0), 1, 1),
        (lambda: Y.__setitem__((ROWS, 1), 0.0), 1, 1),
        (lambda: Y.__setitem__(ROWS, X[:2]), 1, 0),
        (lambda: Y.__setitem__(0, 0.0), 1, 0),
        (lambda: Y.index_fill_(0, ROWS, 0.0), 1, 0),
    ],
)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_what_a_gpu_would_do(operation, kernels, waits, context):
    with context(), LaunchCounter() as counter:
        operation()
        with counter.pause():
            operation()
    assert (counter.kernels, counter.synchronisations) == (kernels, waits), counter.operations
    assert sum(counter.operations.values()) == kernels + waits
