"""What the report's page is told of a character."""

from __future__ import annotations

import pytest

from parc_ray.character.geoms import read_geoms
from parc_ray.character.skeleton import parse_skeleton
from parc_ray.report.shapes import character_shapes
from tests.reference import HUMANOID

ODD = """<mujoco><worldbody><body name="root"><freejoint/>
  <geom type="ellipsoid" size=".1 .2 .3" pos="1 2 3" quat="1 1 0 0"/><geom size=".2"/><geom type="mesh" mesh="shell"/>
  <geom type="cylinder" size=".1 .4"/><geom type="capsule" size=".1" fromto="0 0 1 0 0 -1"/>
  <body name="tip" pos="0 0 1" quat="0 0 1 0"><geom type="cylinder" size=".05" fromto="0 0 0 .3 .4 0"/></body>
</body></worldbody></mujoco>"""


@pytest.mark.parametrize("text", [HUMANOID.read_text(), ODD], ids=["humanoid", "odd"])
def test_shapes_are_the_solid_geoms(text):
    shapes = character_shapes(text, "test", parse_skeleton(text, "test"))["geoms"]
    solid = [geom for geom in read_geoms(text, "test") if geom.shape != "mesh"]
    assert len(shapes) == len(solid)
    for shape, geom in zip(shapes, solid):
        assert shape["body"] == geom.body
        assert shape["kind"] == geom.shape.replace("sphere", "ellipsoid")
        for name, exact in (("size", geom.size), ("place", geom.position), ("turn", geom.rotation)):
            assert shape[name] == pytest.approx(exact, abs=6e-6)


def test_a_hull_has_its_triangles():
    text = ODD.replace("<worldbody>", '<asset><mesh name="shell" vertex="0 0 0 1 0 0 0 1 0 0 0 1"/></asset><worldbody>')
    hulls = [s for s in character_shapes(text, "test", parse_skeleton(text, "test"))["geoms"] if s["kind"] == "hull"]
    assert len(hulls) == 1 and len(hulls[0]["triangles"]) == 4 * 3
    assert {tuple(corner) for corner in hulls[0]["triangles"]} == {(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)}


def test_the_body_tree_is_that_of_mujoco():
    skeleton = parse_skeleton(ODD, "test")
    root, tip = character_shapes(ODD, "test", skeleton)["bodies"]
    assert (root["name"], root["parent"], tip["name"], tip["parent"]) == ("root", -1, "tip", 0)
    assert tip["offset"] == [0, 0, 1] and tip["turn"] == [0, 1, 0, 0]
