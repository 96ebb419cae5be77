"""The real driver on pretended GPUs, by a virtual clock: what sharding, queueing and losing actors cost."""

from __future__ import annotations

import os

import pytest

from parc_ray.motions.motion_file import motion_file_bytes
from tests.cluster.virtual import Machine, virtual_run

pytestmark = pytest.mark.slow


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


def test_whatever_dies_every_motion_gets_what_it_would_have_got(motion, tmp_path):
    """Actors die in a tenth of their reports: no motion is blamed, none is attempted twice as often."""
    calm, troubled = (
        virtual_run(tmp_path / str(deaths), motion, 500, Machine(8, deaths=deaths)) for deaths in (0.0, 0.1)
    )
    assert troubled.ledger.outcomes == calm.ledger.outcomes
    assert troubled.ledger.attempts == calm.ledger.attempts
