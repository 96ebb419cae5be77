"""The MuJoCo simulator, beyond the conformance tests of all simulators (test_conformance.py)."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch

from parc_ray.character.skeleton import parse_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.record import MujocoConfig
from parc_ray.errors import InputError
from parc_ray.motions.box_cover import Boxes
from parc_ray.motions.height_field import HeightField
from parc_ray.simulators.mujoco import ground, simulator
from parc_ray.simulators.mujoco.character import compile_model, physical_character
from parc_ray.simulators.mujoco.engine import MUJOCO
from parc_ray.simulators.mujoco.ground import arrays_of_ground, can_exchange_grounds, make_ground, pad_boxes
from parc_ray.simulators.mujoco.simulator import STATE
from parc_ray.simulators.simulator import SimulatorConfig
from tests.reference import HUMANOID

TEXT = HUMANOID.read_text()


def make(text: str) -> None:
    config = SimulatorConfig(text, "character.xml", [HeightField.flat()], 1, 30, 4, torch.device("cpu"), 1)
    MUJOCO.build(config, parse_skeleton(text, "character.xml")).close()


def test_unfit_characters_are_refused():
    with pytest.raises(InputError, match=r"character\.xml: geom 'head' of body 'head' has the shape mesh"):
        make(text=TEXT.replace('<geom name="head" type="sphere"', '<geom name="head" type="mesh" mesh="head"'))
    with pytest.raises(InputError, match="different stiffness"):
        make(
            text=TEXT.replace(
                'axis="1 0 0" range="-60 60" stiffness="1000"', 'axis="1 0 0" range="-60 60" stiffness="9"'
            )
        )
    with pytest.raises(InputError, match=r"character\.xml: MuJoCo cannot load"):
        make(
            text=TEXT.replace(
                '<geom name="head" type="sphere" size=".095"', '<geom name="head" type="sphere" size="-1"'
            )
        )


BALL = """
<mujoco><worldbody><body name="ball"><freejoint/><geom type="sphere" size="0.1" density="1000"/>
  <body name="tip" pos="0 0 0.1"><joint name="tip" type="hinge" axis="0 0 1" range="-90 90"/>
    <geom type="sphere" size="0.01" density="1000"/></body></body></worldbody></mujoco>
"""


def height(above: float, seconds: float, **settings: object) -> float:
    """Return the height of a ball's centre that starts at rest above the ground, m."""
    config = SimulatorConfig(
        BALL, "ball.xml", [HeightField.flat()], 1, 30, 4, torch.device("cpu"), 1, mujoco=MujocoConfig(**settings)
    )
    skeleton = parse_skeleton(BALL, "ball.xml")
    simulator, zero = MUJOCO.build(config, skeleton), torch.zeros(1, 3)
    place, upright = torch.tensor([[0.0, 0.0, above]]), torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    none = torch.zeros(1, 1)
    simulator.reset([0], [0], CharacterState(place, upright, zero, zero, none, none, torch.zeros(1, 2, 3)))
    for _ in range(round(30 * seconds)):
        state = simulator.step([0], none)
    simulator.close()
    return float(state.root_pos[0, 2])


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({}, 4), ({"profile": "faithful"}, 16), ({"profile": "faithful", "steps_per_control": 7}, 7)],
)
def test_a_body_falls_in_as_many_steps_as_are_asked_for(settings, steps):
    """n semi-implicit steps of h: g h^2 (1 + 2 + ... + n)."""
    fallen = 2.0 - height(2.0, 1 / 30, **settings)
    assert fallen == pytest.approx(9.81 / 30**2 * (steps + 1) / (2 * steps), rel=1e-4)


def test_harder_contacts_let_a_ball_sink_in_less():
    """Penetration at rest goes with the square of the contacts' time constant."""
    soft, hard = (0.1 - height(0.1, 1.0, contact_time=time, steps_per_control=32) for time in (0.01, 0.005))
    assert 1e-5 < hard < soft < 1e-3
    assert soft / hard == pytest.approx(4.0, rel=0.05)
    assert 0.1 - height(0.1, 1.0, profile="faithful") == pytest.approx(hard, rel=0.01)


def compiled(boxes: Boxes) -> mujoco.MjModel:
    config = SimulatorConfig(TEXT, "character.xml", [], 1, 30, 4, torch.device("cpu"), 1)
    character = physical_character(config, parse_skeleton(TEXT, "character.xml"))
    return compile_model(character, boxes, config)


def some_boxes(count: int, seed: int) -> Boxes:
    """Steps of different heights, the first one under the origin, on which a character falls."""
    random = np.random.default_rng(seed)
    size = random.uniform(0.1, 0.6, (count, 3))
    centre = random.uniform((-1.5, -1.5, 0.0), (1.5, 1.5, 0.3), (count, 3))
    centre[0, :2] = 0.0
    centre[:, 2] -= size[:, 2]
    return Boxes(centre, size)


@pytest.mark.parametrize("count", [1, 13, 16, 40])
def test_a_model_with_another_ground_is_what_mujoco_compiles(count):
    """All of it but the tree in which boxes are looked for, and it finds the same contacts in every step."""
    boxes = some_boxes(count, seed=count)
    ground = make_ground(boxes)
    model = compiled(pad_boxes(some_boxes(1, seed=0), ground.key))
    for array, own in zip(arrays_of_ground(model, ground.key), ground.arrays):
        array[...] = own
    expected = compiled(pad_boxes(boxes, ground.key))
    for name in ("geom_pos", "geom_size", "geom_rbound", "geom_aabb", "geom_quat", "geom_bodyid", "body_mass"):
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name), err_msg=name)
    touched = 0
    runs = [mujoco.MjData(model), mujoco.MjData(expected)]
    for _ in range(200):
        for own, data in zip((model, expected), runs):
            mujoco.mj_step(own, data)
        assert runs[0].ncon == runs[1].ncon
        np.testing.assert_array_equal(runs[0].qpos, runs[1].qpos)
        touched += int(runs[0].ncon)
    assert touched


@pytest.mark.parametrize("count", [1, 5, 16, 33])
def test_every_box_is_found_in_the_tree_of_a_ground(count):
    boxes = some_boxes(count, seed=count)
    ground = make_ground(boxes)
    *_, nodes, leaves = ground.arrays
    low, high = nodes[:, :3] - nodes[:, 3:], nodes[:, :3] + nodes[:, 3:]
    assert sorted(leaves) == list(range(ground.key))
    for leaf, box in enumerate(leaves):
        node = ground.key - 1 + leaf
        if box < count:
            np.testing.assert_allclose(low[node], boxes.centre[box] - boxes.half_size[box], atol=1e-9)
            np.testing.assert_allclose(high[node], boxes.centre[box] + boxes.half_size[box], atol=1e-9)
        while node:
            above = (node - 1) // 2
            assert (low[above] <= low[node] + 1e-9).all() and (high[above] >= high[node] - 1e-9).all()
            node = above


def test_what_a_step_leaves_in_its_workplace_is_not_read_by_the_next():
    """A diverged env is stepped in the same place as others."""
    model = compiled(some_boxes(16, seed=3))
    states = []
    for spoilt in (False, True):
        data = mujoco.MjData(model)
        start = np.zeros(mujoco.mj_stateSize(model, STATE))
        mujoco.mj_getState(model, data, start, STATE)
        if spoilt:
            mujoco.mj_setState(model, data, np.full_like(start, np.nan), STATE)
            mujoco.mj_step(model, data, 4)
            mujoco.mj_rnePostConstraint(model, data)
            assert np.isnan(data.qpos).any() and np.isnan(data.qacc).any()
            mujoco.mj_setState(model, data, start, STATE)
        mujoco.mj_step(model, data, 100)
        mujoco.mj_rnePostConstraint(model, data)
        states.append([data.qpos.copy(), data.qvel.copy(), data.cfrc_ext.copy()])
    for own, expected in zip(*states):
        np.testing.assert_array_equal(own, expected)
        assert np.isfinite(own).all()


def test_grounds_can_be_exchanged_in_this_mujoco():
    assert can_exchange_grounds()


@pytest.mark.parametrize("change", ["nodes", "leaves", "gone"])
def test_another_order_of_mujocos_tree_is_noticed(monkeypatch, change):
    """As in a later MuJoCo, whose bounding volume hierarchy lies otherwise in memory, or is gone."""
    arrays = ground.arrays_of_ground

    def changed(model, key):
        *geoms, nodes, leaves = arrays(model, key)
        if change == "gone":
            raise AttributeError("bvh_aabb")
        return (*geoms, nodes[::-1] if change == "nodes" else nodes, leaves[::-1] if change == "leaves" else leaves)

    monkeypatch.setattr(ground, "arrays_of_ground", changed)
    assert not can_exchange_grounds.__wrapped__()


def test_without_exchange_every_tile_has_a_model_of_its_own(monkeypatch):
    """The states are the same, but for rounding: contacts come in another order."""
    skeleton = parse_skeleton(BALL, "ball.xml")
    hf = np.float32([[0.0, 0.3], [0.6, 0.1]])
    tiles = [HeightField.flat(), HeightField(hf, np.stack((hf, hf), axis=-1), np.float32([-0.4, -0.4]), 0.4)]
    config = SimulatorConfig(BALL, "ball.xml", tiles, 2, 30, 4, torch.device("cpu"), 2)

    def states():
        engine = MUJOCO.build(config, skeleton)
        zero = torch.zeros(2, 3)
        start = CharacterState(
            torch.tensor([[0.0, 0.0, 1.0], [0.05, 0.1, 1.0]]), torch.tensor([[0.0, 0.0, 0.0, 1.0]] * 2), zero, zero,
            torch.zeros(2, 1), torch.zeros(2, 1), torch.zeros(2, 2, 3),
        )  # fmt: skip
        found = []
        for order in ([0, 1], [1, 0]):
            engine.reset([0, 1], order, start)
            found += [engine.step([0, 1], torch.zeros(2, 1)).root_pos for _ in range(20)]
            engine.park([0, 1])
        contexts = len(engine._idle)
        engine.close()
        return torch.stack(found), contexts

    expected, _ = states()
    monkeypatch.setattr(simulator, "can_exchange_grounds", lambda: False)
    with pytest.warns(UserWarning, match="every tile is compiled into a model of its own"):
        found, contexts = states()
    assert torch.allclose(found, expected, atol=1e-4) and contexts == 2
    assert (found[19, :, 2] - found[39, :, 2]).abs().min() > 0.05, "the tiles differ"
