"""Recording: a motion file and its character."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.geoms import Geom, read_geoms
from parc_ray.character.skeleton import Skeleton, parse_skeleton
from parc_ray.errors import InputError
from parc_ray.files.reading import read_bytes
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import parse_motion, read_misc
from parc_ray.runs.motion_files import Writers, find_character
from parc_ray.tensors.arrays import DoubleArray, FloatArray

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Recording:
    """A motion of n frames, of a character of B bodies and D degrees of freedom. Metres, radians, z up, xyzw."""

    motion: Motion
    """Root and joint rotations, contacts, frames per second, terrain."""
    skeleton: Skeleton
    """The character: names of its bodies, and its joints."""
    geoms: tuple[Geom, ...]
    """The shapes of its bodies."""
    character: str
    """Text of its MJCF."""
    source: str
    """The character's file, for messages."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Plain values beside the motion in its file (PARC's misc_data); empty if they cannot be read."""

    def __repr__(self) -> str:
        """Return one line: arrays and terrains fill a screen."""
        return f"<Recording {self.motion.name!r}: {self.motion.num_frames} frames, {self.motion.length:.2f} s>"

    @property
    def origin(self) -> Mapping[str, Any]:
        """Origin of a recording: source motion, start, attempt, metrics, simulator. Empty for other motions."""
        origin = self.extras.get("recording", {})
        return origin if isinstance(origin, dict) else {}

    @property
    def times(self) -> DoubleArray:
        """[n] s from the first frame."""
        return np.arange(self.motion.num_frames) / self.motion.fps

    def body_poses(self) -> tuple[FloatArray, FloatArray]:
        """Return positions [n, B, 3] m of the bodies' origins, and rotations [n, B, 4], in the motion's frame."""
        motion = self.motion
        position, rotation = self.skeleton.forward_kinematics(
            *(torch.from_numpy(part) for part in (motion.root_pos, motion.root_rot, motion.joint_rot))
        )
        return position.numpy(), rotation.numpy()

    def dof_pos(self) -> FloatArray:
        """Return degrees of freedom [n, D] rad: hinges one angle, spherical joints a rotation vector."""
        dofs: FloatArray = self.skeleton.rot_to_dof(torch.from_numpy(self.motion.joint_rot)).numpy()
        return dofs

    def columns(self) -> dict[str, npt.NDArray[np.floating]]:
        """Return all values as columns [n]: `time` s, then columns named after part and axis, such as `root_pos.x`.

        root_pos, root_rot (a quaternion), dof.JOINT, body_pos.BODY, contact.BODY (0 to 1).
        """
        columns: dict[str, npt.NDArray[np.floating]] = {"time": self.times}
        _spread(columns, "root_pos", self.motion.root_pos)
        _spread(columns, "root_rot", self.motion.root_rot)
        dofs = self.dof_pos()
        for joint in self.skeleton.joints:
            own = dofs[:, joint.dof_index : joint.dof_index + joint.dof_count]
            if joint.kind == "spherical":
                _spread(columns, f"dof.{joint.name}", own)
            elif joint.kind == "hinge":
                columns[f"dof.{joint.name}"] = own[:, 0]
        positions, _ = self.body_poses()
        for index, body in enumerate(self.skeleton.body_names):
            _spread(columns, f"body_pos.{body}", positions[:, index])
        for index, body in enumerate(self.skeleton.body_names):
            columns[f"contact.{body}"] = self.motion.contacts[:, index]
        return columns

    def frame(self) -> pandas.DataFrame:
        """Return the columns as a data frame, one row per frame of the motion. Needs pandas."""
        import pandas

        return pandas.DataFrame(self.columns())


def read_recording(path: str | Path | None, character: str | Path | None = None) -> Recording:
    """Read a motion file: a recording of a run, a failed attempt that it kept, or any other motion.

    path: the file, such as RunMotion.recording, which is None for a motion that was not recorded.
    character: the MJCF; by default that of the run whose output directory the file is in, else PARC's humanoid.
    Raises InputError if there is no recording, or the file is no motion of this character.

    >>> import parc_ray
    >>> recording = parc_ray.read_recording("output/recorded_motions/walk_0_49/walk_0.pkl")
    >>> recording.motion.fps, recording.origin["source_motion"], recording.origin["start_fraction"]
    (30.0, 'walk_0', 0.0)
    >>> positions, rotations = recording.body_poses()
    >>> positions.shape == (recording.motion.num_frames, recording.skeleton.num_bodies, 3)
    True
    """
    if path is None:
        raise InputError("this motion was not recorded, so it has no recording; see its state and reason")
    path = Path(path)
    known = None if character is not None else Writers().of(path)
    text, source = find_character(known[0] if known else None, None if character is None else Path(character))
    return recording_of(path, text, source)


def recording_of(path: Path, character: str, source: str) -> Recording:
    """Read the motion file at a path, of the character in MJCF text. Raises InputError."""
    content, skeleton = read_bytes(path), parse_skeleton(character, source)
    motion = parse_motion(content, path.stem, skeleton, str(path))
    try:
        extras = read_misc(content, str(path))
    except InputError:
        extras = {}
    return Recording(motion, skeleton, read_geoms(character, source), character, source, extras)


def _spread(columns: dict[str, npt.NDArray[np.floating]], name: str, values: FloatArray) -> None:
    for axis, own in zip("xyzw", values.T):
        columns[f"{name}.{axis}"] = own
