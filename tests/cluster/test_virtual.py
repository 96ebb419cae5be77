"""The real driver on pretended GPUs, by a virtual clock: what sharding, handing over and losing actors cost."""

from __future__ import annotations

import os

import pytest
from virtual_cluster import Machine, virtual_run

from parc_ray.motions.motion_file import motion_file_bytes

pytestmark = pytest.mark.slow

TWO_SLOW = (1.0,) * 6 + (0.5,) * 2


@pytest.fixture()
def motion(tmp_path, walk, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # what is written here need not survive
    path = tmp_path / "walk.pkl"
    path.write_bytes(motion_file_bytes(walk))
    return path


def test_many_gpus_are_as_efficient_as_one(motion, tmp_path):
    """Eight GPUs need hardly more than an eighth of the time, however the failures are spread."""
    one, many = (virtual_run(tmp_path / str(gpus), motion, 2000, Machine(gpus)) for gpus in (1, 8))
    assert one.ledger.states() == many.ledger.states() and not many.ledger.states()["waiting"]
    assert one.ledger.attempts == many.ledger.attempts
    assert one.seconds / (8 * many.seconds) > 0.88


@pytest.mark.parametrize(
    "settings, least",
    [
        ({"speeds": TWO_SLOW}, 0.72),
        ({"speeds": TWO_SLOW, "reusable_process": False}, 0.66),
        ({"joins": (0.0,) * 7 + (10.0,)}, 0.88),
        ({}, 0.95),
    ],
)
def test_gpus_that_differ_or_join_late_end_together(motion, tmp_path, settings, least):
    """Without handovers, two slow GPUs of eight would halve the efficiency. No outcome depends on them."""
    machine = Machine(8, slots=32, setup=0.5, **settings)
    run = virtual_run(tmp_path / "run", motion, 4000, machine)
    plain = virtual_run(tmp_path / "plain", motion, 4000, Machine(1, steps_per_second=40_000.0))
    assert run.ledger.outcomes == plain.ledger.outcomes and run.ledger.attempts == plain.ledger.attempts
    assert machine.ideal(run.ledger.env_steps) / run.seconds > least


def test_whatever_dies_every_motion_gets_what_it_would_have_got(motion, tmp_path):
    """Actors die in a tenth of their reports: no motion is blamed, none is attempted twice as often."""
    calm, troubled = (
        virtual_run(tmp_path / str(deaths), motion, 500, Machine(8, deaths=deaths)) for deaths in (0.0, 0.1)
    )
    assert troubled.ledger.outcomes == calm.ledger.outcomes
    assert troubled.ledger.attempts == calm.ledger.attempts


def test_handovers_survive_deaths(motion, tmp_path):
    """Givers and receivers die while motions are on their way."""
    machine = Machine(8, slots=32, speeds=TWO_SLOW, deaths=0.02)
    calm, troubled = (
        virtual_run(tmp_path / str(number), motion, 1500, own)
        for number, own in enumerate((Machine(1, steps_per_second=40_000.0), machine))
    )
    assert troubled.ledger.outcomes == calm.ledger.outcomes
    assert troubled.ledger.attempts == calm.ledger.attempts
