"""The MuJoCo Warp simulator on Warp's CPU device, beyond the conformance tests (test_conformance.py)."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Iterator

import numpy as np
import pytest
import torch

from parc_ray.character.state import CharacterState
from parc_ray.errors import BrokenSimulationError, TooLargeError
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.planning.resources import Resources
from parc_ray.recording.build import build_recorder
from parc_ray.recording.recorder import ShardRecorder
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.simulators.engines import engine as engine_of
from parc_ray.simulators.simulator import SimulatorConfig
from parc_ray.tracking.launches import LaunchCounter
from tests.cluster.runs import write_config
from tests.planning.prepared import prepared
from tests.simulators.test_conformance import GROUND, HUMAN, TEXT, WITHOUT_WARP, company, rollout, rows, same, standing

if WITHOUT_WARP:
    pytest.skip(WITHOUT_WARP, allow_module_level=True)

from parc_ray.demo.generator import generate_motions
from parc_ray.simulators.mujoco_warp import simulator as warp_simulator
from parc_ray.simulators.mujoco_warp import worlds
from parc_ray.simulators.mujoco_warp.simulator import MujocoWarpSimulator

pytestmark = pytest.mark.slow
CONFIG = SimulatorConfig(TEXT, "humanoid.xml", [GROUND], 3, 30, 4, torch.device("cpu"), 1)


@contextmanager
def simulator(name: str = "mujoco_warp", **changes: object) -> Iterator[MujocoWarpSimulator]:
    built = engine_of(name).build(replace(CONFIG, **changes), HUMAN)
    yield built
    built.close()


def stairs(heights: list[float], width: float, start: float = 0.0) -> HeightField:
    """Steps along x from `start` on; the first goes on to the left, the last to the right."""
    hf = np.repeat(np.array(heights, dtype=np.float32)[:, None], round(12 / width), axis=1)
    return HeightField(hf, np.stack([hf, hf], axis=-1), np.array([start + width / 2, -6.0]), width)


def standing_at(x: float, z: float = 0.0) -> CharacterState:
    """A humanoid that stands with its right foot's middle at x, on ground of height z."""
    state, _ = standing()
    feet, _ = HUMAN.forward_kinematics(state.root_pos, state.root_rot, HUMAN.dof_to_rot(state.dof_pos))
    place = torch.tensor([x - float(feet[0, HUMAN.body_index("right_foot"), 0]), -float(state.root_pos[0, 1]), z])
    return replace(state, root_pos=state.root_pos + place)


# ------------------------------------------------------------------------------------------------- contacts


def test_feet_on_an_edge_touch_it_as_in_mujoco():
    """In single steps from the same states: what a character does later depends on every rounding."""
    start, tile = standing_at(0.0), stairs([0.0, -0.3], width=0.4, start=-0.4)
    with simulator("mujoco", tiles=[tile], num_envs=1) as theirs, simulator(tiles=[tile], num_envs=1) as mine:
        theirs.reset([0], [0], start)
        states = [start, *rollout(theirs, [0], start.dof_pos, 25)]
        touching = 0
        for before in states:
            for engine in (theirs, mine):
                engine.reset([0], [0], before)
            expected, actual = theirs.step([0], start.dof_pos), mine.step([0], start.dof_pos)
            touching += int((expected.contact_force.norm(dim=2) > 0).sum())
            assert torch.allclose(actual.root_pos, expected.root_pos, atol=1e-5)
            assert torch.allclose(actual.dof_vel, expected.dof_vel, atol=1e-2)
            assert torch.allclose(actual.contact_force, expected.contact_force, rtol=1e-2, atol=2.0)
    assert touching > 20


def test_a_character_stands_on_the_tile_it_was_put_on_and_on_no_other():
    """With any part of a world's ground left from the tile before, the character falls through or stands on air."""
    flat, high = stairs([0.0], width=3.0), stairs([0.0, 0.7, 0.0, 0.7], width=3.0)
    with simulator(tiles=[flat, high], num_envs=2) as engine:
        for tile, x, z in ((0, 1.5, 0.0), (1, 4.5, 0.7), (0, 4.5, 0.0), (1, 10.5, 0.7), (1, 7.5, 0.0)):
            state = standing_at(x, z)
            engine.reset([1], [tile], state)
            end = rollout(engine, [1], state.dof_pos, 12)[-1]
            assert torch.allclose(end.root_pos, state.root_pos, atol=0.03), (tile, x)
            assert (end.contact_force[0].norm(dim=1) > 0).sum() == 2, (tile, x)


# ------------------------------------------------------------------------------------------------- overflow


def test_a_world_whose_constraints_do_not_fit_fails_alone():
    tiles, state = company(3)
    crowded = stairs(list(np.linspace(0.2, 2.0, 10)), width=0.1)
    buried = replace(state, root_pos=state.root_pos.clone())
    buried.root_pos[1] = torch.tensor([0.5, 0.0, 0.3])
    with simulator(tiles=[*tiles, crowded]) as engine:
        engine.reset(range(3), range(3), state)
        expected = rollout(engine, range(3), state.dof_pos, 3)
        engine.reset(range(3), [0, 3, 2], buried)
        frames = rollout(engine, range(3), state.dof_pos, 3)
        assert not torch.isfinite(frames[0].root_pos[1]).any(), "too few constraints for this test"
        for frame, undisturbed in zip(frames, expected):
            assert same(rows(frame, [0, 2]), rows(undisturbed, [0, 2]))
        engine.park([1])
        engine.reset([1], [1], rows(state, [1]))
        again = rollout(engine, [1], state.dof_pos[1:2], 3)
        assert all(same(mine, rows(frame, [1])) for mine, frame in zip(again, expected))


@pytest.fixture
def small_buffer(monkeypatch):
    monkeypatch.setattr(worlds, "CONTACTS", 1)
    monkeypatch.setattr(worlds, "SPARE_CONTACTS", 2)


def test_contacts_lost_in_the_shared_buffer_are_too_many_envs(small_buffer):
    start, ground = standing()
    with simulator(tiles=[ground]) as engine:
        engine.reset([0], [0], start)
        rollout(engine, [0], start.dof_pos, 4)
        for call in (lambda: engine.park([0]), lambda: engine.reset([1], [0], start)):
            with pytest.raises(TooLargeError, match=r"3 envs were lost.*max_envs_per_actor to less than 3"):
                call()


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Failed to allocate 123456 bytes on device 'cuda:0'", TooLargeError),
        ("Graph creation error: CUDA error 2: out of memory", TooLargeError),
        (
            "Failed to allocate memory during graph capture because memory pools are not supported",
            BrokenSimulationError,
        ),
    ],
)
def test_what_warp_raises_is_explained(monkeypatch, message, kind):
    def fail(*arguments):
        raise RuntimeError(message)

    monkeypatch.setattr(warp_simulator, "Worlds", fail)
    with pytest.raises(kind, match=f"MuJoCo Warp: .*{message}"), simulator():
        pass


# ------------------------------------------------------------------------------------------------- the device


def test_a_step_waits_for_nothing():
    tiles, state = company(3)
    with simulator(tiles=tiles) as engine:
        engine.reset(range(3), range(3), state)
        engine.step([0, 2], state.dof_pos[[0, 2]])
        with torch.inference_mode(), LaunchCounter() as counter:
            engine.step([0, 2], state.dof_pos[:2])
    assert counter.synchronisations == 0, counter.operations


# ------------------------------------------------------------------------------------------------- recording


@pytest.fixture
def record(tmp_path: Path):
    """A recorder of demo motions, some of which are impossible at first, by engine."""
    folder = tmp_path / "motions"
    folder.mkdir()
    for motion in generate_motions(6, 4, HUMAN, seconds=(2.2, 3.0), late_share=0.5):
        (folder / f"{motion.name}.pkl").write_bytes(motion_file_bytes(motion))
    path = write_config(tmp_path, [folder], None, simulator="mujoco", retry={"min_segment_seconds": 1.0})
    files = prepared(path, Resources(((2, 0),))).inputs.files
    names = sorted(folder.iterdir())
    shard = Shard(0, tuple(ShardMotion(file.stem, str(file), file.read_bytes(), 0) for file in names))

    def build(name: str) -> ShardRecorder:
        return build_recorder(replace(files, simulator=name), shard, 1, "cpu")

    return build


def test_attempts_end_as_in_mujoco(record):
    outcomes = {}
    for name in ("mujoco", "mujoco_warp"):
        recorder = record(name)
        results = []
        while not recorder.done:
            results += recorder.advance()
        outcomes[name] = sorted(
            (a.motion, a.number, str(a.outcome), a.start_fraction, a.seconds) for a in (r.attempt for r in results)
        )
        recorder.environment.simulator.close()
    assert outcomes["mujoco_warp"] == outcomes["mujoco"]
    assert {outcome[2] for outcome in outcomes["mujoco"]} >= {"recorded", "failed"}


def test_no_result_comes_of_steps_that_lost_contacts(record, small_buffer):
    recorder = record("mujoco_warp")
    with pytest.raises(TooLargeError):
        recorder.work(60.0)
    assert not recorder.take_results()
