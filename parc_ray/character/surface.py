"""SurfacePoints: points on a character's surface for measuring ground penetration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.geoms import SHAPES, Geom, read_geoms, require_shapes
from parc_ray.character.mjcf import Mjcf
from parc_ray.tensors.rows import gather


@dataclass(frozen=True)
class SurfacePoints:
    """P points on a character that must stay outside the terrain: undersides of round geoms, corners of others."""

    bodies: Tensor
    """[P] body of each point."""
    points: Tensor
    """[P, 3] m, in the body's frame."""
    drops: Tensor
    """[P, 3] m: distance of the surface below `points`, along the world's z axis."""

    def positions(self, body_pos: Tensor, body_rot: Tensor) -> Tensor:
        """Return the world positions [N, P, 3] for body poses [N, B, 3] and [N, B, 4]."""
        axes = gather(rotations.quat_to_matrix(body_rot), self.bodies, -3)
        return gather(body_pos, self.bodies, -2) + rotations.matrix_apply(axes, self.points) - self.drops


def surface_points(character: str, source: str, device: torch.device) -> SurfacePoints:
    """Return the surface points of the geoms that collide, from the text of a character's MJCF.

    Raises InputError if one of them has an unsupported shape.
    """
    geoms = read_geoms(character, source)
    names = [body.get("name", "") for _, body in Mjcf(character, source).bodies()]
    require_shapes(geoms, SHAPES, names, source)
    spans = [(geom.body, *_span(geom)) for geom in geoms if geom.collides]
    points = [point for _, own, _ in spans for point in own]
    return SurfacePoints(
        torch.tensor([body for body, own, _ in spans for _ in own], dtype=torch.int64, device=device),
        torch.tensor(points, dtype=torch.float32, device=device).reshape(-1, 3),
        torch.tensor([[0.0, 0.0, drop] for _, own, drop in spans for _ in own], device=device).reshape(-1, 3),
    )


def _span(geom: Geom) -> tuple[list[Sequence[float]], float]:
    """Return the points that span a geom, in its body's frame, and its radius around them."""
    if geom.ends:
        return list(geom.ends), geom.size[0] if geom.shape == "capsule" else 0.0
    if geom.shape not in ("box", "hull"):
        return [geom.position], min(geom.size)
    if geom.shape == "hull":
        corners = _outermost(torch.tensor(geom.hull))
    else:
        corners = torch.cartesian_prod(*(torch.tensor([-half, half]) for half in geom.size))
    rotation = torch.tensor(geom.rotation).expand(len(corners), 4)
    return (torch.tensor(geom.position) + rotations.quat_rotate(rotation, corners)).tolist(), 0.0


def _outermost(points: Tensor) -> Tensor:
    """Return the extreme points among [V, 3] in the directions of a cube's faces, edges and corners."""
    steps = torch.tensor([-1.0, 0.0, 1.0])
    directions = torch.cartesian_prod(steps, steps, steps)
    directions = directions[directions.abs().sum(dim=1) > 0]
    return points[(points @ directions.t()).argmax(dim=0).unique()]
