"""The part of a motion's terrain that its character can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parc_ray.config.environment import EnvironmentConfig

if TYPE_CHECKING:
    from parc_ray.motions.height_field import HeightField
    from parc_ray.motions.motion import Motion

REACH = 1.5
"""Reach of a character from its root, with a margin, m."""
LOOP_MARGIN = 4.0
"""Ground around the path of a motion tracked several times in a row, m."""


def tile_of(motion: Motion, config: EnvironmentConfig) -> HeightField:
    """Return the part of a motion's terrain that its character can reach in one pass."""
    from parc_ray.motions.height_field import crop

    stays = config.enable_early_termination and config.pose_termination and config.track_root
    if not stays or motion.loop_mode != "CLAMP":
        return motion.terrain
    # An attempt fails before its character can leave this part of the map.
    margin = config.root_pos_termination_dist + REACH
    path = motion.root_pos[:, :2]
    return crop(motion.terrain, path.min(0) - margin, path.max(0) + margin)


def reachable_tile(motion: Motion, config: EnvironmentConfig, min_loop_seconds: float) -> HeightField:
    """Return the tile of a motion, extended to cover all of its passes."""
    import numpy as np

    from parc_ray.motions.height_field import extend

    tile, passes = tile_of(motion, config), motion.passes(min_loop_seconds)
    if passes == 1:
        return tile
    path = motion.root_pos[:, :2]
    ends = np.stack([path, path + (passes - 1) * (path[-1] - path[0])]).reshape(-1, 2)
    return extend(tile, ends.min(0) - LOOP_MARGIN, ends.max(0) + LOOP_MARGIN)
