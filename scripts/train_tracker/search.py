"""Lessons: controls that carry the character through a motion, found by sampling, with feedback gains."""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import time
from dataclasses import dataclass
from typing import Any, Sequence

import torch
from torch import Tensor

from parc_ray.character.rotations import (
    exp_map_to_quat,
    norm,
    quat_diff,
    quat_diff_angle,
    quat_mul,
    quat_normalize,
    quat_to_exp_map,
)
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.files.reading import read_bytes
from parc_ray.files.writing import write_file_atomic
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.trackers.action_bounds import action_bounds
from parc_ray.tracking.environment import TrackingEnvironment
from train_tracker.tracker import build, serialize, squared_norm

LEAD_STEPS = 3
"""Control steps by which PD targets lead the reference: drives lag by damping over stiffness, 0.1 s"""
WINDOW = 3
"""Control steps per decision of the search; the offset of the PD targets from the reference is constant within one"""
SPREADS = (0.13, 0.08, 0.05, 0.08)
"""Standard deviation of the samples around the best so far, in each round of the search, rad"""
SURVIVORS = 0.1
"""Share of the samples that survives a window"""
CONTACT_PRICES = (0.3, 0.1, 0.02)
"""Price of each contact that differs from the reference, in the order tried. Recordings are accepted only if contacts
agree, so a high price comes first; if it finds no lesson, a lower one follows
"""
CANDIDATES = 16
"""Sequences of controls replayed from start to end after a round"""
CAUTION = 10.0
"""Price of a PD target's correction (1 / rad^2); prices of deviations are in Search._with_gains"""
FITTED = 1024
"""Random deviations from which the regulator estimates their effects, at each step"""
LARGEST_CORRECTION = 0.5
"""Maximum correction of a PD target, rad: gains are valid only near the path"""


@dataclass(frozen=True)
class Lesson:
    """Controls for a motion: PD targets, the resulting states, and feedback gains."""

    states: CharacterState
    """[T + 1, ...]"""
    targets: Tensor
    """[T, D] rad"""
    gains: Tensor
    """[T, D, X] corrections of the targets per deviation from the states"""
    roots: Tensor
    """[T, D, D] lower triangles: the squared length of error @ root is the later cost of an error [D] of the targets,
    in units of the mean dof's
    """

    def targets_at(self, steps: Tensor, state: CharacterState, skeleton: Skeleton) -> Tensor:
        """Return the PD targets [N, D] for states [N, ...] after `steps` [N] steps."""
        steps = steps.clamp(max=len(self.targets) - 1)
        deviation = difference(skeleton, state, self.states.rows(steps))
        correction = (self.gains[steps] @ deviation.unsqueeze(-1)).squeeze(-1)
        return self.targets[steps] - correction.clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION)


def difference(skeleton: Skeleton, state: CharacterState, other: CharacterState) -> Tensor:
    """Return the difference `state` - `other`, [N, X]: positions, then velocities; rotations as vectors."""
    turn = quat_to_exp_map(quat_normalize(quat_diff(other.root_rot, state.root_rot)))
    joints = skeleton.dof_velocity(skeleton.dof_to_rot(other.dof_pos), skeleton.dof_to_rot(state.dof_pos), 1.0)
    moved, turned = state.root_vel - other.root_vel, state.root_ang_vel - other.root_ang_vel
    return torch.cat(
        (state.root_pos - other.root_pos, turn, joints, moved, turned, state.dof_vel - other.dof_vel), dim=-1
    )


def displace(skeleton: Skeleton, state: CharacterState, deviation: Tensor) -> CharacterState:
    """Return the states whose `difference` from the given ones is `deviation` [N, X]."""
    dofs = skeleton.dof_count
    moved, turn, joints, faster, spin, rates = deviation.split([3, 3, dofs, 3, 3, dofs], dim=-1)
    bent = quat_mul(skeleton.dof_to_rot(state.dof_pos), skeleton.dof_to_rot(joints))
    return CharacterState(
        root_pos=state.root_pos + moved,
        root_rot=quat_normalize(quat_mul(exp_map_to_quat(turn), state.root_rot)),
        root_vel=state.root_vel + faster,
        root_ang_vel=state.root_ang_vel + spin,
        dof_pos=skeleton.rot_to_dof(quat_normalize(bent)),
        dof_vel=state.dof_vel + rates,
        contact_force=state.contact_force,
    )


class Search:
    """Searches for controls that track motions, with all envs of an environment."""

    def __init__(self, environment: TrackingEnvironment, seed: int):
        self.environment, self.skeleton, self.device = environment, environment.skeleton, environment.device
        self.envs = list(range(environment.num_envs))
        self.random = torch.Generator().manual_seed(seed)
        self.low, self.high = (bound.to(self.device) for bound in action_bounds(self.skeleton))

    @torch.inference_mode()
    def lesson(self, motion: int) -> tuple[Lesson | None, float]:
        """Return the lesson of a motion, or None if the search did not reach its end; and the share that it reached."""
        self.steps = self.environment.steps_of(motion, 0.0)
        ahead = torch.arange(self.steps + 1 + LEAD_STEPS, device=self.device) * self.environment.timestep
        frames = self.environment.library.sample(torch.full((len(ahead),), motion, device=self.device), ahead)
        self.frames = frames
        self.bodies = self.skeleton.forward_kinematics(frames.root_pos, frames.root_rot, frames.joint_rot)[0]
        self.aims = self.skeleton.rot_to_dof(frames.joint_rot)[LEAD_STEPS:]
        self.motion, farthest = motion, 0
        for self.contact_price in CONTACT_PRICES:
            lesson, survived = self._search()
            farthest = max(farthest, survived)
            if lesson is not None:
                break
        return lesson, farthest / self.steps

    def _search(self) -> tuple[Lesson | None, int]:
        """Return the lesson at this price of contacts, if found, and the steps that the best sequence survived."""
        offsets = torch.zeros(-(-self.steps // WINDOW), self.skeleton.dof_count, device=self.device)
        survived, cost, states = 0, math.inf, None
        for number, spread in enumerate(SPREADS):
            tried = self._sample(offsets, spread)
            ages, costs, paths = self._replay(tried)
            best = min(range(len(tried)), key=lambda index: (-int(ages[index]), float(costs[index])))
            if (-int(ages[best]), float(costs[best])) < (-survived, cost):
                survived, cost, offsets = int(ages[best]), float(costs[best]), tried[best]
                states = [state.rows(torch.tensor([best])) for state in paths]
            if survived == self.steps and number >= 2:
                break
        if states is None or survived < self.steps:
            return None, survived
        return self._with_gains(states, self._targets(offsets)), survived

    def _targets(self, offsets: Tensor) -> Tensor:
        """Return PD targets [..., T, D] from offsets [..., K, D] to the reference ahead."""
        targets = self.aims[: self.steps] + offsets.repeat_interleave(WINDOW, dim=-2)[..., : self.steps, :]
        return torch.maximum(torch.minimum(targets, self.high), self.low)

    def _sample(self, mean: Tensor, spread: float) -> Tensor:
        """Return the best CANDIDATES sequences of offsets [C, K, D] around a mean [K, D], sampled window by window."""
        count, simulator = len(self.envs), self.environment.simulator
        self.environment.start(self.envs, [self.motion] * count, [0.0] * count)
        offsets = mean.expand(count, *mean.shape).clone()
        total = torch.zeros(count, device=self.device)
        for window, start in enumerate(range(0, self.steps, WINDOW)):
            noise = spread * torch.randn(count, mean.shape[1], generator=self.random).to(self.device)
            noise[: count // 16] = 0.0
            if window:
                noise += 0.5 * (offsets[:, window - 1] - mean[window - 1])
            offsets[:, window] += noise
            targets = self._targets(offsets)
            for step in range(start, min(start + WINDOW, self.steps)):
                state = simulator.step(self.envs, targets[:, step])
                costs = self._costs(state, step + 1)
                total += costs
            # The end of a window counts twice: the next window starts there.
            order = (total + 0.5 * WINDOW * costs).argsort()
            if start + WINDOW < self.steps:
                kept = order[: max(1, int(SURVIVORS * count))]
                chosen = kept[torch.arange(count, device=self.device) % len(kept)]
                simulator.reset(self.envs, [self.motion] * count, state.rows(chosen))
                offsets, total = offsets[chosen].clone(), total[chosen].clone()
        return offsets[total.argsort()[:CANDIDATES]]

    def _replay(self, offsets: Tensor) -> tuple[Tensor, Tensor, list[CharacterState]]:
        """Return the steps that sequences of offsets [C, K, D] survive, their costs [C], and the states on the way."""
        envs, environment = self.envs[: len(offsets)], self.environment
        environment.start(envs, [self.motion] * len(envs), [0.0] * len(envs))
        targets, states = self._targets(offsets), [environment.first_frame(envs)[0]]
        ages = torch.full((len(envs),), self.steps)
        total = torch.zeros(len(envs), device=self.device)
        for index in range(self.steps):
            step = environment.step(envs, targets[:, index])
            states.append(step.state)
            total += self._costs(step.state, index + 1)
            ages = torch.where((step.reason.cpu() > 0) & (ages == self.steps), torch.tensor(index), ages)
        return ages, total, states

    def _costs(self, state: CharacterState, step: int) -> Tensor:
        """Return the costs [N] of states [N, ...], from their distance to the reference after `step` steps."""
        frames, skeleton = self.frames, self.skeleton
        joint_rot = skeleton.dof_to_rot(state.dof_pos)
        bodies = skeleton.forward_kinematics(state.root_pos, state.root_rot, joint_rot)[0]
        root = squared_norm(state.root_pos - frames.root_pos[step])
        angle = quat_diff_angle(state.root_rot, frames.root_rot[step].expand_as(state.root_rot)).square()
        joints = quat_diff_angle(joint_rot, frames.joint_rot[step].expand_as(joint_rot)).square().sum(-1)
        offsets = bodies - state.root_pos.unsqueeze(1) - (self.bodies[step] - frames.root_pos[step])
        faster = squared_norm(state.root_vel - frames.root_vel[step])
        spin = squared_norm(state.root_ang_vel - frames.root_ang_vel[step])
        touches = norm(state.contact_force) > self.environment.config.contact_detection_eps
        contacts = (touches != (frames.contacts[step] > 0.5)).sum(-1)
        costs = 8.0 * root + 2.0 * angle + 0.15 * joints + squared_norm(offsets).sum(-1) + 0.05 * faster + 0.01 * spin
        costs = costs + self.contact_price * contacts
        return torch.nan_to_num(costs, nan=1e6)

    def _with_gains(self, path: Sequence[CharacterState], targets: Tensor) -> Lesson:
        """Return the lesson of a path, with the gains of the linear-quadratic regulator about it."""
        dofs = targets.shape[1]
        sizes = torch.tensor([3, 3, dofs, 3, 3, dofs])
        nudge = torch.tensor([0.01, 0.02, 0.03, 0.1, 0.2, 0.4]).repeat_interleave(sizes).to(self.device)
        prices = torch.tensor([20.0, 10.0, 1.0, 1.0, 0.5, 0.01]).repeat_interleave(sizes).double()
        price, gains, roots = torch.diag(prices), [], []
        for step in reversed(range(self.steps)):
            a, b = (part.double().cpu() for part in self._linearize(path[step], path[step + 1], targets[step], nudge))
            curvature = CAUTION * torch.eye(dofs).double() + b.T @ price @ b
            gain = torch.linalg.solve(curvature, b.T @ price @ a)
            price = torch.diag(prices) + a.T @ price @ (a - b @ gain)
            price = 0.5 * (price + price.T)
            gains.append(gain.float().to(self.device))
            roots.append(torch.linalg.cholesky(curvature / curvature.diagonal().mean()).float().to(self.device))
        states = {name: torch.cat([getattr(state, name) for state in path]) for name in vars(path[0])}
        return Lesson(CharacterState(**states), targets, torch.stack(gains[::-1]), torch.stack(roots[::-1]))

    def _linearize(
        self, state: CharacterState, following: CharacterState, target: Tensor, nudge: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the effect on the next state of deviations [X] from a state, and [D] of PD targets: [X, X] and [X, D].

        Fitted to random deviations, not differentiated: a foot's contact is discontinuous; its mean effect matters.
        """
        sizes = torch.cat((nudge, torch.full_like(target, 0.03)))
        half = torch.randn(FITTED // 2, len(sizes), generator=self.random).to(self.device)
        drawn, results = torch.cat((half, -half)), []
        for part in (drawn * sizes).split(len(self.envs)):
            envs, first = self.envs[: len(part)], torch.zeros(len(part), dtype=torch.int64, device=self.device)
            begun = displace(self.skeleton, state.rows(first), part[:, : len(nudge)])
            self.environment.simulator.reset(envs, [self.motion] * len(envs), begun)
            ended = self.environment.simulator.step(envs, target + part[:, len(nudge) :])
            results.append(difference(self.skeleton, ended, following.rows(first)))
        known = torch.cat((drawn, torch.ones_like(drawn[:, :1])), dim=1).double()
        slopes = torch.linalg.lstsq(known, torch.cat(results).double()).solution[:-1].T / sizes
        return slopes[:, : len(nudge)], slopes[:, len(nudge) :]


def lessons(options: argparse.Namespace, motions: Sequence[Motion], content: bytes) -> list[Lesson | None]:
    """Return the lessons of motions; those found earlier come from lessons.pt in the output folder.

    Missing ones are searched again once there are more samples.
    """
    file = options.output / "lessons.pt"
    known: dict[str, Any] = torch.load(io.BytesIO(read_bytes(file)), weights_only=True) if file.exists() else {}
    found: list[Lesson | None] = []
    for motion in motions:
        key = f"{hashlib.sha256(motion_file_bytes(motion)).hexdigest()} {options.simulator}"
        kept = known.get(key, 0)  # an int: number of samples that found no lesson
        if isinstance(kept, int) and kept < options.search:
            began = time.monotonic()
            recorder = build([motion], content, options, options.config, num_envs=options.search,
                             max_envs_per_actor=options.search)  # fmt: skip
            lesson, share = Search(recorder.environment, options.seed).lesson(0)
            recorder.environment.simulator.close()
            how = "found" if lesson else f"not found: the best come to {share * motion.length:.1f} s"
            print(f"lesson of {motion.name}: {how}, {time.monotonic() - began:.0f} s", flush=True)
            kept = options.search
            if lesson is not None:
                kept = (vars(lesson.states), lesson.targets, lesson.gains, lesson.roots)
            known[key] = kept
            options.output.mkdir(parents=True, exist_ok=True)
            write_file_atomic(file, serialize(known))
        found.append(None if isinstance(kept, int) else Lesson(CharacterState(**kept[0]), *kept[1:]))
    return found
