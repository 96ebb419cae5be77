"""MimicKit's clips, from its motion files."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import torch

from parc_ray.character.skeleton import Skeleton
from parc_ray.files import plain_pickle
from parc_ray.files.reading import read_bytes
from parc_ray.motions.importers.clip import Clip, Format, refusal
from parc_ray.motions.mimickit_file import mimickit_clip


def read_mimickit(path: Path, skeleton: Skeleton, mapping: Optional[Path] = None) -> Clip:
    """The clip in a MimicKit file. Raises InputError if it is none, or of another character."""
    content = plain_pickle.loads(read_bytes(path), str(path))
    if not isinstance(content, dict) or "frames" not in content:
        raise refusal(path, "is no MimicKit clip: it has no 'frames'")
    clip = mimickit_clip(content, skeleton, str(path))
    return Clip(
        times=torch.arange(len(clip.root_pos), dtype=torch.float64) / clip.fps,
        root_pos=clip.root_pos,
        root_rot=clip.root_rot,
        joint_rot=clip.joint_rot,
        loops=clip.loop_mode == "WRAP",
    )


FORMAT = Format("MimicKit", (".pkl", ".pickle"), read_mimickit)
