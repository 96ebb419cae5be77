"""Viewport: the 3-D view on the viewer's page, with terrain, characters and failure points."""

from __future__ import annotations

import math
from typing import Any, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from parc_ray.character.geoms import Geom
from parc_ray.character.solids import meshes_of, unit_mesh
from parc_ray.tensors.arrays import BoolArray, FloatArray, Mesh
from parc_ray.viewing.browser.facts import failure
from parc_ray.viewing.browser.ground import columns
from parc_ray.viewing.browser.parts import UNTURNED, Parts, character_parts
from parc_ray.viewing.scenes.colors import GHOST_TOUCH, GROUND, NIGHT, SKY, TOUCH, color_of
from parc_ray.viewing.scenes.playback import Playback
from parc_ray.viewing.scenes.scene import Clip

GHOSTLY = 0.4
"""Opacity of a reference shown with simulated clips."""
EYE, FIELD = (2.6, -4.2, 1.5), 0.8
"""Initial camera: position relative to its target (m), which moves along x, and field of view (rad)."""
NARROW, LOW_TARGET = 0.8, (0.0, 0.0, -1.3)
"""Width over height of a phone's window, and its camera's target: its panel covers the lower half."""
LINE_ENDS = np.array([[0, 0, 1000], [0, 0, -1000]], dtype=np.float32)
PIN, LINE = 1.0, 0.2
"""m, from a failure point to its label, and between the labels of successive attempts."""


class Viewport:
    """Shows a playback in viser. Moves the world instead of the camera, which the user controls."""

    def __init__(self, server: Any, geoms: Sequence[Geom]):
        self.contacts = True
        """True if bodies in contact are coloured."""
        self.follow = True
        """True if the view follows the character."""
        self._scene = server.scene
        self._parts, self._meshes = character_parts(geoms), meshes_of(geoms)
        self._characters: list[_Character] = []
        self._ground: list[Any] = []
        server.initial_camera.position = EYE
        server.initial_camera.look_at = (0.0, 0.0, 0.0)
        server.initial_camera.fov = FIELD
        server.on_client_connect(_aim_below_on_phones)
        self._world = self._scene.add_frame("/motion", show_axes=False)

    def set_background(self, dark: bool) -> None:
        """Set the sky colour."""
        sky = np.full((2, 2, 3), NIGHT if dark else SKY, dtype=np.uint8)
        self._scene.set_background_image(sky, format="png")

    def open(self, playback: Playback) -> None:
        """Build the open scene."""
        for thing in (*self._ground, *(handle for character in self._characters for handle in character.handles)):
            thing.remove()
        self._ground, self._characters = [], []
        if playback.scene is None:
            return
        self._turn = playback.heading()
        self._world.wxyz = (math.cos(self._turn / 2), 0.0, 0.0, -math.sin(self._turn / 2))
        self._look_at(playback)
        cells = columns(playback.scene)
        vertices, faces = unit_mesh("box")
        self._ground = [
            self._scene.add_batched_meshes_simple(
                "/motion/ground",
                vertices,
                faces,
                batched_wxyzs=_unturned(len(cells.middle)),
                batched_positions=cells.middle,
                batched_scales=cells.half,
                batched_colors=_linear(np.outer(cells.shade, GROUND)),
                flat_shading=True,
                cast_shadow=False,  # adjacent columns would cast lines onto each other
                lod="off",
            )
        ]
        self._characters = [
            _Character(
                self._scene,
                {kind: (parts, self._meshes[kind]) for kind, parts in self._parts.items()},
                clip,
                index,
                failure(clip, playback.item),
                len(playback.clips) == 1,
            )
            for index, clip in enumerate(playback.clips)
        ]

    def show(self, playback: Playback) -> None:
        """Move everything to the current time."""
        if playback.scene is None:
            return
        snapshot = playback.snapshot()
        placed = {kind: parts.at(snapshot.position, snapshot.rotation) for kind, parts in self._parts.items()}
        for index, character in enumerate(self._characters):
            shown = playback.is_visible(character.clip)
            if shown:
                contact = snapshot.contact[index] & self.contacts
                character.place({kind: (where[index], turn[index]) for kind, (where, turn) in placed.items()}, contact)
            character.appear(shown, playback.has_failed(character.clip))
        if self.follow:
            self._look_at(playback)

    def _look_at(self, playback: Playback) -> None:
        x, y, z = playback.focus().tolist()
        c, s = math.cos(self._turn), math.sin(self._turn)
        self._world.position = (-c * x - s * y, s * x - c * y, -z)


def _aim_below_on_phones(client: Any) -> None:
    if client.camera.aspect < NARROW:
        client.camera.look_at = LOW_TARGET


class _Character:
    """The character of one clip."""

    def __init__(
        self, scene: Any, parts: Mapping[str, tuple[Parts, Mesh]], clip: Clip, index: int, failure: str, alone: bool
    ):
        """parts: By kind, with the mesh shared by all parts of that kind."""
        self.clip = clip
        self._parts = {kind: own for kind, (own, _) in parts.items()}
        self._meshes = {kind: mesh for kind, (_, mesh) in parts.items()}
        self._ghost = clip.kind == "reference" and not alone
        self._contact: Any = None
        name = f"/motion/clip_{index}"
        # A ghost is drawn twice, first invisibly, to hide inner faces. The page sorts translucent objects by their
        # centres. Two points far above and below give all parts of a ghost the same centre, so they are drawn in order
        # of creation.
        self._ends = LINE_ENDS if self._ghost else LINE_ENDS[:0]
        opacities = (0.0, GHOSTLY) if self._ghost else (None,)
        self._layers = [
            {kind: self._batch(scene, f"{name}/{layer}_{kind}", kind, opacity) for kind in parts}
            for layer, opacity in enumerate(opacities)
        ]
        self._bodies = [handle for layer in self._layers for handle in layer.values()]
        failing = clip.kind == "attempt" and clip.ending
        self._pin = self._marker(scene, f"{name}/failure", failure) if failing else []
        self.handles = [*self._bodies, *self._pin]

    def place(self, placed: Mapping[str, tuple[Any, Any]], contact: BoolArray) -> None:
        """Move the parts [P, 3] and [P, 4] (wxyz) of each kind; colour the bodies in contact [B]."""
        recolored = self._contact is None or not np.array_equal(contact, self._contact)
        self._contact = contact
        for kind, (where, turn) in placed.items():
            for layer in self._layers:
                _assign(layer[kind], "batched_positions", np.concatenate([self._ends, where]))
                _assign(layer[kind], "batched_wxyzs", np.concatenate([_unturned(len(self._ends)), turn]))
                if recolored:
                    layer[kind].batched_colors = self._colors(kind)

    def appear(self, shown: bool, failed: bool) -> None:
        """Show or hide the character and its failure point."""
        for visible, handles in ((shown, self._bodies), (failed, self._pin)):
            for handle in handles:
                if handle.visible != visible:
                    handle.visible = visible

    def _batch(self, scene: Any, name: str, kind: str, opacity: Any) -> Any:
        vertices, faces = self._meshes[kind]
        stretch = np.concatenate([0 * self._ends, self._parts[kind].stretch])
        count = len(stretch)
        return scene.add_batched_meshes_simple(
            name,
            vertices,
            faces,
            batched_wxyzs=_unturned(count),
            batched_positions=np.zeros((count, 3), dtype=np.float32),
            batched_scales=stretch,
            batched_colors=_linear(np.tile(color_of(self.clip), (count, 1))),
            opacity=opacity,
            flat_shading=kind not in ("ball", "cylinder"),
            cast_shadow=not self._ghost,
            receive_shadow=not self._ghost,
            lod="off",
            visible=False,
        )

    def _marker(self, scene: Any, name: str, text: str) -> list[Any]:
        point = self.clip.path()[-1]
        # Above the path's highest point, so that labels of attempts that failed at the same place stay apart.
        top = np.array([*point[:2], self.clip.path()[:, 2].max() + PIN + LINE * self.clip.number])
        color = color_of(self.clip)
        line = np.array([[point, top]], dtype=np.float32)
        return [
            scene.add_line_segments(
                f"{name}_line", line, colors=np.array(color), thickness=3.0, thickness_units="screen", visible=False
            ),
            scene.add_icosphere(f"{name}_point", radius=0.05, color=color, position=tuple(top), visible=False),
            scene.add_label(
                f"{name}_text", text, position=tuple(top + (0.0, 0.0, 0.1)), anchor="bottom-center", visible=False
            ),
        ]

    def _colors(self, kind: str) -> npt.NDArray[np.uint8]:
        tones = np.array((color_of(self.clip), GHOST_TOUCH if self._ghost else TOUCH))
        touching = self._contact[self._parts[kind].body.numpy()]
        return _linear(tones[np.concatenate([np.zeros(len(self._ends), dtype=np.bool_), touching]).astype(np.int64)])


def _assign(handle: Any, name: str, values: FloatArray) -> None:
    """Assign a value only if it has changed: every assignment is sent to all browsers."""
    if not np.array_equal(getattr(handle, name), values):
        setattr(handle, name, values)


def _unturned(count: int) -> FloatArray:
    return np.tile(UNTURNED, (count, 1))


def _linear(colors: Any) -> npt.NDArray[np.uint8]:
    """Convert sRGB colours (0 to 255) to linear ones, as the page's batches expect."""
    share = np.asarray(colors, dtype=np.float64) / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.round(light * 255).astype(np.uint8)
