"""Selection: which copies of a population survive a window, and which of them every copy continues."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SURVIVORS = 4
"""One copy in this many survives a window."""

Indices = npt.NDArray[np.int64]


def ranking(distance: npt.NDArray[np.float64], alive: npt.NDArray[np.bool_]) -> Indices:
    """Return the copies [n] that are alive, the closest to the reference first.

    Ties go to the lower copy, and NaN to the end. distance: [N] of each copy from the reference, m.
    """
    copies = np.flatnonzero(alive)
    return copies[np.argsort(distance[copies], kind="stable")]


def parents(order: Indices, copies: int) -> Indices:
    """Return the copy [copies] that each copy continues, given those alive in order, at least one.

    Survivors take turns, so copy 0 continues the best. A parent may itself continue another copy: gather, then scatter.

    >>> parents(np.array([5, 2, 7, 0]), 8).tolist()
    [5, 2, 5, 2, 5, 2, 5, 2]
    """
    best = order[: max(1, copies // SURVIVORS)]
    return best[np.arange(copies) % len(best)]
