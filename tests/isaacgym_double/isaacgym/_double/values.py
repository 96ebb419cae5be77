"""Constants, enumerations and structs of gymapi: names, types and order from isaacgym-stubs (Preview 4).

Defaults are those that NVIDIA's documentation or published code states. Where none does, the default is None and
whoever needs the value refuses it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isaacgym._double.contract import Enumeration, Struct

INVALID_HANDLE = -1


class UpAxis(Enumeration, UP_AXIS_Y=0, UP_AXIS_Z=1):
    pass


class SimType(Enumeration, SIM_PHYSX=0, SIM_FLEX=1):
    pass


class ContactCollection(Enumeration, CC_NEVER=0, CC_LAST_SUBSTEP=1, CC_ALL_SUBSTEPS=2):
    pass


class DofDriveMode(Enumeration, DOF_MODE_NONE=0, DOF_MODE_POS=1, DOF_MODE_VEL=2, DOF_MODE_EFFORT=3):
    pass


class DofType(Enumeration, DOF_INVALID=0, DOF_ROTATION=1, DOF_TRANSLATION=2):
    pass


class IndexDomain(Enumeration, DOMAIN_ENV=0, DOMAIN_SIM=1, DOMAIN_ACTOR=2):
    pass


class MeshType(Enumeration, MESH_NONE=0, MESH_COLLISION=1, MESH_VISUAL=2, MESH_VISUAL_AND_COLLISION=3):
    pass


class MeshNormalMode(Enumeration, FROM_ASSET=0, COMPUTE_PER_VERTEX=1, COMPUTE_PER_FACE=2):
    pass


class CoordinateSpace(Enumeration, ENV_SPACE=0, LOCAL_SPACE=1, GLOBAL_SPACE=2):
    pass


class TensorDataType(Enumeration, DTYPE_FLOAT32=0, DTYPE_UINT32=1, DTYPE_UINT64=2, DTYPE_UINT8=3, DTYPE_INT16=4):
    pass


class Vec3(Struct):
    _order = ("x", "y", "z")
    dtype = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0


class Quat(Struct):
    _order = ("x", "y", "z", "w")
    dtype = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("w", "<f4")])
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    w: float = 1.0


class Transform(Struct):
    _order = ("p", "r")
    dtype = np.dtype([("p", Vec3.dtype), ("r", Quat.dtype)])
    p: Vec3 = Vec3()
    r: Quat = Quat()


class Mat33(Struct):
    x: Vec3 = Vec3()
    y: Vec3 = Vec3()
    z: Vec3 = Vec3()


class Version(Struct):
    major: int = 1
    minor: int = 0


class FlexParams(Struct):
    """Not modelled: SIM_FLEX is refused."""


class PhysXParams(Struct):
    always_use_articulations: bool = False
    bounce_threshold_velocity: float = 0.2
    contact_collection: ContactCollection = ContactCollection.CC_ALL_SUBSTEPS  # type: ignore[attr-defined]
    contact_offset: float = 0.02
    default_buffer_size_multiplier: float = 2.0
    friction_correlation_distance: float = 0.025
    friction_offset_threshold: float = 0.04
    max_depenetration_velocity: float = 100.0
    max_gpu_contact_pairs: int = 1024 * 1024
    num_position_iterations: int = 4
    num_subscenes: int = 0
    num_threads: int = 0
    num_velocity_iterations: int = 1
    rest_offset: float = 0.001
    solver_type: int = 1
    use_gpu: bool = None  # type: ignore[assignment]


class SimParams(Struct):
    dt: float = 1.0 / 60.0
    enable_actor_creation_warning: bool = True
    flex: FlexParams = FlexParams()
    gravity: Vec3 = Vec3(0.0, -9.8, 0.0)
    num_client_threads: int = 0
    physx: PhysXParams = PhysXParams()
    stress_visualization: bool = False
    stress_visualization_max: float = 1e5
    stress_visualization_min: float = 0.0
    substeps: int = 2
    up_axis: UpAxis = UpAxis.UP_AXIS_Y  # type: ignore[attr-defined]
    use_gpu_pipeline: bool = None  # type: ignore[assignment]


class VhacdParams(Struct):
    """Not modelled."""


class AssetOptions(Struct):
    angular_damping: float = 0.5
    armature: float = 0.0
    collapse_fixed_joints: bool = False
    convex_decomposition_from_submeshes: bool = False
    default_dof_drive_mode: int = 0
    density: float = 1000.0
    disable_gravity: bool = False
    enable_gyroscopic_forces: bool = True
    fix_base_link: bool = False
    flip_visual_attachments: bool = False
    linear_damping: float = 0.0
    max_angular_velocity: float = 64.0
    max_linear_velocity: float = 1000.0
    mesh_normal_mode: MeshNormalMode = MeshNormalMode.FROM_ASSET  # type: ignore[attr-defined]
    min_particle_mass: float = 1e-12
    override_com: bool = False
    override_inertia: bool = False
    replace_cylinder_with_capsule: bool = False
    slices_per_cylinder: int = 20
    tendon_limit_stiffness: float = 1.0
    thickness: float = 0.02
    use_mesh_materials: bool = False
    use_physx_armature: bool = True
    vhacd_enabled: bool = False
    vhacd_params: VhacdParams = VhacdParams()

    def __setattr__(self, name: str, value: Any) -> None:
        # The stubs say int; NVIDIA's examples and PARC assign the enumeration, which pybind11 converts.
        if name == "default_dof_drive_mode" and isinstance(value, DofDriveMode):
            value = int(value)
        super().__setattr__(name, value)


class PlaneParams(Struct):
    distance: float = 0.0
    dynamic_friction: float = 1.0
    normal: Vec3 = Vec3(0.0, 1.0, 0.0)
    restitution: float = 0.0
    segmentation_id: int = 0
    static_friction: float = 1.0


class TriangleMeshParams(Struct):
    dynamic_friction: float = 1.0
    nb_triangles: int = 0
    nb_vertices: int = 0
    restitution: float = 0.0
    segmentation_id: int = 0
    static_friction: float = 1.0
    transform: Transform = Transform()


class ActuatorProperties(Struct):
    control_limited: bool = False
    force_limited: bool = False
    kp: float = 0.0
    kv: float = 0.0
    lower_control_limit: float = 0.0
    lower_force_limit: float = 0.0
    motor_effort: float = 0.0
    upper_control_limit: float = 0.0
    upper_force_limit: float = 0.0


class RigidBodyProperties(Struct):
    com: Vec3 = Vec3()
    flags: int = 0
    inertia: Mat33 = Mat33()
    invInertia: Mat33 = Mat33()
    invMass: float = 0.0
    mass: float = 0.0


class RigidShapeProperties(Struct):
    compliance: float = 0.0
    contact_offset: float = 0.0
    filter: int = 0
    friction: float = 1.0
    rest_offset: float = 0.0
    restitution: float = 0.0
    rolling_friction: float = 0.0
    thickness: float = 0.0
    torsion_friction: float = 0.0


class Tensor(Struct):
    data_address: int = 0
    device: int = -1
    dtype: Any = TensorDataType.DTYPE_FLOAT32  # type: ignore[attr-defined]
    own_data: bool = False
    shape: Any = ()

    _own_buffer = None
    """the simulation's buffer, if this describes one"""
    _own_storage = None
    """storage of the torch tensor that this describes, without keeping it alive"""

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def data_ptr(self) -> int:
        """Address; the real one is a capsule."""
        return self.data_address


DOF_PROPERTIES = np.dtype(
    {
        "names": [
            "hasLimits",
            "lower",
            "upper",
            "driveMode",
            "velocity",
            "effort",
            "stiffness",
            "damping",
            "friction",
            "armature",
        ],
        "formats": ["?", "<f4", "<f4", "<i4", "<f4", "<f4", "<f4", "<f4", "<f4", "<f4"],
        "offsets": [0, 4, 8, 12, 16, 20, 24, 28, 32, 36],
        "itemsize": 40,
    }
)
"""As printed by users of the real package."""


class _Handle:
    """An opaque handle; only the gym makes them."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise TypeError(f"{type(self).__name__}: No constructor defined!")


class Sim(_Handle):
    pass


class Env(_Handle):
    pass


class Asset(_Handle):
    pass


class Viewer(_Handle):
    pass


_KINDS = (Enumeration, Struct, _Handle)
PUBLIC: dict[str, Any] = {
    name: value
    for name, value in dict(globals()).items()
    if name[0] != "_" and isinstance(value, type) and issubclass(value, _KINDS) and value not in _KINDS
}
"""What gymapi offers from here: the classes, the members of the enumerations, the constants"""
for _enumeration in [value for value in PUBLIC.values() if issubclass(value, Enumeration)]:
    PUBLIC.update(_enumeration.__members__)
PUBLIC.update(INVALID_HANDLE=-1, STATE_NONE=0, STATE_POS=1, STATE_VEL=2, STATE_ALL=3)
