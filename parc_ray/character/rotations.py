"""Quaternion math, batched over leading dimensions.

Quaternions are (x, y, z, w); q and -q are the same rotation. A rotation acts on column vectors and
quat_mul(a, b) applies b first. Results lie in memory with their components first (batches.py). Sums are over the
outermost dimension: a reduction over the innermost may choose its order by batch size, and a motion's outcome must
not depend on the rest of the batch.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from parc_ray.tensors.rows import reverse_dims

SMALL_ANGLE = 1e-5


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the scalar product over the last dimension, [..., n] x [..., n] -> [...]."""
    return reverse_dims(reverse_dims(a * b).sum(0))


def norm(v: Tensor) -> Tensor:
    """Return the Euclidean length over the last dimension, [..., n] -> [...]."""
    return torch.sqrt(dot(v, v))


_PRODUCT = "+wx +wy +wz +ww  +xw -xz +xy -xx  +yz +yw -yx -yy  -zy +zx +zw -zz"
_DIFFERENCE = "-wx -wy -wz +ww  +xw +xz -xy +xx  -yz +yw +yx +yy  +zy -zx +zw +zz"
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_MATRIX = "-yy +xy +xz  +xy -xx +yz  +xz +yz -xx    -zz +zw -yw  -zw -zz +xw  +yw -xw -yy"


@lru_cache(maxsize=None)
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    # Created once, possibly in inference mode, and used later, possibly in training.
    with torch.inference_mode(False):
        return torch.tensor(values, device=device)


@lru_cache(maxsize=None)
def _table(terms: str, factor: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return indices of terms among the 16 products of two quaternions' components, and signs times a factor."""
    places = tuple("xyzw".index(term[1]) * 4 + "xyzw".index(term[2]) for term in terms.split())
    signs = tuple(factor if term[0] == "+" else -factor for term in terms.split())
    return _constant(places, device), _constant(signs, device)


def _products(a: Tensor, b: Tensor, terms: str, factor: float = 1.0) -> Tensor:
    """Return the signed products of the terms, [terms, ...], of reverse_dims quaternions [4, ...].

    A few large operations are faster than many small ones.
    """
    places, signs = _table(terms, factor, a.device)
    products = (a.unsqueeze(1) * b.unsqueeze(0)).flatten(0, 1).index_select(0, places)
    return products.mul_(_column(signs, a))


def _column(values: Tensor, like: Tensor) -> Tensor:
    """Return the numbers along the first dimension of a tensor with as many dimensions as `like`."""
    return values.view(-1, *[1] * (like.dim() - 1))


def _sum_of_products(a: Tensor, b: Tensor, terms: str) -> Tensor:
    if a.shape != b.shape:
        a, b = torch.broadcast_tensors(a, b)
    return reverse_dims(_products(reverse_dims(a), reverse_dims(b), terms).unflatten(0, (4, 4)).sum(0))


def quat_mul(a: Tensor, b: Tensor) -> Tensor:
    """Return the Hamilton product a * b, [..., 4] x [..., 4] -> [..., 4]."""
    return _sum_of_products(a, b, _PRODUCT)


def quat_diff(q0: Tensor, q1: Tensor) -> Tensor:
    """Return the rotation from q0 to q1 in world axes: q1 * q0^-1."""
    return _sum_of_products(q1, q0, _DIFFERENCE)


def quat_to_matrix(q: Tensor) -> Tensor:
    """Return the rotation matrix of a unit quaternion, [..., 4] -> [..., 3, 3]; its columns are the rotated axes."""
    q = reverse_dims(q)
    products = _products(q, q, _MATRIX, 2.0).unflatten(0, (2, 9)).sum(0)
    return reverse_dims(products.add_(_column(_constant(_IDENTITY, q.device), q)).unflatten(0, (3, 3)))


def matrix_apply(matrix: Tensor, v: Tensor) -> Tensor:
    """Return matrix times vector, [..., 3, 3] x [..., 3] -> [..., 3]."""
    return reverse_dims(reverse_dims(matrix * v.unsqueeze(-2)).sum(0))


def quat_conjugate(q: Tensor) -> Tensor:
    """Return the inverse rotation of a unit quaternion, [..., 4] -> [..., 4]."""
    return q * _constant((-1.0, -1.0, -1.0, 1.0), q.device)


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
    """Return the same rotation with w >= 0."""
    return q * torch.copysign(_constant((1.0,), q.device), q[..., 3:])


def quat_normalize(q: Tensor) -> Tensor:
    """Return the unit quaternion with w >= 0."""
    return quat_positive(q / norm(q).clamp(min=1e-9).unsqueeze(-1))


def quat_diff_angle(q0: Tensor, q1: Tensor) -> Tensor:
    """Return the angle in [0, pi] between two rotations, rad. Zero below 2e-5, as in PARC."""
    return _angle(quat_positive(quat_diff(q0, q1)))[0]


def quat_to_axis_angle(q: Tensor) -> tuple[Tensor, Tensor]:
    """Return the axis [..., 3] and angle [...] in [0, pi], rad; (0, 0, 1) and 0 where |xyz| <= 1e-5, as in PARC."""
    q = quat_positive(q)
    angle, length = _angle(q)
    turned = length > SMALL_ANGLE
    z_axis = torch.zeros_like(q[..., :3])
    z_axis[..., 2] = 1.0
    axis = torch.where(turned.unsqueeze(-1), q[..., :3] / length.clamp(min=SMALL_ANGLE).unsqueeze(-1), z_axis)
    return axis, angle


def quat_to_exp_map(q: Tensor) -> Tensor:
    """Return the rotation vector axis * angle, angle in [0, pi]; [..., 4] -> [..., 3], rad."""
    q = quat_positive(q)
    angle, length = _angle(q)
    return q[..., :3] * (angle / length.clamp(min=SMALL_ANGLE)).unsqueeze(-1)


def _angle(q: Tensor) -> tuple[Tensor, Tensor]:
    """Return angle (0 if too small to have an axis) and length of xyz of a quaternion with w >= 0, both [...]."""
    length = norm(q[..., :3])
    return torch.atan2(length, q[..., 3]).mul_(length > SMALL_ANGLE).mul_(2.0), length


def axis_angle_to_quat(axis: Tensor, angle: Tensor) -> Tensor:
    """Return the rotation by angle [...] (rad) about axis [..., 3], which need not be a unit vector."""
    half = 0.5 * angle.unsqueeze(-1)
    unit = axis / norm(axis).clamp(min=1e-9).unsqueeze(-1)
    q = torch.cat((unit * torch.sin(half), torch.cos(half)), dim=-1)
    return q / norm(q).clamp(min=1e-9).unsqueeze(-1)


def exp_map_to_quat(exp_map: Tensor) -> Tensor:
    """Return the quaternion, w >= 0, of a rotation vector (angle wrapped to (-pi, pi]); [..., 3] -> [..., 4]."""
    angle = norm(exp_map).unsqueeze(-1)
    half = 0.5 * angle
    scale = (torch.sin(half) / angle.clamp(min=SMALL_ANGLE)).masked_fill(angle <= SMALL_ANGLE, 0.5)
    return quat_positive(concatenate(exp_map * scale, torch.cos(half)))


def concatenate(*parts: Tensor) -> Tensor:
    """Return tensors [..., n] concatenated along the last dimension."""
    return reverse_dims(torch.cat([reverse_dims(part) for part in parts]))


def slerp(q0: Tensor, q1: Tensor, t: Tensor) -> Tensor:
    """Return the spherical interpolation, [..., 4] x [..., 4] x [...] -> [..., 4], along the shorter arc.

    As in PARC, nearly equal ends (sine of the half angle below 0.001) give their mean for any t, identical ends give
    q0, and the result is not normalised again.
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


def heading_direction(q: Tensor) -> Tensor:
    """Return cosine and sine of the heading of a rotation, [..., 4] -> [..., 2]; see heading_of."""
    return heading_of(quat_to_matrix(q)[..., 0])


def heading_of(x_axis: Tensor) -> Tensor:
    """Return cosine and sine [..., 2] of the heading of a rotated x axis [..., 3] on the ground; (1, 0) if vertical.

    Avoids angles: square roots and divisions are bit-identical in any batch, but atan2 may not be.
    """
    forward_left = x_axis[..., :2]
    length = norm(forward_left).unsqueeze(-1)
    ahead = _constant((1.0, 0.0), x_axis.device)
    return torch.where(length > 1e-12, forward_left / length.clamp(min=1e-12), ahead)


def calc_heading(q: Tensor) -> Tensor:
    """Return the heading angle [...] about z, rad in (-pi, pi]."""
    cosine, sine = heading_direction(q).unbind(-1)
    return torch.atan2(sine, cosine)


def heading_to_quat(heading: Tensor) -> Tensor:
    """Return the rotation about z by heading [...] (rad)."""
    half = 0.5 * heading
    zero = torch.zeros_like(half)
    return torch.stack((zero, zero, torch.sin(half), torch.cos(half)), dim=-1)


# Matrices of 9 numbers are in column-major order here.
_STRAIGHT_AHEAD = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
_TO_THE_LEFT = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_UPWARDS = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def heading_matrix(heading: Tensor) -> Tensor:
    """Return the matrix [..., 3, 3] from the world to the frame turned by a heading [..., 2] = (cosine, sine)."""
    cosine, sine = reverse_dims(heading).unbind(0)
    ahead, left, up = (
        _column(_constant(part, heading.device), heading) for part in (_STRAIGHT_AHEAD, _TO_THE_LEFT, _UPWARDS)
    )
    return reverse_dims((up + ahead * cosine + left * sine).unflatten(0, (3, 3)))


def to_heading_frame(heading: Tensor, v: Tensor) -> Tensor:
    """Return world vectors [..., 3] in the frame turned about z by heading [..., 2] = (cosine, sine)."""
    return matrix_apply(heading_matrix(heading), v)


def quat_to_tan_norm(q: Tensor) -> Tensor:
    """Return the rotated x axis and the rotated z axis, concatenated, [..., 4] -> [..., 6]."""
    return quat_to_matrix(q)[..., ::2].transpose(-1, -2).flatten(-2)


def rotate_2d(v: Tensor, angle: Tensor) -> Tensor:
    """Rotate [..., 2] counter-clockwise by angle [...] (rad)."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    x, y = v.unbind(-1)
    return torch.stack((x * cosine - y * sine, x * sine + y * cosine), dim=-1)
