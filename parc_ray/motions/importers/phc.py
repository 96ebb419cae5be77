"""Motions of PHC and related projects (PBHC, ASAP, human2humanoid): joblib files of many motions by name.

Robots: `root_trans_offset` [n, 3] m, `root_rot` [n, 4] xyzw, `dof` [n, D] rad in the MJCF's order, `fps`. SMPL
bodies: `pose_aa` [n, 24 * 3] rotation vectors in SMPL's order and axes instead of `root_rot` and `dof`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from parc_ray.errors import InputError, quote
from parc_ray.motions.importers import smpl
from parc_ray.motions.importers.clip import ClipFormat, ReadOptions, SourceClip, fail
from parc_ray.motions.importers.joint_angles import JointAngles, frame_rate, to_clip
from parc_ray.motions.importers.pickled import has_keys, load_pickle

ROOT = "root_trans_offset"


def phc_clips(content: Any, path: Path, options: ReadOptions) -> dict[str, SourceClip]:
    """Return the clips of a file. Raises InputError if it has none or they have another character."""
    if not _recognize(content):
        fail(path, f"is no file of PHC or a relative, whose motions have the key {ROOT}", "Give another --format")
    motions = {path.stem: content} if has_keys(content, (ROOT,)) else content
    clips: dict[str, SourceClip] = {}
    for name, motion in motions.items():
        plain = "_".join(str(name).replace("/", "-").split())
        clips[plain] = _clip(motion, f"{path}: motion {quote(name, 80)}", options)
    return clips


def _clip(motion: Mapping[str, Any], source: str, options: ReadOptions) -> SourceClip:
    if has_keys(motion, (ROOT, "root_rot", "dof")):
        return to_clip(JointAngles(motion[ROOT], motion["root_rot"], motion["dof"], motion.get("fps")), options, source)
    if has_keys(motion, (ROOT, "pose_aa")):
        rate = frame_rate(motion.get("fps"), options, source)
        return smpl.to_clip(motion[ROOT], motion["pose_aa"], rate, options, source)
    raise InputError(f"{source}: has neither 'dof' and 'root_rot' nor 'pose_aa'. Export it again, or leave it out")


def _recognize(content: Any) -> bool:
    if has_keys(content, (ROOT,)):
        return True
    return isinstance(content, dict) and bool(content) and all(has_keys(part, (ROOT,)) for part in content.values())


FORMAT = ClipFormat(
    name="phc", suffixes=(".pkl", ".pickle", ".joblib"), load=load_pickle, recognize=_recognize, clips=phc_clips
)
