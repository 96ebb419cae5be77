"""What only the MuJoCo simulator does; what it has in common with others is in test_conformance.py."""

from __future__ import annotations

import pytest
import torch

from parc_ray.character.skeleton import parse_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.record import MujocoConfig
from parc_ray.errors import InputError
from parc_ray.motions.height_field import HeightField
from parc_ray.simulators.mujoco.engine import MUJOCO
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
    """Of a ball's centre that began at rest above the ground, m."""
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
