"""Quaternion math, batched over leading dimensions.

Quaternions are (x, y, z, w); q and -q are the same rotation. A rotation acts on column vectors and
quat_mul(a, b) applies b first. Norms are written as explicit sums: a reduction kernel may choose its
summation order by the size of the batch, and a motion's outcome must not depend on its company.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Tuple

import torch
from torch import Tensor

SMALL_ANGLE = 1e-5


def _sum(terms: Tensor) -> Tensor:
    """Sum over the last dimension, in order."""
    first, *others = terms.unbind(-1)
    for term in others:
        first = first + term
    return first


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar product over the last dimension, [..., n] x [..., n] -> [...]."""
    return _sum(a * b)


def norm(v: Tensor) -> Tensor:
    """Euclidean length over the last dimension, [..., n] -> [...]."""
    return torch.sqrt(dot(v, v))


_HAMILTON = "+wx +xw +yz -zy  +wy -xz +yw +zx  +wz +xy -yx +zw  +ww -xx -yy -zz"
_MATRIX = "-yy -zz +xy -zw +xz +yw  +xy +zw -xx -zz +yz -xw  +xz -yw +yz +xw -xx -yy"


@lru_cache(maxsize=None)
def _table(terms: str, device: torch.device) -> Tuple[Tensor, Tensor]:
    """Which of the 16 products of two quaternions' components are added up, and with which sign."""
    places = ["xyzw".index(term[1]) * 4 + "xyzw".index(term[2]) for term in terms.split()]
    signs = [1.0 if term[0] == "+" else -1.0 for term in terms.split()]
    # Made once, perhaps in inference mode, and used for ever, perhaps in a training.
    with torch.inference_mode(False):
        return torch.tensor(places, device=device), torch.tensor(signs, device=device)


def _products(a: Tensor, b: Tensor, terms: str) -> Tensor:
    """The signed products that terms name, [..., terms]: few large operations, since each has a price of its own."""
    places, signs = _table(terms, a.device)
    return (a.unsqueeze(-1) * b.unsqueeze(-2)).flatten(-2).index_select(-1, places) * signs


def quat_mul(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product a * b, [..., 4] x [..., 4] -> [..., 4]."""
    return _sum(_products(a, b, _HAMILTON).unflatten(-1, (4, 4)))


def quat_to_matrix(q: Tensor) -> Tensor:
    """Rotation matrix of a unit quaternion, [..., 4] -> [..., 3, 3]; its columns are the rotated axes."""
    return 2.0 * _sum(_products(q, q, _MATRIX).unflatten(-1, (3, 3, 2))) + torch.eye(3, device=q.device)


def matrix_apply(matrix: Tensor, v: Tensor) -> Tensor:
    """Matrix times vector, [..., 3, 3] x [..., 3] -> [..., 3]."""
    return _sum(matrix * v.unsqueeze(-2))


def quat_conjugate(q: Tensor) -> Tensor:
    """Inverse rotation of a unit quaternion, [..., 4] -> [..., 4]."""
    return torch.cat((-q[..., :3], q[..., 3:]), dim=-1)


def quat_rotate(q: Tensor, v: Tensor) -> Tensor:
    """Rotate vectors: v + 2 w (u x v) + 2 u x (u x v) with q = (u, w); [..., 4] x [..., 3] -> [..., 3]."""
    x, y, z, w = q.unbind(-1)
    vx, vy, vz = v.unbind(-1)
    tx = 2.0 * (y * vz - z * vy)
    ty = 2.0 * (z * vx - x * vz)
    tz = 2.0 * (x * vy - y * vx)
    return torch.stack(
        (
            vx + w * tx + (y * tz - z * ty),
            vy + w * ty + (z * tx - x * tz),
            vz + w * tz + (x * ty - y * tx),
        ),
        dim=-1,
    )


def quat_positive(q: Tensor) -> Tensor:
    """The same rotation with w >= 0."""
    return torch.where(q[..., 3:] < 0, -q, q)


def quat_normalize(q: Tensor) -> Tensor:
    """Unit quaternion with w >= 0."""
    return quat_positive(q / norm(q).clamp(min=1e-9).unsqueeze(-1))


def quat_diff(q0: Tensor, q1: Tensor) -> Tensor:
    """Rotation from q0 to q1 in world axes: q1 * q0^-1."""
    return quat_mul(q1, quat_conjugate(q0))


def quat_diff_angle(q0: Tensor, q1: Tensor) -> Tensor:
    """Angle in [0, pi] between two rotations, rad. Zero below 2e-5, as in PARC."""
    return _angle(quat_positive(quat_diff(q0, q1)))[0]


def quat_to_axis_angle(q: Tensor) -> Tuple[Tensor, Tensor]:
    """Axis [..., 3] and angle [...] in [0, pi], rad; (0, 0, 1) and 0 where |xyz| <= 1e-5, as in PARC."""
    q = quat_positive(q)
    angle, length = _angle(q)
    turned = length > SMALL_ANGLE
    z_axis = torch.zeros_like(q[..., :3])
    z_axis[..., 2] = 1.0
    axis = torch.where(turned.unsqueeze(-1), q[..., :3] / length.clamp(min=SMALL_ANGLE).unsqueeze(-1), z_axis)
    return axis, angle


def quat_to_exp_map(q: Tensor) -> Tensor:
    """Rotation vector axis * angle, angle in [0, pi]; [..., 4] -> [..., 3], rad."""
    q = quat_positive(q)
    angle, length = _angle(q)
    return q[..., :3] * (angle / length.clamp(min=SMALL_ANGLE)).unsqueeze(-1)


def _angle(q: Tensor) -> Tuple[Tensor, Tensor]:
    """Rotation angle (0 where too small to have an axis) and length of xyz of a quaternion with w >= 0, both [...]."""
    length = norm(q[..., :3])
    return torch.atan2(length, q[..., 3]).mul_(length > SMALL_ANGLE).mul_(2.0), length


def axis_angle_to_quat(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotation by angle [...] (rad) about axis [..., 3], which need not be a unit vector."""
    half = 0.5 * angle.unsqueeze(-1)
    unit = axis / norm(axis).clamp(min=1e-9).unsqueeze(-1)
    q = torch.cat((unit * torch.sin(half), torch.cos(half)), dim=-1)
    return q / norm(q).clamp(min=1e-9).unsqueeze(-1)


def exp_map_to_quat(exp_map: Tensor) -> Tensor:
    """Rotation vector to unit quaternion with w >= 0 (the angle is wrapped to (-pi, pi]); [..., 3] -> [..., 4]."""
    angle = norm(exp_map).unsqueeze(-1)
    half = 0.5 * angle
    turned = angle > SMALL_ANGLE
    scale = torch.where(turned, torch.sin(half) / angle.clamp(min=SMALL_ANGLE), torch.full_like(angle, 0.5))
    return quat_positive(torch.cat((exp_map * scale, torch.cos(half)), dim=-1))


def slerp(q0: Tensor, q1: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation, [..., 4] x [..., 4] x [...] -> [..., 4], the shorter way round.

    As in PARC, nearly equal ends (sine of the half angle below 0.001) give their mean whatever t is,
    identical ends give q0, and the result is not normalised again.
    """
    cosine = dot(q0, q1).unsqueeze(-1)
    q1 = torch.where(cosine < 0, -q1, q1)
    cosine = torch.abs(cosine)
    half = torch.acos(cosine.clamp(max=1.0))
    sine = torch.sqrt((1.0 - cosine * cosine).clamp(min=0.0))
    t = t.unsqueeze(-1)
    safe = sine.clamp(min=1e-12)
    result = torch.sin((1.0 - t) * half) / safe * q0 + torch.sin(t * half) / safe * q1
    result = torch.where(sine < 0.001, 0.5 * q0 + 0.5 * q1, result)
    return torch.where(cosine >= 1.0, q0, result)


def heading_direction(q: Tensor) -> Tuple[Tensor, Tensor]:
    """Cosine and sine [...] of the heading: where the rotated x axis points on the ground, (1, 0) if vertical.

    Without angles: square roots and divisions are exact to the bit in any batch, atan2 need not be.
    """
    x, y, z, w = q.unbind(-1)
    forward = 1.0 - 2.0 * (y * y + z * z)
    left = 2.0 * (x * y + w * z)
    length = torch.sqrt(forward * forward + left * left)
    upright = length > 1e-12
    safe = length.clamp(min=1e-12)
    cosine = torch.where(upright, forward / safe, torch.ones_like(length))
    sine = torch.where(upright, left / safe, torch.zeros_like(length))
    return cosine, sine


def calc_heading(q: Tensor) -> Tensor:
    """Heading angle [...] about z, rad in (-pi, pi]."""
    cosine, sine = heading_direction(q)
    return torch.atan2(sine, cosine)


def heading_to_quat(heading: Tensor) -> Tensor:
    """Rotation about z by heading [...] (rad)."""
    half = 0.5 * heading
    zero = torch.zeros_like(half)
    return torch.stack((zero, zero, torch.sin(half), torch.cos(half)), dim=-1)


def to_heading_frame(heading: Tuple[Tensor, Tensor], v: Tensor) -> Tensor:
    """World vectors [..., 3] in the frame turned about z by heading = (cosine [...], sine [...])."""
    cosine, sine = heading
    x, y, z = v.unbind(-1)
    return torch.stack((cosine * x + sine * y, cosine * y - sine * x, z), dim=-1)


def quat_to_tan_norm(q: Tensor) -> Tensor:
    """The rotated x axis and the rotated z axis side by side, [..., 4] -> [..., 6]."""
    return quat_to_matrix(q)[..., [0, 2]].transpose(-1, -2).flatten(-2)


def rotate_2d(v: Tensor, angle: Tensor) -> Tensor:
    """Rotate [..., 2] counter-clockwise by angle [...] (rad)."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    x, y = v.unbind(-1)
    return torch.stack((x * cosine - y * sine, x * sine + y * cosine), dim=-1)
