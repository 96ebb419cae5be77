"""Orientations of MJCF elements, in all of MuJoCo's notations."""

from __future__ import annotations

import math
from typing import Sequence, Tuple
from xml.etree.ElementTree import Element

from parc_ray.character.mjcf import Mjcf
from parc_ray.errors import InputError, quote

Vector = Tuple[float, float, float]
Quaternion = Tuple[float, float, float, float]

SMALLEST = 1e-6
"""Length below which a vector has no direction."""


def read_rotation(document: Mjcf, element: Element) -> Quaternion:
    """Return the unit quaternion (xyzw) of an element's quat, axisangle, euler, xyaxes or zaxis; identity by default.

    Raises InputError for invalid rotations.
    """
    where = f"{document.source}: {element.tag} {quote(element.get('name'))}"
    unit = math.pi / 180 if document.degrees() else 1.0
    if document.attribute(element, "axisangle") is not None:
        x, y, z, angle = document.numbers(element, "axisangle", None, 4)
        return _rotation_about(_unit((x, y, z), f"{where}: its 'axisangle'"), unit * angle)
    if document.attribute(element, "euler") is not None:
        return _euler([unit * angle for angle in document.numbers(element, "euler", None, 3)], _sequence(document))
    if document.attribute(element, "xyaxes") is not None:
        values = document.numbers(element, "xyaxes", None, 6)
        return _from_axes(values[:3], values[3:], f"{where}: its 'xyaxes'")
    if document.attribute(element, "zaxis") is not None:
        return shortest_arc(_unit(document.numbers(element, "zaxis", None, 3), f"{where}: its 'zaxis'"))
    w, x, y, z = _unit(document.numbers(element, "quat", "1 0 0 0", 4), f"{where}: its 'quat'")
    return x, y, z, w


def shortest_arc(axis: Sequence[float]) -> Quaternion:
    """Return the smallest rotation (xyzw) of the z axis to a unit vector; half a turn about x for its opposite."""
    x, y, w = -axis[1], axis[0], 1.0 + axis[2]
    length = math.sqrt(x * x + y * y + w * w)
    return (x / length, y / length, 0.0, w / length) if length > SMALLEST else (1.0, 0.0, 0.0, 0.0)


def _unit(values: Sequence[float], place: str) -> list[float]:
    length = math.sqrt(sum(value * value for value in values))
    if length < SMALLEST:
        raise InputError(f"{place} has length 0, which is no direction")
    return [value / length for value in values]


def _rotation_about(axis: Sequence[float], angle: float) -> Quaternion:
    x, y, z = (math.sin(angle / 2) * part for part in axis)
    return x, y, z, math.cos(angle / 2)


def _product(a: Quaternion, b: Quaternion) -> Quaternion:
    (ax, ay, az, aw), (bx, by, bz, bw) = a, b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _sequence(document: Mjcf) -> str:
    compiler = document.root.find("compiler")
    sequence = "xyz" if compiler is None else compiler.get("eulerseq", "xyz")
    if len(sequence) != 3 or set(sequence.lower()) - set("xyz"):
        raise InputError(f"{document.source}: <compiler eulerseq={quote(sequence)}> is not three of x, y, z, X, Y, Z")
    return sequence


def _euler(angles: Sequence[float], sequence: str) -> Quaternion:
    """Return the product of three rotations: about the rotated axes (lower case) or the fixed ones (upper case)."""
    rotation: Quaternion = (0.0, 0.0, 0.0, 1.0)
    for angle, letter in zip(angles, sequence):
        turn = _rotation_about([float(letter.lower() == axis) for axis in "xyz"], angle)
        rotation = _product(rotation, turn) if letter.islower() else _product(turn, rotation)
    return rotation


def _from_axes(x_axis: Sequence[float], y_axis: Sequence[float], place: str) -> Quaternion:
    """Return the rotation to a frame with these axes; the second is made perpendicular to the first."""
    x = _unit(x_axis, place)
    along = sum(a * b for a, b in zip(x, y_axis))
    y = _unit([b - along * a for a, b in zip(x, y_axis)], place)
    z = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]]
    # Divide by the largest component: dividing by a small one would lose precision.
    squares = [1 + x[0] - y[1] - z[2], 1 - x[0] + y[1] - z[2], 1 - x[0] - y[1] + z[2], 1 + x[0] + y[1] + z[2]]
    largest = max(range(4), key=lambda k: squares[k])
    rows = [
        [squares[0], x[1] + y[0], x[2] + z[0], y[2] - z[1]],
        [x[1] + y[0], squares[1], y[2] + z[1], z[0] - x[2]],
        [x[2] + z[0], y[2] + z[1], squares[2], x[1] - y[0]],
        [y[2] - z[1], z[0] - x[2], x[1] - y[0], squares[3]],
    ]
    qx, qy, qz, qw = _unit(rows[largest], place)
    return qx, qy, qz, qw
