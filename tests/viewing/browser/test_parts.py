"""What the viewer's page is given to draw: a character's parts, against MuJoCo's kinematics, and the ground."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from parc_ray.character.geoms import read_geoms
from parc_ray.viewing.browser.ground import MAX_CELLS, columns
from parc_ray.viewing.browser.parts import character_parts
from parc_ray.viewing.scenes.scene import Clip, Scene, scene_of_file
from parc_ray.viewing.scenes.snapshot import Snapshots
from tests.reference import HUMANOID


def test_parts_are_where_mujoco_has_the_geoms(walk, skeleton):
    text = HUMANOID.read_text(encoding="utf-8")
    model = mujoco.MjModel.from_xml_string(text)
    snapshot = Snapshots([walk], skeleton).at([1.0])
    parts = character_parts(read_geoms(text, "test"))
    found = {kind: part.at(snapshot.position[0], snapshot.rotation[0]) for kind, part in parts.items()}
    assert not set(found) - {"ball", "cylinder", "box"}
    taken = dict.fromkeys(found, 0)
    for geom in range(model.ngeom):
        body = model.geom_bodyid[geom] - 1
        if body < 0:
            continue
        turned, place = np.zeros(3), np.zeros(4)
        rotation = np.roll(snapshot.rotation[0, body].astype(np.float64), 1)
        mujoco.mju_rotVecQuat(turned, model.geom_pos[geom], rotation)
        mujoco.mju_mulQuat(place, rotation, model.geom_quat[geom])
        middle = snapshot.position[0, body] + turned
        axis = np.zeros(3)
        mujoco.mju_rotVecQuat(axis, np.array([0.0, 0.0, 1.0]), place)
        name = mujoco.mjtGeom(model.geom_type[geom]).name
        kind = {"mjGEOM_SPHERE": "ball", "mjGEOM_BOX": "box", "mjGEOM_CAPSULE": "cylinder"}[name]
        assert np.abs(found[kind][0] - middle).max(axis=-1).min() < 1e-4
        if kind != "ball":
            turn = found[kind][1][taken[kind]]
            taken[kind] += 1
            own = np.zeros(3)
            mujoco.mju_rotVecQuat(own, np.array([0.0, 0.0, 1.0]), turn.astype(np.float64))
            assert abs(own @ axis) == pytest.approx(1, abs=1e-3)
        if kind == "cylinder":
            for sign in (-1, 1):
                end = middle + sign * axis * model.geom_size[geom, 1]
                ball = found["ball"][0]
                assert np.abs(ball - end).max(axis=-1).min() < 1e-3, "a capsule's ends are round"


def test_columns_have_the_heights_of_the_terrain(walk):
    scene = scene_of_file(walk)
    cells = columns(scene)
    tops = cells.middle[:, 2] + cells.half[:, 2]
    np.testing.assert_allclose(tops, scene.terrain.height_at(cells.middle[:, :2]), atol=1e-5)
    assert len(tops) == scene.terrain.hf.size and np.ptp(cells.middle[:, 2] - cells.half[:, 2]) < 1e-5
    assert cells.shade.min() > 0 and cells.shade.max() <= 1


def test_of_a_huge_terrain_only_what_is_near(walk):
    from parc_ray.motions.height_field import HeightField

    huge = HeightField.flat((1500, 1500), 0.02, (-10.0, -10.0))
    motion = replace(walk, terrain=huge)
    cells = columns(Scene("walk", (Clip("motion", motion),), huge))
    assert 0 < len(cells.middle) <= MAX_CELLS
    for point in walk.root_pos[:, :2]:
        assert np.abs(cells.middle[:, :2] - point).max(axis=1).min() <= 0.011
