"""Previews: compact data for playing motions on a page."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.rotations import quat_positive, slerp
from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError
from parc_ray.runs.history import Run, RunMotion
from parc_ray.runs.motion_state import MotionState
from parc_ray.viewing.scenes.scene import Clip, Scene, scene_of_run

IntArray = npt.NDArray[np.int64]

FRAMES_PER_SECOND = 15.0
PER_METRE, PER_TURN = 1000, 1000
"""Steps per m of a position (1 mm) and per unit of a quaternion's component (0.1 degrees)."""
MAX_FRAMES, MAX_CELLS = 15 * 120, 40_000
"""Limits of a preview: two minutes, and 60 x 100 m of ground."""
BATCH = 32
"""Motions packed at a time."""


@dataclass(frozen=True)
class Preview:
    """One motion's terrain, reference and recording, in the same frame."""

    clips: tuple[dict[str, Any], ...]
    """For each: kind (recording or reference), start and seconds (s in the motion), frames."""
    terrain: tuple[int, int, float, float, float]
    """Cells along x and y, centre of the first cell (m), edge of a cell (m)."""
    data: str
    """Numbers of each clip, then heights (mm), as base64 of zlib; page/preview.js unpacks them."""
    note: str = ""
    """Missing parts, with reasons."""

    @property
    def size(self) -> int:
        """Approximate size on a page, bytes."""
        return len(self.data) + len(self.note) + 250


@dataclass(frozen=True)
class Previews:
    """Previews that fit on a page, and reasons for those missing."""

    by_motion: dict[int, Preview]
    """By index into Run.motions."""
    missing: dict[int, str]
    """Reasons why motions have none."""
    left_out: int = 0
    """Number of motions left out for lack of room."""


def pack_previews(run: Run, skeleton: Skeleton, max_bytes: int) -> Previews:
    """Return previews of as many motions as fit into max_bytes; motions not recorded whole come first."""
    found: dict[int, Preview] = {}
    missing: dict[int, str] = {}
    room = max_bytes
    waiting = [index for index, motion in enumerate(run.motions) if motion.state != MotionState.INVALID]
    waiting.sort(key=lambda index: urgency(run.motions[index]))
    for start in range(0, len(waiting), BATCH):
        batch = waiting[start : start + BATCH]
        for index, (preview, why_not) in zip(batch, pack_batch(run, [run.motions[k] for k in batch], skeleton)):
            if preview is None:
                missing[index] = why_not
            elif preview.size > room:
                # Stop at the first that does not fit: packing the rest to find smaller ones would take minutes.
                return Previews(found, missing, len(waiting) - len(found) - len(missing))
            else:
                found[index] = preview
                room -= preview.size
    return Previews(found, missing)


def urgency(motion: RunMotion) -> int:
    """Return the sort key by which the motions most worth a look come first."""
    if motion.state != MotionState.RECORDED:
        return 0
    return 1 if motion.start_fraction or motion.copies else 2


def pack_batch(run: Run, motions: Sequence[RunMotion], skeleton: Skeleton) -> list[tuple[Preview | None, str]]:
    """Return each motion's preview, or None and the reason: files may have been deleted or replaced since the run."""
    scenes = [_scene(run, motion, skeleton) for motion in motions]
    channels = iter(_channels([clip for scene in scenes if isinstance(scene, Scene) for clip in scene.clips]))
    return [
        (None, scene) if isinstance(scene, str) else (_pack(scene, [next(channels) for _ in scene.clips]), "")
        for scene in scenes
    ]


def _scene(run: Run, motion: RunMotion, skeleton: Skeleton) -> Scene | str:
    """Return the scene to show, or the reason why there is none."""
    try:
        scene = scene_of_run(run, motion, skeleton)
    except InputError as error:
        return str(error)
    return "its terrain is too large to be shown" if scene.terrain.hf.size > MAX_CELLS else scene


def _pack(scene: Scene, channels: Sequence[IntArray]) -> Preview:
    heights = np.rint(scene.terrain.hf.reshape(1, -1).astype(np.float64) * PER_METRE).astype(np.int64)
    numbers = [*(pack_integers(own, order=2) for own in channels), pack_integers(heights, order=1)]
    size_x, size_y = scene.terrain.hf.shape
    x, y = (round(float(value), 4) for value in scene.terrain.min_point)
    return Preview(
        clips=tuple(
            {"kind": clip.kind, "start": round(clip.start, 4), "seconds": round(clip.motion.length, 4),
             "frames": _frames(clip)}
            for clip in scene.clips
        ),
        terrain=(size_x, size_y, x, y, round(scene.terrain.dx, 6)),
        data=base64.b64encode(zlib.compress(b"".join(numbers))).decode("ascii"),
        note="; ".join(scene.notes),
    )  # fmt: skip


def _frames(clip: Clip) -> int:
    return max(2, min(MAX_FRAMES, round(clip.motion.length * FRAMES_PER_SECOND) + 1))


def _channels(clips: Sequence[Clip]) -> list[IntArray]:
    """Return each clip [channels, frames]: root position, root rotation xyzw, joint rotations xyz (w >= 0), contacts.

    Frames are evenly spaced in time. All clips share a few large operations, because each call has a fixed cost.
    """
    if not clips:
        return []
    motions, counts = [clip.motion for clip in clips], [_frames(clip) for clip in clips]
    starts = np.cumsum([0, *(motion.num_frames for motion in motions)])
    places = [np.linspace(0.0, motion.num_frames - 1, count) for motion, count in zip(motions, counts)]
    lows = [place.astype(np.int64) for place in places]
    highs = [np.minimum(low + 1, motion.num_frames - 1) for motion, low in zip(motions, lows)]
    low, high = (
        torch.from_numpy(np.concatenate([start + own for start, own in zip(starts, ends)])) for ends in (lows, highs)
    )
    mix = torch.from_numpy(np.concatenate(places) - np.concatenate(lows)).float()
    root_pos, root_rot, joint_rot, contacts = (
        torch.from_numpy(np.concatenate([getattr(motion, name) for motion in motions]))
        for name in ("root_pos", "root_rot", "joint_rot", "contacts")
    )
    turns = slerp(joint_rot[low], joint_rot[high], mix[:, None].expand(-1, joint_rot.shape[1]))
    offsets = np.repeat(np.array([clip.offset for clip in clips]), counts, axis=0)
    columns = (
        (torch.lerp(root_pos[low], root_pos[high], mix[:, None]).double() + torch.from_numpy(offsets)) * PER_METRE,
        slerp(root_rot[low], root_rot[high], mix).double() * PER_TURN,
        quat_positive(turns)[..., :3].double().flatten(1) * PER_TURN,
        (torch.lerp(contacts[low], contacts[high], mix[:, None]) > 0.5).double(),
    )
    table = torch.cat(columns, dim=1).round().clamp(-(2**30), 2**30).long().numpy()
    return [part.T for part in np.split(table, np.cumsum(counts)[:-1])]


def pack_integers(rows: IntArray, order: int) -> bytes:
    """Return differences of `order` along each row as bytes of 7 bits, low bits first; the top bit marks continuation.

    The sign is the lowest bit (0, -1, 1, -2 become 0, 1, 2, 3), so small differences of either sign take one byte.

    >>> pack_integers(np.array([[5, 7, 9, 200]]), 2).hex()
    '0a0500fa02'
    """
    for _ in range(order):
        rows = np.diff(rows, axis=1, prepend=0)
    flat = rows.reshape(-1)
    values = ((flat << 1) ^ (flat >> 63)).astype(np.uint64)
    longest = max(1, -(-int(values.max(initial=0)).bit_length() // 7))
    groups = np.arange(longest, dtype=np.uint64) * np.uint64(7)
    septets = (values[:, None] >> groups) & np.uint64(127)
    more = (values[:, None] >> groups) >= 128
    used = np.concatenate([np.ones((len(values), 1), dtype=bool), more[:, :-1]], axis=1)
    return bytes((septets | (more.astype(np.uint64) << np.uint64(7)))[used].astype(np.uint8).tobytes())
