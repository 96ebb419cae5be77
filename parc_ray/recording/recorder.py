"""ShardRecorder: keeps every env of one simulator busy until all motions of a shard are dealt with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

import torch
from torch import Tensor

from parc_ray.character.pose import Pose
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError
from parc_ray.motions.motion_file import MAX_DISTANCE, Motion
from parc_ray.recording.attempts import Attempt, AttemptResult, RetryPolicy, RetryQueue
from parc_ray.recording.recording import WRITERS, Trajectory, frame_layout, recording_file
from parc_ray.trackers.termination import BODY_POSITION, CAUSES, FALL
from parc_ray.tracking.environment import Step, TrackingEnvironment
from parc_ray.tracking.figures import Quality, shortcomings, without_labels
from parc_ray.tracking.quality import QualityMeter


@dataclass
class Usage:
    """Use of the env slots."""

    steps: int = 0
    """Control steps of the simulator."""
    env_steps: int = 0
    """Control steps summed over envs."""
    busy: int = 0
    """Env steps made while attempts were waiting."""
    slots: int = 0
    """Env steps that all slots could have made in that time."""


class ShardRecorder:
    """One retry queue over one environment.

    recorder = ShardRecorder(environment, tracker.act, meter, motions, config, origin)
    while not recorder.done:
        results = recorder.work(seconds=1.0)
    """

    def __init__(
        self,
        environment: TrackingEnvironment,
        act: Callable[[Tensor], Tensor],
        meter: QualityMeter,
        motions: Sequence[Motion],
        config: RecordConfig,
        origin: Mapping[str, Any],
        first_attempts: Optional[Sequence[int]] = None,
    ):
        """act: of the tracker whose observer the environment has; motions: those of the environment's library; origin:
        goes into every recording (simulator, checkpoint, ...).

        first_attempts: number of each motion's first attempt; earlier ones were made elsewhere.
        """
        self.environment, self.act, self.meter = environment, act, meter
        self.motions, self.config, self.origin = motions, config, dict(origin)
        self.policy = RetryPolicy(config.retry)
        self.queue = RetryQueue()
        self.usage = Usage()
        self._results: List[AttemptResult] = []
        self._free = list(range(environment.num_envs))[::-1]
        self._running: Dict[int, Attempt] = {}
        self._made = time.monotonic()
        self._began: Dict[int, float] = {}
        self._layout = frame_layout(environment.skeleton)
        frames = environment.max_steps + 1
        self._frames = torch.zeros(environment.num_envs, frames, self._layout.size, device=environment.device)
        kept = environment.observer.layout.size if config.record.observations else 0
        self._observations = torch.zeros(environment.num_envs, frames, kept, device=environment.device)
        for index, number in enumerate(first_attempts or [0] * len(motions)):
            self._enqueue(Attempt(index, number, self.policy.fraction_of(number)))

    @property
    def done(self) -> bool:
        """Whether every motion has its final outcome."""
        return not self.queue and not self._running

    @property
    def age(self) -> float:
        """s since it was made, by the clock of its results."""
        return time.monotonic() - self._made

    def work(self, seconds: float) -> List[AttemptResult]:
        """Simulate for about `seconds`; returns the attempts that ended.

        If the simulator raises, take_results() still has those that had ended before.
        """
        deadline = time.monotonic() + seconds
        while not self.done and time.monotonic() < deadline:
            self._results += self.advance()
        return self.take_results()

    def take_results(self) -> List[AttemptResult]:
        """Attempts that ended in work() and were not returned yet."""
        results, self._results = self._results, []
        return results

    @torch.inference_mode()
    def advance(self) -> List[AttemptResult]:
        """Start attempts in free envs, and make one control step in all busy ones; returns the attempts that ended."""
        self._fill()
        envs = sorted(self._running)
        self.usage.steps += 1
        self.usage.env_steps += len(envs)
        if self.queue:
            self.usage.busy += len(envs)
            self.usage.slots += self.environment.num_envs
        observations = self.environment.observe(envs)
        step = self.environment.step(envs, self.act(observations))
        rows = torch.tensor(envs, device=self.environment.device)
        self.meter.add(envs, self.environment.motion[rows], step)
        self._store(rows, step.state.root_pos, step.pose, step.contacts)
        if self.config.record.observations:
            self._observations[rows, self.environment.steps_done[rows]] = self.environment.observe(envs)
        finished = ((step.cause > 0) | step.ended).nonzero().flatten().tolist()
        return [self._finish(envs[place], step, place) for place in finished]

    def _enqueue(self, attempt: Attempt) -> None:
        self.queue.add(attempt, (1.0 - attempt.start_fraction) * self.motions[attempt.motion].length)

    def _fill(self) -> None:
        """Start waiting attempts in free envs."""
        started: Dict[int, Attempt] = {}
        while self._free and self.queue:
            started[self._free.pop()] = self.queue.pop()
        if not started:
            return
        envs, attempts = list(started), list(started.values())
        self._running.update(started)
        self._began.update(dict.fromkeys(started, time.monotonic() - self._made))
        self.environment.start(envs, [a.motion for a in attempts], [a.start_fraction for a in attempts])
        self.meter.start(envs)
        state, pose, contacts = self.environment.first_frame(envs)
        rows = torch.tensor(envs, device=self.environment.device)
        self._store(rows, state.root_pos, pose, contacts)
        if self.config.record.observations:
            self._observations[rows, 0] = self.environment.observe(envs)

    def _store(self, rows: Tensor, root_pos: Tensor, pose: Pose, contacts: Tensor) -> None:
        frame = self._layout.join((root_pos, pose.body_rot[:, 0], pose.joint_rot, contacts))
        self._frames[rows, self.environment.steps_done[rows]] = frame

    def _finish(self, env: int, step: Step, place: int) -> AttemptResult:
        attempt = self._running.pop(env)
        motion = self.motions[attempt.motion]
        steps = int(self.environment.steps_done[env])
        quality = self.meter.figures(env) if motion.labelled else without_labels(self.meter.figures(env))
        cause, body = int(step.cause[place]), int(step.body[place])
        broken = shortcomings(quality, self.config.acceptance)
        reason = self._failure(cause, body, steps) if cause else "; ".join(broken)
        recording = None
        if not reason:
            try:
                recording = self._motion_file(env, attempt, steps + 1, quality)
            except InputError as error:
                # The character has got so far away that the terrain around its path is too large.
                broken = [str(error)]
                reason = broken[0]
        outcome = "failed" if cause else "rejected" if reason else "recorded"
        criteria = (CAUSES[cause],) if cause else tuple(line.partition(":")[0] for line in broken)
        next_fraction = trajectory = None
        if outcome != "recorded":
            next_fraction = self.policy.next_fraction(attempt.number, motion.length)
            if self.config.record.keep_failures:
                end = {"outcome": outcome, "reason": reason, "criteria": criteria, "body": self._body_name(cause, body)}
                trajectory = self._failed_trajectory(env, attempt, steps, quality, end)
        self.environment.simulator.park([env])
        self._free.append(env)
        if next_fraction is not None:
            self._enqueue(Attempt(attempt.motion, attempt.number + 1, next_fraction))
        frequency = self.environment.config.control_freq
        return AttemptResult(
            motion=motion.name,
            number=attempt.number,
            start_fraction=attempt.start_fraction,
            start_time=float(self.environment.start_time(attempt.motion, attempt.start_fraction)),
            seconds=steps / frequency,
            outcome=outcome,
            reason=reason,
            quality=quality,
            next_fraction=next_fraction,
            recording=recording,
            trajectory=trajectory,
            recorded_seconds=steps / frequency if recording else 0.0,
            criteria=criteria,
            body=self._body_name(cause, body),
            env=env,
            began=round(self._began.pop(env), 3),
            ended=round(time.monotonic() - self._made, 3),
        )

    def _failure(self, cause: int, body: int, steps: int) -> str:
        name = self._body_name(cause, body)
        where = f" ({name})" if name else ""
        return f"{CAUSES[cause]}{where} after {steps / self.environment.config.control_freq:.2f} s"

    def _body_name(self, cause: int, body: int) -> str:
        return self.environment.skeleton.body_names[body] if cause in (BODY_POSITION, FALL) else ""

    def _failed_trajectory(
        self, env: int, attempt: Attempt, steps: int, quality: Quality, end: Mapping[str, Any]
    ) -> Optional[bytes]:
        """Motion file of an attempt up to its failure, or up to where it left what a motion file can hold."""
        frames = self._frames[env, : steps + 1]
        possible = torch.isfinite(frames).all(dim=1) & (frames[:, :3].abs().amax(dim=1) <= MAX_DISTANCE)
        count = int(possible.cumprod(dim=0).sum())
        if count < 2:
            return None
        try:
            return self._motion_file(env, attempt, count, quality, end)
        except InputError:
            return None  # the terrain around its path is too large

    def _motion_file(
        self, env: int, attempt: Attempt, count: int, quality: Quality, end: Optional[Mapping[str, Any]] = None
    ) -> bytes:
        """Motion file of the first `count` frames. Raises InputError if the terrain around them is too large."""
        motion, observer = self.motions[attempt.motion], self.environment.observer
        frames = self._layout.split(self._frames[env, :count].cpu())
        observations = self._observations[env, :count].cpu().numpy() if self.config.record.observations else None
        origin = {
            **self.origin,
            "source_motion": motion.name,
            "start_fraction": attempt.start_fraction,
            "start_time": float(self.environment.start_time(attempt.motion, attempt.start_fraction)),
            "attempt": attempt.number,
            "quality": quality,
            **(end or {}),
        }
        return recording_file(
            motion.name,
            Trajectory(
                **{name: part.contiguous().numpy() for name, part in frames.items()}, observations=observations
            ),
            motion.terrain,
            self.environment.config.control_freq,
            origin,
            {name: {"shape": shape, "use_normalizer": name in observer.normalized}
             for name, shape in observer.layout.shapes.items()},
            partial(WRITERS[self.config.output.format], skeleton=self.environment.skeleton.to(torch.device("cpu"))),
        )  # fmt: skip
