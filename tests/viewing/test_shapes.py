"""What a character looks like, compared with what MuJoCo makes of the same file."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from parc_ray.character.skeleton import parse_skeleton
from parc_ray.viewing.shapes import character_shapes
from tests.reference import HUMANOID

KINDS = {"ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID, "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
         "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER, "box": mujoco.mjtGeom.mjGEOM_BOX}  # fmt: skip
ODD = """<mujoco><worldbody><body name="root"><freejoint/>
  <geom type="ellipsoid" size=".1 .2 .3" pos="1 2 3" quat="1 1 0 0"/>
  <geom type="cylinder" size=".1 .4"/><geom type="capsule" size=".1" fromto="0 0 1 0 0 -1"/>
  <body name="tip" pos="0 0 1" quat="0 0 1 0"><geom type="cylinder" size=".05" fromto="0 0 0 .3 .4 0"/></body>
</body></worldbody></mujoco>"""


@pytest.mark.parametrize("text", [HUMANOID.read_text(), ODD], ids=["humanoid", "odd"])
def test_shapes_are_those_of_mujoco(text):
    skeleton = parse_skeleton(text, "test")
    shapes = character_shapes(text, "test", skeleton)
    model = mujoco.MjModel.from_xml_string(text)
    own = [k for k in range(model.ngeom) if model.geom_bodyid[k] > 0]
    assert len(shapes["geoms"]) == len(own)
    for shape, k in zip(shapes["geoms"], own):
        kind, size = int(model.geom_type[k]), model.geom_size[k].copy()
        if kind == int(mujoco.mjtGeom.mjGEOM_SPHERE):
            kind, size = int(mujoco.mjtGeom.mjGEOM_ELLIPSOID), np.repeat(size[0], 3)
        elif shape["kind"] in ("capsule", "cylinder"):
            size = np.array([size[0], size[0], size[1]])
        assert int(KINDS[shape["kind"]]) == kind
        assert shape["body"] == model.geom_bodyid[k] - 1
        np.testing.assert_allclose(shape["size"], size, atol=2e-5)
        np.testing.assert_allclose(shape["place"], model.geom_pos[k], atol=2e-5)
        x, y, z, w = shape["turn"]
        axes = [np.zeros(9), np.zeros(9)]
        mujoco.mju_quat2Mat(axes[0], np.array([w, x, y, z]) / np.linalg.norm(shape["turn"]))
        mujoco.mju_quat2Mat(axes[1], model.geom_quat[k])
        mine, theirs = (matrix.reshape(3, 3) for matrix in axes)
        if shape["kind"] in ("capsule", "cylinder"):
            assert abs(mine[:, 2] @ theirs[:, 2]) == pytest.approx(1, abs=1e-4), "along the same axis, either way up"
        else:
            np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_the_body_tree_is_that_of_mujoco():
    skeleton = parse_skeleton(ODD, "test")
    root, tip = character_shapes(ODD, "test", skeleton)["bodies"]
    assert (root["name"], root["parent"], tip["name"], tip["parent"]) == ("root", -1, "tip", 0)
    assert tip["offset"] == [0, 0, 1] and tip["turn"] == [0, 1, 0, 0]
