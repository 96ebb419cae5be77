"""Selection: which copies survive a window, and which survivor each copy continues."""

from __future__ import annotations

import numpy as np

from parc_ray.tensors.arrays import BoolArray, DoubleArray, IndexArray

SURVIVORS = 4
"""One copy in this many survives a window."""


def ranking(distance: DoubleArray, alive: BoolArray) -> IndexArray:
    """Return the living copies [n], closest to the reference first.

    Ties go to the lower copy, and NaN to the end. distance: [N] of each copy from the reference, m.
    """
    copies = np.flatnonzero(alive)
    return copies[np.argsort(distance[copies], kind="stable")]


def parents(order: IndexArray, copies: int) -> IndexArray:
    """Return the parent [copies] of each copy, given the living copies in order, at least one.

    Survivors take turns, so copy 0 continues the best. A parent may itself continue another copy: gather, then scatter.

    >>> parents(np.array([5, 2, 7, 0]), 8).tolist()
    [5, 2, 5, 2, 5, 2, 5, 2]
    """
    best = order[: max(1, copies // SURVIVORS)]
    return best[np.arange(copies) % len(best)]
