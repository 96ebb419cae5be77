"""The Gym: signatures as in isaacgym-stubs (arg0, ... are positional), rules as in NVIDIA's documentation."""

from __future__ import annotations

import copy
import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from isaacgym._double import misbehaviour
from isaacgym._double.character import Character
from isaacgym._double.contract import Float32Array, TypeViolation, Uint32Array, checked, not_modelled, refuse
from isaacgym._double.settings import SETTINGS
from isaacgym._double.simulation import FAR, Actor, Simulation
from isaacgym._double.values import (
    DOF_PROPERTIES,
    INVALID_HANDLE,
    ActuatorProperties,
    Asset,
    AssetOptions,
    DofType,
    Env,
    IndexDomain,
    MeshType,
    PlaneParams,
    RigidBodyProperties,
    RigidShapeProperties,
    Sim,
    SimParams,
    SimType,
    Tensor,
    Transform,
    TriangleMeshParams,
    Vec3,
    Version,
)

_SIM, _ENV = IndexDomain(1), IndexDomain(0)
_created: List[Simulation] = []
"""One simulation per process, ever."""


def _handle(kind: type, **content: Any) -> Any:
    handle = object.__new__(kind)
    for name, value in content.items():
        setattr(handle, name, value)
    return handle


def _cuda_devices() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return SETTINGS.cuda
    return min(SETTINGS.cuda, len([part for part in visible.split(",") if part.strip()]))


class Gym:
    """isaacgym.gymapi.Gym. What the double does not have raises AttributeError, whether the real one has it or not."""

    # ------------------------------------------------------------------------------------- simulation

    @checked
    def create_sim(
        self,
        compute_device: int = 0,
        graphics_device: int = 0,
        type: SimType = SimType(1),
        params: SimParams = SimParams(),
    ) -> Optional[Sim]:
        """One per process. None, after messages on stderr, if the device cannot be used."""
        if _created:
            refuse("create_sim was called a second time in this process: Isaac Gym supports one simulation per process")
        misbehaviour.at("create_sim")
        _check_params(graphics_device, type, params)
        on_gpu = params.physx.use_gpu
        if SETTINGS.create_sim == "none" or (on_gpu and not 0 <= compute_device < _cuda_devices()):
            misbehaviour.say(
                "[Error] [carb.gym.plugin] Gym cuda error: invalid device ordinal: "
                "../../../source/plugins/carb/gym/impl/Gym/GymPhysX.cpp: 1721\n*** Failed to create sim\n"
            )
            return None
        device = compute_device if params.use_gpu_pipeline else -1
        print("Not connected to PVD\n+++ Using %s PhysX" % ("GPU" if on_gpu else "CPU"))
        print("Physics Engine: PhysX\nPhysics Device: %s" % (f"cuda:{compute_device}" if on_gpu else "cpu"))
        print("GPU Pipeline: %s" % ("enabled" if params.use_gpu_pipeline else "disabled"))
        simulation = Simulation(params, device)
        _created.append(simulation)
        misbehaviour.ALIVE.add(id(simulation))
        return _handle(Sim, _simulation=simulation)

    @checked
    def destroy_sim(self, arg0: Sim, /) -> None:
        """Its tensors are garbage afterwards."""
        simulation = _of(arg0)
        misbehaviour.at("destroy_sim")
        simulation.destroy()
        misbehaviour.ALIVE.discard(id(simulation))

    @checked
    def prepare_sim(self, arg0: Sim, /) -> bool:
        """After all envs and actors, before the tensor API."""
        return _of(arg0).prepare()

    @checked
    def simulate(self, arg0: Sim, /) -> None:
        """One step."""
        _of(arg0).simulate()

    @checked
    def fetch_results(self, arg0: Sim, arg1: bool, /) -> None:
        """Needed after each simulate on the CPU pipeline."""
        simulation = _of(arg0)
        simulation.prepared("fetch_results")
        if not arg1:
            not_modelled("fetch_results without waiting")
        if simulation.fetched and not simulation.params.use_gpu_pipeline:
            refuse("fetch_results without a simulate before it")
        simulation.fetched = True

    @checked
    def get_sim_params(self, arg0: Sim, /) -> SimParams:
        """A copy."""
        return copy.deepcopy(_of(arg0).params)

    @checked
    def get_sim_time(self, arg0: Sim, /) -> float:
        """Simulated seconds."""
        return _of(arg0).steps * _of(arg0).params.dt

    @checked
    def get_elapsed_time(self, arg0: Sim, /) -> float:
        """Seconds of wall clock since the simulation was made."""
        return time.monotonic() - _of(arg0).started

    @checked
    def get_frame_count(self, arg0: Sim, /) -> int:
        """Simulate calls."""
        return _of(arg0).steps

    @checked
    def get_sim_actor_count(self, arg0: Sim, /) -> int:
        """Actors of all envs."""
        return len(_of(arg0).actors)

    @checked
    def get_sim_rigid_body_count(self, arg0: Sim, /) -> int:
        """Bodies of all actors."""
        return sum(len(actor.character.body_names) for actor in _of(arg0).actors)

    @checked
    def get_sim_dof_count(self, arg0: Sim, /) -> int:
        """Dofs of all actors."""
        return sum(len(actor.character.dof_names) for actor in _of(arg0).actors)

    @checked
    def get_version(self) -> Version:
        """1.0."""
        return Version()

    # ----------------------------------------------------------------------------------------- ground

    @checked
    def add_ground(self, sim: Sim, params: PlaneParams) -> None:
        """The plane z = 0."""
        simulation = _of(sim)
        simulation.building("add_ground")
        normal = params.normal
        if (normal.x, normal.y, normal.z) != (0.0, 0.0, 1.0):
            refuse("add_ground: the default normal is the y axis; with z up it must be set to (0, 0, 1)")
        if params.distance:
            not_modelled("PlaneParams.distance")
        simulation.ground_material(params)
        simulation.ground.add_plane()

    @checked
    def add_triangle_mesh(self, arg0: Sim, arg1: Float32Array, arg2: Uint32Array, arg3: TriangleMeshParams, /) -> None:
        """Vertices and triangles as flat arrays."""
        simulation = _of(arg0)
        simulation.building("add_triangle_mesh")
        simulation.ground_material(arg3)
        rotation = arg3.transform.r
        if (rotation.x, rotation.y, rotation.z) != (0.0, 0.0, 0.0):
            not_modelled("a rotated triangle mesh")
        if arg1.size != 3 * arg3.nb_vertices or arg2.size != 3 * arg3.nb_triangles or not arg2.size:
            refuse(
                f"add_triangle_mesh: {arg3.nb_vertices} vertices and {arg3.nb_triangles} triangles announced, "
                f"{arg1.size / 3} and {arg2.size / 3} given"
            )
        if not np.isfinite(arg1).all() or int(arg2.max()) >= arg3.nb_vertices:
            refuse("add_triangle_mesh: a vertex is not finite or a triangle names one that does not exist")
        place = arg3.transform.p
        vertices = arg1.reshape(-1, 3) + np.array([place.x, place.y, place.z])
        if np.abs(vertices).max() > FAR:
            refuse(f"add_triangle_mesh: a vertex is more than {FAR:.0f} m from the origin")
        simulation.ground.add(vertices, arg2.reshape(-1, 3))

    # ----------------------------------------------------------------------------------------- assets

    @checked
    def load_asset(self, sim: Sim, rootpath: str, filename: str, options: Optional[AssetOptions] = None) -> Asset:
        """An MJCF file."""
        _of(sim).building("load_asset")
        character = Character(Path(rootpath) / filename, options or AssetOptions())
        return _handle(Asset, _character=character, _simulation=_of(sim))

    @checked
    def get_asset_rigid_body_count(self, arg0: Asset, /) -> int:
        """Number of bodies."""
        return len(arg0._character.body_names)

    @checked
    def get_asset_rigid_body_names(self, arg0: Asset, /) -> List[str]:
        """Depth first."""
        return list(arg0._character.body_names)

    @checked
    def get_asset_rigid_body_dict(self, arg0: Asset, /) -> Dict[str, int]:
        """Index by name."""
        return _by_name(arg0._character.body_names)

    @checked
    def find_asset_rigid_body_index(self, arg0: Asset, arg1: str, /) -> int:
        """-1 if there is none."""
        return _by_name(arg0._character.body_names).get(arg1, INVALID_HANDLE)

    @checked
    def get_asset_rigid_shape_count(self, arg0: Asset, /) -> int:
        """Number of shapes."""
        return sum(arg0._character.shapes_of_body)

    @checked
    def get_asset_dof_count(self, arg0: Asset, /) -> int:
        """Number of dofs."""
        return len(arg0._character.dof_names)

    @checked
    def get_asset_dof_names(self, arg0: Asset, /) -> List[str]:
        """Depth first."""
        return list(arg0._character.dof_names)

    @checked
    def get_asset_dof_name(self, arg0: Asset, arg1: int, /) -> str:
        """Name of one dof."""
        return arg0._character.dof_names[arg1]

    @checked
    def get_asset_dof_dict(self, arg0: Asset, /) -> Dict[str, int]:
        """Index by name."""
        return _by_name(arg0._character.dof_names)

    @checked
    def find_asset_dof_index(self, arg0: Asset, arg1: str, /) -> int:
        """-1 if there is none."""
        return _by_name(arg0._character.dof_names).get(arg1, INVALID_HANDLE)

    @checked
    def get_asset_dof_type(self, arg0: Asset, arg1: int, /) -> DofType:
        """All are rotations."""
        return DofType(1)

    @checked
    def get_asset_dof_properties(self, arg0: Asset, /) -> Any:
        """A structured array; a copy."""
        return np.array(arg0._character.dof_properties)

    @checked
    def get_asset_actuator_count(self, arg0: Asset, /) -> int:
        """Number of motors."""
        return len(arg0._character.actuators)

    @checked
    def get_asset_actuator_name(self, arg0: Asset, arg1: int, /) -> str:
        """In the order of the file, which need not be that of the dofs."""
        return arg0._character.actuators[arg1][0]

    @checked
    def get_asset_actuator_joint_name(self, arg0: Asset, arg1: int, /) -> str:
        """The joint that a motor drives."""
        return arg0._character.actuators[arg1][1]

    @checked
    def get_asset_actuator_properties(self, arg0: Asset, /) -> List[ActuatorProperties]:
        """In the order of the file, which need not be that of the dofs."""
        return [copy.deepcopy(actuator[2]) for actuator in arg0._character.actuators]

    # ------------------------------------------------------------------------------------------- envs

    @checked
    def create_env(self, arg0: Sim, arg1: Vec3, arg2: Vec3, arg3: int, /) -> Env:
        """Its place in a grid of `arg3` envs per row."""
        simulation = _of(arg0)
        simulation.building("create_env")
        if arg3 < 1 or arg1.x > arg2.x or arg1.y > arg2.y or arg1.z > arg2.z:
            refuse(f"create_env: bounds {arg1} to {arg2}, {arg3} envs per row")
        number = len(simulation.envs)
        misbehaviour.at("create_env", number)
        if not simulation.out_of_memory:
            simulation.out_of_memory = not misbehaviour.memory_for(number + 1)
        row, column = divmod(number, arg3)
        origin = np.array([column * (arg2.x - arg1.x), row * (arg2.y - arg1.y), 0.0])
        simulation.envs.append(origin)
        return _handle(Env, _simulation=simulation, _number=number, _aggregate=None)

    @checked
    def get_env(self, arg0: Sim, arg1: int, /) -> Env:
        """The env of this number."""
        return _handle(Env, _simulation=_of(arg0), _number=arg1, _aggregate=None)

    @checked
    def get_env_count(self, arg0: Sim, /) -> int:
        """Number of envs."""
        return len(_of(arg0).envs)

    @checked
    def get_env_origin(self, arg0: Env, /) -> Vec3:
        """In the world."""
        return Vec3(*_of(arg0).envs[arg0._number].tolist())

    @checked
    def begin_aggregate(self, arg0: Env, arg1: int, arg2: int, arg3: bool, /) -> bool:
        """Bodies and shapes that follow count as one for the broad phase."""
        _of(arg0).building("begin_aggregate")
        if arg0._aggregate is not None:
            refuse("begin_aggregate before end_aggregate")
        arg0._aggregate = [arg1, arg2]
        return True

    @checked
    def end_aggregate(self, arg0: Env, /) -> bool:
        """See begin_aggregate."""
        if arg0._aggregate is None:
            refuse("end_aggregate without begin_aggregate")
        if min(arg0._aggregate) < 0:
            refuse("the aggregate holds more bodies or shapes than begin_aggregate announced")
        arg0._aggregate = None
        return True

    # ----------------------------------------------------------------------------------------- actors

    @checked
    def create_actor(
        self,
        env: Env,
        asset: Asset,
        pose: Transform,
        name: Optional[str] = None,
        group: int = -1,
        filter: int = -1,
        segmentationId: int = 0,
    ) -> int:
        """Handle of the actor in its env. `pose` is relative to the env's origin; filter 0: bodies of it collide."""
        simulation = _of(env)
        simulation.building("create_actor")
        if asset._simulation is not simulation:
            refuse("create_actor: the asset belongs to another simulation")
        if simulation.actors and simulation.actors[-1].env > env._number:
            refuse("create_actor: once the next env has actors, none can be added to an earlier one")
        if group < 0 or group in simulation.groups:
            not_modelled(f"collision group {group}, which other actors share")
        simulation.groups.add(group)
        if env._aggregate is not None:
            env._aggregate[0] -= len(asset._character.body_names)
            env._aggregate[1] -= sum(asset._character.shapes_of_body)
        place = simulation.envs[env._number] + np.array([pose.p.x, pose.p.y, pose.p.z])
        start = np.append(place, [pose.r.x, pose.r.y, pose.r.z, pose.r.w])
        actor = Actor(env._number, name or "", asset._character, start, self_collision=filter == 0)
        simulation.actors.append(actor)
        return len(_actors(env)) - 1

    @checked
    def get_actor_count(self, arg0: Env, /) -> int:
        """Actors of an env."""
        return len(_actors(arg0))

    @checked
    def get_actor_handle(self, arg0: Env, arg1: int, /) -> int:
        """Handle of the n-th actor of an env."""
        _actor(arg0, arg1)
        return arg1

    @checked
    def find_actor_handle(self, arg0: Env, arg1: str, /) -> int:
        """-1 if there is none."""
        return _by_name([actor.name for actor in _actors(arg0)]).get(arg1, INVALID_HANDLE)

    @checked
    def get_actor_index(self, arg0: Env, arg1: int, arg2: IndexDomain, /) -> int:
        """In the env or in the simulation's tensors."""
        actor = _actor(arg0, arg1)
        if arg2 == _SIM:
            return _of(arg0).actors.index(actor)
        if arg2 == _ENV:
            return arg1
        return refuse("get_actor_index: an actor has no index in the actor domain")

    @checked
    def find_actor_index(self, arg0: Env, arg1: str, arg2: IndexDomain, /) -> int:
        """By name; -1 if there is none."""
        handle = _by_name([actor.name for actor in _actors(arg0)]).get(arg1, INVALID_HANDLE)
        return handle if handle < 0 else self.get_actor_index(arg0, handle, arg2)

    @checked
    def get_actor_name(self, arg0: Env, arg1: int, /) -> str:
        """As given to create_actor."""
        return _actor(arg0, arg1).name

    @checked
    def get_actor_rigid_body_count(self, arg0: Env, arg1: int, /) -> int:
        """Number of bodies."""
        return len(_actor(arg0, arg1).character.body_names)

    @checked
    def get_actor_rigid_body_names(self, arg0: Env, arg1: int, /) -> List[str]:
        """Depth first."""
        return list(_actor(arg0, arg1).character.body_names)

    @checked
    def find_actor_rigid_body_handle(self, arg0: Env, arg1: int, arg2: str, /) -> int:
        """Index in the env; -1 if there is none."""
        return self.find_actor_rigid_body_index(arg0, arg1, arg2, _ENV)

    @checked
    def find_actor_rigid_body_index(self, arg0: Env, arg1: int, arg2: str, arg3: IndexDomain, /) -> int:
        """By name; -1 if there is none."""
        index = _by_name(_actor(arg0, arg1).character.body_names).get(arg2, INVALID_HANDLE)
        return index if index < 0 else _offset(arg0, arg1, arg3, "body_names") + index

    @checked
    def get_actor_rigid_body_index(self, arg0: Env, arg1: int, arg2: int, arg3: IndexDomain, /) -> int:
        """Of the n-th body."""
        return _offset(arg0, arg1, arg3, "body_names") + arg2

    @checked
    def get_actor_rigid_body_properties(self, arg0: Env, arg1: int, /) -> List[RigidBodyProperties]:
        """Mass and centre of mass; the inertia is left at zero."""
        character = _actor(arg0, arg1).character
        properties = []
        for mass, centre in zip(character.masses, character.centres):
            body = RigidBodyProperties()
            body.mass, body.invMass, body.com = mass, 1.0 / mass, Vec3(*centre.tolist())
            properties.append(body)
        return properties

    @checked
    def get_actor_rigid_shape_count(self, arg0: Env, arg1: int, /) -> int:
        """Number of shapes."""
        return sum(_actor(arg0, arg1).character.shapes_of_body)

    @checked
    def get_actor_rigid_shape_properties(self, arg0: Env, arg1: int, /) -> List[RigidShapeProperties]:
        """One per shape."""
        actor = _actor(arg0, arg1)
        properties = []
        for _ in range(sum(actor.character.shapes_of_body)):
            shape = RigidShapeProperties()
            shape.friction = actor.friction
            shape.contact_offset = _of(arg0).params.physx.contact_offset
            shape.rest_offset = _of(arg0).params.physx.rest_offset
            properties.append(shape)
        return properties

    @checked
    def set_actor_rigid_shape_properties(self, arg0: Env, arg1: int, arg2: List[RigidShapeProperties], /) -> bool:
        """Only one friction for all shapes can be changed."""
        _of(arg0).building("set_actor_rigid_shape_properties")
        actor = _actor(arg0, arg1)
        default = self.get_actor_rigid_shape_properties(arg0, arg1)
        if len(arg2) != len(default):
            refuse(f"set_actor_rigid_shape_properties: {len(default)} shapes, {len(arg2)} properties")
        if len({shape.friction for shape in arg2}) > 1:
            not_modelled("different friction of an actor's shapes")
        for given, own in zip(arg2, default):
            for name in own.fields():
                if name != "friction" and getattr(given, name) != getattr(own, name):
                    not_modelled(f"RigidShapeProperties.{name}")
        actor.friction = arg2[0].friction
        return True

    @checked
    def get_actor_dof_count(self, arg0: Env, arg1: int, /) -> int:
        """Number of dofs."""
        return len(_actor(arg0, arg1).character.dof_names)

    @checked
    def get_actor_dof_names(self, arg0: Env, arg1: int, /) -> List[str]:
        """Depth first."""
        return list(_actor(arg0, arg1).character.dof_names)

    @checked
    def get_actor_dof_dict(self, arg0: Env, arg1: int, /) -> Dict[str, int]:
        """Index by name."""
        return _by_name(_actor(arg0, arg1).character.dof_names)

    @checked
    def find_actor_dof_index(self, arg0: Env, arg1: int, arg2: str, arg3: IndexDomain, /) -> int:
        """By name; -1 if there is none."""
        index = _by_name(_actor(arg0, arg1).character.dof_names).get(arg2, INVALID_HANDLE)
        return index if index < 0 else _offset(arg0, arg1, arg3, "dof_names") + index

    @checked
    def get_actor_dof_index(self, arg0: Env, arg1: int, arg2: int, arg3: IndexDomain, /) -> int:
        """Of the n-th dof."""
        return _offset(arg0, arg1, arg3, "dof_names") + arg2

    @checked
    def get_actor_dof_properties(self, arg0: Env, arg1: int, /) -> Any:
        """A structured array; a copy."""
        return np.array(_actor(arg0, arg1).properties)

    @checked
    def set_actor_dof_properties(self, arg0: Env, arg1: int, arg2: Any, /) -> bool:
        """Drive mode, stiffness, damping and armature; everything else must stay as the asset has it."""
        _of(arg0).building("set_actor_dof_properties")
        actor = _actor(arg0, arg1)
        own = actor.character.dof_properties
        if not isinstance(arg2, np.ndarray) or arg2.dtype != DOF_PROPERTIES or arg2.shape != own.shape:
            refuse(f"set_actor_dof_properties takes an array of {own.shape} dof properties", TypeViolation)
        for name in ("hasLimits", "lower", "upper", "velocity", "effort", "friction"):
            if np.any(arg2[name] != own[name]):
                not_modelled(f"a change of the dof property {name!r}")
        _check_drives(arg2)
        actor.properties = np.array(arg2)
        return True

    @checked
    def get_actor_actuator_count(self, arg0: Env, arg1: int, /) -> int:
        """Number of motors."""
        return len(_actor(arg0, arg1).character.actuators)

    @checked
    def get_actor_actuator_name(self, arg0: Env, arg1: int, arg2: int, /) -> str:
        """See get_asset_actuator_name."""
        return _actor(arg0, arg1).character.actuators[arg2][0]

    @checked
    def get_actor_actuator_joint_name(self, arg0: Env, arg1: int, arg2: int, /) -> str:
        """See get_asset_actuator_joint_name."""
        return _actor(arg0, arg1).character.actuators[arg2][1]

    @checked
    def get_actor_actuator_properties(self, arg0: Env, arg1: int, /) -> List[ActuatorProperties]:
        """See get_asset_actuator_properties."""
        return [copy.deepcopy(actuator[2]) for actuator in _actor(arg0, arg1).character.actuators]

    @checked
    def enable_actor_dof_force_sensors(self, arg0: Env, arg1: int, /) -> bool:
        """Needed for the dof force tensor."""
        _of(arg0).building("enable_actor_dof_force_sensors")
        _actor(arg0, arg1).force_sensors = True
        return True

    @checked
    def set_rigid_body_color(self, arg0: Env, arg1: int, arg2: int, arg3: MeshType, arg4: Vec3, /) -> None:
        """Checked, and without effect."""
        if not 0 <= arg2 < len(_actor(arg0, arg1).character.body_names):
            refuse(f"set_rigid_body_color: no body {arg2}")

    # ---------------------------------------------------------------------------------------- tensors

    @checked
    def acquire_actor_root_state_tensor(self, arg0: Sim, /) -> Tensor:
        """[actors, 13]: position, rotation xyzw, velocity of the centre of mass, angular velocity; global frame."""
        return _acquire(arg0, "root", "acquire_actor_root_state_tensor")

    @checked
    def acquire_dof_state_tensor(self, arg0: Sim, /) -> Tensor:
        """[dofs, 2]: position, velocity."""
        return _acquire(arg0, "dof", "acquire_dof_state_tensor")

    @checked
    def acquire_rigid_body_state_tensor(self, arg0: Sim, /) -> Tensor:
        """[bodies, 13], as the root states."""
        return _acquire(arg0, "body", "acquire_rigid_body_state_tensor")

    @checked
    def acquire_net_contact_force_tensor(self, arg0: Sim, /) -> Tensor:
        """[bodies, 3] N."""
        return _acquire(arg0, "contact", "acquire_net_contact_force_tensor")

    @checked
    def acquire_dof_force_tensor(self, arg0: Sim, /) -> Tensor:
        """[dofs] N m."""
        if not all(actor.force_sensors for actor in _of(arg0).actors):
            refuse("acquire_dof_force_tensor: enable_actor_dof_force_sensors was not called for every actor")
        return _acquire(arg0, "force", "acquire_dof_force_tensor")

    @checked
    def refresh_actor_root_state_tensor(self, arg0: Sim, /) -> bool:
        """Fill the tensor."""
        return _refresh(arg0, "refresh_actor_root_state_tensor", Simulation.publish_root)

    @checked
    def refresh_dof_state_tensor(self, arg0: Sim, /) -> bool:
        """Fill the tensor."""
        return _refresh(arg0, "refresh_dof_state_tensor", Simulation.publish_dof)

    @checked
    def refresh_rigid_body_state_tensor(self, arg0: Sim, /) -> bool:
        """Fill the tensor."""
        return _refresh(arg0, "refresh_rigid_body_state_tensor", Simulation.publish_body)

    @checked
    def refresh_net_contact_force_tensor(self, arg0: Sim, /) -> bool:
        """Fill the tensor."""
        return _refresh(arg0, "refresh_net_contact_force_tensor", Simulation.publish_contact)

    @checked
    def refresh_dof_force_tensor(self, arg0: Sim, /) -> bool:
        """Fill the tensor."""
        return _refresh(arg0, "refresh_dof_force_tensor", Simulation.publish_force)

    @checked
    def set_actor_root_state_tensor(self, arg0: Sim, arg1: Tensor, /) -> bool:
        """Root states of all actors."""
        return _set(arg0, "set_actor_root_state_tensor", arg1)

    @checked
    def set_actor_root_state_tensor_indexed(self, arg0: Sim, arg1: Tensor, arg2: Tensor, arg3: int, /) -> bool:
        """Root states of some actors, from the tensor of all."""
        return _set(arg0, "set_actor_root_state_tensor_indexed", arg1, arg2, arg3)

    @checked
    def set_dof_state_tensor(self, arg0: Sim, arg1: Tensor, /) -> bool:
        """Dof states of all actors."""
        return _set(arg0, "set_dof_state_tensor", arg1)

    @checked
    def set_dof_state_tensor_indexed(self, arg0: Sim, arg1: Tensor, arg2: Tensor, arg3: int, /) -> bool:
        """Dof states of some actors, from the tensor of all."""
        return _set(arg0, "set_dof_state_tensor_indexed", arg1, arg2, arg3)

    @checked
    def set_dof_position_target_tensor(self, arg0: Sim, arg1: Tensor, /) -> bool:
        """Position targets of all actors."""
        return _set(arg0, "set_dof_position_target_tensor", arg1)

    @checked
    def set_dof_position_target_tensor_indexed(self, arg0: Sim, arg1: Tensor, arg2: Tensor, arg3: int, /) -> bool:
        """Position targets of some actors, from the tensor of all."""
        return _set(arg0, "set_dof_position_target_tensor_indexed", arg1, arg2, arg3)

    @checked
    def set_dof_actuation_force_tensor(self, arg0: Sim, arg1: Tensor, /) -> bool:
        """Forces on all actors, for one step."""
        return _set(arg0, "set_dof_actuation_force_tensor", arg1)

    @checked
    def set_dof_actuation_force_tensor_indexed(self, arg0: Sim, arg1: Tensor, arg2: Tensor, arg3: int, /) -> bool:
        """Forces on some actors, from the tensor of all, for one step."""
        return _set(arg0, "set_dof_actuation_force_tensor_indexed", arg1, arg2, arg3)


_GYM = Gym()


def acquire_gym() -> Gym:
    """The one Gym of the process."""
    return _GYM


def _of(handle: Any) -> Simulation:
    simulation: Simulation = handle._simulation
    simulation.alive("a call")
    return simulation


def _actors(env: Env) -> List[Actor]:
    return [actor for actor in env._simulation.actors if actor.env == env._number]


def _actor(env: Env, handle: int) -> Actor:
    actors = _actors(env)
    if not 0 <= handle < len(actors):
        refuse(f"env {env._number} has no actor {handle}; handles count from 0 in each env")
    return actors[handle]


def _by_name(names: List[str]) -> Dict[str, int]:
    return {name: index for index, name in enumerate(names)}


def _offset(env: Env, handle: int, domain: IndexDomain, names: str) -> int:
    """Index of an actor's first body or dof in a domain."""
    actor = _actor(env, handle)
    if domain == _SIM:
        before = _of(env).actors[: _of(env).actors.index(actor)]
    elif domain == _ENV:
        before = _actors(env)[:handle]
    else:
        before = []
    return sum(len(getattr(other.character, names)) for other in before)


def _acquire(sim: Sim, name: str, call: str) -> Tensor:
    simulation = _of(sim)
    simulation.prepared(call)
    return simulation.buffers[name].describe()


def _refresh(sim: Sim, call: str, publish: Callable[[Simulation], None]) -> bool:
    simulation = _of(sim)
    simulation.refresh(call)
    publish(simulation)
    return True


_SETTERS = {
    "set_actor_root_state_tensor": (Simulation.set_root, 13, None),
    "set_dof_state_tensor": (Simulation.set_dof, None, 2),
    "set_dof_position_target_tensor": (Simulation.set_targets, None, 1),
    "set_dof_actuation_force_tensor": (Simulation.set_efforts, None, 1),
}
"""What to do, numbers per actor, numbers per dof"""


def _set(sim: Sim, call: str, values: Tensor, indices: Optional[Tensor] = None, count: int = 0) -> bool:
    simulation = _of(sim)
    simulation.setter(call)
    apply, per_actor, per_dof = _SETTERS[call.replace("_indexed", "")]
    each = per_actor or per_dof * len(simulation.character.dof_names)
    content = simulation.read(values, "DTYPE_FLOAT32", each * len(simulation.actors), call)
    actors = simulation.all_actors() if indices is None else simulation.indices(indices, count, call)
    apply(simulation, content.reshape(len(simulation.actors), each), actors)
    return True


def _check_drives(properties: np.ndarray) -> None:
    modes = set(properties["driveMode"].tolist())
    if len(modes) > 1 or not modes <= {0, 1, 3}:
        not_modelled(f"drive modes {sorted(modes)} of one actor")
    gains = np.concatenate([properties["stiffness"], properties["damping"], properties["armature"]])
    if not np.isfinite(gains).all() or (gains < 0).any():
        refuse("set_actor_dof_properties: a gain is negative or not finite")
    if modes == {3} and (properties["stiffness"].any() or properties["damping"].any()):
        refuse("DOF_MODE_EFFORT with stiffness or damping: they would act besides the forces; set both to 0")


def _check_params(graphics_device: int, kind: SimType, params: SimParams) -> None:
    physx = params.physx
    rules = {
        "type must be SIM_PHYSX (the default is SIM_FLEX; the tensor API needs PhysX)": kind == SimType(0),
        "graphics_device must be -1: nothing is drawn in a headless run": graphics_device == -1,
        "params.use_gpu_pipeline must be set": params.use_gpu_pipeline is not None,
        "params.physx.use_gpu must be set: its default is not documented": physx.use_gpu is not None,
        "params.use_gpu_pipeline needs params.physx.use_gpu": bool(physx.use_gpu or not params.use_gpu_pipeline),
        "params.up_axis must be UP_AXIS_Z (the default is y)": int(params.up_axis) == 1,
        "params.gravity must point down the z axis (the default is -9.8 along y)": (
            params.gravity.x == params.gravity.y == 0.0 and params.gravity.z < 0
        ),
        "params.dt must be positive and params.substeps at least 1": params.dt > 0 and params.substeps >= 1,
        "params.physx.solver_type must be 0 or 1": physx.solver_type in (0, 1),
        "params.physx.num_position_iterations must be 1 to 255": 1 <= physx.num_position_iterations <= 255,
        "params.physx.num_velocity_iterations must be 0 to 255": 0 <= physx.num_velocity_iterations <= 255,
        "params.physx.contact_offset must exceed rest_offset": physx.contact_offset > physx.rest_offset,
    }
    for rule, holds in rules.items():
        if not holds:
            refuse(f"create_sim: {rule}")
