"""The Isaac Gym simulator (Preview 4): all envs in one PhysX scene, on a CUDA device or on CPUs.

Built as PARC builds it: the same asset options, drives, solver settings and triangle mesh. Different is only what the
many motions and idle envs of recording need: every env's origin is the world's, any env can stand on any tile, and
idle characters are put to their parking place before every step, because they would fall from it.

Isaac Gym holds one simulation in the life of a process, and may hang or crash when it is torn down: close() leaves
that to the end of the process. Import it with isaacgym_process.import_isaacgym.
"""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path
from typing import List, Sequence, Set

from isaacgym import gymapi  # isort: skip  before torch
from isaacgym import gymtorch  # isort: skip
import numpy as np
import torch
from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import BrokenSimulationError, InputError, TooLargeError
from parc_ray.simulators.engine_output import EngineOutput
from parc_ray.simulators.isaacgym_process import version_of
from parc_ray.simulators.shared_world import share_world
from parc_ray.simulators.simulator import CharacterState, SimulatorConfig

ANGULAR_DAMPING = 0.01
MAX_ANGULAR_VELOCITY = 100.0
"""rad/s; PARC's asset options"""
TOO_LARGE = re.compile(r"overflow|miss interactions|fail(ed)? to allocate|out of memory", re.IGNORECASE)
"""PhysX prints this when its buffers are full: it has dropped contacts. Nothing but its output tells."""
BROKEN = re.compile(r"internal error|CUDA error", re.IGNORECASE)
"""and this when it does not simulate any more"""
SETTLED_BYTES = 16 << 20


class IsaacGymSimulator:
    """Simulator with Isaac Gym. Repeats, and is independent of company, only as far as PhysX is."""

    name = "isaacgym"

    def __init__(self, config: SimulatorConfig, skeleton: Skeleton):
        """Raises InputError if Isaac Gym cannot load the character, TooLargeError if memory does not suffice."""
        self.num_envs = config.num_envs
        self._config = config
        self._gpu = config.device.type == "cuda"
        self._world = share_world(config.tiles, config.num_envs)
        self._output = EngineOutput()
        self._free = _free_memory() if self._gpu else 0
        self._gym = gymapi.acquire_gym()
        self.version = version_of(self._gym)
        try:
            self._sim = self._create_sim()
            self._add_ground()
            self._add_characters(skeleton)
            # What it returns is not looked at, as in PARC: what it prints is what counts.
            self._gym.prepare_sim(self._sim)
            self._raise_what_was_printed()
            self._acquire(skeleton)
            # PhysX allocates most of its memory in the first step.
            self._write_states([])
            self._simulate(self._dof_targets)
            self._refresh()
            self._raise_what_was_printed()
        except BaseException:
            self._output.close()
            raise

    def reset(self, envs: Sequence[int], tiles: Sequence[int], state: CharacterState) -> None:
        """See Simulator.reset. The state is written to the engine at the beginning of the next step."""
        rows = torch.tensor(list(envs), device=self.device)
        self._offsets[rows] = self._tile_offsets[torch.tensor(list(tiles), device=self.device)]
        moved = state.root_pos + self._offsets[rows]
        root = torch.cat((moved, state.root_rot, state.root_vel, state.root_ang_vel), dim=1)
        self._root[rows] = root.to(self.device)
        self._dof[rows] = torch.stack((state.dof_pos, state.dof_vel), dim=2).to(self.device)
        self._placed.difference_update(envs)

    def step(self, envs: Sequence[int], targets: Tensor) -> CharacterState:
        """See Simulator.step. Raises TooLargeError where PhysX lost contacts, BrokenSimulationError where it has given
        up: no env's attempt can be trusted then."""
        rows = torch.tensor(list(envs), device=self.device)
        self._dof_targets.zero_()
        self._dof_targets[rows] = targets.to(self.device)
        self._write_states(envs)
        self._simulate(self._dof_targets)
        self._refresh()
        self._root[rows] = self._root_now[rows]
        self._dof[rows] = self._dof_now[rows]
        force = self._force_now[rows]
        self._raise_what_was_printed()
        self._raise_if_idle_envs_diverged(envs)
        root, dof = self._root[rows], self._dof[rows]
        return CharacterState(
            root_pos=root[:, :3] - self._offsets[rows],
            root_rot=root[:, 3:7],
            root_vel=root[:, 7:10],
            root_ang_vel=root[:, 10:],
            dof_pos=dof[:, :, 0],
            dof_vel=dof[:, :, 1],
            contact_force=force,
        )

    def park(self, envs: Sequence[int]) -> None:
        """See Simulator.park. An env that is not stepped is at its parking place during the others' step."""
        self._placed.difference_update(envs)

    def close(self) -> None:
        """Stop watching the engine's output. Its memory is freed with the process."""
        self._output.close()

    @property
    def device_bytes(self) -> int:
        """See Simulator.device_bytes."""
        return max(0, self._free - torch.cuda.mem_get_info()[0]) if self._gpu else 0

    # ------------------------------------------------------------------------------------------ building

    def _create_sim(self) -> gymapi.Sim:
        config = self._config
        params = gymapi.SimParams()
        params.dt = config.substeps / (config.control_freq * config.steps_per_control)
        params.substeps = config.substeps
        params.num_client_threads = 0
        params.up_axis = gymapi.UP_AXIS_Z
        params.gravity = gymapi.Vec3(0.0, 0.0, config.gravity)
        for name, value in config.physx.model_dump(exclude_none=True).items():
            if name == "contact_collection":
                value = gymapi.ContactCollection(value)
            setattr(params.physx, name, value)
        params.physx.use_gpu = self._gpu
        params.use_gpu_pipeline = self._gpu
        if not self._gpu:
            params.physx.num_threads = min(params.physx.num_threads, config.threads)
        sim = self._gym.create_sim((config.device.index or 0) if self._gpu else 0, -1, gymapi.SIM_PHYSX, params)
        if sim is None:
            raise self._failure("create_sim")
        return sim

    def _add_ground(self) -> None:
        vertices, triangles = self._world.mesh
        params = gymapi.TriangleMeshParams()
        params.nb_vertices = len(vertices)
        params.nb_triangles = len(triangles)
        params.static_friction = self._config.friction
        params.dynamic_friction = self._config.friction
        params.restitution = 0.0
        self._gym.add_triangle_mesh(self._sim, vertices.flatten(), triangles.flatten(), params)

    def _add_characters(self, skeleton: Skeleton) -> None:
        """One actor per env, all in the world's frame; collision groups keep them apart, filter 0 lets each collide
        with itself."""
        config, explicit = self._config, self._config.control_mode == "pd_exp"
        mode = int(gymapi.DOF_MODE_EFFORT if explicit else gymapi.DOF_MODE_POS)
        asset = self._load_asset(skeleton, mode)
        drives = self._gym.get_asset_dof_properties(asset)
        self._gains = [torch.tensor(np.array(drives[name]), dtype=torch.float32) for name in ("stiffness", "damping")]
        drives["driveMode"] = mode
        if explicit:
            drives["stiffness"] = 0.0
            drives["damping"] = 0.0
        origin = gymapi.Vec3(0.0, 0.0, 0.0)
        self._actors: List[int] = []
        for index in range(config.num_envs):
            pose = gymapi.Transform()
            # Apart from the first moment: the pairs of many characters in one place overflow PhysX's buffers.
            pose.p = gymapi.Vec3(*self._world.parking[index].tolist())
            pose.r = gymapi.Quat(0.0, 0.0, 0.0, 1.0)
            env = self._gym.create_env(self._sim, origin, origin, max(1, int(config.num_envs**0.5)))
            actor = self._gym.create_actor(env, asset, pose, "character", index, 0, 0)
            self._gym.set_actor_dof_properties(env, actor, drives)
            self._actors.append(self._gym.get_actor_index(env, actor, gymapi.DOMAIN_SIM))

    def _load_asset(self, skeleton: Skeleton, mode: int) -> gymapi.Asset:
        options = gymapi.AssetOptions()
        options.angular_damping = ANGULAR_DAMPING
        options.max_angular_velocity = MAX_ANGULAR_VELOCITY
        options.default_dof_drive_mode = mode
        source = self._config.character_source
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "character.xml").write_text(self._config.character, encoding="utf-8")
            asset = self._gym.load_asset(self._sim, folder, "character.xml", options)
        if asset is None:
            raise InputError(f"{source}: Isaac Gym cannot load the character{_complaint(self._output.new_text())}")
        bodies, dofs = self._gym.get_asset_rigid_body_names(asset), self._gym.get_asset_dof_count(asset)
        if tuple(bodies) != skeleton.body_names or dofs != skeleton.dof_count:
            raise InputError(
                f"{source}: Isaac Gym reads bodies {', '.join(bodies)} with {dofs} degrees of freedom, parc_ray reads "
                f"{', '.join(skeleton.body_names)} with {skeleton.dof_count}"
            )
        return asset

    def _acquire(self, skeleton: Skeleton) -> None:
        """Views of the engine's state, and our own: what each env's state is while it is not in the simulation."""
        envs, dofs = self.num_envs, skeleton.dof_count
        self._root_now = _wrapped(self._gym.acquire_actor_root_state_tensor(self._sim)).view(envs, 13)
        self._dof_now = _wrapped(self._gym.acquire_dof_state_tensor(self._sim)).view(envs, dofs, 2)
        force = _wrapped(self._gym.acquire_net_contact_force_tensor(self._sim))
        self._force_now = force.view(envs, skeleton.num_bodies, 3)
        self.device = self._root_now.device
        self.skeleton = skeleton.to(self.device)
        self._tile_offsets = torch.from_numpy(self._world.offsets).to(self.device)
        self._offsets = torch.zeros(envs, 3, device=self.device)
        self._root_parked = torch.zeros(envs, 13, device=self.device)
        self._root_parked[:, :3] = torch.from_numpy(self._world.parking).to(self.device)
        self._root_parked[:, 6] = 1.0
        self._dof_parked = torch.zeros(envs, dofs, 2, device=self.device)
        self._root, self._dof = self._root_parked.clone(), self._dof_parked.clone()
        self._dof_targets = torch.zeros(envs, dofs, device=self.device)
        self._actor_index = torch.tensor(self._actors, dtype=torch.int32, device=self.device)
        self._placed: Set[int] = set()
        """envs whose state in the engine continues from their last step"""
        limits = [limit for joint in skeleton.joints for limit in joint.torque_limit]
        self._torque_limit = torch.tensor(limits, device=self.device)
        self._gains = [gain.to(self.device) for gain in self._gains]

    # ------------------------------------------------------------------------------------------ stepping

    def _write_states(self, envs: Sequence[int]) -> None:
        """Put the given envs where they were left, and all others to their parking places.

        PhysX keeps only the last call of a setter before a step, so there is one call for all.
        """
        stepped = set(envs)
        written = [env for env in range(self.num_envs) if env not in stepped or env not in self._placed]
        self._placed = stepped
        self._stepped = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self._stepped[list(stepped)] = True
        self._in_root = torch.where(self._stepped[:, None], self._root, self._root_parked)
        self._in_dof = torch.where(self._stepped[:, None, None], self._dof, self._dof_parked)
        if not written:
            return
        # On CUDA the engine reads these later, so they must outlive this call: hence attributes.
        self._in_actors = self._actor_index[written]
        roots, dofs = _unwrapped(self._in_root), _unwrapped(self._in_dof.view(-1, 2))
        actors = _unwrapped(self._in_actors)
        self._gym.set_actor_root_state_tensor_indexed(self._sim, roots, actors, len(written))
        self._gym.set_dof_state_tensor_indexed(self._sim, dofs, actors, len(written))

    def _simulate(self, targets: Tensor) -> None:
        """One control step towards targets [num_envs, D] for all envs."""
        explicit = self._config.control_mode == "pd_exp"
        if not explicit:
            self._gym.set_dof_position_target_tensor(self._sim, _unwrapped(targets))
        for number in range(self._config.steps_per_control // self._config.substeps):
            if explicit:
                if number:
                    self._gym.refresh_dof_state_tensor(self._sim)
                self._in_torque = self._torque(targets, self._dof_now if number else self._in_dof)
                self._gym.set_dof_actuation_force_tensor(self._sim, _unwrapped(self._in_torque))
            self._gym.simulate(self._sim)
            if not self._gpu:
                self._gym.fetch_results(self._sim, True)

    def _torque(self, targets: Tensor, dof: Tensor) -> Tensor:
        """PARC's control_mode pd_exp: an explicit drive along the geodesic, limited by the motors [num_envs, D] N m."""
        stiffness, damping = self._gains
        now, wanted = self.skeleton.dof_to_rot(dof[:, :, 0]), self.skeleton.dof_to_rot(targets)
        torque = stiffness * self.skeleton.dof_velocity(now, wanted, 1.0) - damping * dof[:, :, 1]
        torque = torch.minimum(torch.maximum(torque, -self._torque_limit), self._torque_limit)
        return torch.where(self._stepped[:, None], torque, torch.zeros_like(torque)).contiguous()

    def _refresh(self) -> None:
        """In PARC's order. The bodies' poses are not asked for: right after a reset they are those of before it."""
        self._gym.refresh_dof_state_tensor(self._sim)
        self._gym.refresh_actor_root_state_tensor(self._sim)
        self._gym.refresh_net_contact_force_tensor(self._sim)

    # ------------------------------------------------------------------------------------------ trouble

    def _raise_what_was_printed(self) -> None:
        """Raises TooLargeError or BrokenSimulationError if PhysX has complained since the last call."""
        text = self._output.new_text()
        for pattern in (TOO_LARGE, BROKEN):
            complaint = next((line.strip() for line in text.splitlines() if pattern.search(line)), None)
            if complaint and pattern is TOO_LARGE:
                raise self._too_large(complaint)
            if complaint:
                raise BrokenSimulationError(f"Isaac Gym: {complaint}")

    def _raise_if_idle_envs_diverged(self, envs: Sequence[int]) -> None:
        """Raises BrokenSimulationError if a character is not finite although it was just put to its parking place."""
        if len(envs) < self.num_envs and not bool(torch.isfinite(self._root_now[~self._stepped]).all()):
            raise BrokenSimulationError("Isaac Gym: parked characters have no finite state: it has diverged")

    def _too_large(self, complaint: str) -> TooLargeError:
        memory = ""
        if self._gpu:
            free, total = torch.cuda.mem_get_info()
            memory = f" ({_gib(self._free)} of {_gib(total)} GiB of device memory were free before, {_gib(free)} now)"
        return TooLargeError(
            f"Isaac Gym: {self.num_envs} envs on {len(self._world.offsets)} tiles are too many{memory}: {complaint}; "
            f"lower max_envs_per_actor to less than {self.num_envs}, or change sim.physx.max_gpu_contact_pairs and "
            "default_buffer_size_multiplier in env_file (smaller: less memory; larger: more contacts)"
        )

    def _failure(self, call: str) -> Exception:
        """What to raise for a call that has failed without an exception."""
        text = self._output.new_text()
        complaint = next((line.strip() for line in text.splitlines() if TOO_LARGE.search(line)), None)
        if complaint:
            return self._too_large(complaint)
        return BrokenSimulationError(f"Isaac Gym: {call} failed{_complaint(text)}")


def _wrapped(tensor: gymapi.Tensor) -> Tensor:
    wrapped: Tensor = gymtorch.wrap_tensor(tensor)
    return wrapped


def _unwrapped(tensor: Tensor) -> gymapi.Tensor:
    unwrapped: gymapi.Tensor = gymtorch.unwrap_tensor(tensor)
    return unwrapped


def _complaint(text: str) -> str:
    """The first error among the lines that were printed, or else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return f": {[*errors, *lines[::-1]][0]}" if lines else ""


def _gib(size: int) -> float:
    return round(size / 2**30, 1)


def _free_memory() -> int:
    """Free bytes of the CUDA device, once the process that used it before has given back its memory."""
    free = torch.cuda.mem_get_info()[0]
    for _ in range(20):
        time.sleep(0.25)
        before, free = free, torch.cuda.mem_get_info()[0]
        if free <= before + SETTLED_BYTES:
            break
    return free
