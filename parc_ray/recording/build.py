"""Builds the recorder of a shard.

Imports no torch and no engine at module level: actors import it, and some engines must be imported before torch.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Sequence

from parc_ray.recording.env_count import largest_population
from parc_ray.recording.reachable_tile import reachable_tile
from parc_ray.recording.run_files import RunFiles
from parc_ray.recording.shard import Shard

if TYPE_CHECKING:
    import torch

    from parc_ray.motions.height_field import HeightField
    from parc_ray.recording.recorder import ShardRecorder
    from parc_ray.simulators.simulator import SimulatorConfig


def build_recorder(run: RunFiles, shard: Shard, threads: int, device_name: str) -> ShardRecorder:
    """Return a recorder for a shard, in its own process.

    Raises InputError if a motion, the character or the checkpoint does not fit (all were checked before, so a file has
    changed since), or if the simulator does not work here; TooLargeError if the device has too little memory.
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
    # Threads divide envs and chunks of rows, which changes no bit; splitting one torch operation might.
    torch.set_num_threads(1)
    # If the GPU only runs the network, a torch without CUDA gives the same result more slowly.
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
        environment=TrackingEnvironment(simulator, library, terrains, tracker, config),
        meter=MetricMeter(surface_points(run.character, run.character_source, device), terrains),
        config=run.config,
        origin={
            "simulator": simulator.name,
            "simulator_version": simulator.version,
            "checkpoint_sha256": run.tracker.checkpoint_sha256,
            "seed": run.config.seed,
        },
        made=[(motion.first_attempt, motion.first_population) for motion in shard.motions],
    )


def simulator_config(
    run: RunFiles, tiles: Sequence[HeightField], num_envs: int, device: torch.device, threads: int
) -> SimulatorConfig:
    """Return the settings of a simulator for a run."""
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
