"""Which attempts are made, and in which order."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc_ray.config.record import RetryConfig
from parc_ray.recording import reasons, retry_policy, retry_queue
from parc_ray.recording.attempt import Attempt
from parc_ray.recording.retry_policy import RetryPolicy
from parc_ray.recording.retry_queue import RetryQueue

PARC = [0.1, 0.2, 0.3, 0.4, 0.5]

configs = st.builds(
    RetryConfig,
    start_fractions=st.lists(st.floats(0.001, 0.999), unique=True, max_size=8).map(sorted),
    max_retries=st.integers(0, 8),
    min_segment_seconds=st.floats(0.0, 5.0),
)


def chain(config: RetryConfig, length: float) -> list[float]:
    """Start fractions of the attempts at a motion that always fails."""
    policy, fractions = RetryPolicy(config), []
    while True:
        attempt = policy.next(7, length, len(fractions))
        if attempt is None:
            return fractions
        assert (attempt.motion, attempt.number) == (7, len(fractions)) and len(fractions) < 100
        fractions.append(attempt.start_fraction)


@given(config=configs, length=st.floats(0.05, 60.0))
def test_retries_keep_every_rule(config, length):
    fractions = chain(config, length)
    assert len(fractions) - 1 <= config.max_retries
    assert all(before < after for before, after in zip(fractions, fractions[1:]))
    assert fractions[1:] == config.start_fractions[: len(fractions) - 1]
    assert all((1.0 - fraction) * length >= config.min_segment_seconds for fraction in fractions[1:])


@given(config=configs, length=st.floats(0.05, 60.0))
def test_no_retry_is_left_out(config, length):
    """Giving up has a reason: no fraction is left, no retry is left, or the next segment is too short."""
    retries = len(chain(config, length)) - 1
    if retries < min(config.max_retries, len(config.start_fractions)):
        assert (1.0 - config.start_fractions[retries]) * length < config.min_segment_seconds


@pytest.mark.parametrize(
    ("config", "length", "expected"),
    [
        ({}, 10.0, [0.0, 0.25, 0.5, 0.75]),
        ({}, 4.0, [0.0, 0.25, 0.5]),
        ({}, 2.0, [0.0]),
        ({"max_retries": 1}, 10.0, [0.0, 0.25]),
        ({"max_retries": 0}, 10.0, [0.0]),
        ({"max_retries": 9}, 10.0, [0.0, 0.25, 0.5, 0.75]),
        ({"start_fractions": [], "max_retries": 5}, 10.0, [0.0]),
        ({"start_fractions": PARC, "max_retries": 5, "min_segment_seconds": 0.0}, 0.3, [0.0, *PARC]),
        ({"start_fractions": PARC}, 10.0, [0.0, 0.1, 0.2, 0.3]),
    ],
)
def test_chains(config, length, expected):
    assert chain(RetryConfig.model_validate(config), length) == expected


@given(st.lists(st.one_of(st.none(), st.sampled_from([0.5, 2.0, 7.5]), st.floats(0.0, 60.0))))
def test_the_queue_gives_the_longest_first_and_loses_nothing(operations):
    """None takes an attempt; a number adds one of so many seconds."""
    queue, waiting, added = RetryQueue(), {}, 0
    for seconds in operations:
        if seconds is not None:
            queue.add(Attempt(added, added % 4, 0.0), seconds)
            waiting[Attempt(added, added % 4, 0.0)] = seconds
            added += 1
        elif waiting:
            taken = queue.pop()
            assert waiting.pop(taken) >= max(waiting.values(), default=0.0)
        assert len(queue) == len(waiting)
        assert bool(queue) == bool(waiting)
    rest = [queue.pop() for _ in range(len(queue))]
    assert set(rest) == set(waiting)
    assert [waiting[attempt] for attempt in rest] == sorted(waiting.values(), reverse=True)
    with pytest.raises(IndexError):
        queue.pop()


@given(st.permutations(list(range(6))))
def test_the_order_does_not_depend_on_the_order_of_adding(order):
    queue = RetryQueue()
    for motion in order:
        queue.add(Attempt(motion, 0, 0.0), 1.0 + motion // 2)
    assert [queue.pop().motion for _ in range(6)] == [4, 5, 2, 3, 0, 1]


def test_examples_in_docstrings():
    for module in (retry_policy, retry_queue, reasons):
        result = doctest.testmod(module)
        assert result.attempted >= 2 and result.failed == 0
