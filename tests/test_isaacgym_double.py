"""The contract double of Isaac Gym refuses what it should, and moves as it should.

The double allows one simulation per process and must be imported before torch, as the real package. So this file
is also a program: it imports the double once and runs every scenario in a fork of itself.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
DOUBLE = Path(__file__).parent / "isaacgym_double"

CHARACTER = """
<mujoco>
  <default>
    <motor ctrlrange="-1 1" ctrllimited="true"/>
    <default class="body"><joint type="hinge" limited="true" damping="5" stiffness="50" armature="0.01"/></default>
  </default>
  <worldbody>
    <geom name="floor" type="plane" size="1 1 1" material="grid"/>
    <body name="trunk" childclass="body">
      <freejoint name="root"/>
      <geom type="box" size="0.2 0.15 0.1" pos="0.05 0 0.02" density="1000"/>
      <body name="arm" pos="0 0.2 0.1">
        <joint name="arm_x" axis="1 0 0" range="-90 90"/>
        <joint name="arm_y" axis="0 1 0" range="-90 90"/>
        <joint name="arm_z" axis="0 0 1" range="-90 90"/>
        <geom type="capsule" fromto="0 0.05 0 0 0.3 0" size="0.04" density="1000"/>
        <body name="hand" pos="0 0.35 0">
          <joint name="wrist" axis="0 0 1" range="-30 160" stiffness="20" damping="2"/>
          <geom type="sphere" size="0.05" density="1000"/>
          <body name="finger" pos="0 0.08 0"><geom type="sphere" size="0.02" density="1000"/></body>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="arm_x" gear="70" joint="arm_x"/>
    <motor name="arm_z" gear="60" joint="arm_z"/>
    <motor name="arm_y" gear="50" joint="arm_y"/>
    <motor name="wrist" gear="40" joint="wrist"/>
  </actuator>
</mujoco>
"""
BODIES, DOFS = 4, 4

Scenario = Tuple[Callable[[], None], Optional[str], Dict[str, Any]]
SCENARIOS: Dict[str, Scenario] = {}
gymapi: Any = None
gymtorch: Any = None
torch: Any = None


def works(**settings: Any) -> Callable[[Callable[[], None]], None]:
    """A scenario that must pass, with these settings of the double."""
    return lambda function: SCENARIOS.update({function.__name__: (function, None, settings)})


def refused(message: str, **settings: Any) -> Callable[[Callable[[], None]], None]:
    """A scenario whose last line must be refused with this message."""
    return lambda function: SCENARIOS.update({function.__name__: (function, message, settings)})


# --------------------------------------------------------------------------------------------- a world to try


def params(**changes: Any) -> Any:
    """Parameters that create_sim accepts, changed."""
    values = gymapi.SimParams()
    values.up_axis = gymapi.UP_AXIS_Z
    values.gravity = gymapi.Vec3(0.0, 0.0, -9.81)
    values.use_gpu_pipeline = values.physx.use_gpu = False
    for name, value in changes.items():
        setattr(values.physx if hasattr(values.physx, name) else values, name, value)
    return values


def blocks(heights: Any, cell: float = 1.0) -> Tuple[Any, Any]:
    """Vertices and triangles (flat) of square level tops, in the middle of the world."""
    heights = np.asarray(heights, dtype=np.float32)
    corner = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
    cells = np.stack(np.meshgrid(*map(np.arange, heights.shape), indexing="ij"), axis=-1)[:, :, None] + corner
    xy = (cells - np.array(heights.shape) / 2) * cell
    z = np.broadcast_to(heights[:, :, None, None], (*heights.shape, 4, 1))
    vertices = np.concatenate([xy, z], axis=-1).astype(np.float32)
    faces = np.arange(heights.size)[:, None, None] * 4 + np.array([(0, 2, 1), (0, 3, 2)])
    return vertices.ravel(), faces.astype(np.uint32).ravel()


def close(found: Any, expected: Any, atol: float) -> None:
    """torch.testing.assert_close takes half a second to import."""
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=atol, rtol=0)


class World:
    """A simulation with some characters, ready for scenarios to use and abuse."""

    def __init__(self, actors: int = 2, mode: str = "DOF_MODE_POS", heights: Any = ((0.0,) * 20,) * 20, **changes: Any):
        self.gym = gymapi.acquire_gym()
        self.sim = self.gym.create_sim(0, -1, gymapi.SIM_PHYSX, params(**changes))
        self.add_mesh(*blocks(heights))
        self.asset = self.gym.load_asset(self.sim, *self.file())
        self.mode = getattr(gymapi, mode)
        self.envs: List[Any] = []
        for _ in range(actors):
            self.add_actor()

    @staticmethod
    def file() -> Tuple[str, str]:
        return tempfile.gettempdir(), f"character-{os.environ['SCENARIOS']}.xml"

    def add_mesh(self, vertices: Any, triangles: Any, **changes: Any) -> None:
        mesh = gymapi.TriangleMeshParams()
        mesh.nb_vertices, mesh.nb_triangles = vertices.size // 3, triangles.size // 3
        for name, value in changes.items():
            setattr(mesh, name, value)
        self.gym.add_triangle_mesh(self.sim, vertices, triangles, mesh)

    def add_actor(self, env: Any = None, group: Optional[int] = None) -> int:
        if env is None:
            env = self.gym.create_env(self.sim, gymapi.Vec3(), gymapi.Vec3(), 4)
            self.envs.append(env)
        group = len(self.envs) - 1 if group is None else group
        actor = self.gym.create_actor(env, self.asset, gymapi.Transform(), "character", group, 0)
        properties = self.gym.get_actor_dof_properties(env, actor)
        properties["driveMode"] = self.mode
        if self.mode == gymapi.DOF_MODE_EFFORT:
            properties["stiffness"] = properties["damping"] = 0.0
        assert self.gym.set_actor_dof_properties(env, actor, properties)
        return int(actor)

    def prepare(self, at: Tuple[float, float, float] = (0.0, 0.0, 1.0)) -> World:
        assert self.gym.prepare_sim(self.sim)
        wrap = gymtorch.wrap_tensor
        self.root = wrap(self.gym.acquire_actor_root_state_tensor(self.sim))
        self.dof = wrap(self.gym.acquire_dof_state_tensor(self.sim)).view(-1, DOFS, 2)
        self.body = wrap(self.gym.acquire_rigid_body_state_tensor(self.sim)).view(-1, BODIES, 13)
        self.contact = wrap(self.gym.acquire_net_contact_force_tensor(self.sim)).view(-1, BODIES, 3)
        self.targets = torch.zeros(len(self.root), DOFS)
        self.all = torch.arange(len(self.root), dtype=torch.int32)
        self.root[:], self.dof[:] = 0.0, 0.0
        self.root[:, :3], self.root[:, 6] = torch.tensor(at), 1.0
        return self

    def set_root(self, indices: Any = None) -> None:
        self.call("set_actor_root_state_tensor_indexed", self.root, indices)

    def set_dof(self, indices: Any = None) -> None:
        self.call("set_dof_state_tensor_indexed", self.dof, indices)

    def call(self, name: str, values: Any, indices: Any = None) -> None:
        indices = self.all if indices is None else indices
        unwrap = gymtorch.unwrap_tensor
        assert getattr(self.gym, name)(self.sim, unwrap(values), unwrap(indices), len(indices))

    def set_targets(self) -> None:
        assert self.gym.set_dof_position_target_tensor(self.sim, gymtorch.unwrap_tensor(self.targets))

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.gym.simulate(self.sim)
            self.gym.fetch_results(self.sim, True)

    def refresh(self) -> None:
        self.gym.refresh_dof_state_tensor(self.sim)
        self.gym.refresh_actor_root_state_tensor(self.sim)
        self.gym.refresh_rigid_body_state_tensor(self.sim)
        self.gym.refresh_net_contact_force_tensor(self.sim)

    def start(self) -> World:
        """Put all characters where the tensors say, and step once."""
        self.set_root()
        self.set_dof()
        self.step()
        return self


# ------------------------------------------------------------------------------------------ names and types


@refused("SimParams has no attribute 'subteps'")
def attribute_of_sim_params() -> None:
    gymapi.SimParams().subteps = 2


@refused("PhysXParams has no attribute 'gpu_max_contacts'")
def attribute_of_physx_params() -> None:
    gymapi.SimParams().physx.gpu_max_contacts = 2


@refused("AssetOptions has no attribute 'fix_base'")
def attribute_of_asset_options() -> None:
    gymapi.AssetOptions().fix_base = True


@refused("TriangleMeshParams has no attribute 'num_vertices'")
def attribute_of_mesh_params() -> None:
    gymapi.TriangleMeshParams().num_vertices = 3


@refused("has no attribute 'DOF_MODE_POSITION'")
def constant() -> None:
    gymapi.DOF_MODE_POSITION  # noqa: B018


@refused("has no attribute 'step'")
def method() -> None:
    gymapi.acquire_gym().step()


@refused("PhysXParams.contact_collection must be ContactCollection, but it is int 1")
def number_for_an_enumeration() -> None:
    gymapi.PhysXParams().contact_collection = 1


@refused("PhysXParams.solver_type must be int, but it is float")
def fraction_for_an_int() -> None:
    gymapi.PhysXParams().solver_type = 1.0


@refused("create_env: too many positional arguments")
def too_many_arguments() -> None:
    world = World(0)
    world.gym.create_env(world.sim, gymapi.Vec3(), gymapi.Vec3(), 4, 5)


@refused("create_env: missing a required argument: 'arg3'")
def keyword_that_pybind_does_not_name() -> None:
    world = World(0)
    world.gym.create_env(world.sim, gymapi.Vec3(), gymapi.Vec3(), num_per_row=4)


@refused("load_asset: rootpath must be str, but it is .*Path")
def path_for_a_string() -> None:
    world = World(0)
    world.gym.load_asset(world.sim, Path("/tmp"), "character.xml")


@refused("set_actor_dof_properties takes an array of ..,. dof properties")
def dof_properties_of_another_shape() -> None:
    world = World(1)
    properties = world.gym.get_asset_dof_properties(world.asset)
    world.gym.set_actor_dof_properties(world.envs[0], 0, properties[:2])


@refused("set_actor_dof_properties takes an array of ..,. dof properties")
def dof_properties_of_another_type() -> None:
    world = World(1)
    properties = np.zeros(DOFS, dtype=[("driveMode", "<i4"), ("stiffness", "<f8")])
    world.gym.set_actor_dof_properties(world.envs[0], 0, properties)


@refused("a change of the dof property 'effort' is not modelled")
def dof_property_that_is_not_modelled() -> None:
    world = World(1)
    properties = world.gym.get_asset_dof_properties(world.asset)
    properties["effort"] = 100.0
    world.gym.set_actor_dof_properties(world.envs[0], 0, properties)


@refused("arg1 must be a numpy array of float32, but it is float64")
def double_vertices() -> None:
    vertices, triangles = blocks([[0.0]])
    World(0).add_mesh(vertices.astype(np.float64), triangles)


@refused("arg2 must be a numpy array of uint32, but it is int64")
def signed_triangles() -> None:
    vertices, triangles = blocks([[0.0]])
    World(0).add_mesh(vertices, triangles.astype(np.int64))


@refused("arg1 must be flat and contiguous")
def vertices_in_rows() -> None:
    vertices, triangles = blocks([[0.0]])
    World(0).add_mesh(vertices.reshape(-1, 3), triangles)


@refused("5 vertices and 2 triangles announced, 4.0 and 2.0 given")
def miscounted_vertices() -> None:
    World(0).add_mesh(*blocks([[0.0]]), nb_vertices=5)


@refused("a level face that looks down")
def mesh_inside_out() -> None:
    vertices, triangles = blocks([[0.0]])
    World(0).add_mesh(vertices, triangles.reshape(-1, 3)[:, ::-1].copy().ravel())


@refused("no such file: .*nobody.xml")
def missing_asset() -> None:
    world = World(0)
    world.gym.load_asset(world.sim, "/nowhere", "nobody.xml", gymapi.AssetOptions())


# ------------------------------------------------------------------------------- creating a simulation


@refused("type must be SIM_PHYSX")
def default_engine() -> None:
    gymapi.acquire_gym().create_sim(0, -1, params=params())


@refused("graphics_device must be -1")
def default_graphics_device() -> None:
    gymapi.acquire_gym().create_sim(0, type=gymapi.SIM_PHYSX, params=params())


@refused("up_axis must be UP_AXIS_Z")
def default_up_axis() -> None:
    gymapi.acquire_gym().create_sim(0, -1, gymapi.SIM_PHYSX, params(up_axis=gymapi.UP_AXIS_Y))


@refused("gravity must point down the z axis")
def default_gravity() -> None:
    gymapi.acquire_gym().create_sim(0, -1, gymapi.SIM_PHYSX, params(gravity=gymapi.SimParams().gravity))


@refused("use_gpu_pipeline needs params.physx.use_gpu")
def gpu_pipeline_without_gpu() -> None:
    gymapi.acquire_gym().create_sim(0, -1, gymapi.SIM_PHYSX, params(use_gpu_pipeline=True))


@refused("physx.use_gpu must be set")
def undocumented_default() -> None:
    values = params()
    values.physx = gymapi.PhysXParams()
    gymapi.acquire_gym().create_sim(0, -1, gymapi.SIM_PHYSX, values)


@refused("create_sim was called a second time in this process")
def second_simulation() -> None:
    World(1).gym.create_sim(0, -1, gymapi.SIM_PHYSX, params())


@refused("create_sim was called a second time in this process")
def second_simulation_after_destroy_sim() -> None:
    world = World(1)
    world.gym.destroy_sim(world.sim)
    world.gym.create_sim(0, -1, gymapi.SIM_PHYSX, params())


@works()
def no_cuda_device() -> None:
    gpu = params(use_gpu=True, use_gpu_pipeline=True)
    assert gymapi.acquire_gym().create_sim(0, -1, gymapi.SIM_PHYSX, gpu) is None


@works(cuda=4)
def pretended_cuda_device() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "2,3"
    gpu = params(use_gpu=True, use_gpu_pipeline=True)
    assert gymapi.acquire_gym().create_sim(2, -1, gymapi.SIM_PHYSX, gpu) is None
    world = World(1, use_gpu=True, use_gpu_pipeline=True).prepare()
    assert world.gym.acquire_dof_state_tensor(world.sim).device == 0
    world.set_root()
    for _ in range(2):
        world.gym.simulate(world.sim)
    world.refresh()
    assert torch.isfinite(world.root).all()


# ------------------------------------------------------------------------------------------- order of calls


@refused("create_env after prepare_sim")
def env_after_prepare() -> None:
    world = World(1).prepare()
    world.gym.create_env(world.sim, gymapi.Vec3(), gymapi.Vec3(), 1)


@refused("create_actor after prepare_sim")
def actor_after_prepare() -> None:
    world = World(1).prepare()
    world.add_actor(world.envs[0], group=7)


@refused("add_triangle_mesh after prepare_sim")
def mesh_after_prepare() -> None:
    World(1).prepare().add_mesh(*blocks([[0.0]]))


@refused("set_actor_dof_properties after prepare_sim")
def properties_after_prepare() -> None:
    world = World(1).prepare()
    world.gym.set_actor_dof_properties(world.envs[0], 0, world.gym.get_asset_dof_properties(world.asset))


@refused("acquire_dof_state_tensor before prepare_sim")
def tensor_before_prepare() -> None:
    world = World(1)
    world.gym.acquire_dof_state_tensor(world.sim)


@refused("simulate before prepare_sim")
def simulate_before_prepare() -> None:
    world = World(1)
    world.gym.simulate(world.sim)


@refused("none can be added to an earlier one")
def actor_in_an_earlier_env() -> None:
    world = World(2)
    world.add_actor(world.envs[0], group=7)


@refused("collision group 0, which other actors share")
def shared_collision_group() -> None:
    World(1).add_actor(group=0)


@refused("simulate without fetch_results after the last one")
def simulate_twice_on_the_cpu_pipeline() -> None:
    world = World(1).prepare()
    world.gym.simulate(world.sim)
    world.gym.simulate(world.sim)


@refused("refresh_dof_state_tensor before fetch_results")
def refresh_before_fetch() -> None:
    world = World(1).prepare()
    world.gym.simulate(world.sim)
    world.gym.refresh_dof_state_tensor(world.sim)


@refused("set_actor_root_state_tensor_indexed was called twice")
def set_root_states_twice() -> None:
    world = World(2).prepare()
    world.set_root(world.all[:1])
    world.set_root(world.all[1:])


@refused("set_dof_state_tensor_indexed was called twice")
def set_dof_states_twice() -> None:
    world = World(2).prepare()
    world.set_dof(world.all[:1])
    world.set_dof(world.all[1:])


@refused("set_dof_position_target_tensor was called twice")
def set_targets_twice() -> None:
    world = World(2).prepare()
    world.set_targets()
    world.set_targets()


@refused("set_dof_position_target_tensor_indexed after set_dof_position_target_tensor")
def some_targets_after_all() -> None:
    world = World(2).prepare()
    world.set_targets()
    world.call("set_dof_position_target_tensor_indexed", world.targets, world.all[:1])


@works()
def all_targets_after_some() -> None:
    world = World(2).prepare()
    world.call("set_dof_position_target_tensor_indexed", world.targets, world.all[:1])
    world.set_targets()
    world.step()
    world.set_targets()


@refused("refresh_rigid_body_state_tensor after set_dof_state_tensor_indexed .* returns stale data")
def refresh_after_setter() -> None:
    world = World(2).prepare().start()
    world.gym.refresh_dof_state_tensor(world.sim)
    world.set_dof()
    world.gym.refresh_rigid_body_state_tensor(world.sim)


@refused("refresh_dof_state_tensor was called twice")
def refresh_twice() -> None:
    world = World(2).prepare().start()
    world.gym.refresh_dof_state_tensor(world.sim)
    world.gym.refresh_dof_state_tensor(world.sim)


@refused("a call after destroy_sim")
def use_after_destroy() -> None:
    world = World(1).prepare().start()
    world.gym.destroy_sim(world.sim)
    assert torch.isnan(world.root).all()
    world.gym.simulate(world.sim)


# ------------------------------------------------------------------------------------------ tensors passed in


@refused("must be DTYPE_FLOAT32 .* the tensor is DTYPE_INT16|Unsupported Gym tensor dtype torch.float64")
def double_states() -> None:
    world = World(2).prepare()
    world.root = world.root.double()
    world.set_root()


@refused("actor indices must be DTYPE_UINT32 .int32., but the tensor is DTYPE_UINT64")
def long_indices() -> None:
    world = World(2).prepare()
    world.set_root(world.all.long())


@refused("Input tensor must be contiguous")
def states_that_are_not_contiguous() -> None:
    world = World(2).prepare()
    gymtorch.unwrap_tensor(world.dof[..., 0])


@refused("the tensor of all actors has 26 elements, this one has 13")
def states_of_some_actors() -> None:
    world = World(2).prepare()
    world.call("set_actor_root_state_tensor_indexed", world.root[:1].clone(), world.all[:1])


@refused("3 indices announced, 2 given")
def miscounted_indices() -> None:
    world = World(2).prepare()
    unwrap = gymtorch.unwrap_tensor
    world.gym.set_dof_state_tensor_indexed(world.sim, unwrap(world.dof), unwrap(world.all), 3)


@refused("0 indices announced, 0 given")
def no_indices() -> None:
    world = World(2).prepare()
    world.set_dof(world.all[:0])


@refused("indices must be different and from 0 to 1: .0, 2.")
def index_of_nobody() -> None:
    world = World(2).prepare()
    world.set_dof(torch.tensor([0, 2], dtype=torch.int32))


@refused("indices must be different")
def index_given_twice() -> None:
    world = World(2).prepare()
    world.set_dof(torch.tensor([1, 1], dtype=torch.int32))


@refused("the torch tensor was garbage-collected after unwrap_tensor")
def temporary_indices() -> None:
    world = World(2).prepare()
    indices = torch.tensor([0, 1])
    unwrap = gymtorch.unwrap_tensor
    world.gym.set_dof_state_tensor_indexed(world.sim, unwrap(world.dof), unwrap(indices.to(torch.int32)), 2)


@works()
def view_of_a_living_tensor() -> None:
    world = World(2).prepare()
    assert world.gym.set_dof_position_target_tensor(world.sim, gymtorch.unwrap_tensor(world.targets.view(-1)))


@refused("root states that are not finite")
def state_that_is_not_finite() -> None:
    world = World(2).prepare()
    world.root[1, 2] = float("nan")
    world.set_root()


@refused("not a unit quaternion")
def rotation_of_no_length() -> None:
    world = World(2).prepare()
    world.root[1, 3:7] = 0.0
    world.set_root()


@refused("position targets for a dof whose driveMode is not DOF_MODE_POS")
def targets_without_position_drive() -> None:
    World(2, mode="DOF_MODE_EFFORT").prepare().set_targets()


@refused("actuation forces for a dof whose driveMode is not DOF_MODE_EFFORT")
def forces_with_position_drive() -> None:
    world = World(2).prepare()
    world.gym.set_dof_actuation_force_tensor(world.sim, gymtorch.unwrap_tensor(world.targets))


@refused("DOF_MODE_EFFORT with stiffness or damping")
def forces_and_springs() -> None:
    world = World(1)
    properties = world.gym.get_asset_dof_properties(world.asset)
    properties["driveMode"] = gymapi.DOF_MODE_EFFORT
    world.gym.set_actor_dof_properties(world.envs[0], 0, properties)


@refused("enable_actor_dof_force_sensors was not called for every actor")
def dof_forces_without_sensors() -> None:
    world = World(1).prepare()
    world.gym.acquire_dof_force_tensor(world.sim)


# ------------------------------------------------------------------------------------ what tensors hold, and when


@works()
def tensors_change_at_refresh_only() -> None:
    world = World(1).prepare((0.0, 0.0, 3.0)).start()
    assert torch.isnan(world.root).all() and torch.isnan(world.contact).all()
    world.gym.refresh_actor_root_state_tensor(world.sim)
    assert torch.isfinite(world.root).all() and torch.isnan(world.dof).all()
    world.step()
    assert torch.isnan(world.root).all()


@works(stale="keep")
def stale_tensors_keep_their_values() -> None:
    world = World(1).prepare((0.0, 0.0, 3.0)).start()
    world.refresh()
    before = world.root.clone()
    world.step()
    assert torch.equal(world.root, before)
    world.refresh()
    assert world.root[0, 2] < before[0, 2]


@works()
def bodies_are_stale_after_a_reset() -> None:
    world = World(2).prepare((0.0, 0.0, 3.0)).start()
    world.refresh()
    before = world.body.clone()
    world.root[1, 2] = 5.0
    world.set_root(world.all[1:])
    world.set_dof(world.all[1:])
    assert torch.isnan(world.body[1]).all() and torch.isnan(world.contact[1]).all()
    assert torch.equal(world.body[0], before[0])
    world.step()
    world.refresh()
    assert abs(world.body[1, 0, 2].item() - 5.0) < 0.01


@works()
def tensors_share_memory_with_torch() -> None:
    world = World(1).prepare((0.0, 0.0, 3.0)).start()
    again = gymtorch.wrap_tensor(world.gym.acquire_actor_root_state_tensor(world.sim))
    world.gym.refresh_actor_root_state_tensor(world.sim)
    assert again.data_ptr() == world.root.data_ptr() and torch.equal(again, world.root)


# -------------------------------------------------------------------------------------------------- the asset


@works()
def asset_facts() -> None:
    world = World(1)
    gym, asset, env = world.gym, world.asset, world.envs[0]
    assert gym.get_asset_rigid_body_names(asset) == ["trunk", "arm", "hand", "finger"]
    assert gym.get_asset_dof_names(asset) == ["arm_x", "arm_y", "arm_z", "wrist"]
    assert gym.get_asset_dof_count(asset) == DOFS and gym.get_sim_rigid_body_count(world.sim) == BODIES
    properties = gym.get_asset_dof_properties(asset)
    assert properties["hasLimits"].all() and properties["stiffness"].tolist() == [50, 50, 50, 20]
    assert properties["damping"].tolist() == [5, 5, 5, 2]
    np.testing.assert_allclose(properties["upper"], np.radians([90, 90, 90, 160]), rtol=1e-6)
    motors = gym.get_actor_actuator_properties(env, 0)
    assert [motor.motor_effort for motor in motors] == [70, 60, 50, 40], "in the order of the file"
    assert gym.get_actor_actuator_joint_name(env, 0, 1) == "arm_z"
    assert gym.find_actor_rigid_body_handle(env, 0, "hand") == 2
    assert gym.find_actor_rigid_body_handle(env, 0, "tail") == gymapi.INVALID_HANDLE
    box, sphere = 8 * 0.2 * 0.15 * 0.1 * 1000, 4 / 3 * np.pi * 1000
    masses = [body.mass for body in gym.get_actor_rigid_body_properties(env, 0)]
    np.testing.assert_allclose([masses[0], masses[2]], [box, sphere * 0.05**3], rtol=1e-6)


@works()
def indices_of_actors_and_bodies() -> None:
    world = World(3)
    gym, env = world.gym, world.envs[2]
    assert gym.get_actor_index(env, 0, gymapi.DOMAIN_SIM) == 2 and gym.get_actor_index(env, 0, gymapi.DOMAIN_ENV) == 0
    assert gym.find_actor_rigid_body_index(env, 0, "hand", gymapi.DOMAIN_SIM) == 2 * BODIES + 2
    assert gym.find_actor_dof_index(env, 0, "wrist", gymapi.DOMAIN_SIM) == 2 * DOFS + 3
    assert gym.get_sim_actor_count(world.sim) == gym.get_env_count(world.sim) == 3


@works()
def actors_stand_relative_to_their_env() -> None:
    world = World(0)
    size = gymapi.Vec3(2.0, 2.0, 2.0)
    world.envs = [world.gym.create_env(world.sim, gymapi.Vec3(-2.0, -2.0, 0.0), size, 2) for _ in range(3)]
    for number, env in enumerate(world.envs):
        world.add_actor(env, group=number)
    assert world.gym.prepare_sim(world.sim)
    root = gymtorch.wrap_tensor(world.gym.acquire_actor_root_state_tensor(world.sim))
    world.gym.refresh_actor_root_state_tensor(world.sim)
    assert root[:, :2].tolist() == [[0, 0], [4, 0], [0, 4]] and root[:, 6].tolist() == [1, 1, 1]


# -------------------------------------------------------------------------------------------------- the physics


@works()
def reset_round_trip() -> None:
    world = World(2, dt=1e-5, substeps=1).prepare((3.0, -2.0, 4.0))
    generator = torch.Generator().manual_seed(1)
    rotation = torch.randn(2, 4, generator=generator)
    world.root[:, 3:7] = rotation / rotation.norm(dim=1, keepdim=True)
    world.root[:, 7:] = torch.randn(2, 6, generator=generator)
    world.dof[:] = torch.randn(2, DOFS, 2, generator=generator)
    root, dof = world.root.clone(), world.dof.clone()
    world.targets[:] = dof[..., 0]
    world.set_targets()
    world.start()
    world.refresh()
    sign = torch.sign((root[:, 3:7] * world.root[:, 3:7]).sum(1, keepdim=True))
    root[:, 3:7] *= sign
    close(world.root, root, atol=1e-2)
    close(world.dof, dof, atol=2e-2)
    close(world.body[:, 0], world.root, atol=1e-4)


@works()
def velocity_is_that_of_the_centre_of_mass() -> None:
    # The trunk's centre of mass is 5 cm in front of its origin: spun about a resting centre, the origin circles it.
    world = World(1, mode="DOF_MODE_NONE", dt=1e-3, substeps=1, gravity=gymapi.Vec3(0, 0, -1e-6)).prepare((0, 0, 5.0))
    world.root[0, 12] = 2.0
    world.start()
    world.refresh()
    first = world.root.clone()
    world.step()
    world.refresh()
    origin_velocity = (world.root[0, :3] - first[0, :3]) / 1e-3
    com = torch.tensor([0.05, 0.0, 0.02])
    expected = world.root[0, 7:10] + torch.linalg.cross(world.root[0, 10:], -com)
    close(origin_velocity, expected, atol=5e-3)
    assert abs(origin_velocity[1].item()) > 0.05
    close(world.body[0, 0, 7:], world.root[0, 7:], atol=1e-5)


@works()
def velocities_of_bodies() -> None:
    # A body's velocity is the change of its centre of mass; hand and finger are spheres around their origins.
    world = World(1, dt=1e-3, substeps=1).prepare((0.0, 0.0, 5.0))
    world.root[0, 10:] = torch.tensor([0.3, -0.5, 0.8])
    world.dof[0, :, 1] = torch.tensor([1.0, -2.0, 0.5, 3.0])
    world.start()
    world.refresh()
    first = world.body[0].clone()
    world.step()
    world.refresh()
    moved = (world.body[0, 2:, :3] - first[2:, :3]) / 1e-3
    close(moved, world.body[0, 2:, 7:10], atol=2e-2)


@works()
def weight_rests_on_the_ground() -> None:
    heights = np.zeros((20, 20))
    heights[10:, :] = 0.4
    world = World(2, heights=heights).prepare((0.0, 0.0, 0.6))
    world.root[:, 0] = torch.tensor([-5.0, 5.0])
    world.start()
    world.step(120)
    world.refresh()
    weight = 9.81 * sum(body.mass for body in world.gym.get_actor_rigid_body_properties(world.envs[0], 0))
    close(world.contact.sum(1)[:, 2], torch.full((2,), weight), atol=2.0)
    assert abs(world.root[1, 2] - world.root[0, 2] - 0.4) < 1e-3, "each stands on the ground below it"


@works(stale="keep")
def no_contacts_are_collected_on_demand() -> None:
    world = World(1, contact_collection=gymapi.CC_NEVER).prepare((0.0, 0.0, 0.1)).start()
    world.step(60)
    world.refresh()
    assert torch.equal(world.contact, torch.zeros(1, BODIES, 3)) and world.root[0, 2] > 0


@works()
def ground_follows_a_walker() -> None:
    # 30 m of stairs, each step 0.5 m long and 0.1 m lower, and a character that slides down all of them.
    heights = np.repeat(-0.1 * np.arange(60)[:, None], 4, axis=1)
    world = World(1, heights=np.zeros((1, 1)))
    world.add_mesh(*blocks(heights, cell=0.5), transform=gymapi.Transform(gymapi.Vec3(0.0, 0.0, -1.0)))
    world.prepare((-14.0, 0.0, -0.5))
    for distance in range(0, 28, 4):
        world.root[0, :3] = torch.tensor([-13.75 + distance, 0.0, -0.8 - 0.2 * distance])
        world.root[0, 3:] = torch.tensor([0, 0, 0, 1.0, 0, 0, 0, 0, 0, 0])
        world.dof[:] = 0.0
        world.start()
        world.step(30)
        world.refresh()
        below = -1.0 - 0.1 * np.floor((world.root[0, 0].item() + 15.0) / 0.5)
        assert 0.0 < world.root[0, 2].item() - below < 0.4, (distance, world.root[0, :3], below)


@works()
def nothing_beyond_the_mesh() -> None:
    world = World(1, heights=np.zeros((2, 2))).prepare((5.0, 0.0, 0.2)).start()
    world.step(60)
    world.refresh()
    assert world.root[0, 2] < -3.0


@works()
def triangles_that_are_no_rectangles() -> None:
    # A frame of trapezoids around a hole: only its triangles carry.
    inner, outer = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]), np.array([(-4, -4), (-4, 4), (4, 4), (4, -4)])
    vertices = np.zeros((8, 3), dtype=np.float32)
    vertices[:, :2] = np.concatenate([inner, outer])
    sides = [(i, (i + 1) % 4, (i + 1) % 4 + 4, i + 4) for i in range(4)]
    triangles = np.array([(a, c, b) for a, b, c, _ in sides] + [(a, d, c) for a, _, c, d in sides], dtype=np.uint32)
    world = World(3, heights=np.full((1, 1), -9.0))
    world.add_mesh(vertices.ravel(), _facing_up(vertices, triangles).ravel())
    world.prepare((0.0, 0.0, 0.2))
    world.root[:, :2] = torch.tensor([[2.5, 2.3], [-2.4, 0.6], [0.0, 0.0]])
    world.start()
    world.step(60)
    world.refresh()
    assert (world.root[:2, 2] > 0).all() and world.root[2, 2] < -2


def _facing_up(vertices: Any, triangles: Any) -> Any:
    a, b, c = (vertices[triangles[:, corner], :2] for corner in range(3))
    down = np.linalg.det(np.stack([b - a, c - a], axis=1)) < 0
    return np.where(down[:, None], triangles[:, ::-1], triangles).astype(np.uint32)


@works()
def ground_plane() -> None:
    world = World(0, heights=np.full((1, 1), -5.0))
    plane = gymapi.PlaneParams()
    plane.normal = gymapi.Vec3(0.0, 0.0, 1.0)
    world.gym.add_ground(world.sim, plane)
    world.add_actor()
    world.prepare((40.0, 0.0, 0.2)).start()
    world.step(60)
    world.refresh()
    assert 0.0 < world.root[0, 2] < 0.2


@works()
def drives_reach_their_targets() -> None:
    # Without gravity, spherical joints reach a large rotation vector along the geodesic, hinges an angle.
    world = World(1, gravity=gymapi.Vec3(0, 0, -1e-6)).prepare((0.0, 0.0, 5.0))
    world.targets[0] = torch.tensor([0.9, -1.2, 1.1, 0.8])
    world.set_targets()
    world.start()
    world.step(240)
    world.refresh()
    close(world.dof[0, :, 0], world.targets[0], atol=1e-2)


@works()
def forces_act_for_one_step() -> None:
    world = World(1, mode="DOF_MODE_EFFORT", gravity=gymapi.Vec3(0, 0, -1e-6)).prepare((0.0, 0.0, 5.0))
    world.targets[0, 3] = 1.0
    world.gym.set_dof_actuation_force_tensor(world.sim, gymtorch.unwrap_tensor(world.targets))
    world.start()
    world.refresh()
    speed = world.dof[0, 3, 1].item()
    world.step()
    world.refresh()
    assert speed > 0.1 and abs(world.dof[0, 3, 1].item() - speed) < 0.02 * speed


@works()
def actors_do_not_meet() -> None:
    world = World(3).prepare((0.0, 0.0, 0.5))
    world.root[2, 0] = 3.0
    world.start()
    world.step(60)
    world.refresh()
    assert torch.equal(world.root[0], world.root[1])
    close(world.root[2, 1:], world.root[0, 1:], atol=1e-3)


@works()
def same_motion_as_the_mujoco_simulator() -> None:
    from parc_ray.character.skeleton import parse_skeleton
    from parc_ray.character.state import CharacterState
    from parc_ray.motions.ground_mesh import voxel_mesh
    from parc_ray.motions.height_field import HeightField
    from parc_ray.simulators.mujoco import MujocoSimulator
    from parc_ray.simulators.simulator import SimulatorConfig

    tile = HeightField.flat(size=(20, 20), min_point=(-4.0, -4.0))
    world = World(1, heights=np.zeros((1, 1)))
    vertices, triangles = voxel_mesh(tile, None)
    world.add_mesh(vertices.ravel(), triangles.ravel())
    world.prepare((0.3, 0.2, 0.5))
    world.root[0, 7:10] = torch.tensor([0.5, -0.3, 0.0])
    world.dof[0, :, 0] = world.targets[0] = torch.tensor([0.3, 0.2, -0.4, 0.5])

    config = SimulatorConfig(
        character=CHARACTER,
        character_source="test",
        tiles=[tile],
        num_envs=1,
        control_freq=30.0,
        steps_per_control=4,
        friction=1.0,
        device=torch.device("cpu"),
        threads=1,
    )
    simulator = MujocoSimulator(config, parse_skeleton(CHARACTER, "test"))
    root, dof = world.root.clone(), world.dof.clone()
    zero = torch.zeros(1, BODIES, 3)
    state = CharacterState(root[:, :3], root[:, 3:7], root[:, 7:10], root[:, 10:], dof[..., 0], dof[..., 1], zero)
    simulator.reset([0], [0], state)
    world.set_root()
    world.set_dof()
    for _ in range(20):
        world.set_targets()
        world.step(2)
        world.refresh()
        state = simulator.step([0], world.targets)
        close(world.root[:, :3], state.root_pos, atol=1e-4)
        close(world.root[:, 7:10], state.root_vel, atol=1e-3)
        close(world.dof[..., 0], state.dof_pos, atol=1e-4)


# --------------------------------------------------------------------------------------- misbehaviour on demand


def messages_of(function: Callable[[], Any]) -> str:
    """What native code writes to descriptor 2 meanwhile."""
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            function()
        finally:
            os.dup2(saved, 2)
        file.seek(0)
        return file.read().decode()


@works(overflow=("2", "4:aggregates"))
def overflow_in_some_steps() -> None:
    world = World(1).prepare().start()
    said = [messages_of(world.step) for _ in range(4)]
    assert "Contact buffer overflow detected" in said[0] and not said[1] and not said[3]
    assert "foundLostAggregatePairsCapacity" in said[2]


@works(nan=("2:1",))
def nan_until_the_next_reset() -> None:
    world = World(2).prepare((0.0, 0.0, 3.0)).start()
    world.refresh()
    for _ in range(2):
        world.step()
        world.refresh()
        assert torch.isfinite(world.root[0]).all()
        for state in (world.root[1], world.dof[1], world.body[1], world.contact[1]):
            assert torch.isnan(state).all()
    world.root[1] = world.root[0]
    world.dof[1] = 0.0
    world.set_root(world.all[1:])
    world.set_dof(world.all[1:])
    world.step()
    world.refresh()
    assert torch.isfinite(world.root).all() and torch.isfinite(world.dof).all()


@works(max_envs=("2",))
def out_of_memory() -> None:
    said = messages_of(lambda: World(3))
    assert "fail to allocate memory" in said and "Gym cuda error: out of memory" in said
    from isaacgym._double.gym import _created

    assert not _created[0].prepare()


@works(max_envs=("2:nan",))
def out_of_memory_that_shows_late() -> None:
    world = World(3).prepare().start()
    world.refresh()
    assert torch.isnan(world.root).all()


@works(create_sim="none")
def simulation_that_cannot_be_created() -> None:
    assert "Failed to create sim" in messages_of(
        lambda: gymapi.acquire_gym().create_sim(0, -1, gymapi.SIM_PHYSX, params())
    )


@works(crash=("destroy_sim",))
def crash() -> None:
    world = World(1).prepare()
    child = os.fork()
    if child == 0:
        world.gym.destroy_sim(world.sim)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGSEGV


@works(hang=("simulate:2",))
def hang() -> None:
    world = World(1).prepare().start()
    child = os.fork()
    if child == 0:
        world.step()
        os._exit(0)
    time.sleep(0.2)
    assert os.waitpid(child, os.WNOHANG) == (0, 0), "it should not have come to an end"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@works()
def gymtorch_waits_for_the_lock_of_its_extension() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCH_EXTENSIONS_DIR"] = folder
        lock = Path(folder) / "gymtorch" / "lock"
        gymtorch._compile()
        assert not lock.exists()
        lock.touch()
        removed: List[int] = []
        threading.Timer(0.1, lambda: (removed.append(1), lock.unlink())).start()
        gymtorch._compile()
        assert removed


# ------------------------------------------------------------------------------------------------ running them


def run_scenario(name: str, log: Path) -> str:
    """In a child process: "" or what went wrong."""
    from isaacgym._double.contract import ContractViolation
    from isaacgym._double.settings import SETTINGS

    function, message, settings = SCENARIOS[name]
    for key, value in {"violations": str(log), **settings}.items():
        object.__setattr__(SETTINGS, key, value)
    try:
        function()
    except (ContractViolation, AttributeError) as error:
        if message is None or not re.search(message, str(error)):
            return traceback.format_exc()
        if isinstance(error, ContractViolation) and str(error).split(": ", 1)[1] not in log.read_text():
            return f"not in the log of violations: {error}"
        return ""
    except BaseException:
        return traceback.format_exc()
    return "" if message is None else f"not refused: {message}"


def run_all() -> None:
    """Import the double, then run every scenario in a fork; print outcomes as JSON."""
    global gymapi, gymtorch, torch
    os.environ["SCENARIOS"] = str(os.getpid())
    gymapi, gymtorch = (importlib.import_module(f"isaacgym.{name}") for name in ("gymapi", "gymtorch"))
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    character = Path(*World.file())
    character.write_text(CHARACTER)
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in SCENARIOS:
            outcome = Path(folder) / name
            child = os.fork()
            if child == 0:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                outcome.write_text(run_scenario(name, Path(folder) / f"{name}.log"))
                os._exit(0)
            _, status = os.waitpid(child, 0)
            outcomes[name] = outcome.read_text() if status == 0 else f"died with status {status}"
    character.unlink()
    print(json.dumps(outcomes))


def run_python(code: str, cwd: Optional[Path] = None, timeout: float = 60, **environment: str) -> Any:
    """A fresh Python that finds the double."""
    path = os.pathsep.join([str(DOUBLE), str(REPOSITORY)])
    variables = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "ISAACGYM_DOUBLE_ANY_PYTHON": "1"}
    variables.pop("TORCH_EXTENSIONS_DIR", None)
    arguments = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(
        arguments, env={**variables, **environment}, cwd=cwd, timeout=timeout, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def outcomes() -> Dict[str, str]:
    process = run_python(f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')")
    assert process.returncode == 0, process.stderr
    result: Dict[str, str] = json.loads(process.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, outcomes: Dict[str, str]) -> None:
    assert outcomes[name] == "", outcomes[name]


# ----------------------------------------------------------------------------------- imports, ends of processes

SIMULATION = """
    from isaacgym import gymapi
    params = gymapi.SimParams()
    params.up_axis = gymapi.UP_AXIS_Z
    params.gravity = gymapi.Vec3(0, 0, -9.81)
    params.use_gpu_pipeline = params.physx.use_gpu = False
    gym = gymapi.acquire_gym()
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, params)
"""


def test_refuses_to_be_imported_after_torch() -> None:
    process = run_python("import sys; sys.modules['torch'] = sys; import isaacgym")
    assert "ImportError: PyTorch was imported before isaacgym modules.  Please import torch after" in process.stderr


def test_does_not_import_torch_before_gymtorch() -> None:
    process = run_python("import sys; from isaacgym import gymapi; assert 'torch' not in sys.modules")
    assert process.returncode == 0, process.stderr


def test_refuses_new_python() -> None:
    process = run_python("from isaacgym import gymapi", ISAACGYM_DOUBLE_ANY_PYTHON="0")
    version = "%d.%d" % sys.version_info[:2]
    if sys.version_info < (3, 9):
        assert process.returncode == 0, process.stderr
    else:
        expected = f"RuntimeError: No gym module found for the active version of Python ({version})"
        assert expected in process.stderr


def test_missing_libpython() -> None:
    process = run_python("from isaacgym import gymapi", ISAACGYM_DOUBLE_IMPORT_ERROR="libpython")
    assert "ImportError: libpython3.8.so.1.0: cannot open shared object file" in process.stderr


def test_unknown_setting() -> None:
    assert "unknown settings ['crahs']" in run_python("import isaacgym", ISAACGYM_DOUBLE_CRAHS="exit").stderr


def test_version_of_the_package() -> None:
    process = run_python("import importlib.metadata; print(importlib.metadata.version('isaacgym'))")
    assert process.stdout.strip() == "1.0rc4", process.stderr


@pytest.mark.parametrize(
    ("place", "code", "dies"),
    [
        ("undestroyed", "print('alive')", True),
        ("undestroyed", "gym.destroy_sim(sim); print('alive')", False),
        ("exit", "gym.destroy_sim(sim); print('alive')", True),
    ],
)
def test_crashes_at_exit(place: str, code: str, dies: bool) -> None:
    process = run_python(textwrap.dedent(SIMULATION) + code, ISAACGYM_DOUBLE_CRASH=place)
    assert (process.returncode < 0) == dies, process.stderr
    assert "alive" in process.stdout


# --------------------------------------------------------------------------------------------------- the stubs


def stubs() -> Optional[ast.Module]:
    """isaacgym-stubs, which is no module that Python can find: a folder isaacgym-stubs on the path."""
    for folder in sys.path:
        path = Path(folder or ".") / "isaacgym-stubs" / "gymapi.pyi"
        if path.is_file():
            # Two properties have the name of a keyword.
            return ast.parse(path.read_text().replace("def lambda(", "def lambda_("))
    return None


DESCRIBE = """
    import inspect, json
    from isaacgym import gymapi
    from isaacgym._double.contract import Struct, Enumeration

    def parameters(function):
        kinds = inspect.Parameter
        return [[p.name, p.default is not kinds.empty, p.annotation, p.kind == kinds.POSITIONAL_ONLY]
                for p in inspect.signature(inspect.unwrap(function)).parameters.values()][1:]

    public = {name: value for name, value in vars(gymapi).items() if name[0] != "_"}
    classes = {name: value for name, value in public.items() if isinstance(value, type)}
    print(json.dumps({
        "names": sorted(public),
        "structs": {n: sorted(c.fields()) for n, c in classes.items() if issubclass(c, Struct) and c.fields()},
        "members": {n: sorted(c.__members__) for n, c in classes.items() if issubclass(c, Enumeration)},
        "methods": {n: parameters(f) for n, f in vars(gymapi.Gym).items() if n[0] != "_"},
    }))
"""


@pytest.fixture(scope="module")
def described() -> Dict[str, Any]:
    process = run_python(DESCRIBE)
    assert process.returncode == 0, process.stderr
    result: Dict[str, Any] = json.loads(process.stdout)
    return result


@pytest.fixture(scope="module")
def stub_tree() -> ast.Module:
    tree = stubs()
    if tree is None:
        pytest.skip("isaacgym-stubs is not installed")
    return tree


def stub_classes(tree: ast.Module) -> Dict[str, ast.ClassDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def test_every_name_is_in_the_stubs(described: Dict[str, Any], stub_tree: ast.Module) -> None:
    names = {node.target.id for node in stub_tree.body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
    names |= {node.name for node in stub_tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    assert set(described["names"]) <= names


def test_structs_and_enumerations_are_those_of_the_stubs(described: Dict[str, Any], stub_tree: ast.Module) -> None:
    classes = stub_classes(stub_tree)
    for name, fields in {**described["structs"], **described["members"]}.items():
        statements = [node for node in classes[name].body if isinstance(node, ast.AnnAssign)]
        found = {node.target.id for node in statements}  # type: ignore[union-attr]
        found -= {"dtype", "__members__", "__entries"} - ({"dtype"} if name == "Tensor" else set())
        assert set(fields) == found, name


def test_methods_are_those_of_the_stubs(described: Dict[str, Any], stub_tree: ast.Module) -> None:
    methods = {node.name: node for node in stub_classes(stub_tree)["Gym"].body if isinstance(node, ast.FunctionDef)}
    for name, ours in described["methods"].items():
        arguments = methods[name].args
        if arguments.vararg is not None:
            # pybind11 had no type for one of them; the docstring states the signature.
            text = ast.get_docstring(methods[name]) or ""
            theirs = re.findall(r"(arg\d)", text.split("->")[0])
            assert [parameter[0] for parameter in ours] == theirs, name
            continue
        theirs_in_full = arguments.args[1:]
        optional = [False] * (len(theirs_in_full) - len(arguments.defaults)) + [True] * len(arguments.defaults)
        expected = [[part.arg, default] for part, default in zip(theirs_in_full, optional)]
        assert [parameter[:2] for parameter in ours] == expected, name
        for parameter, part in zip(ours, theirs_in_full):
            assert parameter[3] == parameter[0].startswith("arg"), f"{name}: arg0, ... have no name for pybind11"
            assert _same_type(parameter[2], part.annotation), f"{name}: {parameter[0]}"


def _same_type(ours: str, theirs: Optional[ast.expr]) -> bool:
    """Whether the double's annotation means that of the stubs."""
    ours = re.sub(r"Optional\[(.*)\]", r"\1", ours)
    names = [node.id for node in ast.walk(theirs) if isinstance(node, ast.Name)] if theirs is not None else ["Any"]
    arrays = {"Float32Array": ["numpy", "float32"], "Uint32Array": ["numpy", "uint32"]}
    expected = arrays.get(ours) or re.findall(r"\w+", ours)
    return sorted(names) == sorted(expected)


if __name__ == "__main__":
    run_all()
