"""Types of NumPy arrays, and of the meshes that they form."""

from __future__ import annotations

from typing import Tuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Mesh = Tuple[FloatArray, npt.NDArray[np.uint32]]
"""Vertices [V, 3] and triangles [T, 3]."""
