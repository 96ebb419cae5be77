"""Solids: unit meshes against the volumes of what they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from parc_ray.character.solids import unit_mesh


def test_unit_meshes_face_outwards_and_are_closed():
    volumes = {"ball": 4 / 3 * np.pi, "cylinder": 2 * np.pi, "box": 8}
    for kind, volume in volumes.items():
        vertices, faces = unit_mesh(kind)
        assert vertices.dtype == np.float32 and faces.dtype == np.uint32
        a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
        signed = (np.cross(a, b) * c).sum() / 6
        assert signed == pytest.approx(volume, rel=0.05), kind
        assert np.abs(vertices).max() == pytest.approx(1, abs=1e-6)
