"""Availability of NVIDIA's PhysX package (ovphysx) in the version that parc_ray supports.

Imports neither torch nor PhysX at module level.
"""

from __future__ import annotations

import importlib
from importlib import metadata

from parc_ray.errors import one_line
from parc_ray.simulators.packages import missing_reason

VERSION = "0.7.0.74035321"
"""Version of ovphysx, as in pyproject.toml: its API changes with every minor version, its results with any."""
TRIAL = """
<mujoco><worldbody><body name="base"><freejoint/><geom type="sphere" size=".1" density="1000"/>
  <body name="arm" pos="0 0 .3"><joint name="elbow" type="hinge" axis="0 1 0" range="-90 90" stiffness="9" damping="1"/>
    <geom type="sphere" size=".1" density="1000"/></body></body></worldbody></mujoco>
"""
"""A character to try PhysX with."""
REMEDY = f'pip install "parc-ray[physx]" (ovphysx {VERSION}), or set simulator: mujoco'


def unavailable_reason() -> str:
    """Return the reason why PhysX cannot be used here; empty if it can."""
    absent = missing_reason("ovphysx", "PhysX", (3, 10), REMEDY)
    if absent:
        return absent
    found = metadata.version("ovphysx")
    if found != VERSION:
        return f"PhysX is here as ovphysx {found}, but parc_ray is written for {VERSION}: {REMEDY}"
    try:
        # Loads its native library, which may not support an older CPU or C library.
        importlib.import_module("ovphysx").PhysX  # noqa: B018
        importlib.import_module("ovstage")
    except Exception as error:
        return f"PhysX (ovphysx {found}) does not start: {one_line(error)}; or set simulator: mujoco"
    return ""
