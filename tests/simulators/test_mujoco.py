"""What only the MuJoCo simulator does; what it has in common with others is in test_conformance.py."""

from __future__ import annotations

import pytest
import torch

from parc_ray.character.skeleton import parse_skeleton
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
