"""ExportFormat: a file format that recordings can be exported to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np
import numpy.typing as npt

from parc_ray.exporting.recording import Recording

NAMES = "joints.txt"


@dataclass(frozen=True)
class ExportFormat:
    """One file format."""

    name: str
    suffix: str
    """Ending of its files' names."""
    content: Callable[[Recording], bytes]
    """Returns the bytes of a recording's file. Raises InputError if a package is missing or it does not fit."""
    names: Callable[[Recording], bytes] | None = None
    """Returns the names of its columns, for a file NAMES beside the exports; None if the format has them itself."""


Y_UP = (-0.5, -0.5, -0.5, 0.5)
"""Rotation (xyzw) from the motion's axes to those of BVH and glTF: x ahead becomes z, y left x, and z up y."""


def y_up(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return vectors [..., 3] rotated by Y_UP."""
    return vectors[..., [1, 2, 0]]
