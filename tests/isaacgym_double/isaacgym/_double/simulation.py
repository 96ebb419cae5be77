"""What stands behind a Sim handle: the rules of order, the tensors, and the physics of all actors."""

from __future__ import annotations

import copy
import ctypes
import time
from typing import Any

import numpy as np

from isaacgym._double import misbehaviour
from isaacgym._double.character import Body, Character, body_states
from isaacgym._double.contract import TypeViolation, not_modelled, refuse
from isaacgym._double.ground import Ground
from isaacgym._double.settings import SETTINGS
from isaacgym._double.values import (
    ContactCollection,
    DofDriveMode,
    SimParams,
    Tensor,
    TensorDataType,
)

NUMPY = {"DTYPE_FLOAT32": np.float32, "DTYPE_UINT32": np.int32}
FAR = 2000.0
"""Positions beyond this (m) are surely a mistake"""


class Buffer:
    """A tensor of the simulation: memory that torch may share, filled by refresh only."""

    def __init__(self, rows: int, columns: int, device: int) -> None:
        shape = (rows, columns) if columns > 1 else (rows,)
        self.array = np.zeros(shape, dtype=np.float32)
        self.device = device

    def write(self, values: Any, rows: Any = slice(None)) -> None:
        """Set the content."""
        self.array[rows] = values

    def describe(self) -> Tensor:
        """As acquire_* returns it."""
        tensor = Tensor()
        tensor.data_address = int(self.array.ctypes.data)
        tensor.device = self.device
        tensor.shape = self.array.shape
        tensor._own_buffer = self
        return tensor


class Actor:
    """What create_actor makes and set_actor_* change."""

    def __init__(self, env: int, name: str, character: Character, start: np.ndarray, self_collision: bool) -> None:
        self.env, self.name, self.character, self.start = env, name, character, start
        self.self_collision = self_collision
        self.properties = np.array(character.dof_properties)
        self.friction = 1.0
        self.force_sensors = False


class Simulation:
    """State of the one simulation of a process."""

    def __init__(self, params: SimParams, device: int) -> None:
        self.params = copy.deepcopy(params)
        self.device = device
        """CUDA device of the tensors, -1: CPU"""
        self.stage = "building"
        self.envs: list[np.ndarray] = []
        self.actors: list[Actor] = []
        self.groups: set[int] = set()
        self.ground = Ground()
        self.ground_friction: float | None = None
        self.steps = 0
        self.called: set[str] = set()
        """setters and refreshes since the last simulate"""
        self.fetched = True
        self.started = time.monotonic()
        self.buffers: dict[str, Buffer] = {}
        self._models: dict[Any, Any] = {}
        self.out_of_memory = False

    # ------------------------------------------------------------------------------------------- rules

    def building(self, call: str) -> None:
        """Refuses what may only happen before prepare_sim."""
        self.alive(call)
        if self.stage != "building":
            refuse(f"{call} after prepare_sim: all envs and actors must be set up before it")

    def prepared(self, call: str) -> None:
        """Refuses what may only happen after prepare_sim."""
        self.alive(call)
        if self.stage != "prepared":
            refuse(f"{call} before prepare_sim: the tensor API is initialised by it")

    def alive(self, call: str) -> None:
        """Refuses what may not happen after destroy_sim."""
        if self.stage == "destroyed":
            refuse(f"{call} after destroy_sim")

    def setter(self, call: str) -> None:
        """Each setter once per step: a second call may replace the first one."""
        self.prepared(call)
        if call in self.called:
            refuse(f"{call} was called twice without simulate in between: combine the indices in one call")
        if call.endswith("_indexed") and call[: -len("_indexed")] in self.called:
            refuse(f"{call} after {call[: -len('_indexed')]} in one step: which one wins is not documented")
        self.called.add(call)

    def refresh(self, call: str) -> None:
        """Each refresh once per step, before any setter: after one it may return stale data."""
        self.prepared(call)
        setters = sorted(name for name in self.called if name.startswith("set_"))
        if setters:
            refuse(f"{call} after {setters[0]} without simulate in between returns stale data")
        if call in self.called:
            refuse(f"{call} was called twice without simulate in between")
        if not self.fetched:
            refuse(f"{call} before fetch_results: on the CPU pipeline the results are not there yet")
        self.called.add(call)

    def ground_material(self, params: Any) -> None:
        """Friction of the ground, one for all of it."""
        if params.restitution:
            not_modelled("restitution of the ground")
        if self.ground_friction not in (None, params.dynamic_friction):
            not_modelled("ground of different frictions")
        self.ground_friction = params.dynamic_friction

    # ----------------------------------------------------------------------------------------- prepare

    def prepare(self) -> bool:
        """Allocate tensors and worlds. False: no memory."""
        self.building("prepare_sim")
        if not self.actors:
            refuse("prepare_sim without actors")
        misbehaviour.at("prepare_sim")
        self.called.clear()
        if self.out_of_memory and not misbehaviour.goes_on_without_memory():
            misbehaviour.say(misbehaviour.NO_MEMORY)
            return False
        kinds = {id(actor.character) for actor in self.actors}
        if len(kinds) > 1:
            refuse("actors of different assets are not modelled by the double")
        self.character = character = self.actors[0].character
        actors, dofs, bodies = len(self.actors), len(character.dof_names), len(character.body_names)
        sizes = {"root": (actors, 13), "dof": (actors * dofs, 2), "body": (actors * bodies, 13)}
        sizes.update({"contact": (actors * bodies, 3), "force": (actors * dofs, 1)})
        self.buffers = {name: Buffer(*size, self.device) for name, size in sizes.items()}
        self._qpos = np.zeros((actors, 7 + character.joint_positions))
        self._qvel = np.zeros((actors, 6 + dofs))
        self._qpos[:, :7] = [actor.start[[0, 1, 2, 6, 3, 4, 5]] for actor in self.actors]
        self._qpos[:, 7:] = character.to_joints(np.zeros((actors, dofs)))
        self._moved = np.ones(actors, dtype=bool)
        self._broken = np.full(actors, self.out_of_memory)
        self._contact = np.zeros((actors, bodies, 3))
        self._springs = np.array(self._qpos[:, 7:])
        self._efforts = np.zeros((actors, dofs))
        self._bodies = [Body(self._model(actor, 8), 8) for actor in self.actors]
        for actor, body in enumerate(self._bodies):
            body.place(self._qpos[actor], self._qvel[actor])
        self.stage = "prepared"
        for name in self.buffers:
            self._outdated(name)
        return True

    def _model(self, actor: Actor, boxes: int) -> Any:
        """One compiled model for all actors that are alike."""
        ground_friction = 1.0 if self.ground_friction is None else self.ground_friction
        friction = (actor.friction + ground_friction) / 2
        key = (id(actor.character), tuple(actor.properties.tolist()), boxes, friction, actor.self_collision)
        if key not in self._models:
            model = actor.character.model(actor.properties, boxes, friction, actor.self_collision, self.params)
            self._models[key] = model
        return self._models[key]

    # ---------------------------------------------------------------------------------------- simulate

    def simulate(self) -> None:
        """One step of dt."""
        self.prepared("simulate")
        if not self.fetched:
            refuse("simulate without fetch_results after the last one: the CPU pipeline needs it")
        self.steps += 1
        misbehaviour.at("simulate", self.steps)
        misbehaviour.overflow(self.steps)
        self._broken[[actor for actor in misbehaviour.broken_actors(self.steps) if actor < len(self.actors)]] = True
        every = self.params.physx.contact_collection == ContactCollection(2)
        for index, body in enumerate(self._bodies):
            if not self._broken[index]:
                self._step(index, body, every)
        if self.params.physx.contact_collection == ContactCollection(0):
            self._contact[:] = 0.0
        # Actuation forces act for one step.
        self._efforts[:] = 0.0
        self._moved[:] = False
        self.called.clear()
        self.fetched = self.params.use_gpu_pipeline
        for name in self.buffers:
            self._outdated(name)

    def _step(self, index: int, body: Body, every: bool) -> None:
        square = self.ground.square(self._qpos[index])
        if square != body.square:
            body = self._on_ground(index, body, square)
        if self._moved[index]:
            body.place(self._qpos[index], self._qvel[index])
        body.spring[7:] = self._springs[index]
        body.applied[6:] = self._efforts[index]
        self._contact[index] = body.step(self.params.substeps, every)
        self._qpos[index], self._qvel[index] = body.qpos, body.qvel
        self._broken[index] = not (np.isfinite(body.qpos).all() and np.isfinite(body.qvel).all())

    def _on_ground(self, index: int, body: Body, square: tuple[int, int]) -> Body:
        boxes = self.ground.boxes(square)
        capacity = body.capacity
        while capacity < len(boxes[0]):
            capacity *= 2
        if capacity > body.capacity:
            body = self._bodies[index] = Body(self._model(self.actors[index], capacity), capacity)
            body.place(self._qpos[index], self._qvel[index])
        body.stand_on(square, boxes)
        return body

    def _outdated(self, name: str, rows: Any = slice(None)) -> None:
        if SETTINGS.stale == "poison":
            self.buffers[name].write(np.nan, rows)

    # ----------------------------------------------------------------------------------------- tensors

    def publish_root(self) -> None:
        """Fill the root states: origin, xyzw, velocity of the root's centre of mass, angular velocity."""
        rotation = self._qpos[:, [4, 5, 6, 3]]
        spin = _rotate(rotation, self._qvel[:, 3:6])
        velocity = self._qvel[:, :3] + np.cross(spin, self._to_centre(rotation))
        states = np.concatenate([self._qpos[:, :3], rotation, velocity, spin], axis=1)
        self.buffers["root"].write(self._where_sound(states))

    def publish_dof(self) -> None:
        """Fill the dof states."""
        position = self.character.to_dofs(self._qpos[:, 7:])
        states = np.stack([position, self._qvel[:, 6:]], axis=-1)
        self.buffers["dof"].write(self._where_sound(states).reshape(-1, 2))

    def publish_body(self) -> None:
        """Fill the rigid body states. Before the first step there are none."""
        if self.steps:
            states = body_states(self._bodies)
            self.buffers["body"].write(self._where_sound(states).reshape(-1, 13))

    def publish_contact(self) -> None:
        """Fill the net contact forces. Before the first step there are none."""
        if self.steps:
            self.buffers["contact"].write(self._where_sound(self._contact).reshape(-1, 3))

    def publish_force(self) -> None:
        """Fill the dof forces: what drives and actuation exert."""
        if self.steps:
            forces = [body.data.qfrc_passive[6:] + body.applied[6:] for body in self._bodies]
            self.buffers["force"].write(self._where_sound(np.array(forces)).reshape(-1))

    def _where_sound(self, values: np.ndarray) -> np.ndarray:
        values = np.array(values)
        values[self._broken] = np.nan
        return values

    def _to_centre(self, rotation: np.ndarray) -> np.ndarray:
        return _rotate(rotation, np.broadcast_to(self.character.centres[0], (len(rotation), 3)))

    # ----------------------------------------------------------------------------------------- setters

    def set_root(self, states: np.ndarray, actors: np.ndarray) -> None:
        """Root states [N, 13] of some actors."""
        states = states[actors].astype(np.float64)
        _finite(states, "root states")
        if np.any(np.abs(np.linalg.norm(states[:, 3:7], axis=1) - 1) > 1e-3):
            refuse("set_actor_root_state: a rotation is not a unit quaternion (xyzw)")
        if np.any(np.abs(states[:, :3]) > FAR):
            refuse(f"set_actor_root_state: a position is more than {FAR:.0f} m from the origin")
        rotation = states[:, 3:7] / np.linalg.norm(states[:, 3:7], axis=1, keepdims=True)
        spin = states[:, 10:]
        self._qpos[actors, :3] = states[:, :3]
        self._qpos[actors, 3:7] = rotation[:, [3, 0, 1, 2]]
        self._qvel[actors, :3] = states[:, 7:10] - np.cross(spin, self._to_centre(rotation))
        self._qvel[actors, 3:6] = _rotate(rotation * [-1, -1, -1, 1], spin)
        self._was_set(actors)

    def set_dof(self, states: np.ndarray, actors: np.ndarray) -> None:
        """Dof states [N, D, 2] of some actors."""
        states = states.reshape(len(self.actors), -1, 2)[actors].astype(np.float64)
        _finite(states, "dof states")
        self._qpos[actors, 7:] = self.character.to_joints(states[..., 0])
        self._qvel[actors, 6:] = states[..., 1]
        self._was_set(actors)

    def _was_set(self, actors: np.ndarray) -> None:
        self._moved[actors] = True
        self._broken[actors] = self.out_of_memory
        # Poses and contacts of the bodies are those of before until the next simulate.
        bodies = len(self.character.body_names)
        rows = (actors[:, None] * bodies + np.arange(bodies)).ravel()
        for name in ("body", "contact"):
            self._outdated(name, rows)

    def set_targets(self, targets: np.ndarray, actors: np.ndarray) -> None:
        """Position targets [N, D] (rad) of some actors."""
        self._drive_mode(DofDriveMode(1), "position targets", actors)
        targets = targets.reshape(len(self.actors), -1)[actors].astype(np.float64)
        _finite(targets, "position targets")
        self._springs[actors] = self.character.to_joints(targets)

    def set_efforts(self, efforts: np.ndarray, actors: np.ndarray) -> None:
        """Actuation forces [N, D] (N m) of some actors."""
        self._drive_mode(DofDriveMode(3), "actuation forces", actors)
        efforts = efforts.reshape(len(self.actors), -1)[actors].astype(np.float64)
        _finite(efforts, "actuation forces")
        self._efforts[actors] = efforts

    def _drive_mode(self, mode: DofDriveMode, what: str, actors: np.ndarray) -> None:
        if any(np.any(self.actors[actor].properties["driveMode"] != int(mode)) for actor in actors):
            refuse(f"{what} for a dof whose driveMode is not {mode.name}: they would be ignored")

    def all_actors(self) -> np.ndarray:
        """Indices of all actors."""
        return np.arange(len(self.actors))

    def indices(self, tensor: Tensor, count: int, call: str) -> np.ndarray:
        """Actor indices from a tensor of int32."""
        indices = self.read(tensor, "DTYPE_UINT32", None, f"{call}: actor indices")
        if count != indices.size or count == 0:
            refuse(f"{call}: {count} indices announced, {indices.size} given (and at least one is needed)")
        if indices.min() < 0 or indices.max() >= len(self.actors) or len(np.unique(indices)) < count:
            refuse(f"{call}: indices must be different and from 0 to {len(self.actors) - 1}: {indices.tolist()}")
        return indices.astype(np.int64)

    def read(self, tensor: Tensor, dtype: str, size: Any, what: str) -> np.ndarray:
        """Content of a tensor that the caller passed (flat), or of one of the simulation's own."""
        found: TensorDataType = tensor.dtype
        if found.name != dtype:
            refuse(f"{what} must be {dtype} ({NUMPY[dtype].__name__}), but the tensor is {found.name}", TypeViolation)
        if tensor._own_buffer is None and tensor.device != -1:
            refuse(f"{what} must be where the tensors of the simulation are (CPU), not on CUDA device {tensor.device}")
        elements = int(np.prod(tensor.shape))
        if size is not None and elements != size:
            refuse(f"{what}: the tensor of all actors has {size} elements, this one has {elements}")
        if tensor._own_buffer is not None:
            return tensor._own_buffer.array.ravel()
        return _memory(tensor, NUMPY[dtype], elements, what)

    def destroy(self) -> None:
        """Free everything: what torch still shares is garbage."""
        self.alive("destroy_sim")
        for buffer in self.buffers.values():
            buffer.write(np.nan)
        self.stage = "destroyed"
        self._bodies = []


def _memory(tensor: Tensor, dtype: Any, elements: int, what: str) -> np.ndarray:
    if tensor._own_storage is None:
        refuse(f"{what}: the tensor does not come from gymtorch.unwrap_tensor")
    if tensor._own_storage.expired():
        refuse(
            f"{what}: the torch tensor was garbage-collected after unwrap_tensor; keep a reference until the call "
            "is over"
        )
    kind = ctypes.c_float if dtype == np.float32 else ctypes.c_int32
    return np.ctypeslib.as_array((kind * elements).from_address(tensor.data_address)).copy()


def _finite(values: np.ndarray, what: str) -> None:
    if not np.isfinite(values).all():
        refuse(f"{what} that are not finite (were they read from a tensor that was not refreshed?)")


def _rotate(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Rotate vectors [n, 3] by quaternions [n, 4] (xyzw)."""
    cross = 2 * np.cross(quaternion[:, :3], vector)
    return vector + quaternion[:, 3:] * cross + np.cross(quaternion[:, :3], cross)
