"""Previews: what a page needs to play motions, packed into few bytes."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import numpy.typing as npt

from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError
from parc_ray.files import read_bytes
from parc_ray.motions.motion_file import Motion, parse_motion
from parc_ray.motions.terrain import HeightField, crop
from parc_ray.report.past_run import PastMotion, PastRun

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FRAMES_PER_SECOND = 15.0
PER_METRE, PER_TURN = 1000, 1000
"""Steps of a position (a millimetre) and of a quaternion's component (0.1 degrees)"""
MARGIN = 1.6
"""How much terrain (m) is shown beyond a motion's path"""
MAX_FRAMES, MAX_CELLS = 15 * 120, 40_000
"""Two minutes; a motion over 60 x 100 m of ground"""


@dataclass(frozen=True)
class Preview:
    """One motion: its terrain, its reference and its recording, all in the same frame."""

    clips: Tuple[Dict[str, Any], ...]
    """kind (recording or reference), start and seconds (s in the motion), frames"""
    terrain: Tuple[int, int, float, float, float]
    """cells along x and y, centre of the first one (m), edge of a cell (m)"""
    data: str
    """base64 of zlib of the numbers: those of each clip, then heights (mm). See page/preview.js, which unpacks them"""
    note: str = ""
    """what is missing, and why"""

    @property
    def size(self) -> int:
        """About how many bytes it takes in a page."""
        return len(self.data) + len(self.note) + 250


@dataclass(frozen=True)
class Previews:
    """Those that fit, and why there are no others."""

    by_motion: Dict[int, Preview]
    """by index into PastRun.motions"""
    missing: Dict[int, str]
    """why there is none"""
    left_out: int = 0
    """motions for which there was no room"""


def pack_previews(run: PastRun, skeleton: Skeleton, max_bytes: int) -> Previews:
    """Previews of as many motions as fit into max_bytes, those first that were not recorded whole."""
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
    notes: List[str] = []
    reference = _tried(lambda: _reference(run, motion, skeleton), notes, "no reference")
    recording = _tried(lambda: _recording(motion, skeleton), notes, "no recording") if motion.recording else None
    shown = reference or recording
    if shown is None:
        return None, "; ".join(notes)
    ground = _ground(shown)
    if ground is None:
        return None, "its terrain is too large to be shown"
    clips: List[Clip] = []
    if reference is not None:
        clips.append(Clip("reference", reference, 0.0, np.zeros(3)))
    if recording is not None:
        start = next(attempt.start_time for attempt in motion.attempts[::-1] if attempt.outcome == "recorded")
        # A recording begins at an origin of its own, but in the reference's state at that time.
        moved = np.zeros(3)
        if reference is not None:
            moved = _positions(reference, np.array([start]))[0] - recording.root_pos[0]
        clips.append(Clip("recording", recording, start, moved))
    heights = np.rint(ground.hf.reshape(1, -1).astype(np.float64) * PER_METRE).astype(np.int64)
    numbers = b"".join(clip.packed() for clip in clips) + pack_integers(heights, order=1)
    size_x, size_y = ground.hf.shape
    x, y = (round(float(value), 4) for value in ground.min_point)
    return Preview(
        clips=tuple(clip.description() for clip in clips),
        terrain=(size_x, size_y, x, y, round(ground.dx, 6)),
        data=base64.b64encode(zlib.compress(numbers, 9)).decode("ascii"),
        note="; ".join(notes),
    ), ""


@dataclass(frozen=True)
class Clip:
    """A motion on its way into a preview."""

    kind: str
    motion: Motion
    start: float
    """s in the reference"""
    offset: FloatArray
    """from its own frame to that of the reference [3] m"""

    @property
    def frames(self) -> int:
        """Frames that are packed."""
        return max(2, min(MAX_FRAMES, round(self.motion.length * FRAMES_PER_SECOND) + 1))

    def description(self) -> Dict[str, Any]:
        """What a page has to know of it beside its numbers."""
        seconds = round(self.motion.length, 4)
        return {"kind": self.kind, "start": round(self.start, 4), "seconds": seconds, "frames": self.frames}

    def packed(self) -> bytes:
        """Its numbers, channel by channel."""
        return pack_integers(_channels(self.motion, self.offset, self.frames), order=2)


def _tried(read: Callable[[], Motion], notes: List[str], what: str) -> Optional[Motion]:
    try:
        return read()
    except InputError as error:
        notes.append(f"{what}: {error}")
        return None


def _recording(motion: PastMotion, skeleton: Skeleton) -> Motion:
    assert motion.recording is not None
    return parse_motion(read_bytes(motion.recording), motion.name, skeleton, str(motion.recording))


def _reference(run: PastRun, motion: PastMotion, skeleton: Skeleton) -> Motion:
    content = read_bytes(run.folder / motion.path)
    if motion.sha256 and hashlib.sha256(content).hexdigest() != motion.sha256:
        raise InputError(f"{motion.path}: has changed since")
    return parse_motion(content, motion.name, skeleton, motion.path)


def _ground(motion: Motion) -> Optional[HeightField]:
    """The terrain around a motion's path, if it is not too large."""
    xy = motion.root_pos[:, :2]
    cut = crop(motion.terrain, xy.min(axis=0) - MARGIN, xy.max(axis=0) + MARGIN)
    return cut if cut.hf.size <= MAX_CELLS else None


def _channels(motion: Motion, offset: FloatArray, frames: int) -> IntArray:
    """[channels, frames]: root position, root rotation xyzw, joint rotations xyz (w >= 0), contacts; evenly in time."""
    times = np.linspace(0.0, motion.length, frames)
    root = _turned(motion.root_rot, motion.fps, times)
    joints = _turned(motion.joint_rot, motion.fps, times)
    joints = np.where(joints[..., 3:] < 0, -joints, joints)[..., :3].reshape(frames, -1)
    nearest = np.rint(times * motion.fps).astype(np.int64)
    columns = (
        (_positions(motion, times) + offset) * PER_METRE,
        root * PER_TURN,
        joints * PER_TURN,
        motion.contacts[np.minimum(nearest, motion.num_frames - 1)] > 0.5,
    )
    limited: IntArray = np.rint(np.concatenate(columns, axis=1).T).clip(-(2**30), 2**30).astype(np.int64)
    return limited


def _between(motion_frames: int, fps: float, times: FloatArray) -> Tuple[IntArray, FloatArray]:
    """The frame before each time, and how far (0 to 1) it is on the way to the next."""
    place = np.clip(times * fps, 0.0, motion_frames - 1)
    frame = np.minimum(place.astype(np.int64), motion_frames - 2)
    return frame, place - frame


def _positions(motion: Motion, times: FloatArray) -> FloatArray:
    frame, share = _between(motion.num_frames, motion.fps, times)
    share = share[:, None]
    between: FloatArray = motion.root_pos[frame] * (1 - share) + motion.root_pos[frame + 1] * share
    return between


def _turned(rotations: npt.NDArray[np.float32], fps: float, times: FloatArray) -> FloatArray:
    """Rotations [n, ..., 4] at times [m]: [m, ..., 4], along the shorter way."""
    frame, share = _between(len(rotations), fps, times)
    share = share.reshape(-1, *[1] * (rotations.ndim - 1))
    a, b = rotations[frame].astype(np.float64), rotations[frame + 1].astype(np.float64)
    b = np.where((a * b).sum(axis=-1, keepdims=True) < 0, -b, b)
    mixed = a * (1 - share) + b * share
    turned: FloatArray = mixed / np.linalg.norm(mixed, axis=-1, keepdims=True).clip(1e-9)
    return turned


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
