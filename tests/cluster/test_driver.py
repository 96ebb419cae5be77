"""The driver against actors that die, hang, raise and repeat themselves."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from dataclasses import replace

import pytest
import ray

from parc_ray.cluster import driver, failure_policy, run
from parc_ray.cluster.actor import ShardActor
from parc_ray.cluster.connection import connect, ray_session
from parc_ray.cluster.crash_output import Printout, read_crash_output
from parc_ray.cluster.report import WorkReport
from parc_ray.errors import InputError
from parc_ray.planning import preparation
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.runs.events import MotionEnded
from parc_ray.runs.journal import Journal
from tests.cluster.conftest import SPECS
from tests.cluster.runs import assert_accounted_for, assert_same_recordings, record_run

# ------------------------------------------------------------------------------------------- real actors


def test_a_killed_actor_costs_only_what_it_had_not_reported(undisturbed, motions, address, tmp_path, monkeypatch):
    """SIGKILL as soon as the first attempt is reported: the same recordings result, and nothing twice."""
    monkeypatch.setattr(driver, "REPORT_SECONDS", 0.2)
    log = tmp_path / "out" / "logs" / "run.log"
    killed = []

    class KillingJournal(Journal):
        def write(self, *events):
            super().write(*events)
            if any(isinstance(event, MotionEnded) for event in events) and not killed:
                killed.append(int(re.findall(r"pid (\d+)", log.read_text())[-1]))
                os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(run, "Journal", KillingJournal)
    disturbed = record_run(tmp_path, motions, address, ray={"num_shards": 1}, num_envs=3)
    assert disturbed.code == 0
    assert_accounted_for(disturbed)
    assert_same_recordings(disturbed, undisturbed)
    (death,) = disturbed.events("death")
    assert "actor died" in death["reason"]
    first, second = disturbed.events("shard")
    assert len(first["motions"]) == len(SPECS)
    # Nothing was left to luck: what was finished before the death was not given to the second actor.
    lines = [line for line in disturbed.events("motion") + disturbed.events("death") if line.get("state") != "invalid"]
    before = {line["motion"] for line in lines if line["event"] == "motion" and line["time"] <= death["time"]}
    assert before and sorted(second["motions"]) == sorted(death["unfinished"]) == sorted(set(SPECS) - before)


def test_a_checkpoint_that_never_loads_ends_the_run(motions, address, tmp_path, monkeypatch):
    """Checked before the run, broken since: no motion is to blame, and no loop is endless."""
    read_inputs = preparation.read_inputs

    def broken(*arguments):
        inputs = read_inputs(*arguments)
        return replace(
            inputs, files=replace(inputs.files, tracker=replace(inputs.files.tracker, checkpoint=b"cut off"))
        )

    monkeypatch.setattr(preparation, "read_inputs", broken)
    monkeypatch.setattr(failure_policy, "FAILED_SETUPS", 1)
    monkeypatch.setattr(failure_policy, "HOPELESS_MOTIONS", 1)
    ended = record_run(tmp_path, motions, address, ray={"num_actors": 2})
    assert ended.code == 3
    assert_accounted_for(ended)
    assert ended.summary["crashed"] == len(SPECS)
    assert all("model.pt" in reason for reason in ended.summary["crashed_motions"].values())
    assert len(ended.events("death")) < len(SPECS)
    assert "crashed: walk_001: no actor could be set up" in ended.console


# ------------------------------------------------------------------------------------------- scripted actors


def scripted(work=lambda motion: None, setup=lambda motions: None, repeats=False):
    """An actor class that simulates nothing: each motion it works on is recorded at once, after work(name).

    repeats: reports bring the results of all earlier ones again. Local, so that Ray ships it as it is.
    """

    class ScriptedActor(ShardActor):
        def setup(self, run, shard, threads, device):
            setup([motion.name for motion in shard.motions])
            self.waiting, self.results = list(shard.motions), []
            return WorkReport()

        def work(self, seconds):
            motion = self.waiting.pop(0)
            work(motion.name)
            summary = RunAttempt(
                motion=motion.name, number=motion.first_attempt, start_fraction=0.0, start_time=0.0, seconds=2.0,
                outcome=Outcome.RECORDED, recorded_seconds=2.0,
            )  # fmt: skip
            result = AttemptResult(summary, recording=motion.name.encode())
            self.results = [*self.results, result] if repeats else [result]
            return WorkReport(results=tuple(self.results), done=not self.waiting)

    return ScriptedActor


@pytest.fixture
def run_with(motions, address, tmp_path, monkeypatch):
    """Record the dataset in one shard with a scripted actor."""

    def recorded(actor, folder=motions, **settings):
        monkeypatch.setattr(driver, "ShardActor", actor)
        result = record_run(tmp_path, folder, address, **settings)
        assert_accounted_for(result)
        return result

    return recorded


def once(folder, act):
    """A function that does something the first time it is called for "idle_000", in whatever process."""
    marker = str(folder / "marker")

    def work(name):
        if name == "idle_000" and not os.path.exists(marker):  # noqa: PTH110
            open(marker, "w").close()  # noqa: PTH123
            act()

    return work


def test_a_hung_actor_is_killed_and_replaced(run_with, tmp_path):
    result = run_with(scripted(once(tmp_path, lambda: time.sleep(300))), ray={"timeout_seconds": 3.0})
    assert result.code == 0
    assert result.summary["recorded"] == len(SPECS)
    (death,) = result.events("death")
    assert "silent for 3 s" in death["reason"]
    assert "idle_000" in death["unfinished"]
    assert sorted(result.events("shard")[1]["motions"]) == death["unfinished"]


def test_an_actor_that_raises_is_replaced_and_repeated_results_are_dropped(run_with, tmp_path):
    result = run_with(scripted(once(tmp_path, lambda: 1 / 0), repeats=True))
    assert result.code == 0
    assert result.summary["recorded"] == result.summary["attempts"] == len(SPECS)
    assert "ZeroDivisionError" in result.events("death")[0]["reason"]
    assert "dropped a late result" in result.log


def test_a_motion_that_kills_every_actor_is_found(run_with):
    def work(name):
        if name == "tumble_004":
            os._exit(1)

    result = run_with(scripted(work))
    assert result.code == 3
    assert result.summary["recorded"] == len(SPECS) - 1
    assert set(result.summary["crashed_motions"]) == {"tumble_004"}
    assert "actor died" in result.summary["crashed_motions"]["tumble_004"]


@pytest.fixture
def few_motions(tmp_path, motions):
    """A folder of three motions, one of which something is going to happen to."""
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("tumble_004", "turn_002", "idle_000"):
        shutil.copy(motions / f"{name}.pkl", folder)
    return folder


def test_a_motion_that_no_actor_can_load_is_found(run_with, few_motions):
    """Also where the very first setups fail, all the others are recorded."""

    def setup(names):
        if "tumble_004" in names:
            raise ValueError("tumble_004 is broken")

    result = run_with(scripted(setup=setup), few_motions)
    assert result.code == 3
    assert result.summary["recorded"] == 2
    assert set(result.summary["crashed_motions"]) == {"tumble_004"}


def test_a_motion_file_that_changes_is_not_recorded(run_with, few_motions, monkeypatch):
    """What is recorded is what was checked, and what the journal has the fingerprint of."""
    read_inputs = preparation.read_inputs

    def changing(*arguments):
        inputs = read_inputs(*arguments)
        shutil.copy(few_motions / "turn_002.pkl", few_motions / "tumble_004.pkl")
        return inputs

    monkeypatch.setattr(preparation, "read_inputs", changing)
    result = run_with(scripted(), few_motions)
    assert result.code == 3
    assert "its file has changed" in result.summary["crashed_motions"]["tumble_004"]
    assert result.summary["recorded"] == 2


def test_a_motion_file_that_vanishes_is_named(run_with, few_motions, monkeypatch):
    read_inputs = preparation.read_inputs

    def vanishing(*arguments):
        inputs = read_inputs(*arguments)
        (few_motions / "tumble_004.pkl").unlink()
        return inputs

    monkeypatch.setattr(preparation, "read_inputs", vanishing)
    result = run_with(scripted(), few_motions)
    assert result.code == 3
    assert "its file has gone" in result.summary["crashed_motions"]["tumble_004"]
    assert result.summary["recorded"] == 2
    assert "terrain.pkl left out" in result.console


def test_what_a_crashed_actor_has_printed_is_kept(run_with, tmp_path):
    """Of native code that crashes, nothing else tells why."""

    def crash():
        os.write(1, b"PhysX error: the device is lost\n")
        os.kill(os.getpid(), signal.SIGSEGV)

    result = run_with(scripted(once(tmp_path, crash)))
    assert result.code == 0
    (death,) = result.events("death")
    assert "actor died" in death["reason"] and "its last words are in logs/run.log" in death["reason"]
    shard = (result.output / "logs" / "shard_0000.log").read_text()
    assert "printed: PhysX error: the device is lost" in shard
    assert re.search(r"printed: .*SIGSEGV", shard) and re.search(r"printed: .* in crash", shard), "the stack, too"


def test_last_words_are_fetched_from_other_machines(address, tmp_path, monkeypatch):
    with ray_session():
        connect(address, [])
        head, other = (node["NodeID"] for node in ray.nodes())
        (tmp_path / "worker.err").write_text("of another process\nthe end\n\n")
        printouts = (Printout(str(tmp_path / "worker.err"), len("of another process\n")),)
        assert read_crash_output(printouts, head) == ["the end"]
        monkeypatch.setattr(os.path, "exists", lambda path: False)  # as on the driver's machine
        assert read_crash_output(printouts, other) == ["the end"]
        assert read_crash_output(printouts, "0" * len(other)) == [], "its node is gone"


# ------------------------------------------------------------------------------------------- addresses


@pytest.mark.timeout(60)
@pytest.mark.parametrize("place", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_an_unreachable_cluster_is_an_input_error_at_once(place):
    with pytest.raises(InputError, match=re.escape(f"ray.address = '{place}'")):
        connect(place, ["cpu"])


def test_a_cluster_of_another_version_is_an_input_error(monkeypatch):
    """Ray raises whatever comes to its mind."""
    mismatch = "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\nThis process with:\n    Ray: 2.10.0\n"

    def init(**_):
        raise RuntimeError(mismatch)

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(InputError, match=r"'auto': cannot be joined: .* Ray: 2.9.0 .* All nodes need the same Ray"):
        connect("auto", [])
