"""Actors and drivers killed at random times: nothing is lost, nothing doubled, and no bit is different."""

from __future__ import annotations

from random import Random

import pytest

from tests.cluster.chaos import Toll, record_in_chaos
from tests.cluster.runs import (
    assert_accounted_for,
    assert_nothing_beside,
    assert_same_recordings,
    write_config,
)

QUICK = "from tests.cluster.simulated import install; install(seconds=0.05, report_seconds=0.1)"
FREQUENT_REPORTS = "from parc_ray.cluster import driver; driver.REPORT_SECONDS = 0.3"
REAL_SHARE = 10
"""Real recorders are slow: every tenth kill hits one of them"""


@pytest.fixture
def toll(request):
    """Counts kills; --kills N has this many of them in all."""
    toll = Toll()
    yield toll
    print(f"\n{toll}")


def test_simulated_recorders(many_motions, calm, address, tmp_path, request, toll):
    """Short runs, many kills."""
    kills = request.config.getoption("--kills")
    actors = {"num_actors": 3, "num_shards": 6}
    while toll.total < kills:
        seed = toll.runs
        config = write_config(tmp_path / str(seed), [many_motions], address, ray=actors)
        run = record_in_chaos(config, QUICK, Random(seed), toll, (0.05, 1.5), most=kills - toll.total)
        assert run.code == 0, run.console
        assert_accounted_for(run)
        assert_same_recordings(run, calm)
        assert_nothing_beside(run)
        print(f"\n{toll}")


def test_real_recorders(undisturbed, motions, address, tmp_path, request, toll):
    kills = max(1, request.config.getoption("--kills") // REAL_SHARE)
    while toll.total < kills:
        seed = toll.runs
        config = write_config(tmp_path / str(seed), [motions], address, ray={"num_actors": 2, "num_shards": 3})
        run = record_in_chaos(config, FREQUENT_REPORTS, Random(seed), toll, (1.0, 6.0), 0.3, most=kills - toll.total)
        assert run.code == 0, run.console
        assert_accounted_for(run)
        assert_same_recordings(run, undisturbed)
        assert_nothing_beside(run)
        print(f"\n{toll}")
