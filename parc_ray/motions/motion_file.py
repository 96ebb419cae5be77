"""Motions on disk: PARC's `.pkl` files, both generations, and MimicKit's.

The current generation is a dict of three separate pickles: `motion_data`, `terrain_data` and `misc_data` (any
content, read only on request). The older one is a single dict with `frames` (root position, root rotation vector and
dofs, concatenated) and `terrain`, an instance of PARC's class `SubTerrain`. MimicKit's files have no terrain: their
motions are on level ground.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Mapping, NoReturn

import numpy as np
import numpy.typing as npt
import torch

from parc_ray.character.rotations import exp_map_to_quat, quat_positive
from parc_ray.character.skeleton import Skeleton
from parc_ray.errors import InputError, quote
from parc_ray.files import plain_pickle, torch_values
from parc_ray.files.plain_pickle import Builder, Inert
from parc_ray.files.reading import read_bytes
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.mimickit_file import is_mimickit, mimickit_clip
from parc_ray.motions.motion import LOOP_MODES, Motion
from parc_ray.motions.unset_joints import fill_dofs, fill_rotations
from parc_ray.tensors.arrays import FloatArray

MAX_NORM_ERROR = 1e-2
MAX_FRAMES = 10**6
MAX_SECONDS = 3600.0
"""Maximum length of a motion, s; every env has buffers for the longest, 1.5 kB per control step."""
MAX_DISTANCE = 1e5
"""Maximum coordinate of a motion or its terrain, m; float32 has steps of 8 mm there."""
MAX_TERRAIN_CELLS = 10**7
"""Maximum cells of a terrain: ten times the default limit of PARC's dataset scan."""
CELL_SIZES = (1e-3, 1e3)
"""Valid range of cell sizes, m."""
FREQUENCIES = (1e-6, 1e6)
"""Valid range of frames per second; beyond it, derived numbers overflow."""
LEVEL_BORDER = 4.0
"""Level ground around the path of a motion without terrain, m."""
LEGACY_KEYS = ("frames", "contacts", "terrain", "fps", "loop_mode")


def read_motion(path: Path, skeleton: Skeleton) -> Motion:
    """Return the motion in a file, named after it. Raises InputError; see `parse_motion`."""
    return parse_motion(read_bytes(path), path.stem, skeleton, str(path))


def parse_motion(content: bytes, name: str, skeleton: Skeleton, source: str) -> Motion:
    """Return the motion in the bytes of a PARC file (either generation) or MimicKit file, checked against `skeleton`.

    Stored quaternions are kept; for the older generation they are computed from rotation vectors and dofs, with
    w >= 0. A joint without a finite value in any frame becomes the identity, with a note. Raises InputError, which
    starts with `source`, for anything else that is not a complete, finite motion of this character. Never runs code
    from the file.
    """
    container = _load_container(content, source)
    if is_mimickit(container):
        motion = _mimickit_part(container, skeleton, source)
        return _checked_motion(motion, _level_ground(motion, source), name, skeleton, source)
    if "frames" in container:
        motion, terrain = _legacy_parts(container, skeleton, source)
    else:
        motion = {**_load_part(container, "motion_data", source), "notes": ()}
        terrain = _load_part(container, "terrain_data", source)
    return _checked_motion(motion, _height_field(terrain, source), name, skeleton, source)


def read_misc(content: bytes, source: str = "motion file") -> dict[str, Any]:
    """Return the extras of a motion file as plain values and read-only numpy arrays; {} if it has none.

    Other values, such as tensors of PARC's preprocessing or objects of its classes, are left out.
    Raises InputError if the file is damaged.
    """
    container = _load_container(content, source, builders={})
    if "frames" in container:
        extras = {key: value for key, value in container.items() if key not in LEGACY_KEYS}
    elif container.get("misc_data") is None:
        return {}
    else:
        extras = _load_part(container, "misc_data", source, inert=lambda name: True, builders={})
    return {key: value for key, value in extras.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    """Return whether the value contains no unbuilt object. A file may nest it to any depth, or into itself."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, Inert):
            return False
        if isinstance(item, (dict, list, tuple, set, frozenset)) and id(item) not in seen:
            seen.add(id(item))
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return True


def motion_file_bytes(motion: Motion, misc: Mapping[str, Any] | None = None) -> bytes:
    """Return the bytes of a motion file of the current generation, readable by PARC and under numpy 1 and 2.

    `misc` may hold dicts, lists, tuples, scalars and numpy arrays; InputError otherwise.
    """
    fps = int(motion.fps) if float(motion.fps).is_integer() else float(motion.fps)
    motion_data = {
        "root_pos": _contiguous(motion.root_pos),
        "root_rot": _contiguous(motion.root_rot),
        "joint_rot": _contiguous(motion.joint_rot),
        "body_contacts": _contiguous(motion.contacts),
        "fps": fps,
        "loop_mode": motion.loop_mode,
    }
    terrain_data = {
        "hf": _contiguous(motion.terrain.hf),
        "hf_maxmin": _contiguous(motion.terrain.hf_maxmin),
        "min_point": _contiguous(motion.terrain.min_point),
        "dx": float(motion.terrain.dx),
    }
    return plain_pickle.dumps(
        {
            "motion_data": plain_pickle.dumps(motion_data, check=False),
            "terrain_data": plain_pickle.dumps(terrain_data, check=False),
            "misc_data": None if misc is None else plain_pickle.dumps(dict(misc)),
        },
        check=False,
    )


def _fail(source: str, problem: str, remedy: str = "Generate the motion again, or leave it out.") -> NoReturn:
    raise InputError(f"{source}: {problem}. {remedy}")


def _load_container(
    content: bytes, source: str, builders: Mapping[str, Builder] = torch_values.BUILDERS
) -> dict[str, Any]:
    if not content:
        _fail(source, "is empty")
    container = plain_pickle.loads(content, source, inert=_is_legacy_object, builders=builders)
    if not isinstance(container, dict) or not ("frames" in container or "motion_data" in container):
        _fail(source, "is not a motion file (no `motion_data` and no `frames`)", "Leave it out of the dataset.")
    return container


def _load_part(
    container: Mapping[str, Any],
    key: str,
    source: str,
    inert: Callable[[str], bool] = lambda name: False,
    builders: Mapping[str, Builder] = torch_values.BUILDERS,
) -> dict[str, Any]:
    content = container.get(key)
    if content is None:
        _fail(source, f"has no {key}")
    if not isinstance(content, (bytes, bytearray)):
        _fail(source, f"{key} is {_describe(content)} instead of a pickle of its own")
    part = plain_pickle.loads(bytes(content), f"{source}: {key}", inert, builders)
    if not isinstance(part, dict):
        _fail(source, f"{key} is {_describe(part)} instead of a dict")
    return part


def _is_legacy_terrain(name: str) -> bool:
    return name.endswith(".SubTerrain")


def _is_legacy_object(name: str) -> bool:
    """Return whether an object is skipped: extras of older files store torch objects next to the frames."""
    return _is_legacy_terrain(name) or name.startswith("torch.")


def _legacy_parts(
    container: Mapping[str, Any], skeleton: Skeleton, source: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the older generation's single dict as the `motion_data` and `terrain_data` of the current one."""
    shape = (None, 6 + skeleton.dof_count)
    frames = _array(_first_of_one(container["frames"], 3), "frames", shape, source, finite=False)
    frames, notes = fill_dofs(frames, skeleton, "frames", source)
    poses = torch.from_numpy(frames)
    fps = container.get("fps", 30)
    motion = {
        "root_pos": frames[:, 0:3],
        "root_rot": quat_positive(exp_map_to_quat(poses[:, 3:6])).numpy(),
        "joint_rot": quat_positive(skeleton.dof_to_rot(poses[:, 6:])).numpy(),
        "body_contacts": _first_of_one(container.get("contacts"), 3),
        # Older exporters wrote 30 fps as values such as 1 / 0.0333.
        "fps": 30 if isinstance(fps, (float, np.floating)) and 29 < fps < 31 else fps,
        "loop_mode": container.get("loop_mode", "CLAMP"),
        "notes": notes,
    }
    terrain = container.get("terrain")
    if not isinstance(terrain, Inert) or not isinstance(terrain.state, dict):
        _fail(source, "has no terrain")
    cell = _array(terrain.state.get("dxdy"), "terrain dxdy", (2,), source)
    if cell[0] != cell[1]:
        _fail(source, f"its terrain cells are not square ({cell[0]} x {cell[1]} m)")
    return motion, {**terrain.state, "dx": cell[0]}


def _mimickit_part(container: Mapping[str, Any], skeleton: Skeleton, source: str) -> dict[str, Any]:
    """Return the content of a MimicKit file as the `motion_data` of the current generation."""
    clip = mimickit_clip(container, skeleton, source)
    return {
        "root_pos": clip.root_pos.numpy(),
        "root_rot": clip.root_rot.numpy(),
        "joint_rot": clip.joint_rot.numpy(),
        "body_contacts": container.get("contacts"),
        "fps": clip.fps,
        "loop_mode": clip.loop_mode,
        "notes": clip.notes,
    }


def _level_ground(part: Mapping[str, Any], source: str) -> HeightField:
    _require_near(part["root_pos"], "frames", source)
    try:
        return HeightField.level(part["root_pos"][:, :2], LEVEL_BORDER)
    except InputError as error:
        _fail(source, str(error), "Check its units, or cut it into shorter ones.")


def _first_of_one(value: Any, dimensions: int) -> Any:
    """Return an array without the leading batch dimension of size one found in some older files."""
    if isinstance(value, np.ndarray) and value.ndim == dimensions and value.shape[0] == 1:
        return value[0]
    return value


def _checked_motion(
    part: Mapping[str, Any], terrain: HeightField, name: str, skeleton: Skeleton, source: str
) -> Motion:
    root_pos = _array(part.get("root_pos"), "root_pos", (None, 3), source)
    num_frames = root_pos.shape[0]
    if num_frames < 2:
        _fail(source, f"has {num_frames} frame(s), but a motion needs at least 2")
    if num_frames > MAX_FRAMES:
        _fail(source, f"has {num_frames} frames, but at most {MAX_FRAMES} are possible", "Cut it into shorter ones.")
    _require_near(root_pos, "root_pos", source)
    fps = _positive_number(part.get("fps"), "fps", FREQUENCIES, source)
    seconds = (num_frames - 1) / fps
    if seconds > MAX_SECONDS:
        _fail(
            source,
            f"lasts {seconds:g} s with its fps of {fps:g}, but at most {MAX_SECONDS:g} s are possible",
            "Correct its fps, or cut it into shorter ones.",
        )
    bodies = skeleton.num_bodies
    contacts = part.get("body_contacts")
    labelled = contacts is not None
    if contacts is None:
        contacts = np.zeros((num_frames, bodies), dtype=np.float32)
    loop_mode = part.get("loop_mode")
    if not isinstance(loop_mode, str) or loop_mode not in LOOP_MODES:
        _fail(source, f"its loop_mode is {_describe(loop_mode)}", f"Known are {' and '.join(LOOP_MODES)}.")
    root_rot = _rotations(part.get("root_rot"), "root_rot", (num_frames, 4), source)
    joint_rot = _array(part.get("joint_rot"), "joint_rot", (num_frames, bodies - 1, 4), source, finite=False)
    joint_rot, notes = fill_rotations(joint_rot, skeleton, "joint_rot", source)
    return Motion(
        name=name,
        root_pos=root_pos,
        root_rot=root_rot,
        joint_rot=_rotations(joint_rot, "joint_rot", (num_frames, bodies - 1, 4), source),
        contacts=_array(contacts, "body_contacts", (num_frames, bodies), source),
        fps=fps,
        loop_mode=str(loop_mode),
        terrain=terrain,
        labelled=labelled,
        notes=(*part["notes"], *notes),
    )


def _height_field(part: Mapping[str, Any], source: str) -> HeightField:
    heights = part.get("hf")
    if isinstance(heights, np.ndarray) and not 0 < heights.size <= MAX_TERRAIN_CELLS:
        _fail(source, f"its terrain has {heights.size} cells; 1 to {MAX_TERRAIN_CELLS} are possible")
    hf = _array(heights, "terrain hf", (None, None), source)
    min_point = _array(part.get("min_point"), "terrain min_point", (2,), source)
    dx = _positive_number(part.get("dx"), "terrain dx", CELL_SIZES, source)
    _require_near(hf, "terrain hf", source)
    _require_near(min_point, "terrain min_point", source)
    _require_near(min_point + np.float32(dx) * np.array(hf.shape), "the far end of its terrain", source)
    bounds = part.get("hf_maxmin")
    if bounds is None:
        bounds = np.stack([hf, hf], axis=-1)
    return HeightField(
        hf=hf,
        # Kept but never used: PARC accepts unbounded augmentation, so values need not be finite.
        hf_maxmin=_array(bounds, "terrain hf_maxmin", (*hf.shape, 2), source, finite=False),
        min_point=min_point,
        dx=dx,
    )


def _array(value: Any, what: str, shape: tuple[int | None, ...], source: str, finite: bool = True) -> FloatArray:
    """Return a copy of `value` as a float32 array of `shape`, where None matches any size."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        _fail(source, f"{what} is {_describe(value)} instead of an array of numbers")
    if len(value.shape) != len(shape) or any(want not in (None, have) for want, have in zip(shape, value.shape)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        _fail(
            source,
            f"{what} has shape {list(value.shape)} instead of [{expected}]",
            "Check that all parts have the same number of frames and that the motion is for this character.",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.array(value, dtype=np.float32, order="C")
    if finite and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        _fail(source, f"{what} is not finite, first in row {row}")
    return array


def _rotations(value: Any, what: str, shape: tuple[int, ...], source: str) -> FloatArray:
    rotations = _array(value, what, shape, source)
    error = np.abs(np.linalg.norm(rotations.astype(np.float64), axis=-1) - 1)
    if error.size and error.max() > MAX_NORM_ERROR:
        row = int(np.argwhere(error > MAX_NORM_ERROR)[0][0])
        _fail(source, f"{what} is not a unit quaternion, first in row {row}", "Normalise its rotations.")
    return rotations


def _require_near(values: npt.NDArray[Any], what: str, source: str) -> None:
    farthest = float(np.abs(values).max())
    if farthest > MAX_DISTANCE:
        _fail(
            source,
            f"{what} reaches {farthest:g} m from the origin, but at most {MAX_DISTANCE:g} m are possible",
            "Check its units, or move it to the origin.",
        )


def _positive_number(value: Any, what: str, bounds: tuple[float, float], source: str) -> float:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    with suppress(OverflowError):
        if is_number and bounds[0] <= float(value) <= bounds[1]:
            return float(value)
    _fail(source, f"{what} is {_describe(value)} instead of a positive number ({bounds[0]:g} to {bounds[1]:g})")


def _describe(value: Any) -> str:
    """Return a short description of a value; the repr of a file's value has no bound on length or depth."""
    if value is None:
        return "missing"
    if isinstance(value, (str, float, bool, np.integer, np.floating)) or (type(value) is int and abs(value) < 2**64):
        return quote(value, 40)
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    if isinstance(value, Inert):
        return f"a {value.name}"
    return f"a {type(value).__name__}"


def _contiguous(array: npt.ArrayLike) -> FloatArray:
    return np.ascontiguousarray(array, dtype=np.float32)
