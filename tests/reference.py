"""Reference vectors: inputs and outputs of the original's numeric blocks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).parent / "data"
DEMO = ROOT / "parc_ray" / "demo" / "files"
HUMANOID = DEMO / "humanoid.xml"


def vectors(name: str) -> dict[str, np.ndarray]:
    with np.load(DATA / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


ERRORS: dict[str, float] = {}
"""Largest deviation from the reference so far, by test; `pytest --reference-errors` prints it"""


def _noted(error: float) -> float:
    test = os.environ.get("PYTEST_CURRENT_TEST", "import").split(" ")[0]
    ERRORS[test] = max(error, ERRORS.get(test, 0.0))
    return error


def max_error(actual, expected) -> float:
    actual, expected = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert actual.shape == expected.shape
    return _noted(float(np.max(np.abs(actual - expected))) if actual.size else 0.0)


def max_rotation_error(actual, expected) -> float:
    """Return the largest component difference modulo the sign of each quaternion."""
    actual, expected = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert actual.shape == expected.shape
    errors = np.minimum(np.abs(actual - expected).max(-1), np.abs(actual + expected).max(-1))
    return _noted(float(errors.max()))
