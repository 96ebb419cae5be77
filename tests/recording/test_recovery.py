"""Motions that the bundled tracker loses alone and populations recover, on the mujoco simulator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from parc_ray.character import rotations
from parc_ray.config.loading import load_yaml
from parc_ray.config.record import RecordConfig
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.errors import InputError
from parc_ray.files.bundled import DEMO
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes, parse_motion, read_misc
from parc_ray.recording import recorder as recorder_module
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.noise import directions, push
from parc_ray.recording.recorder import ShardRecorder
from parc_ray.recording.shard import Shard
from tests.planning.prepared import prepared
from tests.recording.recovery_cases import SECONDS, Cases, Key, find_cases, make_recorder, run
from tests.tracking.test_environment import SKELETON

pytestmark = pytest.mark.slow
TERMINATION_DISTANCE = load_yaml(DEMO / "dm_env.yaml")["env"]["root_pos_termination_dist"]


@pytest.fixture(scope="module")
def cases() -> Cases:
    return find_cases()


@pytest.fixture(scope="module")
def results(cases) -> dict[Key, AttemptResult]:
    return run(make_recorder(list(cases)))


def attempts_at(results: dict[Key, AttemptResult], motion: Motion) -> list[tuple[int, int, str]]:
    return [(key[1], key[2], r.attempt.outcome.value) for key, r in results.items() if key[0] == motion.name]


def same(expected: dict[Key, AttemptResult], actual: dict[Key, AttemptResult]) -> bool:
    """Whether results are the same in every byte; those expected may be of more motions."""
    return all(replace(expected[key]) == result and expected[key].recording == result.recording
               for key, result in actual.items())  # fmt: skip


def test_the_whole_motion_is_tried_alone_then_in_growing_populations_then_in_part(cases, results):
    assert attempts_at(results, cases.easy) == [(0, 0, "recorded")]
    assert attempts_at(results, cases.first_size) == [(0, 0, "failed"), (4, 0, "recorded")]
    assert attempts_at(results, cases.second_size) == [(0, 0, "failed"), (4, 0, "failed"), (8, 1, "recorded")]
    lost = attempts_at(results, cases.hopeless)
    assert lost[:3] == [(0, 0, "failed"), (4, 0, "failed"), (8, 1, "failed")]
    assert [(copies, number) for copies, number, _ in lost[3:]] == [(0, 1), (0, 2)]
    starts = [results[(cases.hopeless.name, *key[:2])].attempt for key in lost]
    assert [a.start_fraction for a in starts] == [0.0, 0.0, 0.0, 0.25, 0.5]
    assert [a.next_fraction for a in starts] == [0.0, 0.0, 0.25, 0.5, None]


def test_recovered_recordings_are_whole_accepted_and_say_how_they_were_made(cases, results):
    for motion, copies, number in ((cases.first_size, 4, 0), (cases.also_first_size, 4, 0), (cases.second_size, 8, 1)):
        result = results[motion.name, copies, number]
        recorded = parse_motion(result.recording, motion.name, SKELETON, "recording")
        assert recorded.num_frames == motion.num_frames
        moved = recorded.root_pos - motion.root_pos
        assert np.linalg.norm(moved - moved[0], axis=1).max() < TERMINATION_DISTANCE
        origin = read_misc(result.recording)["recording"]
        assert (origin["attempt"], origin["start_fraction"], origin["seed"]) == (number, 0.0, 0)
        assert origin["recovery"] == {
            "copies": copies, "noise": 0.6, "windows": 8, "window_seconds": 0.333333, "copying": "exact",
        }  # fmt: skip
        assert result.attempt.env_steps <= copies * 75
    assert "recovery" not in read_misc(results[cases.easy.name, 0, 0].recording)["recording"]


def test_a_recovered_recording_is_one_simulation_of_the_tracker_and_its_noise(cases, results, monkeypatch):
    """The lineage, simulated again in one env without any copying, is the recording in every bit."""
    ended: list[Any] = []
    original = ShardRecorder._end_of_copy

    def remember(self, population, survivor, following):
        ended.append((population, survivor))
        return original(self, population, survivor, following)

    monkeypatch.setattr(ShardRecorder, "_end_of_copy", remember)
    motion, steps = cases.second_size, 75
    run(make_recorder([motion], envs=8))
    population, winner = ended[-1]
    assert population.attempt.copies == 8
    lineage = [population.envs.index(env) for env in population.lineage(winner, steps)[0]]
    assert len(set(lineage)) > 2
    alone = make_recorder([motion], envs=1, recovery=False)
    environment = alone.environment
    environment.start([0], [0], [0.0])
    frames = [environment.first_frame([0])]
    with torch.inference_mode():
        for step in range(steps):
            drawn = directions((0, motion.name, 8, step // 10), 8, SKELETON.dof_count)[lineage[step + 1]]
            strength = push(10)[step % 10] * np.float32(0.6) if lineage[step + 1] else np.float32(0.0)
            noise = torch.from_numpy(drawn * strength)
            observations = environment.observe_rows(environment.rows([0]))[:1]
            environment.step([0], alone.act.__self__.explore(observations, noise.unsqueeze(0)))
            frames.append(environment.first_frame([0]))
    recorded = parse_motion(results[motion.name, 8, 1].recording, motion.name, SKELETON, "recording")
    joints = torch.cat([pose.joint_rot for _, pose, _ in frames]).numpy()
    joints = np.where(joints[..., 3:] < 0, -joints, joints)
    assert np.array_equal(joints, recorded.joint_rot)


@pytest.mark.parametrize(("envs", "threads", "order"), [(8, 1, 1), (30, 2, -1), (13, 3, 1)])
def test_results_do_not_depend_on_slots_threads_and_order(cases, results, envs, threads, order):
    assert same(results, run(make_recorder(list(cases)[::order], envs=envs, threads=threads)))


@pytest.mark.parametrize("motions", [slice(1, 2), slice(3, None)])
def test_results_do_not_depend_on_the_shard(results, cases, motions):
    assert same(results, run(make_recorder(list(cases)[motions])))


@pytest.mark.parametrize("made", [(1, 0), (1, 1), (1, 2), (2, 2)])
def test_what_was_done_before_an_interruption_is_not_done_again(cases, results, made):
    rest = run(make_recorder([cases.hopeless], made=[made]))
    assert same(results, rest)
    before = [(0, n) for n in range(made[0])] + [((4, 8)[n], n) for n in range(made[1])]
    assert attempts_at(rest, cases.hopeless) == [a for a in attempts_at(results, cases.hopeless) if a[:2] not in before]


def test_recovering_after_later_starts_gives_the_same_recording(cases, results):
    (key, result), = [
        (key, r) for key, r in run(make_recorder([cases.first_size], made=[(3, 0)])).items()
    ]  # fmt: skip
    assert key == (cases.first_size.name, 4, 0) and result.recording == results[key].recording


def test_what_is_recorded_at_once_is_what_it_is_without_recovery(cases, results):
    without = run(make_recorder(list(cases), recovery=False))
    assert not any(copies for _, copies, _ in without)
    assert all(r.recording == results[key].recording for key, r in without.items() if key[2] == 0)


def test_another_seed_recovers_otherwise(cases, results):
    key = (cases.first_size.name, 4, 0)
    other = run(make_recorder([cases.first_size], seed=1))
    assert other[key].recording != results[key].recording


@pytest.mark.parametrize("observations", [False, True])
def test_all_slots_at_once_give_the_same(cases, results, observations, monkeypatch):
    """As on a GPU: a step of fixed shape for all slots, the host looking at every fifth."""
    settings = {"record": {"observations": observations}, "output": {"report": False}}
    motions = (cases.easy, cases.first_size, cases.second_size)
    expected = run(make_recorder(motions, **settings))
    original = ShardRecorder.__init__
    monkeypatch.setattr(ShardRecorder, "__init__", lambda self, *a, **k: original(self, *a, **{**k, "all_slots": True}))
    recorder = make_recorder(motions, **settings)
    assert recorder._look_every == (1 if observations else 5)
    assert same(expected, run(recorder))


def test_observations_are_those_of_the_recorded_frames(cases):
    """At the ends of windows, too, where a frame is simulated in one env and observed in another."""
    result = run(make_recorder([cases.first_size], record={"observations": True}))[cases.first_size.name, 4, 0]
    misc, recorded = read_misc(result.recording), parse_motion(result.recording, "", SKELETON, "recording")
    recorder = make_recorder([cases.first_size])
    char = misc["obs"][:, : int(np.prod(misc["obs_shapes"]["char_obs"]["shape"]))]
    layout = recorder.environment.tracker.observer._char.layout
    joints = layout.split(torch.from_numpy(char.copy()))["joints"]
    expected = rotations.quat_to_tan_norm(torch.from_numpy(recorded.joint_rot))
    assert float((joints - expected).abs().max()) < 1e-5


def test_a_population_that_does_not_fit_is_left_out_and_said_so(cases, caplog, monkeypatch):
    """Never made smaller. The device has turned out to hold 5 envs."""
    monkeypatch.setattr(Shard, "num_envs", lambda self, run: 5)
    results = run(make_recorder([cases.second_size]))
    assert {copies for copies, _, _ in attempts_at(results, cases.second_size)} == {0, 4}
    assert "only 5 envs fit the device" in caplog.text


def test_a_hovering_reference_without_labels_is_not_recovered():
    """Only the root error tells: nothing agrees with contacts that are not known."""
    hover = replace(
        generate_motion(MotionSpec("walk", 3, SECONDS, 0.2, flaw="hover"), SKELETON, "hover"), labelled=False
    )
    results = run(
        make_recorder(
            [hover], recovery={"copies": [4], "max_mean_root_error": 0.02}, acceptance={"max_penetration": 5.0}
        )
    )
    assert all(r.attempt.outcome != "recorded" for (_, copies, _), r in results.items() if copies)


def test_a_checkpoint_without_standard_deviations_is_refused(cases, tmp_path):
    state = torch.load(DEMO / "model.pt", weights_only=True)
    torch.save({name: value for name, value in state.items() if "logstd" not in name}, tmp_path / "model.pt")
    (tmp_path / "walk.pkl").write_bytes(motion_file_bytes(cases.easy))
    values = {
        "output_dir": tmp_path / "out", "device": "cpu", "simulator": "mujoco", "dataset_file": tmp_path / "walk.pkl",
        "model_file": tmp_path / "model.pt", "env_file": DEMO / "dm_env.yaml",
        "agent_file": DEMO / "agent_config.yaml",
    }  # fmt: skip
    assert prepared(RecordConfig.model_validate(values)).plan.envs == [1]
    with pytest.raises(InputError, match="no standard deviations of actions"):
        prepared(RecordConfig.model_validate({**values, "recovery": True}))
    plan = prepared(RecordConfig.model_validate({**values, "model_file": DEMO / "model.pt", "recovery": True})).plan
    assert plan.envs == [64], "room for the largest population"


def test_the_look_divides_the_window():
    for window in range(1, 41):
        look = recorder_module._look_every(window)
        assert window % look == 0
    assert [recorder_module._look_every(window) for window in (3, 7, 10, 12, 20)] == [3, 7, 5, 4, 4]
