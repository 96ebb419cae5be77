"""Renderer: draws pictures of a scene offscreen with MuJoCo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Sequence

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.geoms import SHAPES, Geom
from parc_ray.character.rotations import calc_heading, quat_to_matrix
from parc_ray.character.skeleton import Skeleton
from parc_ray.character.solids import hull_mesh, hulls_of
from parc_ray.errors import InputError, printable
from parc_ray.motions.height_field import HeightField
from parc_ray.tensors.arrays import DoubleArray
from parc_ray.viewing.render.camera import View, best_direction, fitting_view, smooth_path
from parc_ray.viewing.render.graphics import Canvas, Picture
from parc_ray.viewing.render.landscape import FIRST_HULL, SUN, landscape_model
from parc_ray.viewing.scenes.colors import BODY, TOUCH, Color, color_of
from parc_ray.viewing.scenes.scene import Clip, Scene, terrain_around
from parc_ray.viewing.scenes.snapshot import Snapshot, Snapshots

GHOST_OPACITY = 0.24
"""MuJoCo draws transparent geoms twice; little more than half of the background shows through."""
MAX_SHADOWS = 20.0
"""m, shadow radius around the character."""
PATH_RATE = 30.0
"""Hz, sampling rate of the paths used to place the camera."""
HEIGHT = 1.43
"""m, between the lowest and highest body origin of the character for which the distances below are set."""
DISTANCE, NEAR_ENOUGH = 4.4, 2.5
"""m, distance of the follow camera, and maximum distance between characters kept in one picture."""
FONTS = (50, 100, 150, 200, 250, 300)


@dataclass(frozen=True)
class Look:
    """Drawing options of a scene."""

    width: int = 1280
    height: int = 720
    """Pixels."""
    camera: str = "follow"
    """follow: moves with the character; fixed: shows the whole path."""
    reference: bool = True
    contacts: bool = True
    """True if bodies in contact are coloured."""
    attempts: bool | None = None
    """True to draw attempts that were not recorded. None: only if nothing was recorded."""


@dataclass(frozen=True)
class DrawnClip:
    """A clip with its drawing style."""

    clip: Clip
    color: Color
    opacity: float = 1.0
    touches: bool = False

    def is_visible_at(self, time: float) -> bool:
        """Return whether the clip has begun; after its end it stays in place."""
        return time >= self.clip.start - 1e-6


def drawn_clips(scene: Scene, look: Look) -> list[DrawnClip]:
    """Return the clips to draw. Raises InputError if there are none."""
    clips = {
        kind: [c for c in scene.clips if c.kind == kind] for kind in ("motion", "recording", "attempt", "reference")
    }
    if look.attempts is False or (look.attempts is None and clips["recording"]):
        clips["attempt"] = []
    if not look.reference:
        clips["reference"] = []
    drawn = [DrawnClip(clip, color_of(clip), touches=look.contacts) for clip in clips["motion"] + clips["recording"]]
    for clip in clips["attempt"]:
        drawn.append(DrawnClip(clip, color_of(clip), 1.0 if not clips["recording"] else GHOST_OPACITY, look.contacts))
    for clip in clips["reference"]:
        drawn.append(
            DrawnClip(clip, color_of(clip), GHOST_OPACITY) if drawn else DrawnClip(clip, BODY, touches=look.contacts)
        )
    if not drawn:
        raise InputError(f"{scene.name}: only its reference can be shown: leave out --no-reference")
    return drawn


def time_range(scene: Scene, look: Look) -> tuple[float, float]:
    """Return start and end (s) of the drawn clips except the reference."""
    clips = [drawn.clip for drawn in drawn_clips(scene, look)]
    clips = [clip for clip in clips if clip.kind != "reference"] or clips
    return min(clip.start for clip in clips), max(clip.end for clip in clips)


class Renderer:
    """Draws a scene at any time within a range; not thread-safe.

    with Renderer(scene, playlist.skeleton, playlist.geoms, Search().result()) as renderer:
        picture = renderer.frame(1.5)
    """

    def __init__(
        self,
        scene: Scene,
        skeleton: Skeleton,
        geoms: Sequence[Geom],
        backend: str,
        look: Look = Look(),
        span: tuple[float, float] | None = None,
    ):
        """geoms: The character's. backend: See Search. span: Start and end, s; default: time_range.

        Raises InputError if the scene cannot be drawn.
        """
        self.look, self.drawn = look, drawn_clips(scene, look)
        self._span = span or time_range(scene, look)
        self._snapshots = Snapshots([drawn.clip.motion for drawn in self.drawn], skeleton)
        self._geoms = _Geoms(geoms)
        self._size = _height(skeleton) / HEIGHT
        self._place_camera(scene.terrain)
        # OpenGL uses single precision: characters jitter far from the origin.
        self._origin = np.append(np.rint(self._paths[0, 0, :2]), 0.0)
        terrain = terrain_around(scene.terrain, self._paths.reshape(-1, 3))
        self._draw_with(backend, replace(terrain, min_point=terrain.min_point - self._origin[:2]))

    def _place_camera(self, terrain: HeightField) -> None:
        low, high = self._span
        self._times = np.linspace(low, high, max(2, round((high - low) * PATH_RATE) + 1))
        self._paths = np.stack([self._path(index) for index in range(len(self.drawn))])
        lead = _lead(self.drawn)
        first = self._snapshots.frames(lead, torch.tensor([low - self.drawn[lead].clip.start]))
        facing = float(torch.rad2deg(calc_heading(first.root_rot))[0])
        focus = self._paths[lead]
        aspect = self.look.width / self.look.height
        apart = np.linalg.norm(self._paths - focus, axis=-1)
        spread = float(apart[apart < NEAR_ENOUGH * self._size].max(initial=0.0))
        distance = (DISTANCE * self._size + spread) * max(1.0, 0.75 / aspect)
        direction = best_direction(focus, facing, HEIGHT * self._size, distance, terrain)
        self._targets = smooth_path(focus, self._times)
        self._view = View((0.0, 0.0, 0.0), distance, *direction)
        if self.look.camera == "fixed":
            self._view = fitting_view(self._paths.reshape(-1, 3), *direction, aspect, 1.3 * self._size)

    def _path(self, index: int) -> DoubleArray:
        """Return root positions [n, 3] m of a clip at the camera's times, clamped to the clip."""
        clip = self.drawn[index].clip
        when = torch.from_numpy(self._times - clip.start).float()
        path: DoubleArray = self._snapshots.frames(index, when).root_pos.double().numpy() + np.array(clip.offset)
        return path

    def _draw_with(self, backend: str, terrain: HeightField) -> None:
        import mujoco

        look = self.look
        low, high = (np.append(corner, terrain.hf.min()) for corner in (terrain.min_point, _far_end(terrain)))
        high[2] = terrain.hf.max()
        across = float(np.linalg.norm(high - low))
        self._sun_distance = across + 4 * self._size
        radius = min(across + self._size, MAX_SHADOWS * self._size)
        far = 30 * (across + self._view.distance)
        model = landscape_model(terrain, look.width, look.height, radius, far, self._geoms.hulls)
        self._mujoco, self._model = mujoco, model
        self._camera, self._option, self._data = mujoco.MjvCamera(), mujoco.MjvOption(), mujoco.MjData(model)
        mujoco.mj_forward(model, self._data)
        font = min(FONTS, key=lambda scale: abs(scale - look.height / 720 * 150))
        self._canvas = Canvas(backend, model, look.width, look.height, font)
        self._contents: Any | None = None

    def view(self, time: float) -> View:
        """Return the camera view at a time, s."""
        if self.look.camera == "fixed":
            return self._view
        x, y, z = (float(np.interp(time, self._times, column)) for column in self._targets.T)
        return replace(self._view, target=(x, y, z))

    def frame(self, time: float) -> Picture:
        """Draw the scene at a time, s."""
        return self._draw([time], self.view(time))

    def composite(self, times: Sequence[float]) -> Picture:
        """Draw the scene at several times, s, in one picture."""
        middle = self.view(times[len(times) // 2])
        return self._draw(times, middle)

    @property
    def engine(self) -> str:
        """Name of the GPU, or llvmpipe for Mesa on CPUs."""
        return self._canvas.engine

    def close(self) -> None:
        """Free the graphics library's resources."""
        self._canvas.close()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _shapes(self, times: Sequence[float]) -> list[DrawnShape]:
        """Return bodies and failure marks of all clips at several times."""
        shapes: list[DrawnShape] = []
        for time in times:
            snapshot = self._snapshots.at([time - drawn.clip.start for drawn in self.drawn])
            for index, drawn in enumerate(self.drawn):
                if not drawn.is_visible_at(time):
                    continue
                shapes += self._geoms.shapes_of(snapshot, index, drawn)
                if drawn.clip.kind == "attempt" and time >= drawn.clip.end:
                    root = snapshot.position[index, 0] + np.array(drawn.clip.offset)
                    shapes.append(_failure(root, drawn.clip, self._size))
        return shapes

    def _draw(self, times: Sequence[float], view: View) -> Picture:
        shapes = self._shapes(times)
        mujoco, camera = self._mujoco, self._camera
        target = np.array(view.target) - self._origin
        camera.lookat[:] = target
        camera.distance, camera.azimuth, camera.elevation = view.distance, view.azimuth, view.elevation
        if self._contents is None or self._contents.maxgeom < len(shapes) + 2:
            self._contents = mujoco.MjvScene(self._model, maxgeom=2 * len(shapes) + 2)
        contents = self._contents
        mujoco.mjv_updateScene(
            self._model, self._data, self._option, None, camera, mujoco.mjtCatBit.mjCAT_ALL.value, contents
        )
        contents.flags[mujoco.mjtRndFlag.mjRND_HAZE] = 1
        for light in contents.lights[: contents.nlight]:
            if not light.headlight:
                light.pos[:] = target + self._sun_distance * SUN
        for shape in shapes:
            slot = contents.geoms[contents.ngeom]
            kind = getattr(mujoco.mjtGeom, f"mjGEOM_{shape.kind.upper()}")
            if shape.hull is not None:
                shape = self._in_own_frame(shape, FIRST_HULL + shape.hull)
            color = np.array([*(value / 255 for value in shape.color), shape.opacity], dtype=np.float32)
            mujoco.mjv_initGeom(slot, kind, shape.size, shape.position - self._origin, shape.axes.ravel(), color)
            slot.size[:], slot.label = shape.size, shape.label
            if shape.hull is not None:
                slot.dataid = 2 * (FIRST_HULL + shape.hull)  # odd numbers select the mesh's convex hull
            slot.category = int(mujoco.mjtCatBit.mjCAT_DYNAMIC)
            slot.specular, slot.shininess = 0.25, 0.4
            contents.ngeom += 1
        return self._canvas.draw(contents)

    def _in_own_frame(self, shape: DrawnShape, mesh: int) -> DrawnShape:
        """Return a shape in the frame of its mesh's principal axes of inertia, to which MuJoCo moves the mesh."""
        axes = np.zeros(9)
        self._mujoco.mju_quat2Mat(axes, self._model.mesh_quat[mesh])
        position = shape.position + shape.axes @ self._model.mesh_pos[mesh]
        return replace(shape, position=position, axes=shape.axes @ axes.reshape(3, 3))


def _lead(clips: Sequence[DrawnClip]) -> int:
    """Return the index of the clip to follow: the recording, else the reference, else the longest attempt."""
    rank = {"motion": 0, "recording": 0, "reference": 1, "attempt": 2}
    return min(range(len(clips)), key=lambda k: (rank[clips[k].clip.kind], -clips[k].clip.end))


@dataclass(frozen=True, eq=False)
class DrawnShape:
    """A drawable shape."""

    kind: str
    size: npt.NDArray[Any]
    position: DoubleArray
    axes: DoubleArray
    """[3, 3], axes as columns."""
    color: Color
    opacity: float = 1.0
    label: str = ""
    hull: int | None = None
    """Index of the hull; None for other shapes."""


class _Geoms:
    """A character's geoms, in the frames of its bodies."""

    def __init__(self, geoms: Sequence[Geom]):
        solid = [geom for geom in geoms if geom.shape in SHAPES]
        self.bodies = [geom.body for geom in solid]
        self.shapes = ["mesh" if geom.hull else geom.shape for geom in solid]
        distinct = hulls_of(geoms)
        self.hulls = [hull_mesh(hull) for hull in distinct]
        self._hull = [distinct.index(geom.hull) if geom.hull else None for geom in solid]
        self.sizes = np.array([geom.size for geom in solid], dtype=np.float64).reshape(-1, 3)
        self.places = np.array([geom.position for geom in solid], dtype=np.float64).reshape(-1, 3)
        self.axes = _matrices(np.array([geom.rotation for geom in solid], dtype=np.float64).reshape(-1, 4))

    def shapes_of(self, snapshot: Snapshot, index: int, drawn: DrawnClip) -> list[DrawnShape]:
        """Return the geoms of one of a snapshot's characters in the scene."""
        axes = _matrices(snapshot.rotation[index].astype(np.float64))[self.bodies]
        origins = snapshot.position[index].astype(np.float64)[self.bodies] + drawn.clip.offset
        positions = origins + (axes @ self.places[..., None])[..., 0]
        turned = axes @ self.axes
        touching = snapshot.contact[index][self.bodies] & drawn.touches
        return [
            DrawnShape(kind, size, position, turn, TOUCH if touch else drawn.color, drawn.opacity, hull=hull)
            for kind, size, position, turn, touch, hull in zip(
                self.shapes, self.sizes, positions, turned, touching, self._hull
            )
        ]


def _matrices(quaternions: DoubleArray) -> DoubleArray:
    """Return rotation matrices [n, 3, 3] of quaternions [n, 4] xyzw of about unit length."""
    unit = quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
    matrices: DoubleArray = quat_to_matrix(torch.from_numpy(unit)).numpy()
    return matrices


def _failure(root: DoubleArray, clip: Clip, size: float) -> DrawnShape:
    """Return an arrow that points down to the failure point of an attempt, labelled with the reason.

    Later attempts have longer arrows: attempts often fail at the same place, and their labels would overlap.
    """
    length = (0.35 + 0.2 * clip.number) * size
    downwards = np.diag([1.0, -1.0, -1.0])
    label = printable(f"attempt {clip.number}: {clip.ending}").encode("ascii", "replace").decode()[:99]
    top = root + (0.0, 0.0, 0.6 * HEIGHT * size + length)
    return DrawnShape(
        "arrow", np.array([0.05 * size, 0.05 * size, length]), top, downwards, color_of(clip), label=label
    )


def _height(skeleton: Skeleton) -> float:
    """Return the height difference (m) between the lowest and highest body origin in the rest pose."""
    rest = torch.tensor([0.0, 0.0, 0.0, 1.0])
    position, _ = skeleton.forward_kinematics(
        torch.zeros(1, 3), rest.expand(1, 4), rest.expand(1, skeleton.num_bodies - 1, 4)
    )
    return max(0.1, float((position.amax(dim=1) - position.amin(dim=1)).max()))


def _far_end(terrain: HeightField) -> DoubleArray:
    """Return the centre of the last cell [2] m."""
    end: DoubleArray = terrain.min_point + terrain.dx * (np.array(terrain.hf.shape, dtype=np.float64) - 1)
    return end
