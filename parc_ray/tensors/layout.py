"""Layout: named parts of rows of numbers, side by side."""

from __future__ import annotations

import math
from typing import Dict, Iterable, Mapping, Tuple

import torch
from torch import Tensor

from parc_ray.tensors.rows import reverse_dims

Shape = Tuple[int, ...]


class Layout:
    """What rows consist of. Their size, and how they are joined and split, follows from the shapes of the parts.

    >>> layout = Layout({"position": (3,), "rotations": (14, 4)})
    >>> layout.size, layout.split(torch.zeros(5, 59))["rotations"].shape
    (59, torch.Size([5, 14, 4]))
    """

    def __init__(self, shapes: Mapping[str, Shape]):
        """shapes: of one row's parts, in order."""
        self.shapes = dict(shapes)
        self._sizes = [math.prod(shape) for shape in shapes.values()]
        self.size = sum(self._sizes)

    def split(self, rows: Tensor) -> Dict[str, Tensor]:
        """Views of the parts [..., *shape] of rows [..., size]."""
        parts = zip(self.shapes.items(), rows.split_with_sizes(self._sizes, dim=-1))
        return {name: part if len(shape) == 1 else part.unflatten(-1, shape) for (name, shape), part in parts}

    def join(self, parts: Iterable[Tensor]) -> Tensor:
        """Rows [..., size] of parts [..., *shape], all of them and in order."""
        shaped = zip(self.shapes.values(), parts)
        return torch.cat([part.flatten(-len(shape)) for shape, part in shaped], dim=-1)

    def stack(self, parts: Iterable[Tensor]) -> Tensor:
        """Columns [size, n] of parts [n, *shape], all of them and in order: rows with every part's numbers reversed."""
        return torch.cat([reverse_dims(part).flatten(0, -2) for part in parts])

    def unstack(self, columns: Tensor) -> Dict[str, Tensor]:
        """Views of the parts [n, *shape] of columns [size, n]."""
        parts = zip(self.shapes.items(), columns.split_with_sizes(self._sizes))
        return {name: reverse_dims(part.unflatten(0, shape[::-1])) for (name, shape), part in parts}
