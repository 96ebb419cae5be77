"""Solids: unit meshes against the volumes of what they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from parc_ray.character.geoms import read_geoms
from parc_ray.character.solids import hull_mesh, meshes_of, solids_of, unit_mesh


def test_unit_meshes_face_outwards_and_are_closed():
    volumes = {"ball": 4 / 3 * np.pi, "cylinder": 2 * np.pi, "box": 8}
    for kind, volume in volumes.items():
        vertices, faces = unit_mesh(kind)
        assert vertices.dtype == np.float32 and faces.dtype == np.uint32
        a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
        signed = (np.cross(a, b) * c).sum() / 6
        assert signed == pytest.approx(volume, rel=0.05), kind
        assert np.abs(vertices).max() == pytest.approx(1, abs=1e-6)


def test_a_hull_has_the_reach_of_its_points_the_volume_of_its_box_and_faces_outwards():
    random = np.random.default_rng(0)
    box = np.array([(x, y, z) for x in (0.1, 0.3) for y in (-0.2, 0.1) for z in (-0.1, 0.4)])
    for points, volume in ((box, 0.2 * 0.3 * 0.5), (random.normal(size=(64, 3)) * (0.1, 0.05, 0.02) + 0.3, None)):
        vertices, triangles = hull_mesh([tuple(point) for point in points])
        a, b, c = (vertices[triangles[:, k]].astype(np.float64) for k in range(3))
        assert ((np.cross(b - a, c - a)) * (a - points.mean(axis=0))).sum(axis=1).min() > -1e-9
        if volume is not None:
            assert (np.cross(a, b) * c).sum() / 6 == pytest.approx(volume, rel=1e-5)
        directions = random.normal(size=(100, 3))
        np.testing.assert_allclose(
            (vertices @ directions.T).max(axis=0), (points @ directions.T).max(axis=0), atol=1e-6
        )


def test_every_solid_has_a_mesh_and_equal_hulls_share_one():
    hull = " ".join("{:g} {:g} {:g}".format(*corner) for corner in [(0, 0, 0), (0.1, 0, 0), (0, 0.1, 0), (0, 0, 0.1)])
    text = (
        f'<mujoco><asset><mesh name="a" vertex="{hull}"/><mesh name="b" vertex="{hull} .2 .2 .2"/></asset><worldbody>'
        '<body name="root"><freejoint/><geom type="mesh" mesh="a"/><geom type="mesh" mesh="b" pos="1 2 3"/>'
        '<geom type="mesh" mesh="a"/><geom size="1"/></body></worldbody></mujoco>'
    )
    geoms = read_geoms(text, "a.xml")
    assert [solid.kind for solid in solids_of(geoms)] == ["hull 0", "hull 1", "hull 0", "ball"]
    assert solids_of(geoms)[1].position == (1, 2, 3)
    assert set(meshes_of(geoms)) == {"ball", "cylinder", "box", "hull 0", "hull 1"}
