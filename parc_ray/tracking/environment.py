"""TrackingEnvironment: simulator, motions, observer and termination, for num_envs slots.

It knows attempts only as "this motion from this time", and nothing of what a tracker observes or how it acts: whoever
drives it observes, decides and steps. All states are in the frame of the motion that the slot tracks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Dict, Sequence, Tuple, TypeVar

import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.batches import whole_batches
from parc_ray.character.layout import Layout
from parc_ray.character.pose import Pose, pose_shapes
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState, state_shapes
from parc_ray.config.environment import EnvironmentConfig
from parc_ray.motions.library import MotionLibrary
from parc_ray.motions.terrain_stack import TerrainStack
from parc_ray.simulators.simulator import Simulator
from parc_ray.trackers.termination import NOT_FINITE, Termination
from parc_ray.trackers.tracker import Observer, Situation

SAMPLES = 2048
"""Maximum reference frames sampled at once."""


@dataclass(frozen=True)
class Step:
    """Result of one control step in N envs, in the order in which they were given."""

    state: CharacterState
    pose: Pose
    contacts: Tensor
    """[N, B]: 1 where a body is in contact, else 0."""
    reference: Pose
    """Pose of the reference at the same time."""
    reference_contacts: Tensor
    """[N, B] labels in [0, 1]."""
    cause: Tensor
    """[N]: index into termination.CAUSES; 0 where the attempt has not failed."""
    body: Tensor
    """[N]: the body at fault, where the cause is about one."""
    ended: Tensor
    """[N] bool: whether the motion's end is reached."""


class TrackingEnvironment:
    """num_envs characters, each of which tracks a motion of the library on its terrain."""

    def __init__(
        self,
        simulator: Simulator,
        library: MotionLibrary,
        terrains: TerrainStack,
        skeleton: Skeleton,
        config: EnvironmentConfig,
        observer: Observer,
        termination: Termination,
    ):
        """library, terrains and the simulator's tiles are of the same motions, in the same order."""
        device = library.device
        self.simulator, self.library, self.terrains = simulator, library, terrains
        self.config, self.num_envs, self.device = config, simulator.num_envs, device
        self.skeleton = skeleton.to(device)
        self.observer, self.termination = observer, termination
        self.timestep = torch.tensor(1.0 / config.control_freq, dtype=torch.float32, device=device)
        self.lookahead = lookahead(observer)
        self.max_steps = max(self.steps_of(i, 0.0) for i in range(len(library.names)))
        envs, frames = self.num_envs, self.max_steps + 1 + self.lookahead
        self.motion = torch.zeros(envs, dtype=torch.int64, device=device)
        self.steps_done = torch.zeros(envs, dtype=torch.int64, device=device)
        self.steps_total = torch.zeros(envs, dtype=torch.int64, device=device)
        self._features = torch.zeros(envs, frames, observer.features.size, device=device)
        self._reference_layout, self._now_layout = reference_layout(skeleton), now_layout(skeleton)
        self._references = torch.zeros(envs, frames, self._reference_layout.size, device=device)
        self._now = torch.zeros(envs, self._now_layout.size, device=device)
        """State, pose and contacts of every env side by side: one operation reads or writes them all."""

    def start_time(self, motion: int, fraction: float) -> Tensor:
        """Time in a motion at a start fraction, float32 s."""
        return self.library.lengths[motion] * fraction

    def steps_of(self, motion: int, fraction: float) -> int:
        """Control steps from a start fraction until the time reaches the motion's length (float32, as in PARC)."""
        length = self.library.lengths[motion]
        upper = int(float(length) * self.config.control_freq) + 3
        times = torch.arange(upper, device=self.device) * self.timestep + self.start_time(motion, fraction)
        return int((times >= length).to(torch.int64).argmax())

    def start(self, envs: Sequence[int], motions: Sequence[int], fractions: Sequence[float]) -> None:
        """Put characters into the reference state of motions at start fractions, without noise.

        No contact has been simulated yet, so the contacts of the first frame are the reference's.
        """
        rows = torch.tensor(list(envs), device=self.device)
        for env, motion, fraction in zip(envs, motions, fractions):
            self.motion[env], self.steps_done[env] = motion, 0
            self.steps_total[env] = self.steps_of(motion, fraction)
        times = torch.stack([self.start_time(motion, fraction) for motion, fraction in zip(motions, fractions)])
        self._load_references(rows, times)
        whole = whole_batches(torch.arange(len(rows), device=self.device))
        joined = self.library.sample(self.motion[rows[whole]], times[whole])
        state = CharacterState(
            root_pos=joined.root_pos,
            root_rot=joined.root_rot,
            root_vel=joined.root_vel,
            root_ang_vel=joined.root_ang_vel,
            dof_pos=self.skeleton.rot_to_dof(joined.joint_rot),
            dof_vel=joined.dof_vel,
            contact_force=torch.zeros(len(joined.root_pos), self.skeleton.num_bodies, 3, device=self.device),
        )
        state = _rows_of(state, len(rows))
        pose, _ = self._reference(self._references[rows, 0])
        self._write(rows, state, pose, (joined.contacts[: len(rows)] > 0.5).float())
        self.simulator.reset(list(envs), list(motions), state)

    def observe(self, envs: Sequence[int]) -> Tensor:
        """Observations of the given envs, [n, observer.layout.size]."""
        rows = self._rows(envs)
        state, pose, contacts = self._read(rows)
        frames = self.steps_done[rows].unsqueeze(1) + self.observer.target_steps
        targets = self._features[rows.unsqueeze(1), frames]
        heights = partial(self.terrains.height_at, self.motion[rows])
        return self.observer.observe(Situation(state, pose, contacts, targets, heights))[: len(envs)]

    def step(self, envs: Sequence[int], actions: Tensor) -> Step:
        """Hold PD targets [n, D] (rad) for one control step in the given envs."""
        simulated = self.simulator.step(list(envs), actions)
        rows, count = self._rows(envs), len(envs)
        self.steps_done[rows[:count]] += 1
        state = _rows_of(simulated, whole_batches(torch.arange(count, device=self.device)))
        joint_rot = self.skeleton.dof_to_rot(state.dof_pos)
        body_pos, body_rot = self.skeleton.forward_kinematics(state.root_pos, state.root_rot, joint_rot)
        pose = Pose(joint_rot, body_pos, body_rot)
        force = state.contact_force
        contacts = (rotations.norm(force) > self.config.contact_detection_eps).float()
        steps = self.steps_done[rows]
        frames = rows * self._references.shape[1] + steps
        reference, reference_contacts = self._reference(self._references.flatten(0, 1).index_select(0, frames))
        needed = self.termination.needs_ground
        ground = self.terrains.height_at(self.motion[rows], body_pos[..., :2]) if needed else None
        verdict = self.termination.judge(
            steps * self.timestep,
            state.root_rot,
            body_pos,
            reference.body_rot[:, 0],
            reference.body_pos,
            force,
            ground,
        )
        cause = torch.where(_finite(state), verdict.cause, NOT_FINITE)
        result = Step(
            state=_rows_of(state, count),
            pose=_rows_of(pose, count),
            contacts=contacts[:count],
            reference=_rows_of(reference, count),
            reference_contacts=reference_contacts[:count],
            cause=cause[:count],
            body=verdict.body[:count],
            ended=(steps >= self.steps_total[rows])[:count],
        )
        self._write(rows[:count], simulated, result.pose, result.contacts)
        return result

    def first_frame(self, envs: Sequence[int]) -> Tuple[CharacterState, Pose, Tensor]:
        """Current state, pose and contacts of the given envs."""
        return self._read(torch.tensor(list(envs), device=self.device))

    def _read(self, rows: Tensor) -> Tuple[CharacterState, Pose, Tensor]:
        parts = self._now_layout.split(self._now.index_select(0, rows))
        state = CharacterState(**{name: parts[name] for name in state_shapes(self.skeleton)})
        return state, _pose(parts), parts["contacts"]

    def _write(self, rows: Tensor, state: CharacterState, pose: Pose, contacts: Tensor) -> None:
        self._now[rows] = self._now_layout.join((*vars(state).values(), *vars(pose).values(), contacts))

    def _reference(self, rows: Tensor) -> Tuple[Pose, Tensor]:
        """Pose and contacts of frames of the reference."""
        parts = self._reference_layout.split(rows)
        return _pose(parts), parts["contacts"]

    def _rows(self, envs: Sequence[int]) -> Tensor:
        """Row indices of envs, in whole batches."""
        return whole_batches(torch.tensor(list(envs), device=self.device))

    def _load_references(self, envs: Tensor, start_times: Tensor) -> None:
        """Sample the motions of envs at every control step of their attempts, and beyond as far as targets reach."""
        counts = self.steps_total[envs] + 1 + self.lookahead
        place = torch.repeat_interleave(torch.arange(len(envs), device=self.device), counts)
        first = torch.repeat_interleave(torch.cumsum(counts, 0) - counts, counts)
        frame = torch.arange(len(place), device=self.device) - first
        for start in range(0, len(place), SAMPLES):
            kept = slice(start, min(start + SAMPLES, len(place)))
            rows = whole_batches(torch.arange(kept.start, kept.stop, device=self.device))
            which, step = place[rows], frame[rows]
            frames = self.library.sample(self.motion[envs[which]], step * self.timestep + start_times[which])
            body_pos, body_rot = self.skeleton.forward_kinematics(frames.root_pos, frames.root_rot, frames.joint_rot)
            pose = Pose(frames.joint_rot, body_pos, body_rot)
            count = kept.stop - kept.start
            at = (envs[which[:count]], step[:count])
            self._features[at] = self.observer.reference_features(frames, pose)[:count]
            self._references[at] = self._reference_layout.join((*vars(pose).values(), frames.contacts))[:count]


def now_layout(skeleton: Skeleton) -> Layout:
    """Layout of what is held per env: the character's state, pose and contacts."""
    return Layout({**state_shapes(skeleton), **pose_shapes(skeleton), "contacts": (skeleton.num_bodies,)})


def reference_layout(skeleton: Skeleton) -> Layout:
    """Layout of what is held per frame of the reference, besides the observer's features: pose and contacts."""
    return Layout({**pose_shapes(skeleton), "contacts": (skeleton.num_bodies,)})


def lookahead(observer: Observer) -> int:
    """Control steps by which an observer looks ahead, at the end of a motion beyond it."""
    return max(observer.target_steps.tolist(), default=0)


def _pose(parts: Dict[str, Tensor]) -> Pose:
    return Pose(parts["joint_rot"], parts["body_pos"], parts["body_rot"])


def _finite(state: CharacterState) -> Tensor:
    """[N] bool: whether every number of a state is finite."""
    return torch.isfinite(torch.cat([value.flatten(1) for value in vars(state).values()], dim=1)).all(dim=1)


Batch = TypeVar("Batch", CharacterState, Pose)


def _rows_of(batch: Batch, rows: int | Tensor) -> Batch:
    """The first rows of a batch, by their number, or the rows of given indices."""

    def chosen(value: Tensor) -> Tensor:
        return value[:rows] if isinstance(rows, int) else value.index_select(0, rows)

    return type(batch)(**{name: chosen(value) for name, value in vars(batch).items()})
