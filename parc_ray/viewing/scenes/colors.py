"""Colours (sRGB, 0 to 255), the same as in the report."""

from __future__ import annotations

from typing import Tuple

from parc_ray.viewing.scenes.scene import Clip

Color = Tuple[int, int, int]

SKY, NIGHT, GROUND = (232, 238, 244), (19, 26, 33), (140, 147, 156)
"""Sky of the light theme, sky of the dark theme, ground."""
BODY, GHOST = (63, 147, 214), (102, 120, 138)
TOUCH, GHOST_TOUCH = (240, 149, 43), (240, 170, 90)
"""Bodies in contact."""
ATTEMPTS: tuple[Color, ...] = ((204, 102, 119), (68, 72, 156), (17, 119, 51), (136, 34, 85), (138, 148, 160))
"""By attempt number."""


def color_of(clip: Clip) -> Color:
    """Return the colour of a clip's bodies that touch nothing."""
    if clip.kind == "attempt":
        return ATTEMPTS[clip.number % len(ATTEMPTS)]
    return GHOST if clip.kind == "reference" else BODY
