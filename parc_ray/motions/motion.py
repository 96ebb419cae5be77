"""Motion: one clip and its terrain."""

from __future__ import annotations

import math
from dataclasses import dataclass

from parc_ray.motions.height_field import HeightField
from parc_ray.tensors.arrays import FloatArray

LOOP_MODES = ("CLAMP", "WRAP")
"""Loop modes in the order of MimicKit's numbers 0 and 1."""


def count_passes(seconds: float, loops: bool, min_seconds: float) -> int:
    """Return the number of whole passes of a motion needed to last `min_seconds`; 1 unless it loops.

    >>> [count_passes(0.6, True, minimum) for minimum in (0.0, 0.6, 2.0)]
    [1, 1, 4]
    """
    return max(1, math.ceil(min_seconds / seconds - 1e-6)) if loops else 1


@dataclass(frozen=True, eq=False)
class Motion:
    """A clip of n frames and its terrain, in the motion's own frame (metres, z up, quaternions xyzw)."""

    name: str
    root_pos: FloatArray
    """Origin of the root body [n, 3]."""
    root_rot: FloatArray
    """Rotation of the root body [n, 4]."""
    joint_rot: FloatArray
    """Rotation of every other body relative to its parent [n, J, 4]."""
    contacts: FloatArray
    """Contact label of every body in [0, 1] [n, B]."""
    fps: float
    loop_mode: str
    """`CLAMP` if the clip holds its last frame, `WRAP` if it loops."""
    terrain: HeightField
    labelled: bool = True
    """True if the contacts are known; otherwise they are zeros."""
    notes: tuple[str, ...] = ()
    """Repairs made on reading, such as setting a joint without values to the identity."""

    @property
    def num_frames(self) -> int:
        """Number of frames n."""
        return int(self.root_pos.shape[0])

    @property
    def length(self) -> float:
        """Seconds from the first frame to the last, (n - 1) / fps."""
        return (self.num_frames - 1) / self.fps

    def passes(self, min_seconds: float) -> int:
        """Return the number of passes needed to last `min_seconds`; 1 unless the motion loops."""
        return count_passes(self.length, self.loop_mode == "WRAP", min_seconds)

    def tracked_seconds(self, min_seconds: float) -> float:
        """Return the total length of its passes, s."""
        return self.length * self.passes(min_seconds)
