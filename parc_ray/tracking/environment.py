"""TrackingEnvironment: simulator, motions, observer and termination, for num_envs slots.

It knows attempts only as "this motion from this time", and knows nothing about a tracker's observations or actions. Its
caller observes, decides and steps. All states are in the frame of the slot's motion.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any, Sequence, Tuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.pose import Pose, pose_shapes
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState, state_shapes
from parc_ray.config.environment import EnvironmentConfig
from parc_ray.motions.library import MotionLibrary, ReferenceFrames
from parc_ray.motions.terrain_stack import TerrainStack
from parc_ray.simulators.simulator import Simulator
from parc_ray.tensors.layout import Layout
from parc_ray.tensors.rows import batch_last, pad_to_batch, reverse_dims, upload
from parc_ray.trackers.termination import NOT_FINITE
from parc_ray.trackers.tracker import ObservationInputs, Observer, Tracker

SAMPLES = 2048
"""Maximum number of reference frames sampled at once."""
AHEAD = 8
"""Attempts prepared in one batch, at most one per AHEAD envs; preparing singly takes twice the time."""

StartPoint = Tuple[int, float]
"""A motion and a start fraction."""


@dataclass(frozen=True)
class Step:
    """Result of one control step in N envs, in the given order."""

    state: CharacterState
    pose: Pose
    contacts: Tensor
    """[N, B]: 1 where a body is in contact, else 0."""
    reference: Pose
    """Pose of the reference at the same time."""
    reference_contacts: Tensor
    """[N, B] labels in [0, 1]."""
    steps: Tensor
    """[N] int64: control steps since the start."""
    reason: Tensor
    """[N]: index into termination.REASONS; 0 where the attempt has not failed."""
    body: Tensor
    """[N]: the body at fault, if the reason concerns one."""
    ended: Tensor
    """[N] bool: True if the motion's end is reached."""

    @property
    def distance(self) -> Tensor:
        """[N] m: mean distance of bodies from the reference."""
        return reverse_dims(rotations.norm(self.pose.body_pos - self.reference.body_pos)).mean(0)


def reference_bytes(skeleton: Skeleton, observer: Observer, max_steps: int) -> int:
    """Return the bytes that a TrackingEnvironment holds per env for attempts of up to max_steps control steps."""
    frames, now = max_steps + 1 + lookahead(observer), now_layout(skeleton).size
    place = frames * (observer.features.size + reference_layout(skeleton).size) + now
    # There is at most one additional place per AHEAD envs.
    return 4 * (place + place // AHEAD + now)


class TrackingEnvironment:
    """num_envs characters, each tracking a motion of the library on its terrain."""

    def __init__(
        self,
        simulator: Simulator,
        library: MotionLibrary,
        terrains: TerrainStack,
        tracker: Tracker,
        config: EnvironmentConfig,
    ):
        """library, terrains and the simulator's tiles hold the same motions, in the same order."""
        device = library.device
        self.simulator, self.library, self.terrains = simulator, library, terrains
        self.config, self.num_envs, self.device = config, simulator.num_envs, device
        self.tracker, observer, skeleton = tracker, tracker.observer, library.skeleton
        self.skeleton = skeleton.to(device)
        self.timestep = torch.tensor(1.0 / config.control_freq, dtype=torch.float32, device=device)
        self.lookahead = lookahead(observer)
        self.max_steps = max(self.steps_of(i, 0.0) for i in range(len(library.motions)))
        envs, frames = self.num_envs, self.max_steps + 1 + self.lookahead
        self._ahead = min(AHEAD, envs // AHEAD)
        """Places in addition to one per env."""
        places = envs + self._ahead
        self.motion = torch.zeros(envs, dtype=torch.int64, device=device)
        self.steps_done = torch.zeros(envs, dtype=torch.int64, device=device)
        self.steps_total = torch.zeros(envs, dtype=torch.int64, device=device)
        self._place = torch.zeros(envs, dtype=torch.int64, device=device)
        """Place of each env's reference."""
        self._places: dict[int, int] = {}
        """The same on the host, for started envs. Envs with the same start share a place."""
        self._users: Counter[int] = Counter()
        """Number of envs at each place."""
        self._free = list(range(places))[::-1]
        self._ready: dict[StartPoint, int] = {}
        """Places of starts prepared ahead of time."""
        self._features = torch.zeros(places, frames, observer.features.size, device=device)
        self._state_layout, self._reference_layout = Layout(state_shapes(skeleton)), reference_layout(skeleton)
        self._now_layout = now_layout(skeleton)
        self._references = torch.zeros(places, frames, self._reference_layout.size, device=device)
        self._first = torch.zeros(places, self._now_layout.size, device=device)
        """State, pose and contacts at the start of an attempt."""
        self._now = torch.zeros(self._now_layout.size, envs, device=device)
        """State, pose and contacts of every env, stacked: one operation reads or writes them all."""
        self._rows: tuple[list[int], Tensor] = ([], self.motion)

    def start_time(self, motion: int, fraction: float) -> float:
        """Return the time in a motion at a start fraction, s; a float32."""
        return float(self.library.seconds[motion] * np.float32(fraction))

    def steps_of(self, motion: int, fraction: float) -> int:
        """Return the control steps from a start fraction to the motion's length (float32, as in PARC)."""
        length, timestep = self.library.seconds[motion], np.float32(1.0 / self.config.control_freq)
        upper = int(float(length) * self.config.control_freq) + 3
        times = np.arange(upper, dtype=np.float32) * timestep + np.float32(self.start_time(motion, fraction))
        return int((times >= length).argmax())

    def rows(self, envs: Sequence[int]) -> Tensor:
        """Return the indices of envs, padded to whole batches with the first one. The latest result is cached."""
        if list(envs) != self._rows[0]:
            self._rows = (list(envs), pad_to_batch(torch.tensor(list(envs), device=self.device)))
        return self._rows[1]

    def start(
        self,
        envs: Sequence[int],
        motions: Sequence[int],
        fractions: Sequence[float],
        upcoming: Sequence[StartPoint] = (),
    ) -> None:
        """Put characters into the reference state of motions at start fractions, without noise.

        No contact has been simulated yet, so the contacts of the first frame are the reference's. upcoming: starts that
        may be prepared in the same batch, because they come soon.
        """
        for env in envs:
            self._release(env)
        starts = list(zip(motions, fractions))
        self._places.update(zip(envs, self._prepare_places(starts, upcoming)))
        places = [self._places[env] for env in envs]
        self._users.update(places)
        steps = [self.steps_of(*start) for start in starts]
        rows, held, ids, total = torch.tensor([list(envs), places, list(motions), steps], device=self.device)
        self._place.index_copy_(0, rows, held)
        self.motion.index_copy_(0, rows, ids)
        self.steps_total.index_copy_(0, rows, total)
        self.steps_done.index_fill_(0, rows, 0)
        self._now.index_copy_(1, rows, self._first.index_select(0, held).t())
        self.simulator.reset(list(envs), list(motions), self._read(rows)[0])

    def copy(self, envs: Sequence[int], sources: Sequence[int]) -> None:
        """Copy the characters of source envs to envs, all with the same start. See Simulator.copy."""
        self.simulator.copy(envs, sources)
        rows, origin = upload([list(envs), list(sources)], self.device)
        self._now.index_copy_(1, rows, self._now.index_select(1, origin))
        self.steps_done.index_copy_(0, rows, self.steps_done.index_select(0, origin))

    def observe(self, envs: Sequence[int]) -> Tensor:
        """Return the observations of the given envs, [n, observer.layout.size]."""
        return self.observe_rows(self.rows(envs))[: len(envs)]

    def observe_rows(self, rows: Tensor) -> Tensor:
        """Return the observations of envs, given as rows, [n, observer.layout.size]."""
        state, pose, contacts = self._read(rows)
        places = self._place.index_select(0, rows) * self._features.shape[1]
        frames = (places + self.steps_done.index_select(0, rows)).unsqueeze(1)
        features = self._features.flatten(0, 1).index_select(0, (frames + self.tracker.observer.target_steps).flatten())
        targets = batch_last(features.view(len(rows), -1, features.shape[-1]))
        heights = partial(self.terrains.height_at, self.motion.index_select(0, rows))
        return self.tracker.observer.observe(ObservationInputs(state, pose, contacts, targets, heights))

    def step(self, envs: Sequence[int], actions: Tensor) -> Step:
        """Hold PD targets [n, D] (rad) for one control step in the given envs."""
        rows, count = self.rows(envs), len(envs)
        state = self.simulator.step(list(envs), actions)
        return _first_rows(self.evaluate(rows, pad_to_batch(self.join(state))), count)

    @property
    def state_size(self) -> int:
        """Size of a joined state."""
        return self._state_layout.size

    def join(self, state: CharacterState) -> Tensor:
        """Return a state's parts side by side, as evaluate takes them, [n, state_size]."""
        return torch.cat([value.flatten(1) for value in vars(state).values()], dim=1)

    def evaluate(self, rows: Tensor, states: Tensor, active: Tensor | None = None) -> Step:
        """Return the result of one control step, from joined states [n, ...] of envs, given as rows.

        active [n]: 1 where time advances, 0 where it is paused; None: all active.
        """
        columns = reverse_dims(batch_last(states))
        state = CharacterState(**self._state_layout.split(reverse_dims(columns)))
        joint_rot = self.skeleton.dof_to_rot(state.dof_pos)
        body_pos, body_rot = self.skeleton.forward_kinematics(state.root_pos, state.root_rot, joint_rot)
        pose = Pose(joint_rot, body_pos, body_rot)
        contacts = (rotations.norm(state.contact_force) > self.config.contact_detection_eps).float()
        steps = self.steps_done.index_select(0, rows) + (1 if active is None else active)
        self.steps_done.index_copy_(0, rows, steps)
        frames = self._place.index_select(0, rows) * self._references.shape[1] + steps
        reference, reference_contacts = self.reference_parts(self._references.flatten(0, 1).index_select(0, frames))
        ground = None
        if self.tracker.termination.needs_ground:
            ground = self.terrains.height_at(self.motion.index_select(0, rows), body_pos[..., :2])
        result = self.tracker.termination.compute(steps * self.timestep, state, pose, reference, ground)
        lost = (columns - columns != 0).any(dim=0)  # infinite or NaN
        self._now.index_copy_(1, rows, self._columns(state, pose, contacts))
        return Step(
            state=state,
            pose=pose,
            contacts=contacts,
            reference=reference,
            reference_contacts=reference_contacts,
            steps=steps,
            reason=result.reason.masked_fill(lost, NOT_FINITE),
            body=result.body,
            ended=steps >= self.steps_total.index_select(0, rows),
        )

    def first_frame(self, envs: Sequence[int]) -> tuple[CharacterState, Pose, Tensor]:
        """Return the current state, pose and contacts of the given envs."""
        return self._read(torch.tensor(list(envs), device=self.device))

    def references(self, env: int, steps: int) -> Tensor:
        """Return the stored reference of an env after 1, 2, ... steps, [steps, ...]."""
        return self._references[self._places[env], 1 : steps + 1]

    def reference_parts(self, references: Tensor) -> tuple[Pose, Tensor]:
        """Return the pose and contacts of rows of references."""
        parts = self._reference_layout.unstack(reverse_dims(batch_last(references)))
        return _pose(parts), parts["contacts"]

    def _read(self, rows: Tensor) -> tuple[CharacterState, Pose, Tensor]:
        parts = self._now_layout.unstack(self._now.index_select(1, rows))
        state = CharacterState(**{name: parts[name] for name in self._state_layout.shapes})
        return state, _pose(parts), parts["contacts"]

    def _columns(self, state: CharacterState, pose: Pose, contacts: Tensor) -> Tensor:
        return self._now_layout.stack((*vars(state).values(), *vars(pose).values(), contacts))

    def _release(self, env: int) -> None:
        """Free an env's place, unless other envs still use it."""
        place = self._places.pop(env, None)
        if place is None:
            return
        self._users[place] -= 1
        if not self._users[place]:
            self._free.append(place)

    def _prepare_places(self, starts: Sequence[StartPoint], upcoming: Sequence[StartPoint]) -> list[int]:
        """Return the place of each start. Missing ones are prepared, with upcoming ones in the same batch."""
        places = {start: self._ready.pop(start) for start in dict.fromkeys(starts) if start in self._ready}
        missing = [start for start in dict.fromkeys(starts) if start not in places]
        if missing:
            spare = self._ahead - len(self._ready)
            known = (*self._ready, *places, *missing)
            ahead = [start for start in dict.fromkeys(upcoming) if start not in known][:spare]
            made = [self._free.pop() for _ in (*missing, *ahead)]
            self._prepare(made, [*missing, *ahead])
            places.update(zip(missing, made))
            self._ready.update(zip(ahead, made[len(missing) :]))
        return [places[start] for start in starts]

    def _prepare(self, places: Sequence[int], starts: Sequence[StartPoint]) -> None:
        """Store the references of attempts, and their first frames, at places."""
        at, motions = torch.tensor([list(places), [motion for motion, _ in starts]], device=self.device)
        times = torch.tensor([self.start_time(*start) for start in starts], device=self.device)
        steps = [self.steps_of(*start) for start in starts]
        first, pose = self._load_references(at, motions, steps, times)
        state = CharacterState(
            root_pos=first.root_pos,
            root_rot=first.root_rot,
            root_vel=first.root_vel,
            root_ang_vel=first.root_ang_vel,
            dof_pos=self.skeleton.rot_to_dof(first.joint_rot),
            dof_vel=first.dof_vel,
            contact_force=torch.zeros(len(first.root_pos), self.skeleton.num_bodies, 3, device=self.device),
        )
        columns = self._columns(state, pose, (first.contacts > 0.5).float())
        self._first.index_copy_(0, at, columns[:, : len(at)].t())

    def _load_references(
        self, places: Tensor, motions: Tensor, steps: Sequence[int], times: Tensor
    ) -> tuple[ReferenceFrames, Pose]:
        """Sample motions at every control step of attempts, and beyond up to the observer's lookahead.

        Returns the first frames and their poses, in whole batches.
        """
        counts = [total + 1 + self.lookahead for total in steps]
        frame = np.concatenate([np.arange(count) for count in counts])
        attempt = np.repeat(np.arange(len(counts)), counts)
        order = np.argsort(frame > 0, kind="stable")  # first frames first
        attempts, frames = torch.from_numpy(np.stack((attempt[order], frame[order]))).to(self.device)
        whole = len(pad_to_batch(places))
        begun: list[tuple[ReferenceFrames, Pose]] = []
        for which, step in zip(*(part.split(max(SAMPLES, whole)) for part in (attempts, frames))):
            count, which, step = len(which), pad_to_batch(which), pad_to_batch(step)
            seconds = step * self.timestep + times.index_select(0, which)
            sampled = self.library.sample(motions.index_select(0, which), seconds)
            kinematics = self.skeleton.forward_kinematics(sampled.root_pos, sampled.root_rot, sampled.joint_rot)
            pose = Pose(sampled.joint_rot, *kinematics)
            rows = (places.index_select(0, which) * self._references.shape[1] + step)[:count]
            features = self.tracker.observer.reference_features(sampled, pose)[:count]
            references = self._reference_layout.stack((*vars(pose).values(), sampled.contacts)).t()[:count]
            self._features.flatten(0, 1).index_copy_(0, rows, features)
            self._references.flatten(0, 1).index_copy_(0, rows, references)
            begun = begun or [(_first_rows(sampled, whole), _first_rows(pose, whole))]
        return begun[0]


def now_layout(skeleton: Skeleton) -> Layout:
    """Return the layout of the data per env: the character's state, pose and contacts."""
    return Layout({**state_shapes(skeleton), **pose_shapes(skeleton), "contacts": (skeleton.num_bodies,)})


def reference_layout(skeleton: Skeleton) -> Layout:
    """Return the layout of a reference frame, without the observer's features: pose and contacts."""
    return Layout({**pose_shapes(skeleton), "contacts": (skeleton.num_bodies,)})


def lookahead(observer: Observer) -> int:
    """Return the control steps by which an observer looks ahead, past the motion's end if necessary."""
    return max(observer.target_steps.tolist(), default=0)


def _pose(parts: dict[str, Tensor]) -> Pose:
    return Pose(parts["joint_rot"], parts["body_pos"], parts["body_rot"])


Batch = TypeVar("Batch", CharacterState, Pose, ReferenceFrames, Step)


def _first_rows(batch: Batch, count: int) -> Batch:
    """Return the first rows of a batch, and of nested batches."""
    parts: dict[str, Any] = {
        name: part[:count] if isinstance(part, Tensor) else _first_rows(part, count)
        for name, part in vars(batch).items()
    }
    return type(batch)(**parts)
