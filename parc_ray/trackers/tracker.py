"""Tracker: what a trained controller observes, and how it acts on that. Every family of trackers builds one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Collection

from torch import Tensor
from typing_extensions import Protocol

from parc_ray.character.layout import Layout
from parc_ray.character.pose import Pose
from parc_ray.character.state import CharacterState
from parc_ray.motions.library import ReferenceFrames


@dataclass(frozen=True)
class Situation:
    """What N characters can observe before a control step, each in the frame of its motion."""

    state: CharacterState
    pose: Pose
    contacts: Tensor
    """[N, B] 1 where a body is in contact"""
    targets: Tensor
    """[N, S, F] the observer's features of the reference, at each of its target steps from now"""
    heights: Callable[[Tensor], Tensor]
    """terrain heights [N, R] m at points [N, R, 2] m"""


class Observer(Protocol):
    """Makes observations of one character."""

    layout: Layout
    """of an observation; recordings that keep observations name its parts"""
    normalized: Collection[str]
    """parts of an observation that the tracker normalises"""
    features: Layout
    """of what it needs of each frame of the reference"""
    target_steps: Tensor
    """[S] control steps from now at which it needs the reference; 0 is now"""

    def reference_features(self, frames: ReferenceFrames, pose: Pose) -> Tensor:
        """Features [..., F] of reference frames and their poses: computed once per attempt, ahead of time."""

    def observe(self, situation: Situation) -> Tensor:
        """Observations [N, size]. A row depends on no other row."""


@dataclass(frozen=True)
class Tracker:
    """A trained controller of one character, on one device."""

    observer: Observer
    act: Callable[[Tensor], Tensor]
    """PD targets [N, D] rad for observations [N, size]; a row depends on no other row, not even in its last bit"""
