"""Selection against its definition, written out."""

from __future__ import annotations

import numpy as np
import pytest

from parc_ray.recording.selection import parents, ranking


def test_the_closest_come_first():
    order = ranking(np.array([3.0, 1.0, 2.0, 0.5]), np.array([True, True, True, False]))
    assert order.tolist() == [1, 2, 0]


def test_ties_go_to_the_lower_copy():
    distance = np.tile([2.0, 1.0], 32)
    assert ranking(distance, np.ones(64, dtype=bool)).tolist() == [*range(1, 64, 2), *range(0, 64, 2)]


def test_what_is_not_a_number_comes_last():
    order = ranking(np.array([np.nan, 1e9, np.nan, np.inf, 0.0]), np.ones(5, dtype=bool))
    assert order.tolist() == [4, 1, 3, 0, 2]


def test_nobody_left():
    assert ranking(np.zeros(4), np.zeros(4, dtype=bool)).tolist() == []


@pytest.mark.parametrize("copies", [1, 2, 3, 4, 7, 16, 64])
@pytest.mark.parametrize("alive", [1, 2, 5, 64])
def test_a_quarter_survives_and_takes_turns(copies, alive):
    alive = min(alive, copies)
    order = np.random.default_rng(copies).permutation(copies)[:alive]
    chosen = parents(order, copies)
    best = list(order[: max(1, copies // 4)])
    assert chosen[0] == order[0]
    assert sorted(set(chosen)) == sorted(best)
    counts = [list(chosen).count(copy) for copy in best]
    assert sum(counts) == copies and max(counts) - min(counts) <= 1 and counts == sorted(counts, reverse=True)
