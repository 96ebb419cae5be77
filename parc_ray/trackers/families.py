"""Registry of tracker families. Does not load torch."""

from __future__ import annotations

from parc_ray.errors import InputError, quote
from parc_ray.trackers.family import Family
from parc_ray.trackers.mimickit.family import MIMICKIT
from parc_ray.trackers.parc.family import PARC

FAMILIES: tuple[Family, ...] = (PARC, MIMICKIT)


def family(name: str) -> Family:
    """Return a family by name. Raises InputError, which lists the known ones, if it is unknown."""
    for known in FAMILIES:
        if known.name == name:
            return known
    raise InputError(f"tracker: unknown family {quote(name)}; use one of: {', '.join(f.name for f in FAMILIES)}")
