"""Orders and names of a character's bodies and degrees of freedom in other programs."""

from __future__ import annotations

from typing import Sequence

from parc_ray.character.skeleton import Skeleton


def dof_names(skeleton: Skeleton) -> tuple[str, ...]:
    """Return the name of each degree of freedom, in the MJCF's order; those of a spherical joint end in _x, _y, _z."""
    names: list[str] = []
    for joint in skeleton.joints:
        if joint.kind == "spherical":
            names += [f"{joint.name}_{axis}" for axis in "xyz"]
        else:
            names += [joint.name] * joint.dof_count
    return tuple(names)


def breadth_first(skeleton: Skeleton) -> list[int]:
    """Return the bodies by depth in the tree, the order of PhysX and Isaac Lab."""
    depth: list[int] = []
    for parent in skeleton.parent_indices:
        depth.append(0 if parent < 0 else depth[parent] + 1)
    return sorted(range(skeleton.num_bodies), key=depth.__getitem__)


def dofs_of(skeleton: Skeleton, bodies: Sequence[int]) -> list[int]:
    """Return the degrees of freedom of bodies, in the order of the bodies."""
    joints = [skeleton.joints[body] for body in bodies]
    return [joint.dof_index + place for joint in joints for place in range(joint.dof_count)]
