"""Finds the engine and settings closest to the engine that made a recording: engine_fit.py --help

A recording with observations (`record.observations: true`; PARC's own recordings have them) contains the character's
motion at every control step, but not the PD targets. The script puts an engine into the state of step t, and finds the
targets, within the tracker's action bounds, that bring it closest to the state of step t + 1: by Levenberg-Marquardt,
with finite differences, many characters at a time. There are twice as many numbers to match as free targets. The
residual measures how well an engine reproduces the other one, regardless of the tracker.

Engines are compared on the same control steps. Medians, not means: where a foot or a hand just touches down, the search
may miss the contact.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs in a clone that is not installed

if __name__ == "__main__" and any(argument.split(",")[0] == "isaacgym" for argument in sys.argv):
    from parc_ray.simulators.isaacgym.process import import_isaacgym

    import_isaacgym("cuda:0")  # before torch

import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.skeleton import Skeleton, load_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.loading import check_config, expand, find_data_dir, load_yaml
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError, ParcRayError
from parc_ray.files.bundled import DEMO, HUMANOID
from parc_ray.files.reading import read_bytes
from parc_ray.files.writing import write_file_atomic
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion_file import parse_motion, read_misc
from parc_ray.recording.build import simulator_config
from parc_ray.recording.run_files import RunFiles
from parc_ray.simulators.simulator import Simulator
from parc_ray.trackers.action_bounds import action_bounds
from parc_ray.trackers.family import TrackerFiles
from parc_ray.trackers.parc.config import ParcEnvironmentFile

Array = npt.NDArray[np.float64]
StepFunction = Callable[[npt.NDArray[np.int64], Array], CharacterState]
"""Returns the states [n] after one control step with targets [n, D] from the given rows of a recording."""

ROUNDS = 8
"""Maximum number of Levenberg-Marquardt rounds."""
DIFFERENCE = 0.03
"""Step of a target for finite differences, rad."""
FACTORS = np.array([0.01, 1.0, 30.0, 1000.0])
"""Factors of the damping among the candidates of a round."""
LARGEST_CHANGE = 1.0
"""Maximum change of a target in a round, rad."""
ENOUGH = 2e-3
"""Minimum relative gain of a round in the squared residual; below it, a search ends."""
LEAD = 0.1
"""Lag of PD drives, s: the search starts from targets this far ahead."""
SPREAD = 0.3
"""Standard deviation of random targets, tried where the first search may have missed a contact, rad."""
BLOCK = 10
"""Control steps per block of the bootstrap, since neighbours are correlated."""
DRAWS = 4000
TRANSITION_KINDS = ("flight", "contact", "change")
"""Kinds of control steps: no contact, unchanged contacts, contacts that begin or end."""
COLORS = ("#1b6ca8", "#d1495b", "#3a7d44", "#edae49", "#6a4c93", "#555555")
"""Line colors of the plot."""


# --- Recordings ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recording:
    """Successive observed states of a character; contact forces are unknown (zero)."""

    name: str
    states: CharacterState
    joint_rot: Tensor
    """[n, B - 1, 4]."""
    contacts: npt.NDArray[np.bool_]
    """[n, B] True if a body touched something."""
    terrain: HeightField


def read_recording(path: Path, skeleton: Skeleton, environment: ParcEnvironmentFile) -> Recording:
    """Return a recording observed as `environment` says. Raises InputError if it has no such observations."""
    content = read_bytes(path)
    motion = parse_motion(content, path.stem, skeleton, str(path))
    observed = read_misc(content, str(path)).get("obs")
    env = environment.env
    dofs, bodies, height = skeleton.dof_count, skeleton.num_bodies, int(env.global_root_height_obs)
    sizes = {"height": height, "turn": 6, "velocity": 3, "spin": 3, "joints": 6 * (bodies - 1), "speeds": dofs}
    if observed is None or np.ndim(observed) != 2 or len(observed) != motion.num_frames:
        raise InputError(f"{path}: holds no observation of every frame: record it with record.observations: true")
    if observed.shape[1] < sum(sizes.values()):
        raise InputError(f"{path}: its observations are too short for this character and dm_env.yaml")
    known = torch.tensor(observed[:, : sum(sizes.values())]).float()
    parts = dict(zip(sizes, known.split(list(sizes.values()), dim=1)))
    root_rot = torch.tensor(motion.root_rot)
    vectors = torch.stack((parts["velocity"], parts["spin"]), dim=1)
    if not env.global_obs:
        turn = rotations.heading_matrix(rotations.heading_direction(root_rot)).transpose(-1, -2)
        vectors = rotations.matrix_apply(turn.unsqueeze(1), vectors)
    joint_rot = _from_tan_norm(parts["joints"].unflatten(1, (-1, 2, 3)))
    nothing = torch.zeros(len(root_rot), bodies, 3)
    states = CharacterState(
        torch.tensor(motion.root_pos), root_rot, vectors[:, 0], vectors[:, 1], skeleton.rot_to_dof(joint_rot),
        parts["speeds"], nothing,
    )  # fmt: skip
    return Recording(path.stem, states, joint_rot, motion.contacts > 0.5, motion.terrain)


def _from_tan_norm(axes: Tensor) -> Tensor:
    """Return rotations [..., 4] whose x and z axes are [..., 2, 3], by Bar-Itzhack's method ("New method for extracting
    the quaternion from a rotation matrix", 2000): the eigenvector of the largest eigenvalue.
    """
    x, z = axes.double().unbind(-2)
    y = torch.linalg.cross(z, x)
    (a, b, c), (d, e, f), (g, h, i) = (column.unbind(-1) for column in (x, y, z))
    rows = (
        (a - e - i, b + d, c + g, f - h),
        (b + d, e - a - i, f + h, g - c),
        (c + g, f + h, i - a - e, b - d),
        (f - h, g - c, b - d, a + e + i),
    )
    matrix = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    return rotations.quat_positive(torch.linalg.eigh(matrix)[1][..., -1].float())


@dataclass(frozen=True)
class Transitions:
    """Control steps of several recordings, concatenated."""

    before: CharacterState
    after: CharacterState
    rotations_after: Tensor
    """[n, B - 1, 4] of the joints."""
    contacts: npt.NDArray[np.bool_]
    """[2, n, B] before and after."""
    tiles: npt.NDArray[np.int64]
    """[n] tile of the character."""
    terrains: list[HeightField]

    @property
    def kinds(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Masks of the steps by kind: in flight, with unchanged contacts, and with a contact that begins or ends."""
        touching, same = self.contacts.any(axis=(0, 2)), (self.contacts[0] == self.contacts[1]).all(axis=1)
        return dict(zip(TRANSITION_KINDS, (~touching, touching & same, ~same)))


def transitions(recordings: Sequence[Recording]) -> Transitions:
    """Return all control steps of several recordings."""

    def pick(name: str, part: slice) -> Tensor:
        return torch.cat([getattr(recording.states, name)[part] for recording in recordings])

    names, first, later = list(vars(recordings[0].states)), slice(None, -1), slice(1, None)
    return Transitions(
        CharacterState(**{name: pick(name, first) for name in names}),
        CharacterState(**{name: pick(name, later) for name in names}),
        torch.cat([recording.joint_rot[1:] for recording in recordings]),
        np.stack([np.concatenate([r.contacts[part] for r in recordings]) for part in (first, later)]),
        np.repeat(np.arange(len(recordings)), [len(recording.contacts) - 1 for recording in recordings]),
        [recording.terrain for recording in recordings],
    )


# --- One control step in an engine ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """An engine with settings, named as in the configuration files: mujoco,mujoco.profile=faithful"""

    label: str
    engine: str
    settings: Mapping[str, Any]


def candidate(text: str) -> Candidate:
    """Return the engine and settings named on the command line. Raises InputError."""
    engine, *assignments = text.split(",")
    pairs = [assignment.partition("=") for assignment in assignments]
    if any(not sign for _, sign, _ in pairs):
        raise InputError(f"--engine {text}: settings are NAME=VALUE, as in mujoco,mujoco.steps_per_control=8")
    return Candidate(text, engine, {key: yaml.safe_load(value) for key, _, value in pairs})


def run_of(wanted: Candidate, character: Path, environment: Mapping[str, Any]) -> RunFiles:
    """Return a run with this engine and these settings. Raises InputError for an unknown setting."""
    ours: dict[str, Any] = {
        **dict.fromkeys(("output_dir", "model_file", "env_file", "agent_file", "dataset_file"), "none"),
        "simulator": wanted.engine,
    }
    theirs = json.loads(json.dumps(environment))
    for key, value in wanted.settings.items():
        *sections, name = key.split(".")
        place = theirs if sections[:1] in (["env"], ["sim"]) else ours
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    files = TrackerFiles(check_config(theirs, ParcEnvironmentFile, wanted.label), theirs, None, b"")
    config = check_config(ours, RecordConfig, wanted.label)
    return RunFiles(config, wanted.engine, files, read_bytes(character).decode("utf-8"), str(character))


def build(run: RunFiles, skeleton: Skeleton, data: Transitions, envs: int, device: str, threads: int) -> Simulator:
    """Return a simulator of a run with `envs` envs."""
    # Engines without a shared world hold a model per tile, so every env needs its own tiles.
    copies = 1 if run.engine.shares_world else envs
    return run.engine.build(
        simulator_config(run, data.terrains * copies, envs, torch.device(device), threads), skeleton
    )


def stepping(simulator: Simulator, data: Transitions, own_tiles: bool) -> StepFunction:
    """Return a function for one step from the states before the transitions. own_tiles: each env has its own."""
    terrains = len(data.terrains) if own_tiles else 0

    def step(rows: npt.NDArray[np.int64], targets: Array) -> CharacterState:
        parts = []
        for start in range(0, len(rows), simulator.num_envs):
            some = rows[start : start + simulator.num_envs]
            envs, tiles = list(range(len(some))), data.tiles[some]
            own = tiles + terrains * np.arange(len(some))
            simulator.reset(envs, own.tolist(), data.before.rows(torch.from_numpy(some)))
            after = simulator.step(envs, torch.from_numpy(targets[start : start + len(some)]).float())
            parts.append({name: value.cpu().clone() for name, value in vars(after).items()})
        return CharacterState(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    return step


# --- The fit -------------------------------------------------------------------------------------------------


def residual(
    skeleton: Skeleton, data: Transitions, rows: npt.NDArray[np.int64], after: CharacterState, seconds: float
) -> Array:
    """Return an engine's deviations from the recorded states, [n, 12 + 2 D]: m, rad, and velocities times the seconds
    of a control step. Root position, rotation and joint rotations, then their velocities.
    """
    index = torch.from_numpy(rows)
    wanted, joints = data.after.rows(index), data.rotations_after[index]
    parts = (
        after.root_pos - wanted.root_pos,
        rotations.quat_to_exp_map(rotations.quat_diff(wanted.root_rot, after.root_rot)),
        skeleton.dof_velocity(joints, skeleton.dof_to_rot(after.dof_pos), 1.0),
        (after.root_vel - wanted.root_vel) * seconds,
        (after.root_ang_vel - wanted.root_ang_vel) * seconds,
        (after.dof_vel - wanted.dof_vel) * seconds,
    )
    # Diverged states get a large error.
    errors: Array = np.nan_to_num(torch.cat(parts, dim=1).double().numpy(), nan=10.0, posinf=10.0, neginf=-10.0)
    return errors


@dataclass(frozen=True)
class Fit:
    """The targets that bring an engine closest to the recorded states, with the deviation."""

    targets: Array
    """[n, D] rad."""
    residual: Array
    """[n, 12 + 2 D], see residual()."""
    after: CharacterState
    """States reached with these targets."""


Error = Callable[[npt.NDArray[np.int64], Array], Array]


def descend(error: Error, rows: npt.NDArray[np.int64], start: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Return locally optimal targets [n, D] within bounds, and their squared residuals [n]."""
    targets, count = np.clip(start, low, high), start.shape[1]
    left = error(rows, targets)
    damping, active, each = np.full(len(rows), 1e-3), np.ones(len(rows), dtype=bool), np.arange(count)
    for _ in range(ROUNDS):
        now = np.flatnonzero(active)
        if not len(now):
            break
        sign = np.where(targets[now] + DIFFERENCE > high, -DIFFERENCE, DIFFERENCE)
        moved = np.repeat(targets[now][:, None], count, axis=1)
        moved[:, each, each] += sign
        there = error(np.repeat(rows[now], count), moved.reshape(-1, count)).reshape(len(now), count, -1)
        slope = ((there - left[now][:, None]) / sign[:, :, None]).transpose(0, 2, 1)
        tried = np.stack(
            [_bounded_step(slope, left[now], targets[now], damping[now] * f, low, high) for f in FACTORS], axis=1
        )
        found = error(np.repeat(rows[now], len(FACTORS)), tried.reshape(-1, count)).reshape(len(now), len(FACTORS), -1)
        best = (found**2).sum(axis=-1).argmin(axis=1)
        before, after = (left[now] ** 2).sum(axis=1), (found[np.arange(len(now)), best] ** 2).sum(axis=1)
        better = after < before
        targets[now[better]] = tried[better, best[better]]
        left[now[better]] = found[better, best[better]]
        damping[now] = np.where(better, np.clip(damping[now] * FACTORS[best], 1e-6, 1e3), damping[now] * 100)
        active[now] = np.where(better, after < before * (1 - ENOUGH), damping[now] <= 1e3)
    return targets, (left**2).sum(axis=1)


def _bounded_step(slope: Array, left: Array, now: Array, damping: Array, low: Array, high: Array) -> Array:
    """Return the targets after a damped Gauss-Newton step. Targets that would leave the bounds are fixed there, and the
    others are solved again.
    """
    each = np.arange(now.shape[1])
    matrix = slope.transpose(0, 2, 1) @ slope
    gradient = (slope.transpose(0, 2, 1) @ left[:, :, None])[:, :, 0]
    matrix[:, each, each] += damping[:, None] * np.maximum(matrix[:, each, each], 1e-6)
    free = now - np.linalg.solve(matrix, gradient[:, :, None])[:, :, 0]
    held = (free < low) | (free > high)
    fixed = np.where(held, np.clip(free, low, high) - now, 0.0)
    right = np.where(held, fixed, -gradient - (matrix @ fixed[:, :, None])[:, :, 0])
    matrix = np.where(held[:, :, None] | held[:, None, :], 0.0, matrix)
    matrix[:, each, each] += held
    change = np.linalg.solve(matrix, right[:, :, None])[:, :, 0]
    bounded: Array = np.clip(now + np.clip(change, -LARGEST_CHANGE, LARGEST_CHANGE), low, high)
    return bounded


def fit(
    step: StepFunction,
    skeleton: Skeleton,
    data: Transitions,
    seconds: float,
    restarts: int = 16,
    also: Sequence[Array] = (),
) -> Fit:
    """Fit an engine. restarts: number of random targets; also: further starts [n, D] of searches."""
    low, high = (bound.double().numpy() for bound in action_bounds(skeleton))
    rows = np.arange(len(data.tiles))

    def error(some: npt.NDArray[np.int64], targets: Array) -> Array:
        return residual(skeleton, data, some, step(some, targets), seconds)

    ahead = (data.after.dof_pos + LEAD * data.after.dof_vel).double().numpy()
    targets, cost = descend(error, rows, ahead, low, high)
    random = np.random.default_rng(0)
    starts = [np.asarray(start, dtype=np.float64) for start in also]
    if restarts:
        spread = random.normal(0.0, SPREAD, (restarts, *targets.shape))
        tried = np.clip(targets + spread, low, high)
        costs = np.stack([(error(rows, some) ** 2).sum(axis=1) for some in tried])
        starts.append(tried[costs.argmin(axis=0), rows])
    for start in starts:
        # Flight has a single minimum: only contacts can be missed.
        again = np.flatnonzero(~data.kinds["flight"])
        found, costs = descend(error, again, start[again], low, high)
        better = costs < cost[again]
        targets[again[better]], cost[again[better]] = found[better], costs[better]
    after = step(rows, targets)
    return Fit(targets, residual(skeleton, data, rows, after, seconds), after)


# --- Results of an engine ------------------------------------------------------------------------------------


def size(residuals: Array) -> Array:
    """Return the root mean square of each residual, [n], in 1e-3."""
    sizes: Array = np.sqrt((residuals**2).mean(axis=1)) * 1e3
    return sizes


def agreement(skeleton: Skeleton, data: Transitions, after: CharacterState, eps: float) -> dict[str, float]:
    """Return the share of contacts (recorded or simulated, at the end of a step) on which both agree, left and right
    combined, for bodies in contact in at least ten steps.
    """
    made = after.contact_force.norm(dim=-1).numpy() > eps
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(skeleton.body_names):
        groups.setdefault(name.replace("left_", "").replace("right_", ""), []).append(index)
    shares = {}
    for name, bodies in groups.items():
        real, own = data.contacts[1][:, bodies], made[:, bodies]
        if real.sum() >= 10:
            shares[name] = float((real & own).sum() / (real | own).sum())
    return shares


def overload(skeleton: Skeleton, data: Transitions, targets: Array, after: CharacterState) -> tuple[float, float, str]:
    """Return the share of steps in flight with a drive torque above its motor's limit, the largest ratio, and its
    joint. The torque is the mean of its values before and after a step. In flight, no contact can have been missed.
    """
    rows = np.flatnonzero(data.kinds["flight"])
    index, wanted = torch.from_numpy(rows), torch.from_numpy(targets[rows]).float()

    def of_dofs(name: str) -> Tensor:
        return torch.tensor([value for joint in skeleton.joints for value in getattr(joint, name)])

    def torque(state: CharacterState) -> Tensor:
        way = skeleton.dof_velocity(skeleton.dof_to_rot(state.dof_pos), skeleton.dof_to_rot(wanted), 1.0)
        return of_dofs("stiffness") * way - of_dofs("damping") * state.dof_vel

    mean = 0.5 * (torque(data.before.rows(index)) + torque(after.rows(index)))
    ratio = (mean.abs() / of_dofs("torque_limit")).double().numpy()
    if not ratio.size:
        return math.nan, math.nan, ""
    owners = [joint.name for joint in skeleton.joints for _ in range(joint.dof_count)]
    return float((ratio.max(axis=1) > 1).mean()), float(ratio.max()), owners[int(ratio.max(axis=0).argmax())]


def interval(figure: Callable[[npt.NDArray[np.int64]], float], count: int) -> tuple[float, float]:
    """Return the 95 % interval of a figure over `count` control steps, by a block bootstrap."""
    random, blocks = np.random.default_rng(0), max(1, -(-count // BLOCK))
    starts = random.integers(0, max(1, count - BLOCK + 1), (DRAWS, blocks))
    rows = (starts[:, :, None] + np.arange(min(BLOCK, count))).reshape(DRAWS, -1)
    low, high = np.quantile([figure(draw) for draw in rows], [0.025, 0.975])
    return float(low), float(high)


def figures(
    skeleton: Skeleton, data: Transitions, fitted: Fit, first: Fit | None, seconds: float, eps: float
) -> dict[str, Any]:
    """Return all reported figures of an engine; its ratio is to the residual of the first engine."""
    sizes = size(fitted.residual)
    touching, velocity = data.contacts.any(axis=(0, 2)), fitted.residual[:, 6 + skeleton.dof_count :][:, :3] / seconds
    speed = np.linalg.norm(velocity, axis=1)
    share, largest, joint = overload(skeleton, data, fitted.targets, fitted.after)
    result: dict[str, Any] = {
        "steps": {kind: int(rows.sum()) for kind, rows in data.kinds.items()},
        "residual": float(np.median(sizes)),
        "residual interval": interval(lambda rows: float(np.median(sizes[rows])), len(sizes)),
        "residual by kind (median, 90 %)": {
            kind: [float(np.quantile(sizes[rows], q)) for q in (0.5, 0.9)]
            for kind, rows in data.kinds.items()
            if rows.any()
        },
        "root velocity with contact (m/s)": float(np.median(speed[touching])) if touching.any() else None,
        "agreement of contacts": agreement(skeleton, data, fitted.after, eps),
        "steps in flight beyond a torque limit": share,
        "largest torque over its limit": largest,
        "its joint": joint,
    }
    if first is not None:
        base = size(first.residual)
        result["ratio"] = result["residual"] / float(np.median(base))
        result["ratio interval"] = interval(
            lambda rows: float(np.median(sizes[rows]) / np.median(base[rows])), len(base)
        )
    return result


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures of all engines, one line each."""
    bodies = sorted({name for result in results.values() for name in result["agreement of contacts"]})
    width = max(len(label) for label in results)
    lines = [
        f"{'':{width}}  residual [95 %]      flight      contact     change      root vel.  torque  "
        + " ".join(f"{name[:8]:>8}" for name in bodies)
        + "  ratio [95 %]"
    ]
    for label, result in results.items():
        kinds = result["residual by kind (median, 90 %)"]
        cells = ["{:.1f}/{:.1f}".format(*kinds[kind]) if kind in kinds else "-" for kind in TRANSITION_KINDS]
        low, high = result["residual interval"]
        speed = result["root velocity with contact (m/s)"]
        agreed = [result["agreement of contacts"].get(name, math.nan) for name in bodies]
        ratio = (
            "{:.2f} [{:.2f}, {:.2f}]".format(result["ratio"], *result["ratio interval"]) if "ratio" in result else ""
        )
        lines.append(
            f"{label:{width}}  {result['residual']:4.2f} [{low:.2f}, {high:.2f}]   "
            + " ".join(f"{cell:11}" for cell in cells)
            + f" {'-' if speed is None else format(speed, '.3f'):>9}  {result['largest torque over its limit']:6.1f}  "
            + " ".join(f"{share:8.2f}" for share in agreed)
            + f"  {ratio}"
        )
    return "\n".join(lines)


def picture(data: Transitions, fits: Mapping[str, Fit]) -> str:
    """Return an SVG of the residual of every control step, on a logarithmic scale; flight is shaded."""
    count, width, height = len(data.tiles), 960, 360
    sizes = {label: size(fitted.residual) for label, fitted in fits.items()}
    low, high = (f(np.concatenate(list(sizes.values()))) for f in (np.min, np.max))
    bottom, top = math.floor(math.log10(max(low, 1e-3))), math.ceil(math.log10(max(high, 1e-2)))

    def x(step: float) -> float:
        return 60 + (width - 80) * step / max(1, count - 1)

    def y(value: float) -> float:
        return 20 + (height - 60) * (top - math.log10(max(value, 1e-3))) / (top - bottom)

    parts = [f'<rect width="{width}" height="{height + 20 * len(fits)}" fill="white"/>']
    step = x(1) - x(0)
    for row in np.flatnonzero(data.kinds["flight"]).tolist():
        parts.append(
            f'<rect x="{x(row) - step / 2:.1f}" y="20" width="{step:.1f}" height="{height - 60}" fill="#eee"/>'
        )
    for power in range(bottom, top + 1):
        line = f'x1="60" x2="{width - 20}" y1="{y(10.0**power):.1f}" y2="{y(10.0**power):.1f}" stroke="#ccc"'
        parts += [f"<line {line}/>", f'<text x="8" y="{y(10.0**power) + 4:.1f}">{10.0**power:g}</text>']
    parts.append(f'<text x="60" y="{height - 14}">residual in 1e-3 of every control step; grey: flight</text>')
    for place, (label, values) in enumerate(sizes.items()):
        color, baseline = COLORS[place % len(COLORS)], height + 4 + 20 * place
        points = " ".join(f"{x(row):.1f},{y(value):.1f}" for row, value in enumerate(values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts.append(f'<rect x="60" y="{baseline - 8}" width="20" height="4" fill="{color}"/>')
        parts.append(f'<text x="88" y="{baseline}">{html.escape(label)}, median {np.median(values):.2f}</text>')
    frame = f'viewBox="0 0 {width} {height + 20 * len(fits)}" font-family="sans-serif" font-size="13"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>{"".join(parts)}</svg>\n'


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description="Which engine stands in best for the one of a recording.")
    parser.add_argument("recordings", type=Path, nargs="+", metavar="RECORDING.pkl", help="with observations")
    parser.add_argument(
        "--engine",
        nargs="+",
        default=["mujoco", "mujoco,mujoco.profile=faithful"],
        metavar="NAME[,KEY=VALUE...]",
        help="engines to fit, with keys of phys_record.yaml and dm_env.yaml; the others are compared with the first",
    )
    parser.add_argument("--environment", type=Path, default=DEMO / "dm_env.yaml", help="the tracker's dm_env.yaml")
    parser.add_argument("--character", type=Path, default=HUMANOID, help="the MJCF that was recorded")
    parser.add_argument("--output", type=Path, default=Path("output/engine_fit"), help="folder for figures and picture")
    parser.add_argument("--restarts", type=int, default=16, help="targets tried at random at every step with contact")
    parser.add_argument("--envs", type=int, default=128, help="characters at a time")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def compare(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Fit every engine and return its figures by name. Writes figures.json, residuals.svg and targets.npz."""
    environment = expand(load_yaml(options.environment), find_data_dir(None), str(options.environment))
    checked = check_config(environment, ParcEnvironmentFile, str(options.environment))
    skeleton = load_skeleton(options.character)
    data = transitions([read_recording(path, skeleton, checked) for path in options.recordings])
    seconds, eps = 1.0 / checked.env.control_freq, checked.env.contact_detection_eps
    fits: dict[str, Fit] = {}
    results: dict[str, dict[str, Any]] = {}
    for wanted in [candidate(text) for text in options.engine]:
        run = run_of(wanted, options.character, environment)
        simulator = build(run, skeleton, data, options.envs, options.device, options.threads)
        first = next(iter(fits.values()), None)
        fits[wanted.label] = fit(
            stepping(simulator, data, not run.engine.shares_world), skeleton, data, seconds, options.restarts
        )
        simulator.close()
        results[wanted.label] = figures(skeleton, data, fits[wanted.label], first, seconds, eps)
        print(table(results), end="\n\n", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    write_file_atomic(options.output / "figures.json", json.dumps(results, indent=1).encode())
    write_file_atomic(options.output / "residuals.svg", picture(data, fits).encode())
    targets = io.BytesIO()
    arrays: Any = {label: fitted.targets.astype(np.float32) for label, fitted in fits.items()}
    np.savez_compressed(targets, **arrays)
    write_file_atomic(options.output / "targets.npz", targets.getvalue())
    print(f"{options.output}: figures.json, residuals.svg, targets.npz")
    return results


def main() -> None:
    """Compare engines."""
    torch.set_num_threads(1)
    try:
        compare(parse_options(sys.argv[1:]))
    except ParcRayError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
