"""Motions of GMR (https://github.com/YanjieZe/GMR) and its relatives, such as TWIST: pickles of one dict.

`fps`, `root_pos` [n, 3] m, `root_rot` [n, 4] xyzw, `dof_pos` [n, D] rad in MuJoCo's order. Some have `dof_names`;
others have `link_body_list`, the names of all bodies in the order of the joints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from parc_ray.character.joint_order import dof_names, dofs_of
from parc_ray.motions.importers.clip import ClipFormat, ReadOptions, SourceClip, fail
from parc_ray.motions.importers.joint_angles import JointAngles, to_clip
from parc_ray.motions.importers.pickled import has_keys, load_pickle

KEYS = ("root_pos", "root_rot", "dof_pos")


def gmr_clips(content: Any, path: Path, options: ReadOptions) -> dict[str, SourceClip]:
    """Return the clip of a GMR file. Raises InputError if it is malformed or has another character."""
    if not has_keys(content, KEYS):
        fail(path, f"is no motion of GMR, which has the keys {', '.join(KEYS)}", "Give another --format")
    motion = JointAngles(
        root_pos=content["root_pos"],
        root_rot=content["root_rot"],
        angles=content["dof_pos"],
        fps=content.get("fps"),
        names=_joints(content, options),
    )
    return {path.stem: to_clip(motion, options, str(path))}


def _joints(content: Mapping[str, Any], options: ReadOptions) -> tuple[str, ...]:
    """Return the joint of each column, from joint names or the order of bodies; empty if unknown."""
    names = content.get("dof_names")
    if names is not None:
        return tuple(str(name) for name in names)
    links, skeleton = content.get("link_body_list"), options.skeleton
    if links is None or options.joint_order != "mjcf":
        return ()
    moving = [str(link) for link in links if str(link) in skeleton.body_names]
    if len(moving) != skeleton.num_bodies:
        return ()
    own = dof_names(skeleton)
    return tuple(own[dof] for dof in dofs_of(skeleton, [skeleton.body_index(link) for link in moving]))


FORMAT = ClipFormat(
    name="gmr",
    suffixes=(".pkl", ".pickle"),
    load=load_pickle,
    recognize=lambda content: has_keys(content, KEYS),
    clips=gmr_clips,
)
