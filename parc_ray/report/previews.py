"""Previews: what a page needs to play motions, packed into few bytes."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.rotations import quat_positive
from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError
from parc_ray.runs.past import PastMotion, PastRun
from parc_ray.viewing.scenes.scene import Clip, scene_of_run
from parc_ray.viewing.scenes.snapshot import Snapshots

IntArray = npt.NDArray[np.int64]

FRAMES_PER_SECOND = 15.0
PER_METRE, PER_TURN = 1000, 1000
"""Steps per m of a position (1 mm) and per unit of a quaternion's component (0.1 degrees)."""
MAX_FRAMES, MAX_CELLS = 15 * 120, 40_000
"""Two minutes, and 60 x 100 m of ground."""


@dataclass(frozen=True)
class Preview:
    """One motion's terrain, reference and recording, in the same frame."""

    clips: Tuple[Dict[str, Any], ...]
    """For each: kind (recording or reference), start and seconds (s in the motion), frames."""
    terrain: Tuple[int, int, float, float, float]
    """Cells along x and y, centre of the first cell (m), edge of a cell (m)."""
    data: str
    """Numbers of each clip, then heights (mm), as base64 of zlib; page/preview.js unpacks them."""
    note: str = ""
    """What is missing, and why."""

    @property
    def size(self) -> int:
        """Approximate bytes in a page."""
        return len(self.data) + len(self.note) + 250


@dataclass(frozen=True)
class Previews:
    """Previews that fit into a page, and why others do not."""

    by_motion: Dict[int, Preview]
    """By index into PastRun.motions."""
    missing: Dict[int, str]
    """Why a motion has none."""
    left_out: int = 0
    """Motions for which there was no room."""


def pack_previews(run: PastRun, skeleton: Skeleton, max_bytes: int) -> Previews:
    """Previews of as many motions as fit into max_bytes; those not recorded whole come first."""
    found: Dict[int, Preview] = {}
    missing: Dict[int, str] = {}
    left_out, room = 0, max_bytes
    for index in sorted(range(len(run.motions)), key=lambda k: _rank(run.motions[k])):
        motion = run.motions[index]
        if motion.state == "invalid":
            continue
        preview, why_not = pack_preview(run, motion, skeleton) if room > 0 else (None, "")
        if preview is None and why_not:
            missing[index] = why_not
        elif preview is None or preview.size > room:
            # One that does not fit ends it: packing all others, to find some that do, would take minutes.
            left_out, room = left_out + 1, 0
        else:
            found[index] = preview
            room -= preview.size
    return Previews(found, missing, left_out)


def _rank(motion: PastMotion) -> int:
    """What has to be looked at first."""
    if motion.state != "recorded":
        return 0
    return 1 if motion.start_fraction else 2


def pack_preview(run: PastRun, motion: PastMotion, skeleton: Skeleton) -> Tuple[Optional[Preview], str]:
    """The preview of a motion, or None and why there is nothing to show. Files may be gone, or be others now."""
    try:
        scene = scene_of_run(run, motion, skeleton)
    except InputError as error:
        return None, str(error)
    heights = np.rint(scene.terrain.hf.reshape(1, -1).astype(np.float64) * PER_METRE).astype(np.int64)
    if heights.size > MAX_CELLS:
        return None, "its terrain is too large to be shown"
    snapshots = Snapshots([clip.motion for clip in scene.clips], skeleton)
    numbers = [pack_integers(_channels(snapshots, k, clip), order=2) for k, clip in enumerate(scene.clips)]
    size_x, size_y = scene.terrain.hf.shape
    x, y = (round(float(value), 4) for value in scene.terrain.min_point)
    return Preview(
        clips=tuple(
            {"kind": clip.kind, "start": round(clip.start, 4), "seconds": round(clip.motion.length, 4),
             "frames": _frames(clip)}
            for clip in scene.clips
        ),
        terrain=(size_x, size_y, x, y, round(scene.terrain.dx, 6)),
        data=base64.b64encode(zlib.compress(b"".join(numbers) + pack_integers(heights, order=1), 9)).decode("ascii"),
        note="; ".join(scene.notes),
    ), ""  # fmt: skip


def _frames(clip: Clip) -> int:
    return max(2, min(MAX_FRAMES, round(clip.motion.length * FRAMES_PER_SECOND) + 1))


def _channels(snapshots: Snapshots, index: int, clip: Clip) -> IntArray:
    """[channels, frames]: root position, root rotation xyzw, joint rotations xyz (w >= 0), contacts; evenly in time."""
    count = _frames(clip)
    frames = snapshots.frames(index, torch.linspace(0.0, clip.motion.length, count))
    columns = (
        (frames.root_pos.double() + torch.tensor(clip.offset)) * PER_METRE,
        frames.root_rot.double() * PER_TURN,
        quat_positive(frames.joint_rot)[..., :3].double().reshape(count, -1) * PER_TURN,
        (frames.contacts > 0.5).double(),
    )
    return torch.cat(columns, dim=1).T.round().clamp(-(2**30), 2**30).long().numpy()


def pack_integers(rows: IntArray, order: int) -> bytes:
    """Differences of `order` along each row, as bytes: 7 bits each, low ones first, the highest bit if more follow.

    Signs go to the lowest bit (0, -1, 1, -2 become 0, 1, 2, 3), so small differences of either sign take one byte.

    >>> pack_integers(np.array([[5, 7, 9, 200]]), 2).hex()
    '0a0500fa02'
    """
    for _ in range(order):
        rows = np.diff(rows, axis=1, prepend=0)
    flat = rows.reshape(-1)
    values = ((flat << 1) ^ (flat >> 63)).astype(np.uint64)
    groups = np.arange(7, dtype=np.uint64) * np.uint64(7)
    septets = (values[:, None] >> groups) & np.uint64(127)
    more = (values[:, None] >> groups) >= 128
    used = np.concatenate([np.ones((len(values), 1), dtype=bool), more[:, :-1]], axis=1)
    return bytes((septets | (more.astype(np.uint64) << np.uint64(7)))[used].astype(np.uint8).tobytes())
