"""Exit codes of a run, in addition to those of errors (parc_ray.errors)."""

from __future__ import annotations

DONE = 0
"""Every motion has a final state; rejected ones count."""
NOT_ALL_ATTEMPTED = 3
"""Some motions could not be attempted."""
INCONSISTENT = 5
"""The output contradicts itself."""
INTERRUPTED = 130
"""The run was asked to stop."""
