"""Parts: the solids of a character, moved together."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import torch

from parc_ray.character.geoms import Geom
from parc_ray.character.rotations import quat_mul, quat_rotate
from parc_ray.character.solids import Solid, solids_of
from parc_ray.tensors.arrays import FloatArray

UNTURNED: FloatArray = np.array([1, 0, 0, 0], dtype=np.float32)


class Parts:
    """P shapes of one kind."""

    def __init__(self, solids: Sequence[Solid], round_parts: bool):
        """solids: At least one. round_parts: True if the unit shape looks the same from all sides."""
        self.body = torch.tensor([solid.body for solid in solids])
        self._place = torch.tensor([solid.position for solid in solids], dtype=torch.float32)
        self._turn = torch.tensor([solid.rotation for solid in solids], dtype=torch.float32)
        self.stretch: FloatArray = np.array([solid.scale for solid in solids], dtype=np.float32)
        self._round = round_parts and bool((self.stretch == self.stretch[:, :1]).all())

    def at(self, position: FloatArray, rotation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return positions [..., P, 3] and turns [..., P, 4] (wxyz) for bodies at [..., B, 3], [..., B, 4] (xyzw)."""
        turn = torch.from_numpy(rotation).index_select(-2, self.body)
        place = torch.from_numpy(position).index_select(-2, self.body)
        place = place + quat_rotate(turn, self._place.expand_as(place))
        if self._round:  # invisible rotations need not be sent over the network
            return place.numpy(), np.broadcast_to(UNTURNED, turn.shape)
        turned = quat_mul(turn, self._turn.expand_as(turn))
        return place.numpy(), turned.roll(1, -1).numpy()


def character_parts(geoms: Sequence[Geom]) -> dict[str, Parts]:
    """Return the parts of a character by kind, without meshes and other shapes that are not solid primitives."""
    solids = solids_of(geoms)
    kinds = dict.fromkeys(solid.kind for solid in solids)
    return {kind: Parts([solid for solid in solids if solid.kind == kind], kind == "ball") for kind in kinds}
