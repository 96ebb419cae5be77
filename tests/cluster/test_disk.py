"""An output directory that cannot be written, or no longer: the run stops at once and goes on when it can."""

from __future__ import annotations

import pytest

from tests.cluster.command import SIMULATED, Command
from tests.cluster.runs import (
    assert_accounted_for,
    assert_nothing_beside,
    assert_same_recordings,
    fingerprints,
    write_config,
)
from tests.cluster.small_disk import SmallDisk

BAD_INPUT, UNWRITABLE = 2, 4
SLOWLY = "from tests.cluster.simulated import install; install(seconds=0.1)"
"""Time enough to pull a plug"""


@pytest.fixture
def config(many_motions, address, tmp_path):
    return write_config(tmp_path, [many_motions], address, ray={"num_actors": 2})


def test_a_full_disk_ends_the_run_which_goes_on_when_there_is_space(config, calm, tmp_path):
    """Wherever the space ends: among the recordings, in the journal, or when terrain.pkl is written."""
    with SmallDisk(tmp_path / "out", "150k") as disk:
        for size in ("300k", "100m"):
            with Command(config, SIMULATED, wrapper=disk.wrapper, output=disk.view) as command:
                run = command.finish()
            assert run.code == UNWRITABLE, run.console
            assert "No space left on device" in run.console and "Traceback" not in run.console
            disk.resize(size)
        with Command(config, SIMULATED, wrapper=disk.wrapper, output=disk.view) as command:
            run = command.finish()
        assert run.code == 0, run.console
        assert_accounted_for(run)
        assert_same_recordings(run, calm)
        assert_nothing_beside(run)


def test_recordings_that_become_read_only_end_the_run(config, calm, tmp_path):
    with SmallDisk(tmp_path / "out", "100m") as disk:
        with Command(config, SLOWLY, wrapper=disk.wrapper, output=disk.view) as command:
            command.wait_for("attempt")
            disk.make_read_only(tmp_path / "out" / "recorded_motions")
            run = command.finish()
        assert run.code == UNWRITABLE, run.console
        assert "Read-only file system" in run.console and "Traceback" not in run.console
        disk.make_writable(tmp_path / "out" / "recorded_motions")
        with Command(config, SIMULATED, wrapper=disk.wrapper, output=disk.view) as command:
            run = command.finish()
        assert run.code == 0, run.console
        assert_accounted_for(run)
        assert_same_recordings(run, calm)


def test_a_read_only_directory_is_refused(config, tmp_path):
    with SmallDisk(tmp_path / "out", "100m") as disk:
        disk.make_read_only(tmp_path / "out")
        with Command(config, SIMULATED, wrapper=disk.wrapper, output=disk.view) as command:
            run = command.finish()
        assert run.code == BAD_INPUT, run.console
        assert "cannot be written to" in run.console and "Traceback" not in run.console
        assert not fingerprints(run.output)


def test_a_directory_that_is_gone_ends_the_run(config, calm, tmp_path, go_on):
    """As when a network drive is unmounted: it goes on when the directory is there again."""
    with Command(config, SLOWLY) as command:
        command.wait_for("attempt")
        (tmp_path / "out").rename(tmp_path / "away")
        run = command.finish()
    assert run.code == UNWRITABLE, run.console
    assert "Traceback" not in run.console
    assert not (tmp_path / "out").exists()
    (tmp_path / "away").rename(tmp_path / "out")
    run = go_on()
    assert run.code == 0, run.console
    assert_accounted_for(run)
    assert_same_recordings(run, calm)
