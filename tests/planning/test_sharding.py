from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc_ray.motions.dataset import MotionEntry
from parc_ray.planning.sharding import count_shards, plan_shards

lengths = st.lists(st.one_of(st.floats(0.0, 100.0), st.sampled_from([0.0, 2.0, 10.0])), min_size=1, max_size=60)


def entries(seconds, file_bytes=1000):
    return [
        MotionEntry(f"m{k}", f"/m{k}.pkl", 1.0, 2, 30.0, length, (3, 3), file_bytes) for k, length in enumerate(seconds)
    ]


@given(lengths, st.integers(1, 80))
def test_every_motion_is_in_exactly_one_shard(seconds, count):
    dataset = entries(seconds)
    shards = plan_shards(dataset, count)
    assert sorted(entry.name for shard in shards for entry in shard) == sorted(entry.name for entry in dataset)
    assert len(shards) == min(count, len(dataset))
    assert all(shards)


@given(lengths, st.integers(1, 80))
def test_shards_are_balanced(seconds, count):
    loads = [sum(entry.length for entry in shard) for shard in plan_shards(entries(seconds), count)]
    assert max(loads) - min(loads) <= max(seconds) + 1e-6


@given(lengths, st.integers(1, 80))
def test_shards_keep_the_order_of_the_dataset_and_are_the_same_every_time(seconds, count):
    dataset = entries(seconds)
    place = {entry.name: k for k, entry in enumerate(dataset)}
    shards = plan_shards(dataset, count)
    for shard in shards:
        places = [place[entry.name] for entry in shard]
        assert places == sorted(places)
    assert shards == plan_shards(list(dataset), count)


@given(
    st.lists(st.integers(0, 10_000), min_size=1, max_size=300),
    st.integers(1, 16),
    st.integers(1, 100),
    st.integers(10_000, 10**6),
)
def test_count_of_shards_keeps_to_its_bounds(sizes, actors, max_motions, max_bytes):
    dataset = [entry for size in sizes for entry in entries([1.0], size)]
    count = count_shards(dataset, actors, None, max_motions, max_bytes)
    assert 1 <= count <= len(dataset)
    assert count * max_motions >= len(dataset)
    assert count == len(dataset) or count * max_bytes >= sum(sizes)
    # Whole rounds: no actor idles while the others work on the last shards.
    assert count == len(dataset) or count % actors == 0


@pytest.mark.parametrize("wanted, expected", [(1, 1), (3, 3), (99, 5)])
def test_a_wanted_count_of_shards_is_kept(wanted, expected):
    assert count_shards(entries([1.0] * 5), 4, wanted, 1, 1) == expected


def test_terrain_counts_by_what_it_takes_in_memory():
    """A file with a byte per cell is twelve times as large once it is read."""
    entry = MotionEntry("a", "a.pkl", 1.0, 2, 30.0, 1 / 30, (1000, 1000), 1_000_100)
    assert entry.size == 12_000_000
    assert count_shards([entry] * 100, 1, None, 1000, 120_000_000) == 10
