"""What the host knows of a population, against its definition written out."""

from __future__ import annotations

import numpy as np
import pytest

from parc_ray.recording.attempt import Attempt
from parc_ray.recording.population import Population, window_steps

ATTEMPT = Attempt(motion=0, number=0, start_fraction=0.0, copies=4)
ENVS = [7, 3, 9, 4]


def population(steps: int = 25, window: int = 10) -> Population:
    return Population(ATTEMPT, ENVS, steps, window)


@pytest.mark.parametrize(("freq", "steps"), [(30, 10), (60, 20), (10, 3), (20, 7), (1, 1)])
def test_a_window_is_a_third_of_a_second(freq, steps):
    assert window_steps(freq) == steps


def test_the_dead_are_counted_up_to_their_death_and_revived():
    p = population()
    for step in range(1, 11):
        p.look({env: np.array([0, 4 * (step == 6 and env == 9), 2, step]) for env in p.living})
    assert (p.step, p.env_steps, p.living, p.over) == (10, 36, [7, 3, 4], False)
    assert p.select(np.array([0.2, 0.1, 0.0, 0.3])) == [3, 3, 3, 3], "a quarter of four goes on"
    assert p.living == ENVS and p.windows == 2


def test_several_steps_between_looks_count_alike():
    p = population()
    p.look({7: np.array([0, 0, 0, 5]), 3: np.array([1, 4, 2, 2]), 9: np.array([0, 0, 0, 5]), 4: np.array([0, 0, 0, 5])})
    assert (p.step, p.env_steps, p.living) == (5, 17, [7, 9, 4])


def test_the_last_death_is_the_latest_and_then_the_lowest_copy():
    p = population()
    p.look({7: np.array([1, 2, 0, 3]), 3: np.array([1, 4, 2, 5]), 9: np.array([1, 3, 1, 5]), 4: np.array([1, 1, 6, 4])})
    assert p.over and p.last_death == (1, 4, 2, 5)


def test_a_lineage_goes_back_through_every_selection():
    p = population(steps=25)
    for distance in ([0.4, 0.3, 0.1, 0.2], [0.1, 0.4, 0.2, 0.3]):
        for step in range(p.step + 1, p.step + 11):
            p.look({env: np.array([0, 0, 0, step]) for env in ENVS})
        p.select(np.array(distance))
    for step in range(21, 26):
        p.look({env: np.array([step == 25, 0, 0, step]) for env in ENVS})
    assert p.over and p.candidates(np.array([0.3, 0.1, 0.2, 0.1])) == [1, 3, 2, 0]
    simulated, observed = p.lineage(3, 25)
    assert simulated == [9] * 11 + [7] * 10 + [4] * 5
    assert observed == [9] * 10 + [7] * 10 + [4] * 6
