"""The PhysX simulator's scene: ground and characters as prims of a stage, without a USD file.

ovphysx.population writes the same data as a USD importer, many prims at once. Angles and the gains of rotational
drives are in degrees, as in USD.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Sequence

import mujoco
import numpy as np
import ovstage
import torch
import warp
from ovphysx.population import PrimBatch, write_stage_units

from parc_ray.character.geoms import HULL_VERTICES, Geom, read_geoms, require_shapes
from parc_ray.character.mjcf import Mjcf
from parc_ray.character.rotations import quat_to_matrix
from parc_ray.character.skeleton import Joint, Skeleton
from parc_ray.simulators.mujoco.character import compile_character
from parc_ray.simulators.physx.instance import READ_ORDINAL
from parc_ray.simulators.scene_simulator import ANGULAR_DAMPING, MAX_ANGULAR_VELOCITY
from parc_ray.simulators.shared_world import SharedWorld
from parc_ray.simulators.simulator import FRICTION, SimulatorConfig
from parc_ray.tensors.arrays import DoubleArray

MAX_LINEAR_VELOCITY = 1000.0
"""Isaac Gym's default, m/s."""
CONTACT_OFFSET, REST_OFFSET = 0.02, 0.0
"""PARC's, where dm_env.yaml has none, m."""
BOUNCE_THRESHOLD_VELOCITY, MAX_DEPENETRATION_VELOCITY = 0.2, 10.0
"""PARC's, where dm_env.yaml has none, m/s."""
SHAPES = ("sphere", "capsule", "box", "cylinder", "hull")
AXES = ("rotX", "rotY", "rotZ")
ALL_BODIES = "/World/envs/*/b*"
"""Pattern of all paths from body_path; one pattern per body would make PhysX four times slower."""
NO_ROTATION = (0.0, 0.0, 0.0, 1.0)


def env_path(env: int) -> str:
    """Return the path of an env's prims."""
    return f"/World/envs/e{env:06d}"


def body_path(env: int, body: int) -> str:
    """Return the path of a link of an env's character; body 0 is its articulation root."""
    return f"{env_path(env)}/b{body:03d}"


def joint_path(env: int, body: int) -> str:
    """Return the path of the joint between a body and its parent."""
    return f"{env_path(env)}/j{body:03d}"


def dof_names(skeleton: Skeleton) -> list[str]:
    """Return PhysX's names of a character's degrees of freedom, in the character's order."""
    return [
        f"j{body:03d}:{number}" if joint.dof_count > 1 else f"j{body:03d}"
        for body, joint in enumerate(skeleton.joints)
        for number in range(joint.dof_count)
    ]


@dataclass(frozen=True)
class SceneWriter:
    """Writes a scene to a stage: SceneWriter(config, skeleton, world, stage, ...).write()."""

    config: SimulatorConfig
    skeleton: Skeleton
    world: SharedWorld
    stage: ovstage.Stage
    paths: ovstage.PathDictionary

    def write(self) -> None:
        """Write everything and seal it. Raises InputError for shapes that PhysX does not support."""
        geoms = read_geoms(self.config.character, self.config.character_source)
        solid = [geom for geom in geoms if geom.collides]
        source, otherwise = self.config.character_source, ", or use simulator: mujoco"
        require_shapes(geoms, SHAPES, self.skeleton.body_names, source, otherwise)
        model = compile_character(self.config, self.skeleton)
        write_stage_units(self.stage, self.paths, READ_ORDINAL)
        folders = ["/World", "/World/envs", "/World/groups", *(env_path(env) for env in range(self.config.num_envs))]
        self._save(self._batch(folders).define_xform())
        self._write_scene()
        self._write_material()
        self._write_ground()
        for body in range(self.skeleton.num_bodies):
            self._write_link(body, model)
        for number, geom in enumerate(solid):
            self._write_shape(number, geom)
        for body, joint in enumerate(self.skeleton.joints[1:], start=1):
            self._write_joint(body, joint)
        self._write_groups()
        self.stage.advance_write_floor(ordinal=READ_ORDINAL).wait()

    def _write_scene(self) -> None:
        config, physx, gpu = self.config, self.config.physx, self.config.device.type == "cuda"
        batch = self._batch(["/World/scene"])
        batch.define_physics_scene(
            gravity_direction=[(0.0, 0.0, -1.0 if config.gravity < 0 else 1.0)],
            gravity_magnitude=[abs(config.gravity)],
        )
        columns: dict[str, Any] = {
            "time_steps_per_second": round(config.control_freq * config.steps_per_control),
            "solver_type": "TGS" if physx.solver_type == 1 else "PGS",
            "broadphase_type": "GPU" if gpu else "MBP",
            "enable_gpudynamics": gpu,
            "enable_enhanced_determinism": True,
            # As in Isaac Gym. ovphysx's default lets a body fall less: in four TGS steps .531 of g T^2, not .625.
            "enable_external_forces_every_iteration": False,
            # Each group lists its collision partners: itself and the ground, not other characters.
            "invert_collision_group_filter": True,
            "enable_scene_query_support": False,
            "disable_sleeping": True,
            "bounce_threshold": _or(physx.bounce_threshold_velocity, BOUNCE_THRESHOLD_VELOCITY),
            "friction_offset_threshold": physx.friction_offset_threshold,
            "friction_correlation_distance": physx.friction_correlation_distance,
            **(_gpu_capacities(config) if gpu else {}),
        }
        batch.apply_physx_scene_api(**{name: [value] for name, value in columns.items() if value is not None})
        self._save(batch)

    def _write_material(self) -> None:
        batch = self._batch(["/World/material"]).define_material()
        self._save(
            batch.apply_physics_material_api(static_friction=[FRICTION], dynamic_friction=[FRICTION], restitution=[0.0])
        )

    def _write_ground(self) -> None:
        vertices, triangles = self.world.mesh
        batch = self._batch(["/World/ground"]).define_mesh(
            points=[warp.array(vertices, dtype=warp.float32, device="cpu")],
            face_vertex_indices=[warp.array(triangles.ravel().astype(np.int32), dtype=warp.int32, device="cpu")],
            face_vertex_counts=[warp.full(len(triangles), 3, dtype=warp.int32, device="cpu")],
        )
        self._collide(batch, 1)
        # Keep the mesh unchanged: close vertices of neighbouring cells must not be welded.
        batch.apply_physx_triangle_mesh_collision_api(weld_tolerance=[0.0])
        self._save(batch)

    def _write_link(self, body: int, model: mujoco.MjModel) -> None:
        """Write a body of all characters at their parking places, with MuJoCo's masses."""
        physx = self.config.physx
        position, turn = self._rest_pose(body)
        place = np.tile(np.eye(4), (self.config.num_envs, 1, 1))
        place[:, :3, :3] = turn.T
        place[:, 3, :3] = self.world.parking + position
        batch = self._batch([body_path(env, body) for env in range(self.config.num_envs)])
        batch.define_xform(local_matrix=place.reshape(-1, 16))
        batch.apply_physics_rigid_body_api()
        batch.apply_physx_rigid_body_api(
            **self._same(
                linear_damping=0.0,
                angular_damping=ANGULAR_DAMPING,
                max_linear_velocity=MAX_LINEAR_VELOCITY,
                max_angular_velocity=math.degrees(MAX_ANGULAR_VELOCITY),
                max_depenetration_velocity=_or(physx.max_depenetration_velocity, MAX_DEPENETRATION_VELOCITY),
            )
        )
        inertia, axes = upright_axes(model.body_inertia[body + 1], model.body_iquat[body + 1])
        batch.apply_physics_mass_api(
            **self._same(
                mass=model.body_mass[body + 1],
                center_of_mass=model.body_ipos[body + 1],
                diagonal_inertia=inertia,
                principal_axes=axes,
            )
        )
        batch.apply_physx_contact_report_api(**self._same(threshold=0.0))
        if body == 0:
            batch.apply_physics_articulation_root_api()
            batch.apply_physx_articulation_api(
                **self._same(
                    solver_position_iteration_count=physx.num_position_iterations,
                    solver_velocity_iteration_count=physx.num_velocity_iterations,
                    enabled_self_collisions=True,
                    sleep_threshold=0.0,
                    stabilization_threshold=0.0,
                )
            )
        partners = self._excluded_partners(body)
        if partners:
            batch.apply_physics_filtered_pairs_api(
                filtered_pairs=[[body_path(env, other) for other in partners] for env in range(self.config.num_envs)]
            )
        self._save(batch)

    def _excluded_partners(self, body: int) -> list[int]:
        """Return the excluded collision partners of a body, for the pairs that name it first."""
        pairs = Mjcf(self.config.character, self.config.character_source).excluded_pairs()
        name = self.skeleton.body_names[body]
        return [self.skeleton.body_index(second) for first, second in pairs if first == name]

    def _rest_pose(self, body: int) -> tuple[DoubleArray, DoubleArray]:
        """Return position [3] and rotation matrix [3, 3] of a body in its root's frame, with all joints at zero."""
        bodies, none = self.skeleton.num_bodies, torch.tensor(NO_ROTATION)
        position, turn = self.skeleton.forward_kinematics(torch.zeros(3), none, none.expand(bodies - 1, 4))
        return position[body].double().numpy(), quat_to_matrix(turn[body]).double().numpy()

    def _write_shape(self, number: int, geom: Geom) -> None:
        """Write a geom of all characters."""
        matrix = _geom_matrix(geom)
        if geom.shape == "hull":
            self._write_hull(number, geom, matrix)
            return
        batch = self._batch([f"{body_path(env, geom.body)}/g{number:03d}" for env in range(self.config.num_envs)])
        radius, _, half = geom.size
        if geom.shape == "box":
            matrix[:3, :3] = np.diag(geom.size) @ matrix[:3, :3]
            batch.define_cube(**self._same(local_matrix=matrix.ravel(), size=2.0))
        elif geom.shape == "sphere":
            batch.define_sphere(**self._same(local_matrix=matrix.ravel(), radius=radius))
        else:
            define = batch.define_capsule if geom.shape == "capsule" else batch.define_cylinder
            define(**self._same(local_matrix=matrix.ravel(), radius=radius, height=2 * half, axis="Z"))
        self._collide(batch, self.config.num_envs)
        self._save(batch)

    def _write_hull(self, number: int, geom: Geom, matrix: DoubleArray) -> None:
        """Write a hull of all characters, env by env: ovstage refuses `points` of several prims ("element size")."""
        points = warp.array(np.array(geom.hull, dtype=np.float32), dtype=warp.float32, device="cpu")
        # PhysX computes the convex hull of the points and ignores the triangles.
        fan = np.array([(0, corner, corner + 1) for corner in range(1, len(geom.hull) - 1)], dtype=np.int32)
        counts = warp.full(len(fan), 3, dtype=warp.int32, device="cpu")
        indices = warp.array(fan.ravel(), dtype=warp.int32, device="cpu")
        for env in range(self.config.num_envs):
            batch = self._batch([f"{body_path(env, geom.body)}/g{number:03d}"]).define_mesh(
                local_matrix=[matrix.ravel()],
                points=[points],
                face_vertex_indices=[indices],
                face_vertex_counts=[counts],
            )
            self._collide(batch, 1)
            batch.apply_physics_mesh_collision_api(approximation=["convexHull"])
            batch.apply_physx_convex_hull_collision_api(hull_vertex_limit=[HULL_VERTICES])
            self._save(batch)

    def _write_joint(self, body: int, joint: Joint) -> None:
        """Write a joint with its drives and limits; a ball joint has them per component of its rotation vector.

        ovphysx's documentation says that articulations lack such limits, but they work (there is a test).
        """
        envs, parent = range(self.config.num_envs), self.skeleton.parent_indices[body]
        batch = self._batch([joint_path(env, body) for env in envs])
        turn = _shortest_arc(joint.axis) if joint.kind == "hinge" else NO_ROTATION
        frames = {
            "body0": [[body_path(env, parent)] for env in envs],
            "body1": [[body_path(env, body)] for env in envs],
            **self._same(
                local_pos0=self.skeleton.local_translation[body].numpy(),
                local_rot0=_product(self.skeleton.local_rotation[body].tolist(), turn),
                local_pos1=(0.0, 0.0, 0.0),
                local_rot1=turn,
            ),
        }
        if joint.kind == "fixed":
            batch.define_physics_fixed_joint(**frames)
        elif joint.kind == "hinge":
            limits = self._same(lower_limit=math.degrees(joint.lower[0]), upper_limit=math.degrees(joint.upper[0]))
            batch.define_physics_revolute_joint(**frames, **limits, **self._same(axis="X"))
            self._drive(batch, "angular", joint, 0)
        else:
            batch.define_physics_joint(**frames)
            for axis in ("transX", "transY", "transZ"):
                batch.apply_physics_limit_api(axis, **self._same(low=1.0, high=-1.0))  # locked
            for number, axis in enumerate(AXES):
                low, high = math.degrees(joint.lower[number]), math.degrees(joint.upper[number])
                batch.apply_physics_limit_api(axis, **self._same(low=low, high=high))
                self._drive(batch, axis, joint, number)
        self._save(batch)

    def _drive(self, batch: PrimBatch, axis: str, joint: Joint, number: int) -> None:
        limit = joint.torque_limit[number] if self.config.torque_limits else math.inf
        batch.apply_physics_drive_api(
            axis,
            **self._same(
                stiffness=math.radians(joint.stiffness[number]),
                damping=math.radians(joint.damping[number]),
                max_force=limit,
            ),
        )
        batch.apply_physx_joint_axis_api(axis, **self._same(armature=joint.armature[number]))

    def _collide(self, batch: PrimBatch, count: int) -> None:
        physx = self.config.physx
        batch.apply_physics_collision_api()
        batch.apply_physx_collision_api(
            contact_offset=[_or(physx.contact_offset, CONTACT_OFFSET)] * count,
            rest_offset=[_or(physx.rest_offset, REST_OFFSET)] * count,
        )
        batch.apply_material_binding_api(material_binding_physics=[["/World/material"]] * count)

    def _write_groups(self) -> None:
        envs = [env_path(env) for env in range(self.config.num_envs)]
        groups = [f"/World/groups/e{env:06d}" for env in range(self.config.num_envs)]
        ground = "/World/groups/ground"
        batch = self._batch([*groups, ground])
        batch.define_physics_collision_group(
            filtered_groups=[*([group, ground] for group in groups), groups],
            includes=[*([env] for env in envs), ["/World/ground"]],
        )
        self._save(batch)

    def _batch(self, paths: Sequence[str]) -> PrimBatch:
        return PrimBatch(self.paths, paths)

    def _save(self, batch: PrimBatch) -> None:
        batch.write(self.stage, READ_ORDINAL)

    def _same(self, **columns: Any) -> dict[str, Any]:
        """Return columns with the same value for all envs."""
        count = self.config.num_envs
        return {
            name: [value] * count if isinstance(value, str) else np.tile(value, (count, *[1] * np.ndim(value)))
            for name, value in columns.items()
        }


def upright_axes(inertia: DoubleArray, quaternion: DoubleArray) -> tuple[DoubleArray, tuple[float, ...]]:
    """Return moments of inertia [3] about the principal axes closest to the body's, and their rotation (xyzw).

    MuJoCo sorts the moments (quaternion: its axes, wxyz). According to PhysX's documentation, spherical drives suffer
    if these axes differ from the body's, and symmetric bodies can avoid that.
    """
    axes = _rotation(quaternion)
    tensor = axes @ np.diag(inertia) @ axes.T
    if np.abs(tensor - np.diag(np.diag(tensor))).max() <= 1e-9 * inertia.max():
        return np.diag(tensor).copy(), NO_ROTATION
    order = np.abs(axes).argmax(axis=1)
    if len(set(order.tolist())) < 3:
        order = np.arange(3)
    turned = axes[:, order] * np.sign(np.diag(axes[:, order]) + 1e-12)
    if np.linalg.det(turned) < 0:
        turned[:, 2] = -turned[:, 2]
    result = np.zeros(4)
    mujoco.mju_mat2Quat(result, turned.ravel())
    w, x, y, z = result.tolist()
    return inertia[order], (x, y, z, w)


def _geom_matrix(geom: Geom) -> DoubleArray:
    """Return the pose of a geom in its body's frame [4, 4], for row vectors."""
    x, y, z, w = geom.rotation
    matrix = np.eye(4)
    matrix[:3, :3] = _rotation(np.array([w, x, y, z])).T
    matrix[3, :3] = geom.position
    return matrix


def _gpu_capacities(config: SimulatorConfig) -> dict[str, int]:
    """Return buffer sizes on the device from PARC's two settings. PhysX reports buffers that are too small."""
    multiplier = _or(config.physx.default_buffer_size_multiplier, 10.0)
    return {
        "gpu_max_rigid_contact_count": config.physx.max_gpu_contact_pairs,
        "gpu_max_rigid_patch_count": round(81920 * multiplier),
        "gpu_found_lost_pairs_capacity": round(262144 * multiplier),
        "gpu_found_lost_aggregate_pairs_capacity": round(262144 * multiplier),
        "gpu_total_aggregate_pairs_capacity": round(262144 * multiplier),
    }


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _rotation(quaternion: DoubleArray) -> DoubleArray:
    """Return the matrix [3, 3] of MuJoCo's quaternion (wxyz)."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quaternion, dtype=np.float64))
    return matrix.reshape(3, 3)


def _shortest_arc(axis: Sequence[float]) -> tuple[float, ...]:
    """Return the smallest rotation (xyzw) of x to an axis."""
    x, y, z = (value / math.sqrt(sum(part * part for part in axis)) for value in axis)
    if x < -0.999999:
        return (0.0, 0.0, 1.0, 0.0)
    w = math.sqrt((1.0 + x) / 2.0)
    return (0.0, -z / (2.0 * w), y / (2.0 * w), w)


def _product(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Return the product of two rotations (xyzw)."""
    result = np.zeros(4)
    mujoco.mju_mulQuat(result, np.array([a[3], *a[:3]]), np.array([b[3], *b[:3]]))
    w, x, y, z = result.tolist()
    return [x, y, z, w]
