from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.character import rotations
from tests.reference import max_error, max_rotation_error, tensor, vectors

V = vectors("rotations")
Q, P = tensor(V["q"]), tensor(V["p"])


@pytest.mark.parametrize(
    ("name", "result", "tolerance"),
    [
        ("quat_mul", rotations.quat_mul(Q, P), 2e-6),
        ("quat_rotate", rotations.quat_rotate(Q, tensor(V["v"])), 1e-5),
        ("quat_conjugate", rotations.quat_conjugate(Q), 0.0),
        ("quat_diff", rotations.quat_diff(Q, P), 2e-6),
        ("quat_diff_angle", rotations.quat_diff_angle(Q, P), 2e-6),
        ("quat_normalize", rotations.quat_normalize(1.7 * Q), 2e-6),
        ("quat_to_exp_map", rotations.quat_to_exp_map(Q), 2e-6),
        ("quat_to_tan_norm", rotations.quat_to_tan_norm(Q), 2e-6),
        (
            "rotate_2d_vec",
            rotations.rotate_2d(tensor(V["rotate_2d_vec_in"]), tensor(V["rotate_2d_angle"])),
            2e-6,
        ),
    ],
)
def test_reference_vectors(name, result, tolerance):
    assert max_error(result, V[name]) <= tolerance


@pytest.mark.parametrize(
    ("name", "result", "tolerance"),
    [
        ("quat_pos", rotations.quat_positive(Q), 0.0),
        ("exp_map_to_quat", rotations.exp_map_to_quat(tensor(V["exp_map"])), 6e-6),
        ("axis_angle_to_quat", rotations.axis_angle_to_quat(tensor(V["axis"]), tensor(V["angle"])), 2e-6),
        ("heading_to_quat", rotations.heading_to_quat(tensor(V["heading_in"])), 2e-6),
    ],
)
def test_reference_rotations(name, result, tolerance):
    assert max_rotation_error(result, V[name]) <= tolerance


def test_slerp_keeps_the_originals_quirks():
    result = rotations.slerp(tensor(V["slerp_q0"]), tensor(V["slerp_q1"]), tensor(V["slerp_t"])).numpy()
    for kind, tolerance in enumerate((5e-6, 1e-4, 5e-4, 1e-6)):
        rows = V["slerp_class"] == kind
        assert max_error(result[rows], V["slerp"][rows]) <= tolerance


def test_heading():
    rows = V["heading_well_conditioned"]
    error = rotations.calc_heading(Q).numpy()[rows] - V["calc_heading"][rows]
    assert np.abs((error + np.pi) % (2 * np.pi) - np.pi).max() <= 1e-5


def test_heading_frame_undoes_the_heading():
    rows = torch.from_numpy(V["heading_well_conditioned"])
    q, v = Q[rows], tensor(V["v"])[rows]
    expected = rotations.quat_rotate(tensor(V["calc_heading_quat_inv"])[rows], v)
    assert max_error(rotations.to_heading_frame(rotations.heading_direction(q), v), expected) <= 2e-5


unit = st.floats(-1.0, 1.0, width=32)


@settings(max_examples=200, deadline=None)
@given(st.tuples(unit, unit, unit))
def test_rotation_vector_round_trip(vector):
    v = 3.0 * torch.tensor(vector)
    angle = float(v.norm())
    if angle < np.pi - 1e-3:
        assert torch.allclose(rotations.quat_to_exp_map(rotations.exp_map_to_quat(v)), v, atol=3e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_rows_do_not_depend_on_their_company(multiple, seed):
    """The same bits for a row wherever it stands in a batch of any multiple of 64."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.nn.functional.normalize(torch.randn(64 * multiple, 4, generator=generator), dim=-1)
    order = torch.randperm(len(q), generator=generator)
    for function in (rotations.quat_to_exp_map, rotations.quat_to_tan_norm, rotations.calc_heading):
        whole, shuffled = function(q), function(q[order])
        assert torch.equal(whole[order], shuffled)
        assert torch.equal(function(q[:64]), whole[:64])
    exp_map = rotations.quat_to_exp_map(q)
    assert torch.equal(rotations.exp_map_to_quat(exp_map)[order], rotations.exp_map_to_quat(exp_map[order]))
