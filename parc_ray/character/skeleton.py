"""Skeleton: a character's body tree, degrees of freedom and forward kinematics, read from MJCF."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Sequence
from xml.etree.ElementTree import Element

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.mjcf import Mjcf
from parc_ray.character.orientation import SMALLEST, read_rotation
from parc_ray.errors import InputError
from parc_ray.files.reading import read_text
from parc_ray.tensors.rows import gather, reverse_dims

UNIT_TOLERANCE = 1e-4
AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Joint:
    """The joint between a body and its parent. Three hinges x, y, z in one body are one spherical joint."""

    name: str
    kind: str
    """root, spherical, hinge or fixed."""
    axis: tuple[float, ...] = ()
    """Axis of a hinge, in the body's frame."""
    dof_index: int = 0
    """Index of its first degree of freedom."""
    lower: tuple[float, ...] = ()
    """Lower limit per degree of freedom, rad."""
    upper: tuple[float, ...] = ()
    """Upper limit per degree of freedom, rad."""
    stiffness: tuple[float, ...] = ()
    """Proportional gain per degree of freedom, N m / rad."""
    damping: tuple[float, ...] = ()
    """Derivative gain per degree of freedom, N m s / rad."""
    armature: tuple[float, ...] = ()
    """Armature per degree of freedom, kg m^2."""
    torque_limit: tuple[float, ...] = ()
    """Motor gear per degree of freedom, N m; infinite without a motor."""

    @property
    def dof_count(self) -> int:
        """Number of degrees of freedom: 3 for spherical, 1 for hinge, else 0."""
        return len(self.lower)


@dataclass(frozen=True)
class Skeleton:
    """A kinematic tree. Bodies and degrees of freedom are in the MJCF's depth-first order; body 0 is the root.

    Joint rotations are [..., B - 1, 4]: bodies 1 .. B - 1 relative to their parents, xyzw.
    Degrees of freedom are [..., D] rad: hinges one angle, spherical joints a rotation vector.
    """

    body_names: tuple[str, ...]
    parent_indices: tuple[int, ...]
    local_translation: Tensor
    """[B, 3] m: position of each body in its parent's frame."""
    local_rotation: Tensor
    """[B, 4]"""
    joints: tuple[Joint, ...]
    _aligned: bool = False
    """True if every body's frame is parallel to its parent's when all joints are at zero."""
    _tables: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    _levels: tuple[Tensor, ...] = field(default=(), compare=False, repr=False)
    """For each depth of the tree below the root: indices of its bodies' parents within the depth above."""

    @property
    def num_bodies(self) -> int:
        """Number of bodies, B."""
        return len(self.body_names)

    @property
    def dof_count(self) -> int:
        """Number of degrees of freedom, D."""
        return sum(joint.dof_count for joint in self.joints)

    @property
    def _has_fixed(self) -> bool:
        return any(joint.kind == "fixed" for joint in self.joints)

    def body_index(self, name: str) -> int:
        """Return the index of a body. Raises InputError for an unknown name."""
        if name not in self.body_names:
            raise InputError(f"the character has no body {name!r}; it has: {', '.join(self.body_names)}")
        return self.body_names.index(name)

    def body_indices(self, names: Sequence[str], key: str) -> list[int]:
        """Return the indices of the bodies that a configuration key lists. Raises InputError that names the key."""
        try:
            return [self.body_index(name) for name in names]
        except InputError as error:
            raise InputError(f"key {key!r}: {error}") from None

    def to(self, device: torch.device) -> Skeleton:
        """Return the skeleton with its tensors on a device."""
        return replace(
            self,
            local_translation=self.local_translation.to(device),
            local_rotation=self.local_rotation.to(device),
            _tables={name: table.to(device) for name, table in self._tables.items()},
            _levels=tuple(parents.to(device) for parents in self._levels),
        )

    def dof_to_rot(self, dof: Tensor) -> Tensor:
        """Return the joint rotations of degrees of freedom, [..., D] -> [..., B - 1, 4]."""
        tables = self._tables
        sources = reverse_dims(dof).index_select(0, tables["rotation_sources"])
        balls = sources[: tables["ball_dofs"].numel()].unflatten(0, (3, -1))
        ball_angles = torch.sqrt((balls * balls).sum(0))
        half = 0.5 * torch.cat((ball_angles, sources[tables["ball_dofs"].numel() :]))
        sine, count = torch.sin(half), len(ball_angles)
        scale = sine[:count] / ball_angles.clamp(min=rotations.SMALL_ANGLE)
        scale = scale.masked_fill(ball_angles <= rotations.SMALL_ANGLE, 0.5)
        axes = tables["hinge_axes"].t().view(3, -1, *[1] * (dof.dim() - 1))
        parts = [torch.cat((torch.cat((balls * scale, axes * sine[count:]), dim=1), torch.cos(half).unsqueeze(0)))]
        if self._has_fixed:
            parts.append(tables["identity"].view(4, 1, *[1] * (dof.dim() - 1)).expand(4, 1, *parts[0].shape[2:]))
        by_kind = reverse_dims(torch.cat(parts, dim=1) if self._has_fixed else parts[0])
        return gather(rotations.quat_positive(by_kind), tables["rotation_order"], -2)

    def rot_to_dof(self, rot: Tensor) -> Tensor:
        """Return the degrees of freedom of joint rotations, [..., B - 1, 4] -> [..., D].

        As in PARC, a hinge's angle is the whole rotation angle, signed by its axis: rotation about other axes is not
        removed.
        """
        tables = self._tables
        balls = rotations.quat_to_exp_map(gather(rot, tables["ball_joints"], -2))
        axis, angle = rotations.quat_to_axis_angle(gather(rot, tables["hinge_joints"], -2))
        hinges = torch.where(rotations.dot(axis, tables["hinge_axes"].expand_as(axis)) < 0, -angle, angle)
        return self._dofs(balls, hinges)

    def dof_velocity(self, rot0: Tensor, rot1: Tensor, dt: float) -> Tensor:
        """Return the velocities between two poses dt seconds apart, [..., B - 1, 4] x 2 -> [..., D] rad/s.

        log(rot0^-1 * rot1) / dt: spherical joints in the child's frame, hinges along their axis.
        """
        tables = self._tables
        turn = rotations.quat_normalize(rotations.quat_mul(rotations.quat_conjugate(rot0), rot1))
        velocity = rotations.quat_to_exp_map(turn) / dt
        along = gather(velocity, tables["hinge_joints"], -2)
        hinges = rotations.dot(along, tables["hinge_axes"].expand_as(along))
        return self._dofs(gather(velocity, tables["ball_joints"], -2), hinges)

    def _dofs(self, balls: Tensor, hinges: Tensor) -> Tensor:
        """Return the degrees of freedom [..., D] of the ball joints [..., balls, 3] and the hinges [..., hinges]."""
        sources = torch.cat((reverse_dims(balls).flatten(0, 1), reverse_dims(hinges)))
        return reverse_dims(sources.index_select(0, self._tables["dof_order"]))

    def to_parents(self, joint_rot: Tensor) -> Tensor:
        """Return the rotations of bodies 1, 2, ... in their parents' frames, of joint rotations [..., B - 1, 4]."""
        if self._aligned:
            return joint_rot
        return rotations.quat_mul(self.local_rotation[1:].expand_as(joint_rot), joint_rot)

    def forward_kinematics(self, root_pos: Tensor, root_rot: Tensor, joint_rot: Tensor) -> tuple[Tensor, Tensor]:
        """Return all bodies' positions [..., B, 3], rotations [..., B, 4], from [..., 3], [..., 4], [..., B - 1, 4].

        Poses are in the frame of the root's pose. Uses one batched product per depth of the tree.
        """
        tables = self._tables
        turns = gather(self.to_parents(joint_rot), tables["joints_by_depth"], -2).split(
            [len(parents) for parents in self._levels], dim=-2
        )
        levels = [root_rot.unsqueeze(-2)]
        for parents, level in zip(self._levels, turns):
            levels.append(rotations.quat_mul(gather(levels[-1], parents, -2), level))
        by_depth = torch.cat([reverse_dims(level) for level in levels], dim=1)
        body_rot = reverse_dims(by_depth.index_select(1, tables["body_order"]))
        parent_matrix = rotations.quat_to_matrix(gather(body_rot, tables["parents"], -2))
        bones = rotations.matrix_apply(parent_matrix, self.local_translation[1:])
        # A body's position is the root's plus all bones from the root to the body.
        root = reverse_dims(root_pos.unsqueeze(-2))
        terms = torch.cat((root, reverse_dims(bones), torch.zeros_like(root)), dim=1)
        paths = terms.index_select(1, tables["paths"]).unflatten(1, (-1, self.num_bodies))
        return reverse_dims(paths.sum(1)), body_rot


def load_skeleton(path: Path) -> Skeleton:
    """Return the skeleton of a plain MJCF file. Raises InputError if it is missing or not a character."""
    return parse_skeleton(read_text(path), str(path))


@lru_cache(maxsize=8)
def parse_skeleton(text: str, source: str) -> Skeleton:
    """Return the skeleton of plain MJCF text; source names it in messages. Raises InputError for unsupported joints."""
    document = Mjcf(text, source)
    gears = {
        motor.get("joint"): abs((document.numbers(motor, "gear", "1") or [1.0])[0])
        for motor in document.root.findall("actuator/motor")
    }
    names: list[str] = []
    parents: list[int] = []
    translations: list[list[float]] = []
    local_rotations: list[list[float]] = []
    joints: list[Joint] = []
    dof_index = 0
    for parent, body in document.bodies():
        name = body.get("name")
        if not name:
            raise InputError(f"{source}: a <body> has no name: every body needs one")
        names.append(name)
        parents.append(parent)
        translations.append(document.numbers(body, "pos", "0 0 0", 3))
        for attribute in ("euler", "axisangle", "xyaxes", "zaxis"):
            if body.get(attribute) is not None:
                raise InputError(f"{source}: body {name!r} is turned by {attribute!r}: write it as 'quat'")
        local_rotations.append(list(read_rotation(document, body)))
        joint = _parse_joint(document, body, parent < 0, gears, dof_index)
        dof_index += joint.dof_count
        joints.append(joint)
    if len(names) < 2:
        raise InputError(f"{source}: the character has one body only; a tracker needs an articulated one")
    return Skeleton(
        body_names=tuple(names),
        parent_indices=tuple(parents),
        local_translation=torch.tensor(translations, dtype=torch.float32),
        local_rotation=torch.tensor(local_rotations, dtype=torch.float32),
        joints=tuple(joints),
        _aligned=all(rotation == [0, 0, 0, 1] for rotation in local_rotations[1:]),
        _tables=_index_tables(joints, parents),
        _levels=_levels_of(parents),
    )


def _parse_joint(document: Mjcf, body: Element, is_root: bool, gears: dict[str | None, float], dof_index: int) -> Joint:
    elements = body.findall("joint")
    where = f"{document.source}: body {body.get('name')!r}"
    if is_root:
        free = body.find("freejoint")
        if free is None and not any(document.attribute(joint, "type") == "free" for joint in elements):
            raise InputError(f"{where} is the root and needs a <freejoint/>")
        return Joint(name=body.get("name", ""), kind="root")
    if not elements:
        return Joint(name=body.get("name", ""), kind="fixed")
    if len(elements) not in (1, 3):
        raise InputError(f"{where} has {len(elements)} joints: PARC knows one hinge, or three that form a ball")
    for element in elements:
        if (document.attribute(element, "type") or "hinge") != "hinge":
            raise InputError(f"{where}: joint {element.get('name')!r} is not a hinge")
        if any(document.numbers(element, "pos", "0 0 0")):
            raise InputError(f"{where}: joint {element.get('name')!r} is off the body's origin ('pos')")
    axes = tuple(_unit_axis(document.numbers(element, "axis", "0 0 1", 3), where) for element in elements)
    if len(elements) == 3 and axes != AXES:
        raise InputError(f"{where}: the axes of its three hinges are {axes}; they must be x, y, z in this order")
    unit = math.pi / 180.0 if document.degrees() else 1.0
    ranges = [document.numbers(element, "range", None, 2) for element in elements]

    def values(name: str) -> tuple[float, ...]:
        return tuple(document.numbers(element, name, "0", 1)[0] for element in elements)

    name = str(elements[0].get("name") or body.get("name"))
    spherical = len(elements) == 3
    return Joint(
        name=name[: -len("_x")] if spherical and name.endswith("_x") else name,
        kind="spherical" if spherical else "hinge",
        axis=() if spherical else axes[0],
        dof_index=dof_index,
        lower=tuple(low * unit for low, _ in ranges),
        upper=tuple(high * unit for _, high in ranges),
        stiffness=values("stiffness"),
        damping=values("damping"),
        armature=values("armature"),
        torque_limit=tuple(gears.get(element.get("name"), math.inf) for element in elements),
    )


def _unit_axis(axis: list[float], where: str) -> tuple[float, ...]:
    length = math.sqrt(sum(value * value for value in axis))
    if length < SMALLEST:
        raise InputError(f"{where}: the axis of a hinge has length 0, which is no direction")
    # Axes that are unit vectors up to rounding stay bit-identical.
    return tuple(axis) if abs(length - 1) < UNIT_TOLERANCE else tuple(value / length for value in axis)


def _index_tables(joints: list[Joint], parents: list[int]) -> dict[str, Tensor]:
    """Return the gather indices for computing all joints of a kind in one batched operation."""
    moving = joints[1:]
    balls = [i for i, joint in enumerate(moving) if joint.kind == "spherical"]
    hinges = [i for i, joint in enumerate(moving) if joint.kind == "hinge"]
    ball_dofs = [moving[i].dof_index + k for k in range(3) for i in balls]
    hinge_dofs = [moving[i].dof_index for i in hinges]
    position = {joint: place for place, joint in enumerate(balls + hinges)}
    fixed_place = len(balls) + len(hinges)
    dofs = ball_dofs + hinge_dofs
    by_depth = [body for level in _bodies_by_depth(parents) for body in level]

    def index(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64)

    return {
        "ball_joints": index(balls),
        "hinge_joints": index(hinges),
        "ball_dofs": index(ball_dofs),
        "rotation_sources": index(dofs),
        "hinge_axes": torch.tensor([moving[i].axis for i in hinges], dtype=torch.float32).reshape(-1, 3),
        "identity": torch.tensor([[0.0, 0.0, 0.0, 1.0]]),
        "rotation_order": index([position.get(i, fixed_place) for i in range(len(moving))]),
        "dof_order": index([dofs.index(i) for i in range(len(dofs))]),
        "parents": index(parents[1:]),
        "joints_by_depth": index(by_depth[1:]) - 1,
        "body_order": index([by_depth.index(body) for body in range(len(parents))]),
        "paths": index([place for step in zip(*_paths(parents)) for place in step]),
    }


def _bodies_by_depth(parents: list[int]) -> list[list[int]]:
    depth: list[int] = []
    for parent in parents:
        depth.append(0 if parent < 0 else depth[parent] + 1)
    return [[body for body, own in enumerate(depth) if own == level] for level in range(max(depth) + 1)]


def _paths(parents: list[int]) -> list[list[int]]:
    """Return the bodies from the root to each body, padded to equal length with an index beyond the last body."""
    paths: list[list[int]] = []
    for body, parent in enumerate(parents):
        paths.append([body] if parent < 0 else [*paths[parent], body])
    longest = max(len(path) for path in paths)
    return [path + [len(parents)] * (longest - len(path)) for path in paths]


def _levels_of(parents: list[int]) -> tuple[Tensor, ...]:
    levels = _bodies_by_depth(parents)
    return tuple(
        torch.tensor([above.index(parents[body]) for body in bodies]) for above, bodies in zip(levels, levels[1:])
    )
