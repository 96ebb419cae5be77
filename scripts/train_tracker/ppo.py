"""Training: a supervised start, then PPO."""

from __future__ import annotations

import argparse
import io
import math
from dataclasses import dataclass
from typing import Any, Sequence

import torch
from torch import Tensor, nn

from parc_ray.character.character import read_character
from parc_ray.errors import InputError
from parc_ray.motions.motion import Motion
from parc_ray.trackers.action_bounds import action_bounds
from parc_ray.trackers.parc.observer import ParcObserver
from parc_ray.tracking.environment import TrackingEnvironment
from train_tracker.search import LEAD_STEPS, Lesson
from train_tracker.tracker import (
    Network,
    ObservationNormalizer,
    Reward,
    build,
    checkpoint,
    half_is_faster,
    read_configs,
    serialize,
    squared_norm,
)

SHORTEST = 1.0
"""Minimum length of an attempt, s"""
PHASES = 8
"""Parts of a motion with separate failure rates"""
FAILURE_MEMORY = 0.1
"""Weight of the latest attempt in the failure rate of a motion and phase"""
EASY_SHARE = 0.25
"""Sampling weight of a motion that never fails; the failure rate is added to it"""
STAY = 0.75
"""Probability that the next attempt is at the same motion, reusing its model and terrain"""
WANTED_KL = 0.03
"""Target divergence of the actor between collection and a minibatch, nats; sets its learning rate. A third of this
learned much more slowly
"""
FIRST_ACTOR_RATE = 0.03
"""The actor's initial learning rate for PPO, as a share of the one in agent_config.yaml: about where it settles"""
LESSON_NOISE = 0.4
"""Maximum noise in supervised training, as a share of the exploration noise"""


@dataclass
class Experience:
    """Data of one iteration, [T, N, ...]."""

    observations: Tensor
    """normalised"""
    actions: Tensor
    """normalised"""
    means: Tensor
    """of the actions' distribution"""
    taught: Tensor
    """normalised actions of the lessons; only while training is supervised"""
    values: Tensor
    rewards: Tensor
    moments: Tensor
    """int64: rows of Training.roots, the costs of errors in the taught actions; only while training is supervised"""
    over: Tensor
    """bool: last step of an attempt"""

    def minibatch(self, rows: Tensor) -> Experience:
        """Return the samples of rows, [n, ...]."""
        return Experience(**{name: value.flatten(0, 1)[rows] for name, value in vars(self).items()})


def generalized_advantages(
    rewards: Tensor, values: Tensor, over: Tensor, last_values: Tensor, discount: float, td_lambda: float
) -> Tensor:
    """Return generalized advantage estimates [T, N] (Schulman et al. 2016) from rewards, values and ends, all [T, N].

    last_values [N]: of the states after the last step. The end of an attempt has no value: any value beyond the end of
    a motion must be part of its last reward.
    """
    advantages = torch.zeros_like(rewards)
    following, next_values = torch.zeros_like(last_values), last_values
    for t in reversed(range(len(rewards))):
        # Not a product with 0: the value of a state lost by the simulator is NaN.
        following = following.masked_fill(over[t], 0.0)
        next_values = next_values.masked_fill(over[t], 0.0)
        following = rewards[t] + discount * next_values - values[t] + discount * td_lambda * following
        advantages[t], next_values = following, values[t]
    return advantages


@dataclass
class Progress:
    """Sums over the iterations since the last progress line."""

    attempts: int = 0
    judged: int = 0
    """attempts by the actor alone"""
    failures: int = 0
    """failures among these"""
    samples: int = 0
    reward: float = 0.0
    kl: float = 0.0
    value_error: float = 0.0
    imitation_error: float = 0.0
    iterations: int = 0


class Training:
    """The training state, and one iteration of training."""

    def __init__(self, options: argparse.Namespace, motions: Sequence[Motion]):
        self.options = options
        self.agent, environment_file = read_configs(options.config)
        skeleton = read_character(options.character).skeleton
        self.device = torch.device(options.device)
        torch.manual_seed(options.seed)
        observer = ParcObserver(environment_file.env, skeleton, self.device)
        self.network = Network(observer.layout.size, skeleton.dof_count, self.agent.model).to(self.device)
        self.normalizer = ObservationNormalizer(observer, self.agent.norm_obs_clip, self.device)
        low, high = (bound.to(self.device) for bound in action_bounds(skeleton))
        self.centre, self.reach = 0.5 * (high + low), 0.5 * (high - low)
        actor = [*self.network._actor_layers.parameters(), *self.network._action_dist._mean_net.parameters()]
        critic = [*self.network._critic_layers.parameters(), *self.network._critic_out.parameters()]
        self.optimizer = torch.optim.Adam([{"params": actor}, {"params": critic}], eps=1e-5, fused=True)
        self.names = [motion.name for motion in motions]
        self.environment: TrackingEnvironment = build(
            motions, self.checkpoint(), options, options.config,
            num_envs=options.num_envs, max_envs_per_actor=options.num_envs,
        ).environment  # fmt: skip
        self.reward = Reward(environment_file.env, self.environment.skeleton, self.device)
        self.envs = list(range(self.environment.num_envs))
        self.batch = self.agent.steps_per_iter * len(self.envs)
        self.minibatch = min(self.batch, self.agent.batch_size * len(self.envs))
        self.iterations = -(-options.samples // self.batch)
        # Without lessons, supervision would make a trained tracker unlearn the results of PPO.
        self.supervised_samples = 0 if options.start_from and not options.search else self.agent.normalizer_samples
        # Random numbers come from a separate generator: a recorder seeds the global one.
        self.random = torch.Generator().manual_seed(options.seed)
        self.iteration = 0
        self.most_recorded = 0
        """largest number of motions recorded whole at a save, that of best.pt"""
        self.failure_rates = torch.ones(len(motions), PHASES)
        """failure rate of attempts at each motion from each phase"""
        self.phases = torch.zeros(len(self.envs), dtype=torch.int64)
        self.learn_lessons([None] * len(motions))
        self.takeovers = torch.zeros(len(self.envs), dtype=torch.int64, device=self.device)
        """step of every attempt at which the actor takes over, while training is supervised"""
        self.start_times = torch.zeros(len(self.envs), device=self.device)
        self.motions = torch.full((len(self.envs),), -1)
        self.actor_rate = FIRST_ACTOR_RATE * self.agent.optimizer.learning_rate
        self.to_start = self.envs
        self.progress = Progress()
        torch.set_num_threads(options.threads)
        self.network.in_bfloat16 = half_is_faster(self.network, self.minibatch, observer.layout.size, self.device)

    def learn_lessons(self, lessons: Sequence[Lesson | None]) -> None:
        """Set the lessons to teach, one for each motion."""
        self.lessons, dofs = list(lessons), len(self.centre)
        plain = torch.eye(dofs, device=self.device).unsqueeze(0)
        roots = [plain if lesson is None else lesson.roots for lesson in lessons]
        self.roots = torch.cat(roots)
        lengths = torch.tensor([len(part) for part in roots], device=self.device)
        self.last_moments = lengths.cumsum(0) - 1
        self.first_moments = self.last_moments + 1 - lengths

    @property
    def settings(self) -> dict[str, Any]:
        """Options that a checkpoint depends on."""
        options = self.options
        shown = {name: getattr(options, name) for name in ("samples", "num_envs", "save_every", "seed", "simulator")}
        return {**shown, "motions": self.names, "search": options.search or 0}

    @property
    def samples(self) -> int:
        """Control steps so far."""
        return self.iteration * self.batch

    @property
    def supervised(self) -> bool:
        """True while the actor is trained on taught actions."""
        return self.samples < self.supervised_samples

    @property
    def criticized(self) -> bool:
        """True if PPO follows; only PPO needs a critic."""
        return bool(self.options.samples > self.supervised_samples)

    def iterate(self) -> None:
        """Collect experience and learn from it."""
        torch.set_num_threads(self.options.threads)  # building a recorder sets it to 1
        experience, last_values = self._collect()
        advantages = generalized_advantages(
            experience.rewards, experience.values, experience.over, last_values,
            self.agent.discount, self.agent.td_lambda,
        )  # fmt: skip
        self._learn(experience, advantages)
        self.iteration += 1
        self.progress.iterations += 1
        self.progress.samples += self.batch

    @torch.inference_mode()
    def _collect(self) -> tuple[Experience, Tensor]:
        """Step all envs; return the experience and the values of the final states."""
        environment, network = self.environment, self.network
        experience = self._empty_experience()
        for t in range(self.agent.steps_per_iter):
            self._start_attempts()
            raw = environment.observe(self.envs)
            if self.supervised:
                self.normalizer.add(raw)
                experience.taught[t], experience.moments[t] = self._taught_actions(), self._moments()
            observations = self.normalizer(raw)
            mean = network.act(observations)
            noise = torch.randn(mean.shape, generator=self.random).to(self.device)
            actions = mean + self.agent.model.action_std * noise
            if self.supervised:
                actions = self._shown_actions(mean, experience.taught[t], noise)
            step = environment.step(self.envs, actions.clamp(-1.0, 1.0) * self.reach + self.centre)
            rewards = torch.nan_to_num(self.reward(step, environment.library.sample(environment.motion, self._now())))
            failed = step.reason > 0
            out_of_time = (step.ended & ~failed).nonzero().flatten()
            if len(out_of_time) and self.criticized:
                # Time outs have a value beyond the motion's end; only failures have none.
                ahead = network.value(self.normalizer(environment.observe(out_of_time.tolist())))
                rewards[out_of_time] += self.agent.discount * ahead
            experience.observations[t], experience.actions[t], experience.means[t] = observations, actions, mean
            experience.rewards[t] = rewards
            if self.criticized:
                experience.values[t] = network.value(observations)
            experience.over[t] = failed | step.ended
            self._end_attempts(failed, experience.over[t])
            self.progress.reward += float(rewards.mean()) / self.agent.steps_per_iter
        if not self.criticized:
            return experience, torch.zeros(len(self.envs), device=self.device)
        return experience, network.value(self.normalizer(environment.observe(self.envs)))

    def _empty_experience(self) -> Experience:
        shape = (self.agent.steps_per_iter, len(self.envs))
        actions = (*shape, len(self.centre))
        # Not in inference mode, or the network could not learn from it.
        with torch.inference_mode(False):
            sizes = [(*shape, len(self.normalizer.mean)), actions, actions, actions, shape, shape]
            parts = [torch.zeros(size, device=self.device) for size in sizes]
            parts.append(torch.zeros(shape, dtype=torch.int64, device=self.device))
            parts.append(torch.zeros(shape, dtype=torch.bool, device=self.device))
            return Experience(*parts)

    def _now(self, steps_ahead: int = 0) -> Tensor:
        """Return the time of every env in its motion [N], s."""
        environment = self.environment
        return (environment.steps_done + steps_ahead) * environment.timestep + self.start_times

    def _taught_actions(self) -> Tensor:
        """Return the normalised actions [N, D] of the lessons; without a lesson, they aim at the reference ahead."""
        environment = self.environment
        ahead = environment.library.sample(environment.motion, self._now(LEAD_STEPS))
        targets = environment.skeleton.rot_to_dof(ahead.joint_rot)
        state = environment.first_frame(self.envs)[0]
        for motion, lesson in enumerate(self.lessons):
            rows = (environment.motion == motion).nonzero().flatten()
            if lesson is not None and len(rows):
                targets[rows] = lesson.targets_at(environment.steps_done[rows], state.rows(rows), environment.skeleton)
        return ((targets - self.centre) / self.reach).clamp(-1.0, 1.0)

    def _moments(self) -> Tensor:
        """Return the rows of the roots for the attempts' current steps, [N]."""
        motion = self.environment.motion
        moments = self.first_moments[motion] + self.environment.steps_done
        return torch.minimum(moments, self.last_moments[motion])

    def _shown_actions(self, mean: Tensor, taught: Tensor, noise: Tensor) -> Tensor:
        """Return the actions of supervised training: taught ones at first, the actor's after the takeover.

        The whole first iteration uses taught actions: before it, the scales of observations are unknown. Noise,
        different in each env, makes characters deviate, so that the actor sees recoveries.
        """
        teaching = self.environment.steps_done < self.takeovers
        shown = torch.where(teaching.unsqueeze(1) | (self.iteration == 0), taught, mean)
        loudness = LESSON_NOISE * (torch.arange(len(mean), device=self.device) % 4).unsqueeze(1) / 3.0
        return shown + self.agent.model.action_std * loudness * noise

    def _start_attempts(self) -> None:
        """Start new attempts in envs whose attempts are over, more often at motions and phases that fail more often."""
        envs, environment = self.to_start, self.environment
        if not envs:
            return
        rates = EASY_SHARE + self.failure_rates
        drawn = torch.multinomial(rates.mean(dim=1), len(envs), replacement=True, generator=self.random)
        stay = (self.motions[envs] >= 0) & (torch.rand(len(envs), generator=self.random) < STAY)
        self.motions[envs] = motions = torch.where(stay, self.motions[envs], drawn)
        self.phases[envs] = torch.multinomial(rates[motions], 1, generator=self.random).squeeze(1)
        latest = (1.0 - SHORTEST / environment.library.lengths.cpu()[motions]).clamp(min=0.0)
        fractions = latest * (self.phases[envs] + torch.rand(len(envs), generator=self.random)) / PHASES
        if self.supervised:
            # A lesson starts at its beginning: its later states differ slightly from the reference.
            taught = torch.tensor([self.lessons[motion] is not None for motion in motions.tolist()])
            self.phases[torch.tensor(envs)[taught]] = 0
            fractions[taught] = 0.0
        environment.start(envs, motions.tolist(), fractions.tolist())
        # Half of the attempts are the actor's alone; in the others it also sees states beyond its failures.
        shares = (2.0 * torch.rand(len(envs), generator=self.random) - 1.0).clamp(min=0.0).to(self.device)
        self.takeovers[envs] = (shares * environment.steps_total[envs]).long() if self.supervised else 0
        for env, motion, fraction in zip(envs, motions.tolist(), fractions.tolist()):
            self.start_times[env] = environment.start_time(motion, fraction)
        self.to_start = []

    def _end_attempts(self, failed: Tensor, over: Tensor) -> None:
        """Record failed attempts, and the envs for new ones."""
        self.to_start = over.nonzero().flatten().tolist()
        self.progress.attempts += len(self.to_start)
        for env, failure in zip(self.to_start, failed[over].tolist()):
            if int(self.takeovers[env]) == 0:
                motion, phase = int(self.motions[env]), int(self.phases[env])
                phases = slice(phase, phase + 1) if self.lessons[motion] is None else slice(None)
                rates = self.failure_rates[motion, phases]
                rates += FAILURE_MEMORY * (float(failure) - rates)
                self.progress.failures += failure
                self.progress.judged += 1

    def _learn(self, experience: Experience, advantages: Tensor) -> None:
        """Train for some epochs of minibatches."""
        agent, supervised = self.agent, self.supervised
        if supervised:
            self.normalizer.refresh()
        returns = (advantages + experience.values).flatten()
        advantages = ((advantages - advantages.mean()) / advantages.std().clamp(min=1e-5)).flatten()
        advantages = advantages.clamp(-agent.norm_adv_clip, agent.norm_adv_clip)
        rate = agent.optimizer.learning_rate * max(0.0, 1.0 - self.iteration / self.iterations)
        actor, critic = self.optimizer.param_groups
        measured: list[Tensor] = []
        for _ in range(agent.update_epochs):
            order = torch.randperm(self.batch, generator=self.random).to(self.device)
            for rows in order.split(self.minibatch):
                part = experience.minibatch(rows)
                mean = self.network.act(part.observations)
                values = self.network.value(part.observations) if self.criticized else returns[rows]
                if supervised:
                    actor_loss = self._imitation_loss(mean, part)
                else:
                    actor_loss = self._ppo_loss(mean, part, advantages[rows])
                outside = (mean.abs() - 1.0).clamp(min=0.0).square().sum(-1).mean()
                value_error = (values - returns[rows]).square().mean()
                kl = self._divergence(mean.detach(), part.means)
                if not supervised and measured:  # the first minibatch is always at zero divergence
                    self._adapt_actor_rate(float(kl))
                actor["lr"], critic["lr"] = rate if supervised else min(rate, self.actor_rate), rate
                self.optimizer.zero_grad()
                (actor_loss + agent.action_bound_weight * outside + agent.critic_loss_weight * value_error).backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), agent.max_grad_norm)
                self.optimizer.step()
                aim = ((mean.detach() - part.taught) * self.reach).square().mean()
                measured.append(torch.stack((kl, value_error.detach(), aim)))
        kl, value_error, aim = torch.stack(measured[-len(measured) // agent.update_epochs :]).mean(0).tolist()
        self.progress.kl += kl
        self.progress.value_error += math.sqrt(value_error)
        self.progress.imitation_error += math.sqrt(aim) if supervised else 0.0

    def _divergence(self, means: Tensor, others: Tensor) -> Tensor:
        """Return the mean Kullback-Leibler divergence of the action distributions with these means [N, D]."""
        return 0.5 * ((means - others) / self.agent.model.action_std).square().sum(-1).mean()

    def _adapt_actor_rate(self, kl: float) -> None:
        """Keep the divergence near WANTED_KL (as rsl_rl does): with narrow noise, a fixed rate is soon too high."""
        if kl > 2.0 * WANTED_KL:
            self.actor_rate /= 1.2
        elif kl < 0.5 * WANTED_KL:
            self.actor_rate = min(1.2 * self.actor_rate, self.agent.optimizer.learning_rate)

    def _imitation_loss(self, mean: Tensor, part: Experience) -> Tensor:
        """Return the mean cost of action errors, by the regulator; without a lesson, their size."""
        errors = (mean - part.taught) * self.reach / (self.agent.model.action_std * self.reach.mean())
        return 0.5 * squared_norm((errors.unsqueeze(1) @ self.roots[part.moments]).squeeze(1)).mean()

    def _ppo_loss(self, mean: Tensor, part: Experience, advantages: Tensor) -> Tensor:
        """Return the clipped surrogate loss (Schulman et al. 2017)."""
        std = self.agent.model.action_std
        now, then = (((part.actions - centre) / std).square().sum(-1) for centre in (mean, part.means))
        ratio = torch.exp(0.5 * (then - now))
        clipped = ratio.clamp(1.0 - self.agent.ppo_clip_ratio, 1.0 + self.agent.ppo_clip_ratio)
        return -torch.minimum(ratio * advantages, clipped * advantages).mean()

    def start_from(self, content: bytes) -> None:
        """Load networks and normaliser from a checkpoint. Raises InputError if they do not match."""
        state = torch.load(io.BytesIO(content), map_location=self.device, weights_only=True)
        own = self.network.state_dict()
        try:
            self.network.load_state_dict({name: state[f"_model.{name}"].to(own[name].dtype) for name in own})
        except (KeyError, RuntimeError) as error:
            raise InputError(f"{self.options.start_from}: does not fit agent_config.yaml: {error}") from None
        mean, std, count = (state[f"_obs_norm._{name}"].double() for name in ("mean", "std", "count"))
        self.normalizer.totals = count * torch.stack((mean, std.square() + mean.square()))
        self.normalizer.count = int(count)
        self.normalizer.refresh()

    def checkpoint(self) -> bytes:
        """Return the current tracker in PARC's format."""
        return checkpoint(self.network, self.normalizer, self.centre, self.reach)

    def state(self) -> bytes:
        """Return the state for resuming. All attempts start anew, in this training as well."""
        self.to_start, self.motions = self.envs, torch.full_like(self.motions, -1)
        return serialize(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "observations": {"totals": self.normalizer.totals, "count": self.normalizer.count},
                "random": self.random.get_state(),
                "failure_rates": self.failure_rates,
                "actor_rate": self.actor_rate,
                "iteration": self.iteration,
                "most_recorded": self.most_recorded,
                "settings": self.settings,
            }
        )

    def restore(self, content: bytes) -> None:
        """Resume from a state(). Prints a warning if the settings differ."""
        state = torch.load(io.BytesIO(content), map_location=self.device, weights_only=True)
        for name, value in state.get("settings", {}).items():
            if self.settings[name] != value:
                print(f"warning: the training began with {name} {value}, and goes on with {self.settings[name]}")
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.normalizer.totals, self.normalizer.count = state["observations"]["totals"], state["observations"]["count"]
        self.normalizer.refresh()
        self.random.set_state(state["random"].cpu())
        self.failure_rates, self.actor_rate = state["failure_rates"].cpu(), state["actor_rate"]
        self.iteration, self.most_recorded = state["iteration"], state["most_recorded"]
