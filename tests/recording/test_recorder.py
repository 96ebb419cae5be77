"""A shard worked through with a stand-in for the tracker, on the mujoco simulator."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from parc_ray.character.surface import surface_points
from parc_ray.config.record import RecordConfig
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import parse_motion, read_misc
from parc_ray.recording import recorder as recorder_module
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.recorder import ShardRecorder
from parc_ray.tracking.environment import TrackingEnvironment
from parc_ray.tracking.meter import MetricMeter
from tests.reference import max_error
from tests.tracking.test_environment import CPU, SKELETON, TEXT, make_environment, motion

MOTIONS = [
    motion("idle", 2.0, seed=9),
    motion("idle", 2.2, seed=4, difficulty=0.5),
    motion("idle", 1.6, seed=7),
    motion("turn", 1.4, seed=3),
    motion("walk", 1.2, seed=3),
    motion("walk", 2.0, seed=6, flaw="fly"),
    motion("idle", 2.4, seed=12, flaw="late", feasible_from=0.25),
    motion("idle", 3.0, seed=15, flaw="late", feasible_from=0.5),
]
FEASIBLE, IMPOSSIBLE, LATE = MOTIONS[:5], MOTIONS[5], MOTIONS[6:]
ORIGIN = {"simulator": "mujoco", "checkpoint_sha256": "0" * 64, "seed": 0}
RETRY = {"min_segment_seconds": 0.5}


def make_recorder(
    motions: Sequence[Motion] = MOTIONS,
    num_envs: int = 4,
    first_attempts: list[int] | None = None,
    threads: int = 1,
    all_slots: bool = False,
    **config: Any,
) -> ShardRecorder:
    settings: dict[str, Any] = {"retry": RETRY, **config}
    files = dict.fromkeys(("output_dir", "model_file", "env_file", "agent_file", "dataset_file"), "unused")
    loop_seconds = settings.get("record", {}).get("min_loop_seconds", 0.0)
    environment = make_environment(motions, num_envs, threads, loop_seconds)
    surface = surface_points(TEXT, "humanoid.xml", CPU)
    return ShardRecorder(
        environment,
        MetricMeter(surface, environment.terrains),
        RecordConfig.model_validate({**files, **settings}),
        ORIGIN,
        [(number, 0) for number in first_attempts or [0] * len(motions)],
        all_slots,
    )


def run(recorder: ShardRecorder) -> list[AttemptResult]:
    results = []
    while not recorder.done:
        results += recorder.advance()
    return results


def by_attempt(results: Sequence[AttemptResult]) -> dict[Any, AttemptResult]:
    assert len({(result.attempt.motion, result.attempt.number) for result in results}) == len(results)
    return {(result.attempt.motion, result.attempt.number): result for result in results}


@pytest.fixture(scope="module")
def results() -> list[AttemptResult]:
    return run(make_recorder())


def attempts_at(results: Sequence[AttemptResult], source: Motion) -> list[AttemptResult]:
    return [result for result in results if result.attempt.motion == source.name]


# ------------------------------------------------------------------------------------------------- outcomes


def test_every_motion_has_exactly_one_final_outcome(results):
    for source in MOTIONS:
        attempts = attempts_at(results, source)
        assert [attempt.attempt.number for attempt in attempts] == list(range(len(attempts)))
        assert [attempt.attempt.next_fraction is None for attempt in attempts] == [False] * (len(attempts) - 1) + [True]
        for before, after in zip(attempts, attempts[1:]):
            assert before.attempt.outcome in ("failed", "rejected")
            assert after.attempt.start_fraction == before.attempt.next_fraction
        assert attempts[0].attempt.start_fraction == 0.0
        for attempt in attempts:
            assert (
                (attempt.recording is not None)
                == (attempt.attempt.outcome == "recorded")
                == (attempt.attempt.reason == "")
            )
            assert attempt.attempt.start_time == pytest.approx(attempt.attempt.start_fraction * source.length, rel=1e-6)


def there_and_back(source: Motion) -> Motion:
    """A motion of a second that loops: the first half of another one, then the same backwards."""
    parts = {name: getattr(source, name)[:16] for name in ("root_pos", "root_rot", "joint_rot", "contacts")}
    parts = {name: np.concatenate([part, part[-2::-1]]) for name, part in parts.items()}
    return replace(source, name="loop", loop_mode="WRAP", **parts)


def test_a_motion_that_loops_is_tracked_for_whole_passes():
    once = motion("idle", 1.0, seed=9)
    attempts = by_attempt(run(make_recorder([once, there_and_back(once)], record={"min_loop_seconds": 1.5})))
    single, several = attempts[once.name, 0].attempt, attempts["loop", 0].attempt
    assert (single.recorded_seconds, several.recorded_seconds) == (1.0, 2.0), several.reason
    recorded = parse_motion(attempts["loop", 0].recording, "loop", SKELETON, "loop")
    assert (recorded.num_frames, recorded.loop_mode) == (61, "CLAMP")
    assert several.quality["root_error"] < 0.1 and 0.0 <= several.quality["foot_skate"] < 0.3


def test_what_can_be_tracked_is_recorded(results):
    for source in FEASIBLE:
        (attempt,) = attempts_at(results, source)
        assert attempt.attempt.outcome == "recorded", attempt.attempt.reason
        assert attempt.attempt.seconds == attempt.attempt.recorded_seconds == pytest.approx(source.length)


def test_what_cannot_be_tracked_is_given_up(results):
    attempts = attempts_at(results, IMPOSSIBLE)
    assert [attempt.attempt.start_fraction for attempt in attempts] == [0.0, 0.25, 0.5, 0.75]
    assert all(attempt.attempt.outcome == "failed" and attempt.attempt.recorded_seconds == 0.0 for attempt in attempts)
    assert all(attempt.attempt.reason.startswith(("root position after", "body position (")) for attempt in attempts)
    assert attempts[0].attempt.reason.endswith(f"after {attempts[0].attempt.seconds:.2f} s")


def test_a_later_start_saves_what_only_begins_badly(results):
    for source, fraction in zip(LATE, (0.25, 0.5)):
        last = attempts_at(results, source)[-1]
        assert (last.attempt.outcome, last.attempt.start_fraction) == ("recorded", fraction)
        assert last.attempt.recorded_seconds == pytest.approx((1 - fraction) * source.length, abs=1 / 30)


def test_recordings_are_motions_that_resemble_their_source(results):
    for result in results:
        if result.recording is None:
            continue
        recorded = parse_motion(result.recording, result.attempt.motion, SKELETON, result.attempt.motion)
        source = next(item for item in MOTIONS if item.name == result.attempt.motion)
        first = round(result.attempt.start_fraction * (source.num_frames - 1))
        assert (recorded.fps, recorded.num_frames) == (30.0, round(30 * result.attempt.seconds) + 1)
        moved = recorded.root_pos - source.root_pos[first : first + recorded.num_frames]
        assert np.linalg.norm(moved - moved[0], axis=1).max() < 0.3
        assert recorded.root_pos[0, :2].tolist() == [0.0, 0.0]
        assert set(np.unique(recorded.contacts)) <= {0.0, 1.0}
        origin = read_misc(result.recording)["recording"]
        assert origin == {
            **ORIGIN,
            "source_motion": result.attempt.motion,
            "start_fraction": result.attempt.start_fraction,
            "start_time": result.attempt.start_time,
            "attempt": result.attempt.number,
            "quality": result.attempt.quality,
        }


def test_results_are_plain_values(results):
    """They travel to processes without torch, and into a JSON journal."""
    for result in results:
        for value in [*vars(result.attempt).values(), *result.attempt.quality.values()]:
            assert type(value) in (str, Outcome, int, float, dict, tuple, type(None))


# --------------------------------------------------------------------------------- the same however it is run


@pytest.mark.parametrize(("num_envs", "threads"), [(3, 2), (8, 1)])
def test_the_number_of_envs_changes_nothing(results, num_envs, threads):
    """Recordings are equal to the byte, and so is everything else."""
    assert by_attempt(run(make_recorder(num_envs=num_envs, threads=threads))) == by_attempt(results)


def test_sharding_and_order_change_nothing(results):
    together = by_attempt(results)
    for shard in (MOTIONS[::-2], MOTIONS[::2]):
        part = by_attempt(run(make_recorder(shard, num_envs=2)))
        names = {source.name for source in shard}
        assert part == {key: result for key, result in together.items() if key[0] in names}


def test_work_begun_elsewhere_is_continued(results):
    """The first attempts of these motions were made and reported by an actor that died."""
    together, source = by_attempt(results), [LATE[1], IMPOSSIBLE, FEASIBLE[0]]
    continued = by_attempt(run(make_recorder(source, num_envs=2, first_attempts=[1, 2, 0])))
    assert set(continued) == {
        (LATE[1].name, 1), (LATE[1].name, 2), (IMPOSSIBLE.name, 2), (IMPOSSIBLE.name, 3), (FEASIBLE[0].name, 0)
    }  # fmt: skip
    assert all(together[key] == result for key, result in continued.items())


class Poisoned:
    """Gives one action that is not a number, in its fifth step to the first env."""

    def __init__(self, environment: TrackingEnvironment) -> None:
        self.steps, self._act = 0, environment.tracker.act

    def act(self, obs: Tensor) -> Tensor:
        actions = self._act(obs)
        self.steps += 1
        if self.steps == 5:
            actions[0, 3] = math.nan
        return actions


def test_a_broken_action_fails_one_attempt_only(results):
    recorder = make_recorder(num_envs=4)
    recorder.act = Poisoned(recorder.environment).act
    expected, broken = by_attempt(results), by_attempt(run(recorder))
    (victim,) = [key for key, result in broken.items() if result.attempt.reason.startswith("not finite")]
    failed = broken.pop(victim).attempt
    assert (failed.outcome, failed.reason, failed.next_fraction) == ("failed", "not finite after 0.17 s", 0.25)
    del expected[victim]
    assert broken == expected  # the next attempts at the same motion, and in the same env, included


# ------------------------------------------------------------------------------------------------- acceptance


def test_acceptance_rejects_with_figures_and_tries_again():
    recorder = make_recorder(FEASIBLE[:2], acceptance={"max_mean_root_error": 0.0001})
    rejected = run(recorder)
    assert all(result.attempt.outcome == "rejected" and result.recording is None for result in rejected)
    assert all(result.attempt.reason.startswith("max_mean_root_error: 0.0") for result in rejected)
    assert {result.attempt.start_fraction for result in rejected} == {0.0, 0.25, 0.5, 0.75}
    assert all(result.attempt.recorded_seconds == 0.0 < result.attempt.seconds for result in rejected)


def test_acceptance_none_records_whatever_survives(results):
    """Nothing that survives is rejected, even with a sole deep in the ground."""
    limits = {"min_contact_agreement": 1.0, "max_penetration": 0.0, "max_mean_root_error": 0.0}
    strict = run(make_recorder(FEASIBLE[:2], acceptance=limits, retry={"max_retries": 0}))
    assert [result.attempt.outcome for result in strict] == ["rejected"] * 2
    lenient = run(make_recorder(MOTIONS, acceptance="none"))
    assert {result.attempt.outcome for result in lenient} == {"recorded", "failed"}
    assert {result.attempt.motion for result in lenient if result.recording} == {
        m.name for m in MOTIONS if m is not IMPOSSIBLE
    }


def test_a_path_too_long_for_any_terrain_is_rejected():
    """A character that nobody stops can fly off the map for kilometres."""
    recorder = make_recorder(FEASIBLE[:2], acceptance="none", retry={"max_retries": 0})
    recorder.advance()
    recorder._frames[0, 0, 0] = 1e9
    outcomes = {
        result.attempt.motion: (result.attempt.outcome, result.attempt.reason.split(" spans")[0])
        for result in run(recorder)
    }
    assert sorted(outcomes.values()) == [("recorded", ""), ("rejected", "terrain: the path")]


def test_no_retries():
    recorder = make_recorder([IMPOSSIBLE, LATE[0]], retry={"max_retries": 0})
    assert [(result.attempt.outcome, result.attempt.next_fraction) for result in run(recorder)] == [
        ("failed", None)
    ] * 2


# ---------------------------------------------------------------------------------------------- failures kept

KEEP = {"keep_failures": True}


def kept_motion(result: AttemptResult) -> Motion:
    return parse_motion(result.trajectory, result.attempt.motion, SKELETON, result.attempt.motion)


@pytest.fixture(scope="module")
def kept() -> list[AttemptResult]:
    return run(make_recorder(num_envs=3, record=KEEP))


def test_keeping_failures_changes_no_result(kept, results):
    assert by_attempt([replace(result, trajectory=None) for result in kept]) == by_attempt(results)
    assert all((result.trajectory is None) == (result.attempt.outcome == "recorded") for result in kept)
    assert all(result.trajectory is None for result in results)
    assert "motion_data" not in repr(kept[0])


def test_a_kept_failure_is_the_attempt_up_to_where_it_failed(kept):
    """The same attempt alone in an environment of its own, step by step."""
    for result in (result for result in kept if result.trajectory is not None):
        source = next(item for item in MOTIONS if item.name == result.attempt.motion)
        found, count = kept_motion(result), round(30 * result.attempt.seconds) + 1
        alone = make_environment([source], num_envs=1)
        alone.start([0], [0], [result.attempt.start_fraction])
        states = [alone.first_frame([0])]
        for index in range(1, count):
            step = alone.step([0], alone.tracker.act(alone.observe([0])))
            states.append((step.state, step.pose, step.contacts))
            assert (int(step.reason[0]) > 0) == (index == count - 1), "it fails in the last frame, and not before"
        assert (found.num_frames, found.fps) == (count, 30.0)
        positions = torch.cat([state.root_pos for state, _, _ in states]).numpy()
        ground = source.terrain.height_at(positions[0, :2])
        np.testing.assert_array_equal(found.root_pos, positions - np.append(positions[0, :2], ground))
        joints = torch.cat([pose.joint_rot for _, pose, _ in states]).numpy()
        np.testing.assert_array_equal(found.joint_rot, np.where(joints[..., 3:] < 0, -joints, joints))
        np.testing.assert_array_equal(found.contacts, torch.cat([contacts for _, _, contacts in states]).numpy())


def test_a_kept_failure_begins_in_its_reference(kept):
    for result in (result for result in kept if result.trajectory is not None):
        source = next(item for item in MOTIONS if item.name == result.attempt.motion)
        found, frame = kept_motion(result), result.attempt.start_time * source.fps
        before, after = math.floor(frame), math.ceil(frame)
        near, far = source.joint_rot[before].astype(float), source.joint_rot[after].astype(float)
        cosine = (near * far).sum(axis=-1, keepdims=True)
        angle = np.arccos(np.abs(cosine).clip(max=1 - 1e-12))
        joints = np.sin((1 - frame % 1) * angle) * near + np.sin(frame % 1 * angle) * np.sign(cosine) * far
        # PARC's slerp does not give exactly unit quaternions.
        first = found.joint_rot[0] / np.linalg.norm(found.joint_rot[0], axis=-1, keepdims=True)
        np.testing.assert_allclose(np.abs((joints * first / np.sin(angle)).sum(axis=-1)), 1.0, atol=1e-6)
        root = (1 - frame % 1) * source.root_pos[before] + frame % 1 * source.root_pos[after]
        expected = [0.0, 0.0, root[2] - source.terrain.height_at(root[:2])]
        np.testing.assert_allclose(found.root_pos[0], expected, atol=1e-5)


def test_a_kept_failure_says_what_ended_it(kept):
    for result in (result for result in kept if result.trajectory is not None):
        assert read_misc(result.trajectory)["recording"] == {
            **ORIGIN,
            "source_motion": result.attempt.motion,
            "start_fraction": result.attempt.start_fraction,
            "start_time": result.attempt.start_time,
            "attempt": result.attempt.number,
            "quality": result.attempt.quality,
            "outcome": "failed",
            "reason": result.attempt.reason,
            "criteria": result.attempt.criteria,
            "body": result.attempt.body,
        }


def test_what_acceptance_rejects_is_kept_whole():
    settings = {"acceptance": {"max_mean_root_error": 0.0001}, "retry": {"max_retries": 0}}
    (result,) = run(make_recorder(FEASIBLE[2:3], record={**KEEP, "observations": True}, **settings))
    (accepted,) = run(make_recorder(FEASIBLE[2:3], acceptance="none"))
    assert (result.attempt.outcome, result.recording) == ("rejected", None)
    mine, theirs = kept_motion(result), parse_motion(accepted.recording, "m", SKELETON, "m")
    for name in ("root_pos", "root_rot", "joint_rot", "contacts"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    misc = read_misc(result.trajectory)
    assert misc["recording"]["criteria"] == ("max_mean_root_error",)
    assert len(misc["obs"]) == mine.num_frames


@pytest.mark.parametrize("step, frames", [(1, None), (2, 2), (5, 5)])
def test_a_state_that_is_not_finite_is_not_kept(step, frames):
    """But all before it, unless that is less than a motion."""
    recorder = make_recorder(FEASIBLE[:1], num_envs=1, record=KEEP, retry={"max_retries": 0})
    poisoned = Poisoned(recorder.environment)
    poisoned.steps = 5 - step
    recorder.act = poisoned.act
    (result,) = run(recorder)
    assert result.attempt.reason == f"not finite after {step / 30:.2f} s"
    assert (result.trajectory and kept_motion(result).num_frames) == frames


@pytest.mark.parametrize("place, frames", [([9e4, 9e4, 1.0], None), ([1e7, 0.0, 1.0], 3), ([0.0, 0.0, 1e7], 3)])
def test_a_path_that_no_motion_file_can_hold_is_cut_or_not_kept(place, frames):
    """Over too much terrain, or farther out than a motion may be: then what comes before is kept."""
    recorder = make_recorder([IMPOSSIBLE], num_envs=1, record=KEEP, retry={"max_retries": 0})
    for _ in range(3):
        recorder.advance()
    recorder._frames[0, 3, :3] = torch.tensor(place)
    (result,) = run(recorder)
    assert result.attempt.outcome == "failed"
    assert (result.trajectory and kept_motion(result).num_frames) == frames


@pytest.mark.slow
@pytest.mark.parametrize("record", [{}, {"observations": True, "keep_failures": True}])
def test_attempts_measured_together_have_the_results_of_those_measured_alone(record, monkeypatch):
    """Those that were rejected are made again, too, although that is found out later."""
    found = []
    for together in (1, 5):
        monkeypatch.setattr(recorder_module, "TOGETHER", together)
        recorder = make_recorder(num_envs=3, record=record, acceptance={"max_mean_body_error": 0.001})
        found.append(by_attempt(run(recorder)))
        assert recorder.done and not recorder.take_results()
    assert found[0] == found[1]
    assert {result.attempt.outcome for result in found[0].values()} >= {"failed", "rejected"}


# ----------------------------------------------------------------------------------------------- observations


def test_observations_are_recorded_on_request(results):
    motions = [FEASIBLE[2], LATE[0]]
    recorder = make_recorder(motions, num_envs=2, record={"observations": True})
    recorded = {result.attempt.motion: result for result in run(recorder) if result.recording}
    layout = recorder.environment.tracker.observer.layout
    for index, source in enumerate(motions):
        result = recorded[source.name]
        misc, plain = read_misc(result.recording), by_attempt(results)[(source.name, result.attempt.number)]
        assert misc["obs"].shape == (round(30 * result.attempt.seconds) + 1, layout.size)
        assert [tuple(part["shape"]) for part in misc["obs_shapes"].values()] == list(layout.shapes.values())
        assert list(misc["obs_shapes"]) == list(layout.shapes)
        fresh = make_environment(motions, num_envs=1)
        fresh.start([0], [index], [result.attempt.start_fraction])
        for step in range(3):
            expected = fresh.observe([0])
            assert max_error(misc["obs"][step], expected[0]) == 0.0
            fresh.step([0], fresh.tracker.act(expected))
        assert misc["recording"] == read_misc(plain.recording)["recording"]
        # What is observed about contacts is what is recorded about them.
        again = parse_motion(result.recording, source.name, SKELETON, source.name)
        observed = layout.split(torch.tensor(misc["obs"]))["char_contacts"]
        assert max_error(observed, again.contacts) == 0.0


# ---------------------------------------------------------------------------------------------- running it


def test_work_returns_in_time_and_goes_on_where_it_was(results):
    recorder = make_recorder(num_envs=3)
    assert not recorder.done and recorder.work(0.0) == []
    pieces = []
    while not recorder.done:
        pieces.append(recorder.work(0.05))
    assert len(pieces) > 3
    assert by_attempt([result for piece in pieces for result in piece]) == by_attempt(results)
    assert recorder.work(1.0) == []


@pytest.mark.parametrize("num_envs", [1, 2, 20])
def test_usage_adds_up(num_envs):
    motions = [*MOTIONS[2:5], IMPOSSIBLE]
    recorder = make_recorder(motions, num_envs)
    results = run(recorder)
    utilization = recorder.utilization
    assert utilization.env_steps == sum(round(30 * result.attempt.seconds) for result in results)
    # A free env takes waiting work at once.
    assert utilization.busy == utilization.slots <= utilization.env_steps
    assert (utilization.slots == 0) == (num_envs >= len(motions))
