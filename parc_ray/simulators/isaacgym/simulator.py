"""The Isaac Gym simulator (Preview 4): all envs in one PhysX scene, on a CUDA device or on CPUs.

Built as in PARC, with the same asset options, drives, solver settings and triangle mesh. The only differences serve
the many motions and idle envs of recording: all envs share the world's origin, any env can use any tile, and idle
characters are moved to their parking places before every step, because they would fall.

Isaac Gym supports one simulation per process, and may hang or crash during shutdown, so close() leaves shutdown to
the end of the process. Import it with process.import_isaacgym.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from isaacgym import gymapi  # isort: skip  before torch
from isaacgym import gymtorch  # isort: skip
import numpy as np
import torch
from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError
from parc_ray.simulators.isaacgym.asset import MJCF, asset_files
from parc_ray.simulators.isaacgym.process import loaded_version
from parc_ray.simulators.scene_simulator import ANGULAR_DAMPING, MAX_ANGULAR_VELOCITY, SceneSimulator, first_error
from parc_ray.simulators.simulator import FRICTION, SimulatorConfig


class IsaacGymSimulator(SceneSimulator):
    """Simulator with Isaac Gym. Only as repeatable, and as independent of other envs, as PhysX."""

    name, title = "isaacgym", "Isaac Gym"

    def __init__(self, config: SimulatorConfig, skeleton: Skeleton):
        """Raise InputError if Isaac Gym cannot load the character, TooLargeError if memory is insufficient."""
        super().__init__(config, skeleton)
        self._gym = gymapi.acquire_gym()
        self.version = loaded_version()
        try:
            self._sim = self._create_sim()
            self._add_ground()
            self._add_characters(skeleton)
            # Ignore the return value, as in PARC; errors are in the printed output.
            self._gym.prepare_sim(self._sim)
            self._raise_what_was_printed()
            self._acquire(skeleton)
            self._set_up(skeleton, self._root_view.device)
        except BaseException:
            self._output.close()
            raise

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
        params.static_friction = FRICTION
        params.dynamic_friction = FRICTION
        params.restitution = 0.0
        self._gym.add_triangle_mesh(self._sim, vertices.flatten(), triangles.flatten(), params)

    def _add_characters(self, skeleton: Skeleton) -> None:
        """Create one actor per env, all in the world's frame. Collision groups separate actors; filter 0 enables
        self-collision."""
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
        self._actors: list[int] = []
        for index in range(config.num_envs):
            pose = gymapi.Transform()
            # Separate them from the start: many characters in one place overflow PhysX's pair buffers.
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
            for name, text in asset_files(self._config.character, source).items():
                (Path(folder) / name).write_text(text, encoding="utf-8")
            asset = self._gym.load_asset(self._sim, folder, MJCF, options)
        if asset is None:
            raise InputError(f"{source}: Isaac Gym cannot load the character{first_error(self._output.new_text())}")
        bodies, dofs = self._gym.get_asset_rigid_body_names(asset), self._gym.get_asset_dof_count(asset)
        if tuple(bodies) != skeleton.body_names or dofs != skeleton.dof_count:
            raise InputError(
                f"{source}: Isaac Gym reads bodies {', '.join(bodies)} with {dofs} degrees of freedom, parc_ray reads "
                f"{', '.join(skeleton.body_names)} with {skeleton.dof_count}"
            )
        return asset

    def _acquire(self, skeleton: Skeleton) -> None:
        """Create views of the engine's state."""
        envs = self.num_envs
        self._root_view = _wrap(self._gym.acquire_actor_root_state_tensor(self._sim)).view(envs, 13)
        self._dof_view = _wrap(self._gym.acquire_dof_state_tensor(self._sim)).view(envs, skeleton.dof_count, 2)
        force = _wrap(self._gym.acquire_net_contact_force_tensor(self._sim))
        self._force_view = force.view(envs, skeleton.num_bodies, 3)
        device = self._root_view.device
        self._actor_index = torch.tensor(self._actors, dtype=torch.int32, device=device)
        limits = [limit for joint in skeleton.joints for limit in joint.torque_limit]
        self._torque_limit = torch.tensor(limits, device=device)
        self._gains = [gain.to(device) for gain in self._gains]

    # ------------------------------------------------------------------------------------------ stepping

    def _put(self, envs: list[int], root: Tensor, dof: Tensor) -> None:
        # On CUDA the engine reads these later, so attributes keep them alive after this call.
        self._in_root, self._in_dof, self._in_actors = root, dof, self._actor_index[envs]
        roots, dofs = _unwrap(root), _unwrap(dof.view(-1, 2))
        actors = _unwrap(self._in_actors)
        self._gym.set_actor_root_state_tensor_indexed(self._sim, roots, actors, len(envs))
        self._gym.set_dof_state_tensor_indexed(self._sim, dofs, actors, len(envs))

    def _simulate(self, targets: Tensor) -> None:
        """Make one control step towards targets [num_envs, D] in all envs."""
        explicit = self._config.control_mode == "pd_exp"
        if not explicit:
            self._gym.set_dof_position_target_tensor(self._sim, _unwrap(targets))
        for number in range(self._config.steps_per_control // self._config.substeps):
            if explicit:
                if number:
                    self._gym.refresh_dof_state_tensor(self._sim)
                self._in_torque = self._torque(targets, self._dof_view if number else self._dof)
                self._gym.set_dof_actuation_force_tensor(self._sim, _unwrap(self._in_torque))
            self._gym.simulate(self._sim)
            if not self._gpu:
                self._gym.fetch_results(self._sim, True)

    def _torque(self, targets: Tensor, dof: Tensor) -> Tensor:
        """Return torques [num_envs, D] N m of PARC's pd_exp: an explicit geodesic drive, limited by the motors."""
        stiffness, damping = self._gains
        now, wanted = self.skeleton.dof_to_rot(dof[:, :, 0]), self.skeleton.dof_to_rot(targets)
        torque = stiffness * self.skeleton.dof_velocity(now, wanted, 1.0) - damping * dof[:, :, 1]
        torque = torch.minimum(torch.maximum(torque, -self._torque_limit), self._torque_limit)
        return torch.where(self._stepped[:, None], torque, torch.zeros_like(torque)).contiguous()

    def _read(self) -> tuple[Tensor, Tensor, Tensor]:
        """Read states in PARC's order. Body poses are not read: right after a reset they are outdated."""
        self._gym.refresh_dof_state_tensor(self._sim)
        self._gym.refresh_actor_root_state_tensor(self._sim)
        self._gym.refresh_net_contact_force_tensor(self._sim)
        return self._root_view, self._dof_view, self._force_view


def _wrap(tensor: gymapi.Tensor) -> Tensor:
    wrapped: Tensor = gymtorch.wrap_tensor(tensor)
    return wrapped


def _unwrap(tensor: Tensor) -> gymapi.Tensor:
    unwrapped: gymapi.Tensor = gymtorch.unwrap_tensor(tensor)
    return unwrapped
