"""Motions in AMASS's format: NumPy archives of SMPL poses, z up.

`poses` [n, 3 * J] rotation vectors (or `root_orient` [n, 3] and `pose_body` [n, 63]), `trans` [n, 3] m, and
`mocap_framerate` or `mocap_frame_rate`. Shapes (`betas`) and soft tissue are ignored: the character has its own.
https://amass.is.tue.mpg.de
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from parc_ray.motions.importers import smpl
from parc_ray.motions.importers.archive import load_npz
from parc_ray.motions.importers.clip import ClipFormat, ReadOptions, SourceClip, fail
from parc_ray.motions.importers.joint_angles import frame_rate, numbers

RATES = ("mocap_framerate", "mocap_frame_rate", "fps")


def amass_clips(content: Any, path: Path, options: ReadOptions) -> dict[str, SourceClip]:
    """Return the clip of an archive. Raises InputError if it has none or does not fit the character."""
    if not _recognize(content):
        fail(path, "is no motion in AMASS's form, which has 'poses' and 'trans'", "Give another --format")
    rate = frame_rate(next((content[key] for key in RATES if key in content), None), options, str(path))
    poses = content.get("poses")
    if poses is None:
        parts = (numbers(content[key], (None, None), key, str(path)) for key in ("root_orient", "pose_body"))
        poses = np.concatenate(list(parts), axis=1)
    return {path.stem: smpl.to_clip(content["trans"], poses, rate, options, str(path))}


def _recognize(content: Any) -> bool:
    return "trans" in content and ("poses" in content or {"root_orient", "pose_body"} <= set(content))


FORMAT = ClipFormat(name="amass", suffixes=(".npz",), load=load_npz, recognize=_recognize, clips=amass_clips)
