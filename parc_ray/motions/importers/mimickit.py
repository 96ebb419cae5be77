"""MimicKit's motion files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from parc_ray.motions.importers.clip import ClipFormat, ReadOptions, SourceClip, refusal
from parc_ray.motions.importers.pickled import has_keys, load_pickle
from parc_ray.motions.mimickit_file import mimickit_clip


def mimickit_clips(content: Any, path: Path, options: ReadOptions) -> dict[str, SourceClip]:
    """Return the clip of a MimicKit file. Raises InputError if it is malformed or has another character."""
    if not has_keys(content, ("frames",)):
        raise refusal(path, "is no MimicKit clip: it has no 'frames'")
    clip = mimickit_clip(content, options.skeleton, str(path))
    times = torch.arange(len(clip.root_pos), dtype=torch.float64) / clip.fps
    return {
        path.stem: SourceClip(times, clip.root_pos, clip.root_rot, clip.joint_rot, clip.loop_mode == "WRAP", clip.notes)
    }


FORMAT = ClipFormat(
    name="mimickit",
    suffixes=(".pkl", ".pickle"),
    load=load_pickle,
    recognize=lambda content: has_keys(content, ("frames",)),
    clips=mimickit_clips,
)
