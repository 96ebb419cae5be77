"""Tracker: a trained controller's observations, actions and failure test. Every family builds one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Collection

from torch import Tensor
from typing_extensions import Protocol

from parc_ray.character.pose import Pose
from parc_ray.character.state import CharacterState
from parc_ray.motions.library import ReferenceFrames
from parc_ray.tensors.layout import Layout
from parc_ray.trackers.termination import Termination


@dataclass(frozen=True)
class ObservationInputs:
    """Inputs of an observer for N characters before a control step, each in the frame of its motion."""

    state: CharacterState
    pose: Pose
    contacts: Tensor
    """[N, B]: 1 where a body is in contact, else 0."""
    targets: Tensor
    """[N, S, F]: the observer's features of the reference at each target step."""
    heights: Callable[[Tensor], Tensor]
    """Terrain heights [N, R] m at points [N, R, 2] m."""


class Observer(Protocol):
    """Computes observations of one character."""

    layout: Layout
    """Parts of an observation, by their names in recordings."""
    normalized: Collection[str]
    """Names of the parts that the tracker normalises."""
    features: Layout
    """Features needed for each reference frame."""
    target_steps: Tensor
    """[S] int64: control steps relative to now at which features are needed; 0 is now."""

    def reference_features(self, frames: ReferenceFrames, pose: Pose) -> Tensor:
        """Return features [..., F] of reference frames and their poses; computed once per attempt, ahead of time."""

    def observe(self, inputs: ObservationInputs) -> Tensor:
        """Return observations [N, size]; no row depends on another."""


@dataclass(frozen=True)
class Tracker:
    """A trained controller of one character, on one device."""

    observer: Observer
    act: Callable[[Tensor], Tensor]
    """PD targets [N, D] rad for observations [N, size]; no row depends on another, not even in its last bit."""
    termination: Termination
    """Its failure test."""
    explore: Callable[[Tensor, Tensor], Tensor] | None = None
    """Most likely PD targets for observations plus noise [N, D] in the training's standard deviations. None if those
    are unknown; recovery needs them."""
