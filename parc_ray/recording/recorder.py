"""ShardRecorder: keeps every env of one simulator busy until all motions of a shard are dealt with."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from parc_ray.character.pose import Pose
from parc_ray.character.state import CharacterState
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import MAX_DISTANCE
from parc_ray.recording.attempt import Attempt
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.batched_step import BatchedStep
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.reasons import acceptance_sentence, termination_sentence
from parc_ray.recording.recording import WRITERS, Trajectory, frame_layout, recording_file
from parc_ray.recording.retry_policy import RetryPolicy
from parc_ray.recording.retry_queue import RetryQueue
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.tensors.rows import batch_last, pad_to_batch, reverse_dims
from parc_ray.trackers.termination import BODY_POSITION, FALL, REASONS
from parc_ray.tracking.environment import AHEAD, SAMPLES, TrackingEnvironment
from parc_ray.tracking.meter import MetricMeter, aggregate
from parc_ray.tracking.metrics import Quality, broken_limits, without_labels
from parc_ray.tracking.sliding import slides

CPU = torch.device("cpu")
TERRAIN = "terrain"
"""Criterion of a recording whose terrain is too large to be written."""
LOOK_EVERY = 4
"""Control steps after which a GPU is asked which attempts have ended: the host waits for it then."""
TOGETHER = 8
"""Attempts that are measured together once they have ended, while others keep the envs busy: one by one they take twice
the time."""


@dataclass
class Utilization:
    """Use of the env slots."""

    steps: int = 0
    """Control steps of the simulator."""
    env_steps: int = 0
    """Control steps summed over envs."""
    busy: int = 0
    """Env steps made while attempts were waiting."""
    slots: int = 0
    """Env steps that all slots could have made in that time."""


@dataclass(frozen=True)
class FinishedAttempt:
    """An attempt that has ended, and what is left of it: its env is used for others."""

    attempt: Attempt
    env: int
    cause: int
    """Index into REASONS; 0 where it has not failed."""
    body: int
    """The body at fault, where the cause is about one."""
    steps: int
    """Control steps that it took."""
    began: float
    """s since the recorder was made."""
    ended: float
    """s since the recorder was made."""
    following: Optional[Attempt]
    """The attempt that was queued after this one failed."""
    frames: Tensor
    """[steps + 1, ...]"""
    references: Tensor
    """[steps, ...]: all but the first."""
    observations: Tensor
    """[steps + 1, ...], of size 0 if they are not recorded."""


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
        meter: MetricMeter,
        motions: Sequence[Motion],
        config: RecordConfig,
        origin: Mapping[str, Any],
        first_attempts: Optional[Sequence[int]] = None,
        all_slots: Optional[bool] = None,
    ):
        """act: of the tracker whose observer the environment has; motions: those of the environment's library; origin:
        goes into every recording (simulator, checkpoint, ...).

        first_attempts: number of each motion's first attempt; earlier ones were made elsewhere. all_slots: whether
        tensor work is on all slots at once, captured and looked at now and then only; None: on a CUDA device.
        """
        self.environment, self.act, self.meter = environment, act, meter
        self.motions, self.config, self.origin = motions, config, dict(origin)
        self.policy = RetryPolicy(config.retry)
        self.queue = RetryQueue()
        self.utilization = Utilization()
        self._results: List[AttemptResult] = []
        self._free = list(range(environment.num_envs))[::-1]
        self._running: Dict[int, Attempt] = {}
        self._made = time.monotonic()
        self._began: Dict[int, float] = {}
        self._ended: List[FinishedAttempt] = []
        """To be measured."""
        self._layout = frame_layout(environment.skeleton)
        self._spare = environment.max_steps + 1
        """Frame to which an env writes whose time stands still."""
        envs, device, kept = environment.num_envs, environment.device, config.record.observations
        self._frames = torch.zeros(envs, self._spare + 1, self._layout.size, device=device)
        size = environment.observer.layout.size if kept else 0
        self._observations = torch.zeros(envs, self._spare + 1, size, device=device)
        on_gpu = device.type == "cuda"
        self._batched = (
            BatchedStep(environment, self._decide, self._evaluate)
            if all_slots or (all_slots is None and on_gpu)
            else None
        )
        # An env whose attempt has ended is stepped until that is looked at, and what it observes is not what it was.
        self._look_every = LOOK_EVERY if self._batched and not kept else 1
        self._unseen = 0
        self._first_attempts = list(first_attempts or [0] * len(motions))
        for index, made in enumerate(self._first_attempts):
            self._enqueue_next(index, made)

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

        If the simulator raises, take_results() still has those that had ended before, but for fewer than TOGETHER.
        """
        deadline = time.monotonic() + seconds
        while not self.done and time.monotonic() < deadline:
            self._results += self.advance()
        self._results += self._measured()
        return self.take_results()

    @property
    def untouched_seconds(self) -> float:
        """Seconds of motion that no attempt has begun."""
        return self.queue.seconds(self._is_untouched)

    def give_back(self, seconds: float) -> List[str]:
        """Drop motions of about `seconds` that no attempt has begun, and return their names."""
        # References of the next attempts may have been made ready.
        soon = {attempt.motion for attempt in self.queue.peek(AHEAD)}
        dropped = self.queue.remove(seconds, lambda a: self._is_untouched(a) and a.motion not in soon)
        return [self.motions[attempt.motion].name for attempt in dropped]

    def _is_untouched(self, attempt: Attempt) -> bool:
        return attempt.number == self._first_attempts[attempt.motion]

    def take_results(self) -> List[AttemptResult]:
        """Attempts that ended in work(), were measured, and were not returned yet."""
        results, self._results = self._results, []
        return results

    @torch.inference_mode()
    def advance(self) -> List[AttemptResult]:
        """Start attempts in free envs, and make one control step in all busy ones; returns the attempts that ended."""
        self._fill()
        envs = sorted(self._running)
        self.utilization.steps += 1
        self.utilization.env_steps += len(envs)
        if self.queue:
            self.utilization.busy += len(envs)
            self.utilization.slots += self.environment.num_envs
        verdicts = self._batched.step(envs) if self._batched else self._step(envs)
        self._unseen += 1
        if self._unseen < self._look_every:
            return []
        self._unseen = 0
        found = verdicts.cpu().numpy()  # the one time that the host waits for the device
        over = np.flatnonzero(found[:, 0])
        if len(over):
            self._end([(envs[place], *found[place, 1:].tolist()) for place in over])
        # Without waiting attempts an env is idle until it is known whether an attempt is made again.
        return self._measured() if len(self._ended) >= TOGETHER or not self.queue else []

    def _step(self, envs: List[int]) -> Tensor:
        """One control step in the given envs, and its verdicts."""
        environment, count = self.environment, len(envs)
        rows = environment.rows(envs)
        state = environment.simulator.step(envs, self._decide(rows, count))
        return self._evaluate(rows, pad_to_batch(environment.join(state)), None)[:count]

    def _decide(self, rows: Tensor, count: int) -> Tensor:
        """PD targets [count, D] of envs, given as rows, of which the first `count` are different."""
        observations = self.environment.observe_rows(rows)
        if self.config.record.observations:
            steps = self.environment.steps_done.index_select(0, rows)
            self._observations.flatten(0, 1).index_copy_(0, rows * (self._spare + 1) + steps, observations)
        return self.act(observations[:count])

    def _evaluate(self, rows: Tensor, states: Tensor, active: Optional[Tensor]) -> Tensor:
        """Keep the frames of a control step (see TrackingEnvironment.evaluate) and say what it has led to.

        Returns [n, 4]: whether the attempt is over, cause, body, and its steps.
        """
        step = self.environment.evaluate(rows, states, active)
        frame = step.steps if active is None else torch.where(active > 0, step.steps, self._spare)
        self._store(rows, frame, step.state, step.pose, step.contacts)
        over = (step.reason > 0) | step.ended
        return torch.stack((over, step.reason, step.body, step.steps), dim=1)

    def _enqueue_next(self, motion: int, attempts: int) -> Optional[Attempt]:
        """Queue the attempt that follows `attempts` of them at a motion, and return it; None to give up."""
        length = self.motions[motion].tracked_seconds(self.config.record.min_loop_seconds)
        attempt = self.policy.next(motion, length, attempts)
        if attempt is not None:
            self.queue.add(attempt, (1.0 - attempt.start_fraction) * length)
        return attempt

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
        upcoming = [(a.motion, a.start_fraction) for a in self.queue.peek(AHEAD)]
        self.environment.start(envs, [a.motion for a in attempts], [a.start_fraction for a in attempts], upcoming)
        state, pose, contacts = self.environment.first_frame(envs)
        rows = torch.tensor(envs, device=self.environment.device)
        self._store(rows, torch.zeros_like(rows), state, pose, contacts)
        if self._batched:
            self._batched.start(rows)

    def _store(self, rows: Tensor, frame: Tensor, state: CharacterState, pose: Pose, contacts: Tensor) -> None:
        values = self._layout.stack((state.root_pos, state.root_rot, pose.joint_rot, contacts)).t()
        self._frames.flatten(0, 1).index_copy_(0, rows * (self._spare + 1) + frame, values)

    def _end(self, over: Sequence[Tuple[int, int, int, int]]) -> None:
        """Free envs whose attempts are over, given with cause, body and steps. Those that failed are made again."""
        envs, steps = [env for env, *_ in over], [steps for *_, steps in over]
        if self.config.record.observations:
            self._observations[envs, steps] = self.environment.observe(envs)
        device = self.environment.device
        left = zip(
            _copied([self._frames[env, : count + 1] for env, count in zip(envs, steps)], device),
            _copied([self.environment.references(env, count) for env, count in zip(envs, steps)], device),
            _copied([self._observations[env, : count + 1] for env, count in zip(envs, steps)], device),
        )
        self.environment.simulator.park(envs)
        for (env, cause, body, count), parts in zip(over, left):
            attempt, began = self._running.pop(env), self._began.pop(env)
            # An attempt that was tracked waits for its metrics.
            following = self._enqueue_next(attempt.motion, attempt.number + 1) if cause else None
            self._ended.append(FinishedAttempt(attempt, env, cause, body, count, began, self.age, following, *parts))
            self._free.append(env)

    @torch.inference_mode()
    def _measured(self) -> List[AttemptResult]:
        """Results of the attempts that have ended since the last call, measured together."""
        ended, self._ended = self._ended, []
        if not ended:
            return []
        # One copy to the host for all of them: it waits for the device.
        frames = _copied([end.frames for end in ended], CPU)
        observations = _copied([end.observations for end in ended], CPU)
        return [self._result(*found) for found in zip(ended, self._qualities(ended), frames, observations)]

    def _qualities(self, ended: Sequence[FinishedAttempt]) -> List[Quality]:
        """Figures of attempts that have ended, measured together."""
        environment, steps = self.environment, [end.steps for end in ended]
        frames = torch.cat([end.frames[1:] for end in ended])
        references = torch.cat([end.references for end in ended])
        motions = torch.from_numpy(np.repeat([end.attempt.motion for end in ended], steps)).to(environment.device)
        measured, points, contacts = [], [], []
        for rows in zip(*(part.split(SAMPLES) for part in (frames, references, motions))):
            count = len(rows[0])
            own, other, motion = (pad_to_batch(part) for part in rows)
            parts = self._layout.unstack(reverse_dims(batch_last(own)))
            joint_rot = parts["joint_rot"]
            kinematics = environment.skeleton.forward_kinematics(parts["root_pos"], parts["root_rot"], joint_rot)
            reference, labels = environment.reference_parts(other)
            pose = Pose(joint_rot, *kinematics)
            surface = self.meter.points(pose)
            measured.append(self.meter.measure(motion, pose, reference, parts["contacts"], labels, surface)[:count])
            points.append(surface[:count])
            contacts.append(parts["contacts"][:count])
        ends = np.cumsum(steps)
        first = torch.zeros(len(frames), dtype=torch.bool)
        first[[0, *ends[:-1]]] = True
        owners, frequency = self.meter.surface.bodies, float(environment.config.control_freq)
        slid = slides(torch.cat(points), owners, torch.cat(contacts), first.to(environment.device), frequency)
        numbers = torch.cat((torch.cat(measured), slid), dim=1).cpu().numpy()
        return [aggregate(part[:, :-2], part[:, -2:]) for part in np.split(numbers, ends[:-1])]

    def _result(self, end: FinishedAttempt, quality: Quality, frames: Tensor, observations: Tensor) -> AttemptResult:
        motion = self.motions[end.attempt.motion]
        attempt = self._summary(end, quality if motion.labelled else without_labels(quality))
        recording = trajectory = None
        if attempt.outcome == Outcome.RECORDED:
            try:
                recording = self._motion_file(motion, attempt, frames, observations)
            except InputError as error:
                # The character has moved so far that the terrain around its path is too large.
                attempt = replace(attempt, outcome=Outcome.REJECTED, reason=str(error), criteria=(TERRAIN,))
        if attempt.outcome == Outcome.RECORDED:
            attempt = replace(attempt, recorded_seconds=attempt.seconds)
        elif self.config.record.keep_failures:
            trajectory = self._failed_trajectory(motion, attempt, frames, observations)
        following = end.following
        if attempt.outcome == Outcome.REJECTED:
            following = self._enqueue_next(end.attempt.motion, end.attempt.number + 1)
        next_fraction = following.start_fraction if following else None
        return AttemptResult(replace(attempt, next_fraction=next_fraction), recording, trajectory)

    def _summary(self, end: FinishedAttempt, quality: Quality) -> RunAttempt:
        """Return the summary of a finished attempt, without its recording and the attempt that follows."""
        seconds = end.steps / self.environment.config.control_freq
        outcome, reason, body = Outcome.RECORDED, "", ""
        criteria: Tuple[str, ...] = ()
        broken = broken_limits(quality, self.config.acceptance)
        if end.cause:
            outcome, criteria, body = Outcome.FAILED, (REASONS[end.cause],), self._body_name(end.cause, end.body)
            reason = termination_sentence(REASONS[end.cause], body, seconds)
        elif broken:
            outcome, criteria = Outcome.REJECTED, tuple(limit.metric.limit for limit in broken)
            reason = acceptance_sentence(broken)
        return RunAttempt(
            motion=self.motions[end.attempt.motion].name,
            number=end.attempt.number,
            start_fraction=end.attempt.start_fraction,
            start_time=self.environment.start_time(end.attempt.motion, end.attempt.start_fraction),
            seconds=seconds,
            outcome=outcome,
            reason=reason,
            criteria=criteria,
            body=body,
            quality=quality,
            env=end.env,
            began=round(end.began, 3),
            ended=round(end.ended, 3),
        )

    def _body_name(self, cause: int, body: int) -> str:
        return self.environment.skeleton.body_names[body] if cause in (BODY_POSITION, FALL) else ""

    def _failed_trajectory(
        self, motion: Motion, attempt: RunAttempt, frames: Tensor, observations: Tensor
    ) -> Optional[bytes]:
        """Return the motion file of an attempt up to its failure, or up to what a motion file can hold."""
        possible = torch.isfinite(frames).all(dim=1) & (frames[:, :3].abs().amax(dim=1) <= MAX_DISTANCE)
        count = int(possible.cumprod(dim=0).sum())
        if count < 2:
            return None
        try:
            return self._motion_file(motion, attempt, frames[:count], observations[:count])
        except InputError:
            return None  # the terrain around its path is too large

    def _motion_file(self, motion: Motion, attempt: RunAttempt, frames: Tensor, observations: Tensor) -> bytes:
        """Return the motion file of an attempt's first n frames [n, ...] and observations [n, ...], on the host.

        Raises InputError if the terrain around them is too large.
        """
        observer = self.environment.observer
        origin: Dict[str, Any] = {
            **self.origin,
            "source_motion": motion.name,
            "start_fraction": attempt.start_fraction,
            "start_time": attempt.start_time,
            "attempt": attempt.number,
            "quality": attempt.quality,
        }
        if attempt.outcome != Outcome.RECORDED:
            origin["outcome"] = attempt.outcome.value
            origin.update((name, getattr(attempt, name)) for name in ("reason", "criteria", "body"))
        return recording_file(
            motion.name,
            Trajectory(
                **{name: part.contiguous().numpy() for name, part in self._layout.unstack(frames.t()).items()},
                observations=observations.numpy() if self.config.record.observations else None,
            ),
            motion.terrain,
            self.environment.config.control_freq,
            origin,
            {name: {"shape": shape, "use_normalizer": name in observer.normalized}
             for name, shape in observer.layout.shapes.items()},
            partial(WRITERS[self.config.output.format], skeleton=self.environment.skeleton.to(CPU)),
        )  # fmt: skip


def _copied(parts: List[Tensor], device: torch.device) -> Tuple[Tensor, ...]:
    """Copies of tensors [n, ...] on a device, all made at once."""
    copies: Tuple[Tensor, ...] = torch.cat(parts).to(device).split([len(part) for part in parts])
    return copies
