"""The work of a control step: how much it is, and that all slots at once come to what busy ones come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc_ray.config.record import RecordConfig
from parc_ray.files.bundled import DEMO
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.build import build_recorder
from parc_ray.recording.recorder import LOOK_EVERY, ShardRecorder
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.tracking.launches import count_steps
from tests.planning.prepared import prepared
from tests.recording.test_recorder import FEASIBLE, IMPOSSIBLE, LATE, by_attempt, make_recorder, run

MOTIONS = [FEASIBLE[3], IMPOSSIBLE, FEASIBLE[4], LATE[0]]


@pytest.fixture(scope="module")
def results() -> list[AttemptResult]:
    return run(make_recorder(MOTIONS, num_envs=3, record={"keep_failures": True}))


@pytest.mark.parametrize("observations", [False, True])
def test_all_slots_at_once_give_the_same_results(results, observations):
    """To the byte, although it is seen later that an attempt has ended: it was stepped on, but its time stood still."""
    record = {"keep_failures": True, "observations": observations}
    recorder = make_recorder(MOTIONS, num_envs=3, record=record, all_slots=True)
    found = run(recorder)
    if observations:
        plain = make_recorder(MOTIONS, num_envs=3, record=record)
        assert by_attempt(found) == by_attempt(run(plain))
    else:
        assert by_attempt(found) == by_attempt(results)
        assert recorder.utilization.steps % LOOK_EVERY == 0
        assert recorder.utilization.env_steps > sum(round(30 * result.attempt.seconds) for result in found)


def demo_recorder(folder: Path, envs: int) -> ShardRecorder:
    """The demo's tracker on one motion, in so many envs."""
    content = motion_file_bytes(FEASIBLE[0])
    (folder / "motion.pkl").write_bytes(content)
    config = RecordConfig(
        output_dir=folder / "out", device="cpu", dataset_file=folder / "motion.pkl", model_file=DEMO / "model.pt",
        env_file=DEMO / "dm_env.yaml", agent_file=DEMO / "agent_config.yaml", simulator="mujoco",
        max_envs_per_actor=envs,
    )  # fmt: skip
    motion = ShardMotion("motion", "motion.pkl", content, 0)
    return build_recorder(prepared(config).inputs.files, Shard(0, (motion,) * envs), 1, "cpu")


@pytest.mark.parametrize("all_slots", [False, True])
def test_what_a_control_step_costs_a_gpu(tmp_path, all_slots):
    """At most 250 kernels, and the host waits for the device at most once; all slots at once, only now and then."""
    built = demo_recorder(tmp_path, envs=65)  # more than one batch of rows
    recorder = ShardRecorder(built.environment, built.meter, built.config, built.origin, all_slots=all_slots)
    for _ in range(LOOK_EVERY):
        assert recorder.advance() == []
    steps = count_steps(recorder.environment, recorder.advance, LOOK_EVERY)
    assert max(step.kernels for step in steps) <= 250, steps[0].operations
    assert sum(step.synchronisations for step in steps) <= (1 if all_slots else LOOK_EVERY)


def waits_at_the_end(folder: Path, envs: int) -> int:
    """How often the host waits for the device in the step after which so many attempts are found to have ended."""
    folder.mkdir()
    built = demo_recorder(folder, envs)
    environment = built.environment
    recorder = ShardRecorder(environment, built.meter, built.config, built.origin, all_slots=True)
    recorder.advance()
    while int(environment.steps_done[0]) < int(environment.steps_total[0]) - LOOK_EVERY:
        assert recorder.advance() == []
    results: list[AttemptResult] = []
    while not results:
        step = count_steps(environment, lambda: results.extend(recorder.advance()), 1)[0]
    assert len(results) == envs
    return step.synchronisations


def test_attempts_that_end_together_wait_for_the_device_together(tmp_path):
    """Otherwise a GPU with thousands of envs would stand still most of the time."""
    assert waits_at_the_end(tmp_path / "one", 1) == waits_at_the_end(tmp_path / "five", 5) > 0
