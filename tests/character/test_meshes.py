from __future__ import annotations

import mujoco
import pytest

from parc_ray.character.meshes import without_meshes
from parc_ray.character.skeleton import parse_skeleton
from parc_ray.errors import InputError
from tests.reference import DATA, HUMANOID

ROBOT = (DATA / "mimickit" / "robot.xml").read_text()
"""With meshes in a file that is not there."""


def test_a_character_without_meshes_stays_as_it_is():
    assert without_meshes(HUMANOID.read_text(), "humanoid.xml") == HUMANOID.read_text()


def test_meshes_that_are_only_to_be_seen_are_left_out():
    with pytest.raises(ValueError, match="shell"):
        mujoco.MjModel.from_xml_string(ROBOT)
    text = without_meshes(ROBOT, "robot.xml")
    model = mujoco.MjModel.from_xml_string(text)
    assert parse_skeleton(text, "robot.xml").body_names == parse_skeleton(ROBOT, "robot.xml").body_names
    assert model.ngeom == 8 and model.body_mass.sum() == pytest.approx(6.85)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('contype="0" conaffinity="0"', 'contype="1" conaffinity="0"', "geom '' of body 'base' has the shape mesh"),
        ('density="0"', 'density="9"', "body 'left_foot' has its mass from a mesh"),
    ],
)
def test_meshes_that_matter_are_refused(old, new, says):
    with pytest.raises(InputError, match=says) as error:
        without_meshes(ROBOT.replace(old, new), "robot.xml")
    assert str(error.value).startswith("robot.xml: ")
