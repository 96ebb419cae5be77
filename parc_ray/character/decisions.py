"""Decisions: choices made when reading a character, and sentences that describe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence


@dataclass(frozen=True)
class Hull:
    """A mesh as a convex hull."""

    mesh: str
    mesh_vertices: int
    vertices: int


@dataclass(frozen=True)
class Decisions:
    """Decisions about a character on reading, for `parc-ray check`."""

    compiled: bool = False
    """False if the file is used unchanged."""
    gains_from_servos: int = 0
    """Degrees of freedom with gains from an actuator."""
    hulls: tuple[Hull, ...] = ()
    """Colliding meshes that became convex hulls."""
    mended_inertia: tuple[tuple[str, str, str], ...] = ()
    """Body, its moments of inertia in the file, and those used instead."""
    unlimited: tuple[str, ...] = ()
    """Joints without limits, which were set to +-pi."""
    ignored: tuple[str, ...] = ()
    """Elements that act on the character but are not simulated."""
    named_bodies: tuple[str, ...] = ()
    """Names given to bodies without one."""
    uneven: tuple[str, ...] = ()
    """Spherical joints whose three axes have different armature or damping."""
    excluded_pairs: int = 0
    """Pairs of bodies that do not collide with each other."""
    undriven: tuple[str, ...] = ()
    """Joints without stiffness."""
    undamped: tuple[str, ...] = ()
    """Joints with stiffness, but without damping."""


def describe(decisions: Decisions) -> list[str]:
    """Return the decisions as sentences."""
    lines: list[str] = []
    if decisions.gains_from_servos:
        lines.append(f"gains of {decisions.gains_from_servos} degrees of freedom from its <position> actuators")
    elif decisions.compiled:
        lines.append("gains from its joints")
    if decisions.hulls:
        vertices, kept = (sum(counts) for counts in zip(*((h.mesh_vertices, h.vertices) for h in decisions.hulls)))
        lines.append(f"{len(decisions.hulls)} colliding meshes as convex hulls, {kept} of {vertices} vertices")
    for body, before, after in decisions.mended_inertia:
        lines.append(f"body {body}: no solid has the moments of inertia {before}; taken as {after}")
    if decisions.named_bodies:
        lines.append(f"bodies without a name are called {_name_list(decisions.named_bodies)}")
    if decisions.unlimited:
        lines.append(f"without limits, taken as one turn: {_name_list(decisions.unlimited)}")
    if decisions.ignored:
        lines.append(f"not simulated: {', '.join(decisions.ignored)}")
    if decisions.uneven:
        lines.append(f"armature or damping of its own on each axis: {_name_list(decisions.uneven)}")
    if decisions.excluded_pairs:
        lines.append(f"{decisions.excluded_pairs} pairs of bodies do not collide (<exclude>)")
    return lines


def warnings(decisions: Decisions, source: str) -> list[str]:
    """Return likely mistakes in a character, as sentences. source: Path of its file."""
    lines = []
    if decisions.undriven:
        lines.append(f"{source}: no stiffness, so nothing drives these joints: {_name_list(decisions.undriven)}")
    if decisions.undamped:
        lines.append(f"{source}: no damping, so these joints may oscillate: {_name_list(decisions.undamped)}")
    return lines


def _name_list(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
