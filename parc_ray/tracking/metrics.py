"""The metrics of tracking quality. All code that shows or judges them reads this list. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from typing_extensions import Literal

from parc_ray.config.record import AcceptanceConfig

Quality = Mapping[str, float]
"""The metrics of one attempt by name, in the order of METRICS."""


@dataclass(frozen=True)
class Metric:
    """A measured number of an attempt, over all frames after the first."""

    name: str
    """Its key in journals, recordings and comparisons."""
    title: str
    meaning: str
    """Short description of the measured quantity."""
    unit: str = ""
    """m, rad, s or m/s; empty for a share."""
    better: Literal["lower", "higher"] = "lower"
    over: Literal["mean", "largest", "share", "contacts"] = "mean"
    """Aggregation over the frames of an attempt."""
    limit: str = ""
    """Key of its acceptance limit; empty if it has none."""
    column: str = ""
    """Header of its column in the report, which also charts it; empty if the report omits it."""
    decimals: int = 3

    def breaks(self, value: float, limit: float) -> bool:
        """Return True if a value is worse than a limit; always true if it is not finite."""
        return not (value <= limit if self.better == "lower" else value >= limit)


@dataclass(frozen=True)
class BrokenLimit:
    """An acceptance limit that an attempt broke."""

    metric: Metric
    value: float
    limit: float


METRICS = (
    Metric(
        "root_error", "Root error", "mean distance of the root from the reference", "m",
        limit="max_mean_root_error", column="Root",
    ),
    Metric("root_angle_error", "Root angle error", "mean angle between the root and the reference's", "rad"),
    Metric(
        "body_error", "Root-relative MPJPE", "mean distance of bodies from the reference, relative to the root", "m",
        limit="max_mean_body_error", column="Body",
    ),
    Metric("mpjpe", "MPJPE", "mean distance of all bodies from the reference", "m"),
    Metric("joint_angle_error", "Joint angle error", "mean angle between joint rotations", "rad", column="Joints"),
    Metric("max_root_error", "Largest root error", "largest distance of the root from the reference", "m",
           over="largest"),
    Metric(
        "contact_agreement", "Contact agreement", "contacts in common over all contacts",
        better="higher", over="share", limit="min_contact_agreement", column="Contacts", decimals=2,
    ),
    Metric(
        "max_penetration", "Deepest penetration", "deepest that any body was inside the terrain", "m",
        over="largest", limit="max_penetration", column="Depth",
    ),
    Metric(
        "foot_skate", "Foot skate", "mean horizontal speed of bodies in contact", "m/s",
        over="contacts", limit="max_foot_skate", column="Skate",
    ),
)  # fmt: skip

BY_NAME = {metric.name: metric for metric in METRICS}
BY_LIMIT = {metric.limit: metric for metric in METRICS if metric.limit}


def without_labels(quality: Quality) -> Quality:
    """Return the metrics of an attempt at a motion without contact labels."""
    return {name: value for name, value in quality.items() if name != "contact_agreement"}


def broken_limits(quality: Quality, limits: AcceptanceConfig | None) -> list[BrokenLimit]:
    """Return the limits that an attempt breaks, in their order; empty if it may be recorded.

    Limits of unmeasured metrics do not apply.
    """
    broken = []
    for key, limit in limits or ():
        metric = BY_LIMIT[key]
        value = quality.get(metric.name)
        if limit is not None and value is not None and metric.breaks(value, limit):
            broken.append(BrokenLimit(metric, value, limit))
    return broken
