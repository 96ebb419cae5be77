"""ShardRecorder: keeps every env of one simulator busy until all motions of a shard are finished."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.record import AcceptanceConfig, RecordConfig
from parc_ray.errors import InputError
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import MAX_DISTANCE
from parc_ray.recording.attempt import Attempt
from parc_ray.recording.attempt_result import AttemptResult
from parc_ray.recording.batched_step import BatchedStep
from parc_ray.recording.noise import directions, push
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.population import MEMORY, Population, Verdict, window_steps
from parc_ray.recording.reasons import acceptance_sentence, termination_sentence
from parc_ray.recording.recording import WRITERS, Trajectory, frame_layout, recording_file
from parc_ray.recording.retry_policy import RetryPolicy
from parc_ray.recording.retry_queue import RetryQueue
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.tensors.arrays import DoubleArray
from parc_ray.tensors.rows import batch_last, pad_to_batch, reverse_dims, upload
from parc_ray.trackers.termination import BODY_POSITION, FALL, REASONS
from parc_ray.tracking.environment import AHEAD, SAMPLES, TrackingEnvironment
from parc_ray.tracking.meter import MetricMeter, aggregate
from parc_ray.tracking.metrics import Quality, broken_limits, without_labels
from parc_ray.tracking.sliding import slides

CPU = torch.device("cpu")
TERRAIN = "terrain"
"""Criterion of a recording whose terrain is too large to be written."""
LOOK_EVERY = 4
"""Control steps between checks for finished attempts on a GPU; the host waits for the device at each check."""
TOGETHER = 8
"""Minimum number of finished attempts measured in one batch; measuring singly takes twice as long."""


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
    """A finished attempt with its copied buffers; its env has been reused. For a population, one of its copies."""

    attempt: Attempt
    env: int
    cause: int
    """Index into REASONS; 0 if it has not failed."""
    body: int
    """Body at fault, if the cause concerns one."""
    steps: int
    """Number of control steps."""
    began: float
    """Time since the recorder was created, s."""
    ended: float
    """Time since the recorder was created, s."""
    following: Attempt | None
    """The attempt to make if this one is not recorded."""
    frames: Tensor
    """[steps + 1, ...]"""
    references: Tensor
    """[steps, ...], without frame 0."""
    observations: Tensor
    """[steps + 1, ...]; of size 0 if observations are not recorded."""
    population: Population | None = None


def trajectory_bytes(skeleton: Skeleton, observation_size: int, max_steps: int) -> int:
    """Return the bytes that a ShardRecorder holds per env for attempts of up to max_steps control steps.

    observation_size: numbers per observation, 0 if observations are not recorded.
    """
    return 4 * (max_steps + 2) * (frame_layout(skeleton).size + observation_size)


class ShardRecorder:
    """One retry queue over one environment.

    recorder = ShardRecorder(environment, meter, config, origin)
    while not recorder.done:
        results = recorder.work(seconds=1.0)
    """

    def __init__(
        self,
        environment: TrackingEnvironment,
        meter: MetricMeter,
        config: RecordConfig,
        origin: Mapping[str, Any],
        made: Sequence[tuple[int, int]] | None = None,
        all_slots: bool | None = None,
    ):
        """origin: goes into every recording (simulator, checkpoint, ...); made: attempts and populations made elsewhere
        at each motion; all_slots: run tensor operations on all slots at once, captured, with periodic
        checks; None: on a CUDA device only.
        """
        tracker = environment.tracker
        self.environment, self.act, self.explore = environment, tracker.act, tracker.explore
        self.motions = environment.library.motions
        self.meter, self.config, self.origin = meter, config, dict(origin)
        recovery = config.recovery if tracker.explore else None
        # A population never shrinks: sizes that do not fit the device are not tried.
        sizes = [size for size in recovery.copies if size <= environment.num_envs] if recovery else []
        self.policy = RetryPolicy(config.retry, tuple(sizes))
        self.queue = RetryQueue()
        self.utilization = Utilization()
        self._results: list[AttemptResult] = []
        self._free = list(range(environment.num_envs))[::-1]
        self._running: dict[int, Attempt] = {}
        """Attempts in one env."""
        self._populations: list[Population] = []
        """Attempts in several envs."""
        self._made = time.monotonic()
        self._began: dict[int, float] = {}
        self._ended: list[FinishedAttempt] = []
        """Attempts to be measured."""
        self._layout = frame_layout(environment.skeleton)
        self._spare = environment.max_steps + 1
        """Frame that paused envs write to."""
        envs, device, kept = environment.num_envs, environment.device, config.record.observations
        self._frames = torch.zeros(envs, self._spare + 1, self._layout.size, device=device)
        size = environment.tracker.observer.layout.size if kept else 0
        self._observations = torch.zeros(envs, self._spare + 1, size, device=device)
        self._window = window_steps(environment.config.control_freq)
        strength = push(self._window) * np.float32(recovery.noise if recovery else 0.0)
        self._push = torch.from_numpy(strength).to(device)
        """[window] amplitude of the copies' noise in each control step of a window, in standard deviations."""
        self._directions = torch.zeros(envs, environment.skeleton.dof_count, device=device)
        """Noise direction of each env in its window; 0 for a deterministic attempt."""
        self._distance = torch.zeros(envs, dtype=torch.float64, device=device)
        """Distance of each env from its reference, see MEMORY, m."""
        on_gpu = device.type == "cuda"
        self._batched = (
            BatchedStep(environment, self._decide, self._evaluate, 5 if sizes else 4)
            if all_slots or (all_slots is None and on_gpu)
            else None
        )
        # Until the next check, an env steps on after its attempt has ended: its last observation would be lost.
        self._look_every = (_look_every(self._window) if sizes else LOOK_EVERY) if self._batched and not kept else 1
        self._unseen = 0
        self._first = list(made or [(0, 0)] * len(self.motions))
        """Attempts and populations made elsewhere at each motion."""
        self._tried = [list(numbers) for numbers in self._first]
        """Attempts and populations at each motion, those made here included."""
        for index in range(len(self.motions)):
            self._enqueue(self._following(index))

    @property
    def done(self) -> bool:
        """True if every motion has its final outcome."""
        return not self.queue and not self._running and not self._populations

    @property
    def age(self) -> float:
        """Time since it was created, s, on the clock of its results."""
        return time.monotonic() - self._made

    def work(self, seconds: float) -> list[AttemptResult]:
        """Simulate for about `seconds`, and return the finished attempts.

        If the simulator raises, take_results() has the attempts finished before; fewer than TOGETHER may be missing.
        """
        deadline = time.monotonic() + seconds
        while not self.done and time.monotonic() < deadline:
            self._results += self.advance()
        self._results += self._measure_finished()
        return self.take_results()

    @property
    def untouched_seconds(self) -> float:
        """Seconds of motion without an attempt."""
        return self.queue.seconds(self._is_untouched)

    def give_back(self, seconds: float) -> list[str]:
        """Drop about `seconds` of motions without an attempt, and return their names."""
        # References of the next attempts may have been prepared.
        soon = {attempt.motion for attempt in self.queue.peek(AHEAD)}
        dropped = self.queue.remove(seconds, lambda a: self._is_untouched(a) and a.motion not in soon)
        return [self.motions[attempt.motion].name for attempt in dropped]

    def _is_untouched(self, attempt: Attempt) -> bool:
        return tuple(self._tried[attempt.motion]) == self._first[attempt.motion]

    def take_results(self) -> list[AttemptResult]:
        """Return the measured attempts that work() has not returned yet."""
        results, self._results = self._results, []
        return results

    @torch.inference_mode()
    def advance(self) -> list[AttemptResult]:
        """Start attempts in free envs, make one control step in all busy ones, and return the finished attempts."""
        self._fill()
        copies = [env for p in self._populations for env in (p.envs if self._batched else p.living)]
        envs = sorted([*self._running, *copies])
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
        found = verdicts.cpu().numpy()  # the only wait of the host for the device
        over = [(envs[place], *found[place, 1:4].tolist()) for place in np.flatnonzero(found[:, 0])]
        self._end([end for end in over if end[0] in self._running])
        results = [r for p in list(self._populations) for r in self._look(p, dict(zip(envs, found)))]
        # If no attempts wait, an env idles until its next attempt is known.
        return results + (self._measure_finished() if len(self._ended) >= TOGETHER or not self.queue else [])

    def _step(self, envs: list[int]) -> Tensor:
        """Make one control step in the given envs, and return its verdicts."""
        environment, count = self.environment, len(envs)
        rows = environment.rows(envs)
        state = environment.simulator.step(envs, self._decide(rows, count))
        return self._evaluate(rows, pad_to_batch(environment.join(state)), None)[:count]

    def _decide(self, rows: Tensor, count: int) -> Tensor:
        """Return PD targets [count, D] of envs, given as rows, of which the first `count` are distinct."""
        observations = self.environment.observe_rows(rows)
        if self.config.record.observations:
            steps = self.environment.steps_done.index_select(0, rows)
            self._observations.flatten(0, 1).index_copy_(0, rows * (self._spare + 1) + steps, observations)
        if not self.policy.copies or not (self._populations or self._batched):
            return self.act(observations[:count])
        assert self.explore is not None
        moment = self.environment.steps_done.index_select(0, rows[:count]) % self._window
        noise = self._directions.index_select(0, rows[:count]) * self._push.index_select(0, moment).unsqueeze(1)
        return self.explore(observations[:count], noise)

    def _evaluate(self, rows: Tensor, states: Tensor, active: Tensor | None) -> Tensor:
        """Keep the frames of a control step (see TrackingEnvironment.evaluate) and return the verdicts.

        Verdicts are [n, 4]: whether the attempt is over, reason, body, and its steps; with recovery a fifth column, the
        bits of its distance from the reference.
        """
        step = self.environment.evaluate(rows, states, active)
        frame = step.steps if active is None else torch.where(active > 0, step.steps, self._spare)
        self._store(rows, frame, step.state, step.pose, step.contacts)
        over = (step.reason > 0) | step.ended
        verdicts = [over, step.reason, step.body, step.steps]
        if self.policy.copies:
            before = self._distance.index_select(0, rows)
            now = MEMORY * before + step.distance.double()
            distance = now if active is None else torch.where(active > 0, now, before)
            self._distance.index_copy_(0, rows, distance)
            verdicts.append(distance.view(torch.int64))
        return torch.stack(verdicts, dim=1)

    def _enqueue(self, attempt: Attempt | None) -> None:
        """Queue an attempt, unless it is None."""
        if attempt is not None:
            self.queue.add(attempt, (1.0 - attempt.start_fraction) * self._length(attempt.motion))

    def _following(self, motion: int) -> Attempt | None:
        attempts, populations = self._tried[motion]
        return self.policy.next(motion, self._length(motion), attempts, populations)

    def _length(self, motion: int) -> float:
        """Return the tracked length of a motion, s."""
        return self.motions[motion].tracked_seconds(self.config.record.min_loop_seconds)

    def _fill(self) -> None:
        """Start waiting attempts in free envs."""
        started: dict[int, Attempt] = {}
        while self.queue and self._fits(self.queue.peek(1)[0]):
            attempt = self.queue.pop()
            envs = [self._free.pop() for _ in range(attempt.width)]
            started.update(dict.fromkeys(envs, attempt))
            if attempt.copies:
                steps = self.environment.steps_of(attempt.motion, 0.0)
                self._populations.append(Population(attempt, envs, steps, self._window))
            else:
                self._running[envs[0]] = attempt
        if not started:
            return
        envs, attempts = list(started), list(started.values())
        self._began.update(dict.fromkeys(started, self.age))
        upcoming = [(a.motion, a.start_fraction) for a in self.queue.peek(AHEAD)]
        self.environment.start(envs, [a.motion for a in attempts], [a.start_fraction for a in attempts], upcoming)
        state, pose, contacts = self.environment.first_frame(envs)
        rows = torch.tensor(envs, device=self.environment.device)
        self._store(rows, torch.zeros_like(rows), state, pose, contacts)
        self._distance.index_fill_(0, rows, 0.0)
        for population in self._populations:
            if population.step == 0:
                self._stray(population)
        if self._batched:
            self._batched.start(rows)

    def _fits(self, attempt: Attempt) -> bool:
        """Return True if an attempt can start now. Windows of populations begin and end when the host checks."""
        return attempt.width <= len(self._free) and not (attempt.copies and self._unseen)

    def _store(self, rows: Tensor, frame: Tensor, state: CharacterState, pose: Pose, contacts: Tensor) -> None:
        values = self._layout.stack((state.root_pos, state.root_rot, pose.joint_rot, contacts)).t()
        self._frames.flatten(0, 1).index_copy_(0, rows * (self._spare + 1) + frame, values)

    def _end(self, over: Sequence[tuple[int, int, int, int]]) -> None:
        """Free the envs of ended attempts, given with reason, body and steps. Attempts after failed ones are queued."""
        if not over:
            return
        envs, steps = [env for env, *_ in over], [steps for *_, steps in over]
        if self.config.record.observations:
            self._observations[envs, steps] = self.environment.observe(envs)
        device = self.environment.device
        left = zip(
            _copy([self._frames[env, : count + 1] for env, count in zip(envs, steps)], device),
            _copy([self.environment.references(env, count) for env, count in zip(envs, steps)], device),
            _copy([self._observations[env, : count + 1] for env, count in zip(envs, steps)], device),
        )
        self.environment.simulator.park(envs)
        for (env, cause, body, count), parts in zip(over, left):
            attempt = self._running.pop(env)
            following = self._count(attempt)
            self._ended.append(
                FinishedAttempt(attempt, env, cause, body, count, self._began.pop(env), self.age, following, *parts)
            )
            self._free.append(env)
            if cause:
                self._enqueue(following)

    def _count(self, attempt: Attempt) -> Attempt | None:
        """Count an attempt as made; return the one that follows if it is not recorded."""
        self._tried[attempt.motion][bool(attempt.copies)] += 1
        return self._following(attempt.motion)

    # ------------------------------------------------------------------------------------------- populations

    def _look(self, population: Population, verdicts: dict[int, Verdict]) -> list[AttemptResult]:
        """Select at the end of a window; end a population if its motion has ended or all of its copies have failed."""
        population.look(verdicts)
        bits = [verdicts[env][4] if env in verdicts else 0 for env in population.envs]
        distance = np.array(bits, dtype=np.int64).view(np.float64)
        if population.over:
            # Results keep the order of their attempts.
            return [*self._measure_finished(), self._end_population(population, distance)]
        if population.step % population.window == 0:
            sources = population.select(distance)
            self.environment.copy(population.envs, sources)
            rows, origin = upload([population.envs, sources], self.environment.device)
            self._distance.index_copy_(0, rows, self._distance.index_select(0, origin))
            self._stray(population)
            if self._batched:
                self._batched.start(rows)
        return []

    def _stray(self, population: Population) -> None:
        """Draw the noise directions of a population's window. The first copy has no noise."""
        attempt, dofs = population.attempt, self.environment.skeleton.dof_count
        key = (self.config.seed, self.motions[attempt.motion].name, attempt.copies, population.windows - 1)
        drawn = directions(key, attempt.copies, dofs)
        drawn[0] = 0.0
        device = self.environment.device
        self._directions.index_copy_(0, upload(population.envs, device), upload(drawn, device))

    def _end_population(self, population: Population, distance: DoubleArray) -> AttemptResult:
        """Free a population's envs, and return its result. The best accepted copy is recorded."""
        following = self._count(population.attempt)
        ends = (self._end_of_copy(population, copy, following) for copy in population.candidates(distance))
        rejected: list[AttemptResult] = []
        for end in ends:
            result = self._results_of([end])[0]
            if result.recording:
                break
            rejected.append(result)
        else:
            result = rejected[0] if rejected else self._results_of([self._end_of_copy(population, None, following)])[0]
            self._enqueue(following)
        self._populations.remove(population)
        self.environment.simulator.park(population.envs)
        self._directions[population.envs] = 0.0
        self._free += population.envs[::-1]
        return result

    def _end_of_copy(self, population: Population, survivor: int | None, following: Attempt | None) -> FinishedAttempt:
        """Return a copy that reached the motion's end; for None, the copy that failed last."""
        copy, reason, body, steps = population.last_death if survivor is None else (survivor, 0, 0, population.steps)
        env, count = population.envs[copy], list(range(steps + 1))
        if self.config.record.observations:
            self._observations[env, steps] = self.environment.observe([env])[0]
        simulated, observed = population.lineage(copy, steps)
        return FinishedAttempt(
            population.attempt, env, reason, body, steps, self._began[population.envs[0]], self.age, following,
            self._frames[simulated, count], self.environment.references(env, steps),
            self._observations[observed, count], population,
        )  # fmt: skip

    # ----------------------------------------------------------------------------------------------- results

    @torch.inference_mode()
    def _measure_finished(self) -> list[AttemptResult]:
        """Return the results of attempts that finished since the last call, measured in one batch."""
        ended, self._ended = self._ended, []
        results = self._results_of(ended)
        for end, result in zip(ended, results):
            if result.attempt.outcome == Outcome.REJECTED:
                self._enqueue(end.following)
        return results

    def _results_of(self, ended: Sequence[FinishedAttempt]) -> list[AttemptResult]:
        """Return the results of finished attempts, measured in one batch."""
        if not ended:
            return []
        # One transfer to the host for all of them, since each waits for the device.
        frames = _copy([end.frames for end in ended], CPU)
        observations = _copy([end.observations for end in ended], CPU)
        return [self._result(*found) for found in zip(ended, self._qualities(ended), frames, observations)]

    def _qualities(self, ended: Sequence[FinishedAttempt]) -> list[Quality]:
        """Return the metrics of finished attempts, measured in one batch."""
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
                recording = self._motion_file(motion, attempt, frames, observations, self._recovery_of(end))
            except InputError as error:
                # The character has moved so far that the terrain around its path is too large.
                attempt = replace(attempt, outcome=Outcome.REJECTED, reason=str(error), criteria=(TERRAIN,))
        if attempt.outcome == Outcome.RECORDED:
            attempt = replace(attempt, recorded_seconds=attempt.seconds)
        else:
            attempt = replace(attempt, next_fraction=end.following.start_fraction if end.following else None)
            if self.config.record.keep_failures and not end.population:
                trajectory = self._failed_trajectory(motion, attempt, frames, observations)
        return AttemptResult(attempt, recording, trajectory)

    def _summary(self, end: FinishedAttempt, quality: Quality) -> RunAttempt:
        """Return the summary of a finished attempt, without its recording and the attempt that follows."""
        seconds = end.steps / self.environment.config.control_freq
        outcome, reason, body = Outcome.RECORDED, "", ""
        criteria: tuple[str, ...] = ()
        broken = broken_limits(quality, self._limits(end.attempt))
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
            copies=end.attempt.copies,
            env_steps=end.population.env_steps if end.population else 0,
            env=end.env,
            began=round(end.began, 3),
            ended=round(end.ended, 3),
        )

    def _limits(self, attempt: Attempt) -> AcceptanceConfig | None:
        """Return the acceptance limits of an attempt. Without contact labels, only root error rejects hovering."""
        limits, recovery = self.config.acceptance, self.config.recovery
        if not (attempt.copies and limits and recovery) or self.motions[attempt.motion].labelled:
            return limits
        given = limits.max_mean_root_error
        bound = recovery.max_mean_root_error if given is None else min(given, recovery.max_mean_root_error)
        return limits.model_copy(update={"max_mean_root_error": bound})

    def _recovery_of(self, end: FinishedAttempt) -> Mapping[str, Any]:
        """Return the description of a population for its recording."""
        if not end.population or not self.config.recovery:
            return {}
        return {
            "recovery": {
                "copies": end.attempt.copies,
                "noise": self.config.recovery.noise,
                "windows": end.population.windows,
                "window_seconds": round(self._window / self.environment.config.control_freq, 6),
                "copying": "exact" if self.environment.simulator.exact_copies else "reset",
            }
        }

    def _body_name(self, cause: int, body: int) -> str:
        return self.environment.skeleton.body_names[body] if cause in (BODY_POSITION, FALL) else ""

    def _failed_trajectory(
        self, motion: Motion, attempt: RunAttempt, frames: Tensor, observations: Tensor
    ) -> bytes | None:
        """Return the motion file of an attempt up to its failure, or up to the maximum length of a motion file."""
        possible = torch.isfinite(frames).all(dim=1) & (frames[:, :3].abs().amax(dim=1) <= MAX_DISTANCE)
        count = int(possible.cumprod(dim=0).sum())
        if count < 2:
            return None
        try:
            return self._motion_file(motion, attempt, frames[:count], observations[:count])
        except InputError:
            return None  # the terrain around its path is too large

    def _motion_file(
        self,
        motion: Motion,
        attempt: RunAttempt,
        frames: Tensor,
        observations: Tensor,
        recovery: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the motion file of an attempt's first n frames [n, ...] and observations [n, ...], on the host.

        recovery: also stored in the recording. Raises InputError if the terrain around them is too large.
        """
        observer = self.environment.tracker.observer
        origin: dict[str, Any] = {
            **self.origin,
            "source_motion": motion.name,
            "start_fraction": attempt.start_fraction,
            "start_time": attempt.start_time,
            "attempt": attempt.number,
            "quality": attempt.quality,
            **(recovery or {}),
        }
        if attempt.outcome != Outcome.RECORDED:
            origin["outcome"] = attempt.outcome.value
            origin.update((name, getattr(attempt, name)) for name in ("reason", "criteria", "body"))
        return recording_file(
            motion,
            Trajectory(
                **{name: part.contiguous().numpy() for name, part in self._layout.unstack(frames.t()).items()},
                observations=observations.numpy() if self.config.record.observations else None,
            ),
            self.environment.config.control_freq,
            origin,
            {name: {"shape": shape, "use_normalizer": name in observer.normalized}
             for name, shape in observer.layout.shapes.items()},
            partial(WRITERS[self.config.output.format], skeleton=self.environment.skeleton.to(CPU)),
        )  # fmt: skip


def _look_every(window: int) -> int:
    """Return the divisor of a window nearest LOOK_EVERY, the larger in a tie: selections coincide with checks."""
    divisors = [steps for steps in range(1, window + 1) if window % steps == 0]
    return min(divisors, key=lambda steps: (abs(steps - LOOK_EVERY), -steps))


def _copy(parts: list[Tensor], device: torch.device) -> tuple[Tensor, ...]:
    """Return copies of tensors [n, ...] on a device, made in one transfer."""
    copies: tuple[Tensor, ...] = torch.cat(parts).to(device).split([len(part) for part in parts])
    return copies
