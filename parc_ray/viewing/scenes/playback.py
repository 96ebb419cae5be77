"""Playback: the open motion of a playlist, and its time. Independent of clock and page."""

from __future__ import annotations

import math
from typing import Tuple

import numpy as np
import torch

from parc_ray.character.rotations import calc_heading
from parc_ray.errors import InputError
from parc_ray.runs.motion_state import MotionState
from parc_ray.tensors.arrays import DoubleArray
from parc_ray.viewing.scenes.playlist import Playlist, PlaylistItem
from parc_ray.viewing.scenes.scene import Clip, Scene
from parc_ray.viewing.scenes.snapshot import Snapshot, Snapshots

REST = 0.5
"""s, pause at the end of a motion before it starts over."""
CALM = 0.4
"""s, half the averaging window of the followed point, which keeps the camera from bobbing with every step."""
STARTED = 1e-6
SPEEDS = (0.1, 4.0)
"""Minimum and maximum playback speed, relative to the motion's own."""
TRAVELS = 0.5
"""m, minimum distance between first and last frame for a motion to have a direction."""

Clips = Tuple[Clip, ...]
Key = Tuple[str, int]
"""Kind and number of a clip; hidden clips stay hidden in the next motion."""


class Playback:
    """Opens the first recorded motion that can be read, else the first readable one."""

    def __init__(self, playlist: Playlist):
        """Raise InputError if no motion can be read."""
        self.playlist = playlist
        self.playing = False
        self.loop = True
        self.speed = 1.0
        self.hidden: set[Key] = set()
        self.found: list[int] = list(range(len(playlist.items)))
        """Indices in the playlist of the motions that match the search."""
        self.index = 0
        self.opened = 0
        """Number of motions opened so far."""
        self.time = 0.0
        """s, on the scene's clock."""
        self.scene: Scene | None = None
        """None if the motion cannot be read."""
        self.problem = ""
        """Reason why the motion cannot be read; empty if it can."""
        self._open_first()

    @property
    def item(self) -> PlaylistItem:
        """The open item."""
        return self.playlist.items[self.index]

    @property
    def seconds(self) -> float:
        """End of the scene, s."""
        return self.scene.seconds if self.scene else 0.0

    @property
    def clips(self) -> Clips:
        """Clips of the scene."""
        return self.scene.clips if self.scene else ()

    def open(self, index: int) -> None:
        """Open another motion at its start; playing continues."""
        self.index, self.time = index, 0.0
        self.opened += 1
        self.scene, self.problem = None, ""
        try:
            scene = self.item.read()
            self._snapshots = Snapshots([clip.motion for clip in scene.clips], self.playlist.skeleton)
            self._calm = _calm_path(scene.clips[0])
            self.scene = scene
        except InputError as error:
            self.problem = str(error)

    def step(self, by: int) -> None:
        """Open the next (1) or previous (-1) motion that matches the search, wrapping around."""
        others = [index for index in self.found if (index - self.index) * by > 0]
        others = others or [index for index in self.found if index != self.index]
        if others:
            self.open(min(others) if by > 0 else max(others))

    def search(self, text: str, state: str) -> None:
        """Find motions by part of their name and by state; an empty string matches all.

        Opens the first match unless the open motion matches.
        """
        self.found = [
            index
            for index, item in enumerate(self.playlist.items)
            if text.strip().lower() in item.name.lower() and state in ("", item.state)
        ]
        if self.found and self.index not in self.found:
            self.open(self.found[0])

    def toggle(self) -> None:
        """Pause, or play: from the start if the motion is at its end."""
        self.playing = not self.playing
        if self.playing and self.time >= self.seconds:
            self.time = 0.0

    def seek(self, time: float) -> None:
        """Pause at a time, s."""
        self.playing = False
        self.time = min(max(time, 0.0), self.seconds)

    def advance(self, seconds: float) -> None:
        """Advance by seconds of the viewer's clock."""
        if not self.playing:
            return
        self.time += seconds * self.speed
        if self.loop:
            if self.time > self.seconds + REST * self.speed:
                self.time = 0.0
        elif self.time >= self.seconds:
            self.time, self.playing = self.seconds, False

    @property
    def shown_time(self) -> float:
        """Displayed time, s; stays at the end during the final pause."""
        return min(self.time, self.seconds)

    def is_visible(self, clip: Clip) -> bool:
        """Return whether a clip is visible; after its end it stays at its last frame."""
        return (clip.kind, clip.number) not in self.hidden and self.shown_time >= clip.start - STARTED

    def has_failed(self, clip: Clip) -> bool:
        """Return whether a clip is visible and has reached its failure point."""
        ends = bool(clip.ending) and clip.kind == "attempt"
        return ends and self.is_visible(clip) and self.shown_time >= clip.end - STARTED

    def snapshot(self) -> Snapshot:
        """Return all clips in the scene's frame; requires a scene."""
        snapshot = self._snapshots.at([self.shown_time - clip.start for clip in self.clips])
        offsets = np.array([clip.offset for clip in self.clips], dtype=np.float32)
        return Snapshot(snapshot.position + offsets[:, None], snapshot.rotation, snapshot.contact)

    def focus(self) -> DoubleArray:
        """Return the point to look at [3] m: the first clip's smoothed root."""
        place = self.shown_time * self.clips[0].motion.fps
        frames = np.arange(len(self._calm))
        return np.array([np.interp(place, frames, self._calm[:, axis]) for axis in range(3)])

    def heading(self) -> float:
        """Return the direction of the first clip, rad from the x axis: of travel, or of facing if it stays in place."""
        clip = self.clips[0]
        way = clip.path()[-1] - clip.path()[0]
        if math.hypot(way[0], way[1]) < TRAVELS:
            return float(calc_heading(torch.from_numpy(clip.motion.root_rot[0])))
        return math.atan2(way[1], way[0])

    def _open_first(self) -> None:
        problems = []
        items = self.playlist.items
        for index in sorted(range(len(items)), key=lambda index: items[index].state != MotionState.RECORDED):
            self.open(index)
            if self.scene:
                return
            problems.append(self.problem)
        if len(problems) == 1:
            raise InputError(problems[0])
        raise InputError(f"{self.playlist.title}: none of its {len(problems)} motions can be shown. {problems[0]}")


def _calm_path(clip: Clip) -> DoubleArray:
    """Return root positions [n, 3] m, smoothed over time."""
    path = clip.path()
    reach = min(round(CALM * clip.motion.fps), len(path) - 1)
    padded = np.pad(path, ((reach + 1, reach), (0, 0)), mode="edge")
    sums = padded.cumsum(axis=0)
    averaged: DoubleArray = (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) / (2 * reach + 1)
    return averaged
