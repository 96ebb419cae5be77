"""glTF binary: the character's shapes on the terrain, with an animation of its bodies.

Metres, y up, z ahead. One node is the motion's frame; below it, in the motion's own axes (z up), are the terrain and
the tree of bodies with their shapes. The root's translation and the rotation of every body with a joint are animated.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.rotations import quat_normalize
from parc_ray.character.solids import meshes_of, solids_of
from parc_ray.errors import MissingDependencyError
from parc_ray.exporting.format import Y_UP, ExportFormat
from parc_ray.exporting.recording import Recording
from parc_ray.motions.ground_mesh import ground_mesh
from parc_ray.tensors.arrays import DoubleArray, FloatArray, Mesh

BODY_COLOR, GROUND_COLOR = (0.13, 0.32, 0.62, 1.0), (0.52, 0.54, 0.57, 1.0)
"""Linear RGBA."""
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
FLOAT, UNSIGNED_INT = 5126, 5125


def glb_bytes(recording: Recording) -> bytes:
    """A recording as a glTF binary file. Raises MissingDependencyError where pygltflib is missing."""
    gltf = _library()
    data = _Data(gltf)
    kinds = meshes_of(recording.geoms)
    meshes = [
        _mesh(gltf, data, "terrain", ground_mesh(recording.motion.terrain, 0.0), 1, smooth=False),
        *(_mesh(gltf, data, kind, mesh, 0, smooth=True) for kind, mesh in kinds.items()),
    ]
    rotations = _local_rotations(recording)
    nodes = _nodes(gltf, recording, rotations, list(kinds))
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator="parc_ray"),
        scene=0,
        scenes=[gltf.Scene(name=recording.motion.name, nodes=[0])],
        nodes=nodes,
        meshes=meshes,
        materials=[_material(gltf, "body", BODY_COLOR), _material(gltf, "terrain", GROUND_COLOR)],
        animations=[_animation(gltf, data, recording, rotations)],
        accessors=data.accessors,
        bufferViews=data.views,
        buffers=[gltf.Buffer(byteLength=len(data.content))],
    )
    document.set_binary_blob(bytes(data.content))
    return b"".join(document.save_to_bytes())


def _library() -> Any:
    try:
        import pygltflib
    except ImportError:
        raise MissingDependencyError('writing glTF needs pygltflib: pip install "parc-ray[export]"') from None
    return pygltflib


class _Data:
    """The buffer of a file, and the descriptions of its arrays."""

    def __init__(self, gltf: Any) -> None:
        self._gltf = gltf
        self.content = bytearray()
        self.views: list[Any] = []
        self.accessors: list[Any] = []

    def add(self, array: npt.NDArray[Any], target: Any = None) -> int:
        """Append an array of 32-bit numbers [n] or [n, k] and return the index of its accessor."""
        whole = np.issubdtype(array.dtype, np.integer)
        array = np.ascontiguousarray(array, dtype=np.uint32 if whole else np.float32)
        self.views.append(
            self._gltf.BufferView(buffer=0, byteOffset=len(self.content), byteLength=array.nbytes, target=target)
        )
        self.content += array.tobytes()
        self.accessors.append(
            self._gltf.Accessor(
                bufferView=len(self.views) - 1,
                componentType=UNSIGNED_INT if whole else FLOAT,
                count=len(array),
                type="SCALAR" if array.ndim == 1 else f"VEC{array.shape[1]}",
                min=np.atleast_1d(array.min(axis=0)).tolist(),
                max=np.atleast_1d(array.max(axis=0)).tolist(),
            )
        )
        return len(self.accessors) - 1


def _mesh(gltf: Any, data: _Data, name: str, mesh: Mesh, material: int, smooth: bool) -> Any:
    """Return a mesh; without `smooth` it has no normals, so that viewers shade its triangles flat."""
    vertices, triangles = mesh
    attributes: dict[str, int] = {"POSITION": data.add(vertices, ARRAY_BUFFER)}
    if smooth:
        attributes["NORMAL"] = data.add(_normals(vertices, triangles), ARRAY_BUFFER)
    indices = data.add(triangles.reshape(-1), ELEMENT_ARRAY_BUFFER)
    primitive = gltf.Primitive(attributes=gltf.Attributes(**attributes), indices=indices, material=material)
    return gltf.Mesh(name=name, primitives=[primitive])


def _normals(vertices: FloatArray, triangles: npt.NDArray[np.uint32]) -> DoubleArray:
    """Return unit normals [V, 3]: those of the triangles around each vertex, weighted by area."""
    a, b, c = (vertices[triangles[:, corner]].astype(np.float64) for corner in range(3))
    normals = np.zeros(vertices.shape)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], np.cross(b - a, c - a))
    unit: DoubleArray = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return unit


def _material(gltf: Any, name: str, color: tuple[float, ...]) -> Any:
    surface = gltf.PbrMetallicRoughness(baseColorFactor=list(color), metallicFactor=0.0, roughnessFactor=0.8)
    return gltf.Material(name=name, pbrMetallicRoughness=surface, doubleSided=name == "terrain")


def _local_rotations(recording: Recording) -> FloatArray:
    """Return rotations [n, B, 4] relative to the parents, with the signs that interpolation needs."""
    motion = recording.motion
    joints = recording.skeleton.to_parents(torch.from_numpy(motion.joint_rot))
    rotations = quat_normalize(torch.cat((torch.from_numpy(motion.root_rot)[:, None], joints), dim=1)).numpy()
    turned = (rotations[1:] * rotations[:-1]).sum(axis=-1) < 0
    sides = np.cumprod(np.where(turned, -1, 1), axis=0)
    return np.concatenate([rotations[:1], rotations[1:] * sides[..., None]]).astype(np.float32)


def _nodes(gltf: Any, recording: Recording, rotations: FloatArray, kinds: Sequence[str]) -> list[Any]:
    """Return nodes of the motion's frame, the bodies in order, the terrain, and the bodies' shapes."""
    skeleton = recording.skeleton
    world = gltf.Node(name=recording.motion.name, rotation=list(Y_UP), children=[1, skeleton.num_bodies + 1])
    bodies = []
    for body, name in enumerate(skeleton.body_names):
        place = recording.motion.root_pos[0] if body == 0 else skeleton.local_translation[body].numpy()
        children = [child + 1 for child, parent in enumerate(skeleton.parent_indices) if parent == body]
        bodies.append(
            gltf.Node(name=name, translation=place.tolist(), rotation=rotations[0, body].tolist(), children=children)
        )
    nodes = [world, *bodies, gltf.Node(name="terrain", mesh=0)]
    for solid in solids_of(recording.geoms):
        bodies[solid.body].children.append(len(nodes))
        nodes.append(
            gltf.Node(
                name=f"{skeleton.body_names[solid.body]} {solid.kind}",
                mesh=1 + kinds.index(solid.kind),
                translation=list(solid.position),
                rotation=list(solid.rotation),
                scale=list(solid.scale),
            )
        )
    return nodes


def _animation(gltf: Any, data: _Data, recording: Recording, rotations: FloatArray) -> Any:
    times = data.add(recording.times)
    tracks: list[tuple[int, str, FloatArray]] = [(0, "translation", recording.motion.root_pos)]
    for body, joint in enumerate(recording.skeleton.joints):
        if joint.kind != "fixed":
            tracks.append((body, "rotation", rotations[:, body]))
    animation = gltf.Animation(name=recording.motion.name)
    for sampler, (body, path, values) in enumerate(tracks):
        animation.samplers.append(gltf.AnimationSampler(input=times, output=data.add(values), interpolation="LINEAR"))
        target = gltf.AnimationChannelTarget(node=body + 1, path=path)
        animation.channels.append(gltf.AnimationChannel(sampler=sampler, target=target))
    return animation


FORMAT = ExportFormat("glb", ".glb", glb_bytes)
