"""What an actor needs to record a shard, as plain values, and how a recorder is built from it.

No torch and no engine at module level: some engines must be imported before torch in a process, and this module is
imported wherever a shard is sent.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional, Sequence, Tuple

from parc_ray.config.environment import EnvironmentConfig, EnvironmentFile
from parc_ray.config.record import RecordConfig
from parc_ray.simulators.engine import Engine
from parc_ray.simulators.engines import engine
from parc_ray.trackers.families import family
from parc_ray.trackers.family import TrackerFiles

if TYPE_CHECKING:
    import torch

    from parc_ray.character.skeleton import Skeleton
    from parc_ray.motions.height_field import HeightField
    from parc_ray.motions.motion import Motion
    from parc_ray.recording.recorder import ShardRecorder
    from parc_ray.simulators.simulator import SimulatorConfig
    from parc_ray.trackers.tracker import Tracker

REACH = 1.5
"""How far a character reaches from its root, with room to spare, m."""
LOOP_MARGIN = 4.0
"""Ground around the path of a motion that is tracked several times in a row, m."""


@dataclass(frozen=True)
class RunFiles:
    """What all shards of a run have in common."""

    config: RecordConfig
    simulator: str
    """Name of the engine."""
    tracker: TrackerFiles
    character: str
    """Text of its MJCF."""
    character_source: str

    @property
    def engine(self) -> Engine:
        """The engine that simulates. Raises InputError if there is none of that name."""
        return engine(self.simulator)

    @property
    def environment(self) -> EnvironmentFile:
        """What simulates the character, and when an attempt has failed."""
        return self.tracker.environment

    def build_tracker(self, skeleton: Skeleton, device: torch.device, threads: int = 1) -> Tracker:
        """The tracker on a device. Raises InputError if its files do not fit each other or the character."""
        return family(self.config.tracker).build(self.config, self.tracker, skeleton, device, threads)


@dataclass(frozen=True)
class ShardMotion:
    """One motion of a shard."""

    name: str
    source: str
    """Where its file came from, for messages."""
    content: bytes
    """Bytes of its motion file."""
    first_attempt: int
    """Number of the first attempt to make; earlier ones were made and reported elsewhere."""
    first_population: int = 0
    """The same, of its populations."""


@dataclass(frozen=True)
class Shard:
    """The motions that one actor process works through."""

    index: int
    motions: Tuple[ShardMotion, ...]
    max_envs: Optional[int] = None
    """Maximum number of envs on the device; None: max_envs_per_actor alone bounds them."""

    def num_envs(self, run: RunFiles) -> int:
        """Number of envs to record it in."""
        return envs_of_shard(run, len(self.motions), self.max_envs)


def build_recorder(run: RunFiles, shard: Shard, threads: int, device_name: str) -> ShardRecorder:
    """A recorder for a shard, in a process of its own.

    Raises InputError if a motion, the character or the checkpoint does not fit (all were checked before, so this
    means that a file has changed since), or if the simulator does not work here; TooLargeError if the device's memory
    does not suffice.
    """
    if run.engine.import_first:
        run.engine.import_first(device_name)
    import torch

    from parc_ray.character.skeleton import parse_skeleton
    from parc_ray.character.surface import surface_points
    from parc_ray.motions.library import MotionLibrary
    from parc_ray.motions.motion_file import parse_motion
    from parc_ray.motions.terrain_stack import TerrainStack
    from parc_ray.recording.recorder import ShardRecorder
    from parc_ray.tracking.environment import TrackingEnvironment
    from parc_ray.tracking.meter import MetricMeter

    torch.manual_seed(run.config.seed)
    # Threads share out envs and chunks of rows, which changes no bit; torch sharing out one operation might.
    torch.set_num_threads(1)
    # Where the GPU only runs the network, a torch without CUDA does the same more slowly.
    device = torch.device(device_name if torch.cuda.is_available() else "cpu")
    skeleton = parse_skeleton(run.character, run.character_source)
    motions = [parse_motion(m.content, m.name, skeleton, m.source) for m in shard.motions]
    config = run.environment.env
    min_loop_seconds = run.config.record.min_loop_seconds
    tiles = [reachable_tile(motion, config, min_loop_seconds) for motion in motions]
    num_envs = shard.num_envs(run)
    simulator = run.engine.build(simulator_config(run, tiles, num_envs, device, threads), skeleton)
    device = simulator.device
    library = MotionLibrary(motions, skeleton, device, min_loop_seconds)
    terrains = TerrainStack([motion.terrain for motion in motions], device)
    tracker = run.build_tracker(skeleton, device, threads)
    if num_envs < largest_population(run.config):
        logging.getLogger("parc_ray").warning(
            "recovery: only %d envs fit the device; larger populations are left out, and motions that need them stay "
            "unrecovered", num_envs,
        )  # fmt: skip
    return ShardRecorder(
        environment=TrackingEnvironment(
            simulator, library, terrains, skeleton, config, tracker.observer, tracker.termination
        ),
        act=tracker.act,
        meter=MetricMeter(surface_points(run.character, run.character_source, device), terrains),
        motions=motions,
        config=run.config,
        origin={
            "simulator": simulator.engine.name,
            "simulator_version": simulator.version,
            "checkpoint_sha256": run.tracker.checkpoint_sha256,
            "seed": run.config.seed,
        },
        first_attempts=[motion.first_attempt for motion in shard.motions],
        explore=tracker.explore,
        first_populations=[motion.first_population for motion in shard.motions],
    )


def simulator_config(
    run: RunFiles, tiles: Sequence[HeightField], num_envs: int, device: torch.device, threads: int
) -> SimulatorConfig:
    """What a simulator of a run is built from."""
    from parc_ray.simulators.simulator import SimulatorConfig

    config, sim = run.environment.env, run.environment.sim
    return SimulatorConfig(
        character=run.character,
        character_source=run.character_source,
        tiles=tiles,
        num_envs=num_envs,
        control_freq=config.control_freq,
        steps_per_control=run.environment.steps_per_control,
        device=device,
        threads=threads,
        substeps=sim.substeps,
        control_mode=config.control_mode,
        gravity=config.gravity_z,
        torque_limits=run.config.torque_limits,
        physx=sim.physx,
        mujoco=run.config.mujoco,
    )


def tile_of(motion: Motion, config: EnvironmentConfig) -> HeightField:
    """The part of a motion's terrain that its character can reach."""
    from parc_ray.motions.height_field import crop

    stays = config.enable_early_termination and config.pose_termination and config.track_root
    if not stays or motion.loop_mode != "CLAMP":
        return motion.terrain
    # An attempt has failed before its character could leave this part of the map.
    margin = config.root_pos_termination_dist + REACH
    path = motion.root_pos[:, :2]
    return crop(motion.terrain, path.min(0) - margin, path.max(0) + margin)


def reachable_tile(motion: Motion, config: EnvironmentConfig, min_loop_seconds: float) -> HeightField:
    """Return the tile of a motion, extended to where it gets to in all of its passes."""
    import numpy as np

    from parc_ray.motions.height_field import extend

    tile, passes = tile_of(motion, config), motion.passes(min_loop_seconds)
    if passes == 1:
        return tile
    path = motion.root_pos[:, :2]
    ends = np.stack([path, path + (passes - 1) * (path[-1] - path[0])]).reshape(-1, 2)
    return extend(tile, ends.min(0) - LOOP_MARGIN, ends.max(0) + LOOP_MARGIN)


def envs_of_shard(run: RunFiles, motions: int, bound: Optional[int] = None) -> int:
    """Return the number of envs for a shard: num_envs, or one per motion; at most motions, max_envs_per_actor, bound.

    With recovery there is room for its largest population, whatever the number of motions, and a bound of more than one
    per motion is used up: idle envs cost a CUDA device little. bound: of the plan, for the device and its memory.
    """
    bounds = [most for most in (bound, run.config.max_envs_per_actor) if most is not None]
    largest = largest_population(run.config)
    if not largest:
        return max(1, min(run.config.num_envs or motions, motions, *bounds))
    default = max(motions, largest) if run.config.devices == ["cpu"] else max(motions, largest, *bounds)
    return max(1, min([run.config.num_envs or default, *bounds]))


def largest_population(config: RecordConfig) -> int:
    """Return the size of the largest population of recovery; 0 without recovery."""
    return config.recovery.copies[-1] if config.recovery else 0
