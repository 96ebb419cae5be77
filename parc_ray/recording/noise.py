"""Exploration noise: the same numbers on every machine, independent of other draws and their order.

In each window, a copy pushes its actions in one random direction, ramping up and down. Noise that changes every control
step recovers no more motions and makes jerkier ones.
"""

from __future__ import annotations

import hashlib
import json
from typing import Sequence

import numpy as np

from parc_ray.tensors.arrays import FloatArray

UNIFORMS = 4
"""Uniform 16-bit numbers in each 64-bit word; their sum is close to normal."""
MEAN = UNIFORMS * 65535 // 2
STD = float(np.sqrt(UNIFORMS * (2.0**32 - 1.0) / 12.0))


def directions(key: Sequence[int | str], copies: int, dofs: int) -> FloatArray:
    """Return directions [copies, dofs] with independent components of unit variance, close to normal.

    key: names the numbers, such as seed, motion, size of the population and window. Equal keys give equal bits, and the
    numbers of a copy do not depend on the number of copies.

    The generator is counter-based (Philox4x64-10; Salmon, Moraes, Dror, Shaw, 2011) and numpy keeps its raw stream
    stable. Only IEEE-rounded operations follow, because library functions such as log differ between machines.
    """
    digest = hashlib.sha256(json.dumps(list(key)).encode("ascii")).digest()
    generator = np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64))
    words = generator.random_raw(copies * dofs).astype("<u8")
    sums = words.view("<u2").reshape(copies, dofs, UNIFORMS).sum(axis=-1, dtype=np.int64)
    numbers: FloatArray = ((sums - MEAN) / STD).astype(np.float32)
    return numbers


def push(window: int) -> FloatArray:
    """Return the strength of the push in each control step of a window, [window]: a parabola between 0 and 1.

    >>> push(4).tolist()
    [0.4375, 0.9375, 0.9375, 0.4375]
    """
    middle = 2 * np.arange(window) + 1  # of each control step, in half steps
    return (middle * (2 * window - middle) / window**2).astype(np.float32)
