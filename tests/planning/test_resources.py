from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc_ray.planning.resources import share_nodes

NODES = st.lists(st.tuples(st.integers(0, 64), st.integers(0, 8)), max_size=5)


@given(NODES, st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.sampled_from([None, 1, 3]), st.sampled_from([None, 1, 4]))
def test_no_node_gets_more_than_it_has(nodes, gpus, cpus, most):
    shared = share_nodes(nodes, gpus, cpus, most)
    for (own, own_gpus), (count, each) in zip(nodes, shared):
        assert count * each <= own or not count
        assert count * gpus <= own_gpus or not count
        assert each >= 1 or not count
    room = sum(min(own // (cpus or 1), int(own_gpus / gpus) if gpus else own) for own, own_gpus in nodes)
    assert sum(count for count, _ in shared) == (room if most is None else min(room, most))


@pytest.mark.parametrize(
    "nodes, most, shared",
    [
        ([(64, 8), (4, 1)], None, [(8, 8), (1, 4)]),
        ([(64, 8), (4, 1)], 2, [(2, 32), (0, 4)]),
        ([(4, 1), (64, 0)], None, [(1, 4), (0, 64)]),
    ],
)
def test_every_node_is_shared_by_itself(nodes, most, shared):
    assert share_nodes(nodes, 1.0, None, most) == shared
