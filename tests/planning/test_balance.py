"""Handovers between actors, against what fluid work would do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc_ray.planning.balance import Load, common_end, fair_share, handover, useful_helpers

LOADS = st.lists(
    st.builds(
        lambda left, share, speed: Load(left, left * share, speed),
        st.floats(0.0, 1e4),
        st.floats(0.0, 1.0),
        st.floats(0.05, 20.0),
    ),
    min_size=1,
    max_size=12,
)


@given(LOADS, st.floats(0.05, 20.0), st.floats(0.0, 60.0))
def test_nobody_gives_more_than_it_has_or_ends_before_the_receiver(loads, speed, delay):
    given_away = handover(loads, speed, delay, 3 * delay)
    end = common_end(loads, speed, delay, 1)
    for load, seconds in zip(loads, given_away):
        assert 0.0 <= seconds <= load.untouched
        assert not seconds or (load.left - seconds) / load.speed >= end - 1e-6
    total = sum(given_away)
    assert not total or delay + total / speed <= end + 1e-6
    assert not total or total / speed >= 3 * delay - 1e-6


def test_a_receiver_does_its_part_of_the_work_of_slow_actors():
    slow, fast = Load(100.0, 100.0, 0.5), Load(40.0, 20.0, 1.0)
    # 140 s of motion at 2.5 s/s: 56 s. The fast one has enough to do for 40 s and gives nothing.
    assert handover([slow, fast], speed=1.0, delay=0.0) == pytest.approx([56.0, 0.0])
    # With three receivers all could end after 140 / 4.5 s, and the fast one has more than that to do.
    given_away = handover([slow, fast], speed=1.0, delay=0.0, receivers=3)
    assert sum(given_away) == pytest.approx(140 / 4.5) and min(given_away) > 0


def test_equal_actors_hand_over_nothing():
    """All have begun their last motions, or a receiver would be busy for less than three setups."""
    assert handover([Load(30.0, 0.0, 2.0)] * 7, speed=2.0, delay=0.0) == [0.0] * 7
    assert handover([Load(30.0, 5.0, 2.0)] * 7, speed=2.0, delay=5.0, least=15.0) == [0.0] * 7


@pytest.mark.parametrize("delay, helpers", [(0.0, 8), (20.0, 5), (40.0, 2), (100.0, 0)])
def test_helpers_must_outlast_their_setup(delay, helpers):
    """One actor with 400 s of work: n helpers end with it after (400 + n delay) / (n + 1) s, and want 4 delays."""
    assert useful_helpers([Load(400.0, 400.0, 1.0)], 1.0, delay, 3 * delay, most=8) == helpers


def test_waiting_motions_are_shared_by_speed():
    assert fair_share([Load(10.0, 0.0, 1.0)], 90.0, speed=3.0, delay=0.0, receivers=1) == pytest.approx(75.0)
