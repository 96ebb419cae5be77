"""Layout: named fields side by side in rows of numbers."""

from __future__ import annotations

import math
from typing import Iterable, Mapping, Tuple

import torch
from torch import Tensor

from parc_ray.tensors.rows import reverse_dims

Shape = Tuple[int, ...]


class Layout:
    """The fields of a row, from which its size, and how to join and split it, follow.

    >>> layout = Layout({"position": (3,), "rotations": (14, 4)})
    >>> layout.size, layout.split(torch.zeros(5, 59))["rotations"].shape
    (59, torch.Size([5, 14, 4]))
    """

    def __init__(self, shapes: Mapping[str, Shape]):
        """shapes: of the fields of one row, in order."""
        self.shapes = dict(shapes)
        self._sizes = [math.prod(shape) for shape in shapes.values()]
        self.size = sum(self._sizes)

    def split(self, rows: Tensor) -> dict[str, Tensor]:
        """Return views of the fields [..., *shape] of rows [..., size]."""
        fields = zip(self.shapes.items(), rows.split_with_sizes(self._sizes, dim=-1))
        return {name: field if len(shape) == 1 else field.unflatten(-1, shape) for (name, shape), field in fields}

    def join(self, fields: Iterable[Tensor]) -> Tensor:
        """Return rows [..., size] of all fields [..., *shape], given in order."""
        shaped = zip(self.shapes.values(), fields)
        return torch.cat([field.flatten(-len(shape)) for shape, field in shaped], dim=-1)

    def stack(self, fields: Iterable[Tensor]) -> Tensor:
        """Return columns [size, n] of all fields [n, *shape], given in order; each field's numbers are reversed."""
        return torch.cat([reverse_dims(field).flatten(0, -2) for field in fields])

    def unstack(self, columns: Tensor) -> dict[str, Tensor]:
        """Return views of the fields [n, *shape] of columns [size, n]."""
        fields = zip(self.shapes.items(), columns.split_with_sizes(self._sizes))
        return {name: reverse_dims(field.unflatten(0, shape[::-1])) for (name, shape), field in fields}
