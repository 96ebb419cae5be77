"""Orientations, compared with what MuJoCo makes of the same file."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from parc_ray.character.mjcf import Mjcf
from parc_ray.character.orientation import read_rotation
from parc_ray.errors import InputError

NOTATIONS = [
    "",
    'quat="1 2 3 4"',
    'quat="-2 0 0 0"',
    'axisangle="1 2 3 50"',
    'euler="10 -70 130"',
    'euler="0 90 0"',
    'zaxis="1 2 -3"',
    'zaxis="0 0 -2"',
    'zaxis="0 0 5"',
    'xyaxes="1 2 0 0 1 1"',
    'xyaxes="-1 0 0 0 -1 0"',
    'xyaxes="-1 0 0 0 1 0"',
    'xyaxes="1 0 0 0 -1 0"',
]


def character(geom: str, compiler: str = "") -> str:
    return f"<mujoco>{compiler}<worldbody><body><geom size='1' {geom}/></body></worldbody></mujoco>"


@pytest.mark.parametrize(
    "compiler",
    ["", '<compiler angle="radian"/>', '<compiler eulerseq="zyx"/>', '<compiler eulerseq="XYZ" angle="degree"/>',
     '<compiler eulerseq="xYz"/>'],
)  # fmt: skip
@pytest.mark.parametrize("notation", NOTATIONS)
def test_rotations_are_those_of_mujoco(notation: str, compiler: str) -> None:
    text = character(notation, compiler)
    document = Mjcf(text, "test")
    (geom,) = document.root_body().findall("geom")
    mine = np.array(read_rotation(document, geom))
    theirs = np.roll(mujoco.MjModel.from_xml_string(text).geom_quat[0], -1)
    assert np.linalg.norm(mine) == pytest.approx(1.0, abs=1e-12)
    assert abs(mine @ theirs) == pytest.approx(1.0, abs=1e-9)


def test_an_unknown_order_of_axes_is_refused() -> None:
    document = Mjcf(character('euler="0 0 1"', '<compiler eulerseq="xy"/>'), "a.xml")
    with pytest.raises(InputError, match=r"a\.xml: <compiler eulerseq='xy'> is not three of"):
        read_rotation(document, document.root_body().findall("geom")[0])
