"""Geoms, compared with what MuJoCo makes of the same file."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from parc_ray.character.geoms import read_geoms, require_shapes
from parc_ray.errors import InputError
from tests.reference import HUMANOID


def character(*geoms: str) -> str:
    return f"<mujoco><worldbody><body name='torso'><freejoint/>{''.join(geoms)}</body></worldbody></mujoco>"


ODD = """<mujoco><default><geom size=".07"/><default class="foot"><geom type="box" size=".1 .2 .3"/></default></default>
<worldbody><body name="root"><freejoint/>
  <geom type="ellipsoid" size=".1 .2 .3" pos="1 2 3" quat="1 1 0 0"/><geom pos="0 0 -1"/>
  <geom type="cylinder" size=".1 .4" quat="0 2 0 0"/><geom type="capsule" size=".1" fromto="0 0 1 0 0 -1"/>
  <geom type="capsule" size=".1" fromto="0 0 -1 0 0 1"/><geom type="box" size=".1 .2" fromto="0 1 0 2 0 0.5"/>
  <geom type="ellipsoid" size=".1" fromto="0 1 0 2 0 0.5"/><geom contype="0" conaffinity="0"/>
  <body name="tip" pos="0 0 1" quat="0 0 1 0" childclass="foot">
    <geom name="sole" quat="1 2 3 4"/><geom type="cylinder" size=".05" fromto="0 0 0 .3 .4 0"/>
    <geom class="main" contype="0"/>
  </body>
</body></worldbody></mujoco>"""


@pytest.mark.parametrize("text", [HUMANOID.read_text(), ODD], ids=["humanoid", "odd"])
def test_geoms_are_those_of_mujoco(text: str) -> None:
    model = mujoco.MjModel.from_xml_string(text)
    own = [k for k in range(model.ngeom) if model.geom_bodyid[k] > 0]
    geoms = read_geoms(text, "test")
    assert len(geoms) == len(own)
    for geom, k in zip(geoms, own):
        assert mujoco.mjtGeom(model.geom_type[k]).name == f"mjGEOM_{geom.shape.upper()}"
        assert (geom.body, geom.name) == (model.geom_bodyid[k] - 1, model.geom(k).name)
        assert geom.collides == bool(model.geom_contype[k] or model.geom_conaffinity[k])
        radius, second, _ = size = model.geom_size[k]
        round_ends = (radius, radius, second)
        extents = {"sphere": (radius,) * 3, "capsule": round_ends, "cylinder": round_ends}.get(geom.shape, size)
        np.testing.assert_allclose(geom.size, extents, atol=1e-12)
        np.testing.assert_allclose(geom.position, model.geom_pos[k], atol=1e-12)
        axes = [np.zeros(9), np.zeros(9)]
        mujoco.mju_quat2Mat(axes[0], np.roll(geom.rotation, 1))
        mujoco.mju_quat2Mat(axes[1], model.geom_quat[k])
        np.testing.assert_allclose(axes[0], axes[1], atol=1e-9)
        if geom.shape in ("capsule", "cylinder"):
            along = second * axes[1].reshape(3, 3)[:, 2]
            ends = sorted(map(tuple, np.round(geom.ends, 9)))
            theirs = [tuple(np.round(model.geom_pos[k] + sign * along, 9) + 0.0) for sign in (-1, 1)]
            np.testing.assert_allclose(ends, sorted(theirs), atol=1e-9)
        else:
            assert geom.ends == ()


@pytest.mark.parametrize(
    ("geom", "problem"),
    [
        ('<geom quat="0 0 0 0"/>', "geom None: its 'quat' has length 0, which is no direction"),
        ('<geom name="g" zaxis="0 0 0"/>', "geom 'g': its 'zaxis' has length 0"),
        ('<geom xyaxes="1 0 0 2 0 0"/>', "its 'xyaxes' has length 0"),
        ('<geom euler="0 0"/>', "2 numbers instead of 3"),
        ('<geom pos="0 0"/>', "2 numbers instead of 3"),
        ('<geom type="capsule" fromto="0 0 0 1 1"/>', "5 numbers instead of 6"),
        ('<geom size="wide"/>', "not a list of numbers"),
    ],
)
def test_what_cannot_be_read_is_refused(geom: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as error:
        read_geoms(character(geom), "a.xml")
    assert str(error.value).startswith("a.xml: ")


def test_shapes_that_are_not_supported_are_named() -> None:
    geoms = read_geoms(character("<geom/>", '<geom name="shell" type="sphere" mesh="shell"/>'), "a.xml")
    require_shapes(geoms, ("sphere", "mesh"), ["torso"], "a.xml")
    with pytest.raises(InputError) as error:
        require_shapes(geoms, ("sphere", "box"), ["torso"], "a.xml")
    message = str(error.value)
    assert message.startswith("a.xml: geom 'shell' of body 'torso' has the shape mesh; supported shapes: sphere, box")
    assert 'contype="0" conaffinity="0"' in message


def test_what_does_not_collide_may_have_any_shape() -> None:
    seen = '<geom type="mesh" mesh="shell" contype="0" conaffinity="0"/>'
    require_shapes(read_geoms(character("<geom/>", seen), "a.xml"), ("sphere",), ["torso"], "a.xml")
